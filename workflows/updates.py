"""Checks what people decide, against what waits: wrong gate, wrong time, wrong value, wrong person.

The checks run in validators, where a refusal leaves no trace in history, and again in the handlers,
which so never act on anything unchecked.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from temporalio.exceptions import ApplicationError

from taskmark.contracts import INLINE_LIMIT, LONG, SHORT, Decision, Wait
from taskmark.task.model import Json
from workflows.answers import problems, same
from workflows.artifacts import size_of
from workflows.state import Gate, TaskState, gate


class Decided(NamedTuple):
    """A decision for one opening of one gate."""

    wait: Wait
    decision: Decision
    is_new: bool

    @property
    def key(self) -> Gate:
        """What tells this opening of the gate from every other."""
        return gate(self.wait)

    def answer(self) -> dict[str, Json]:
        """Returns what the caller of the update gets."""
        decision = self.decision
        said = {"by": decision.by, "comment": decision.comment, "duplicate": not self.is_new}
        if self.wait.kind == "approval":
            return {
                "gate": decision.name,
                "decision": "approved" if decision.approved else "rejected",
                **said,
            }
        return {"name": decision.name, "value": decision.value, **said}


def too_late(decided: Decided) -> ApplicationError:
    """Returns the refusal of a decision that crossed with the end of its gate."""
    return _refused("NotWaiting", f"“{decided.wait.name}” ended before the decision reached it")


def approval(state: TaskState, payload: Any) -> Decided:
    """Returns the decision of an `approve` update. Raises `ApplicationError` with the reason if refused."""
    given = _object(payload, "gate")
    word = given.get("decision", "approved")
    if word not in ("approved", "rejected"):
        raise _refused("InvalidDecision", f"`decision` is approved or rejected, not {word!r:.200}")
    comment = _text(given, "comment", LONG)
    decision = Decision(
        name=str(given["gate"]), approved=word == "approved", by=_text(given, "by"), comment=comment
    )
    return _bound(state, decision, "approval")


def answer(state: TaskState, payload: Any) -> Decided:
    """Returns the decision of an `answer` update. Raises `ApplicationError` with the reason if refused."""
    given = _object(payload, "question")
    if "value" not in given:
        raise _refused("InvalidAnswer", "the answer goes into `value`")
    decision = Decision(name=str(given["question"]), value=given["value"], by=_text(given, "by"))
    return _bound(state, decision, "question")


def held(state: TaskState, payload: Any, what: str) -> Decided:
    """Returns the decision of a `retry` or `skip` update. Raises `ApplicationError` if nothing is held."""
    given = payload if isinstance(payload, dict) else {}
    phase = given.get("phase") or _phase_of(state, given.get("step"))
    if given.get("inputs") is not None:
        raise _refused("NotSupported", "changed inputs are not supported by this version")
    if phase is None:
        raise _refused("UnknownGate", f'name the phase: {{"phase": "…"}}; held now: {_names(state, "retry")}')
    return _bound(state, Decision(name=str(phase), value=what, by=_text(given, "by")), "retry")


def _bound(state: TaskState, decision: Decision, kind: str) -> Decided:
    """Binds a decision to what waits now: before and after, it is refused with the reason."""
    wait = _only([w for w in state.waiting if w.kind == kind and decision.name in (w.name, w.step)])
    if wait is None:
        return _decided_before(state, decision, kind)
    _check_person(wait, decision.by)
    _check_value(wait, decision.value)
    given = decision.model_copy(update={"name": wait.name, "step": wait.step})
    before = state.decided.get(gate(wait))
    if before is None:
        return Decided(wait, given, is_new=True)
    return _again(*before, given)


def _decided_before(state: TaskState, decision: Decision, kind: str) -> Decided:
    """Returns the decision of a gate that waits no longer, if it was the same one."""
    for wait, before in reversed(state.decided.values()):
        if wait.kind == kind and decision.name in (wait.name, wait.step):
            _check_person(wait, decision.by)
            return _again(wait, before, decision)
    raise _not_waiting(state, decision.name, kind)


def _again(wait: Wait, before: Decision, decision: Decision) -> Decided:
    if before.approved != decision.approved or not same(before.value, decision.value):
        raise _refused("AlreadyDecided", f"“{wait.name}” was already decided by {before.by or 'somebody'}")
    return Decided(wait, before, is_new=False)


def _only(found: list[Wait]) -> Wait | None:
    if len(found) > 1:
        steps = ", ".join(wait.step for wait in found)
        raise _refused("UnknownGate", f"several gates are called “{found[0].name}”; name the step: {steps}")
    return found[0] if found else None


def _not_waiting(state: TaskState, name: str, kind: str) -> ApplicationError:
    if state.status.is_final:
        return _refused("NotWaiting", f"the execution is {state.status}")
    steps = [step for phase in _phases(state) for step in phase.steps if step.kind == kind]
    known = [word for step in steps for word in (step.value, step.id)]
    known += [phase.slug for phase in _phases(state)] if kind == "retry" else []
    if name in known:
        return _refused("NotWaiting", f"“{name}” does not wait for a decision now")
    message = f"no {kind} is called “{name[:SHORT]}”; waiting now: {_names(state, kind)}"
    return _refused("UnknownGate", message)


def _check_person(wait: Wait, by: str) -> None:
    if wait.approvers and by not in wait.approvers:
        allowed = ", ".join(wait.approvers)
        raise _refused("NotAllowed", f"{by or 'nobody'} may not decide “{wait.name}”; allowed: {allowed}")


def _check_value(wait: Wait, value: Json) -> None:
    size = size_of(value)
    if size > INLINE_LIMIT:
        message = f"the answer has {size} bytes, and {INLINE_LIMIT} are allowed: give a file's path instead"
        raise _refused("InvalidAnswer", message)
    found = list(problems(value, wait.answer_schema))
    if found:
        raise _refused("InvalidAnswer", "; ".join(found)[:LONG])


def _phase_of(state: TaskState, step: Any) -> str | None:
    return next((p.slug for p in _phases(state) for s in p.steps if s.id == step), None)


def _phases(state: TaskState) -> tuple[Any, ...]:
    return state.definition.phases if state.definition else ()


def _names(state: TaskState, kind: str) -> str:
    return ", ".join(w.name for w in state.waiting if w.kind == kind) or "nothing"


def _object(payload: Any, key: str) -> dict[str, Any]:
    if not isinstance(payload, dict) or not payload.get(key):
        raise _refused("InvalidPayload", f'name the {key}: {{"{key}": "…"}}')
    return payload


def _text(given: dict[str, Any], key: str, limit: int = SHORT) -> str:
    value = given.get(key)
    text = "" if value is None else str(value)
    if len(text) > limit:
        raise _refused("InvalidPayload", f"`{key}` has {len(text)} characters, and {limit} are allowed")
    return text


def _refused(kind: str, message: str) -> ApplicationError:
    return ApplicationError(message, type=kind, non_retryable=True)
