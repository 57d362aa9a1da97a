"""Checks what people decide, against what waits: wrong gate, wrong time, wrong value, wrong person.

The checks run in validators, where a refusal leaves no trace in history, and again in the handlers,
which so never act on anything unchecked.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from temporalio.exceptions import ApplicationError

from taskmark.contracts import ID_LIMIT, INLINE_LIMIT, LONG, SHORT, Decision, StepStatus, Wait, plain_id
from taskmark.fitting import problems, same
from taskmark.task.model import GATES, Json
from workflows import holding
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


FIELDS = {
    "approve": ("gate", "decision", "by", "comment", "shown"),
    "answer": ("question", "value", "by", "shown"),
    "retry": ("phase", "step", "inputs", "by", "comment", "shown"),
    "skip": ("phase", "step", "by", "comment", "shown"),
    "raise": ("budget", "limit", "by"),
}
"""What each update knows."""


def check_fields(update: str, payload: Any) -> None:
    """Raises `ApplicationError` for fields that an update does not know: whoever writes `approved: false`
    must not have approved. Only validators ask: what was let in once stays in."""
    unknown = [name for name in payload if name not in FIELDS[update]] if isinstance(payload, dict) else []
    if unknown:
        named, known = ", ".join(map(str, unknown))[:SHORT], ", ".join(FIELDS[update])
        raise _refused("InvalidPayload", f"`{update}` knows no field {named}; it knows {known}")


def too_late(decided: Decided) -> ApplicationError:
    """Returns the refusal of a decision that crossed with the end of its gate."""
    return _refused("NotWaiting", f"“{decided.wait.name}” ended before the decision reached it")


def changed(wait: Wait) -> ApplicationError:
    """Returns the refusal of a decision about something else than what waits, with what that shows."""
    return _refused("Changed", f"“{wait.name}” asks something else by now: {wait.prompt}"[:LONG])


def approval(state: TaskState, payload: Any) -> Decided:
    """Returns the decision of an `approve` update. Raises `ApplicationError` with the reason if refused."""
    given = _object(payload, "gate")
    word = given.get("decision", "approved")
    if word not in ("approved", "rejected"):
        raise _refused("InvalidDecision", f"`decision` is approved or rejected, not {word!r:.200}")
    decision = Decision(
        name=str(given["gate"]),
        approved=word == "approved",
        by=_text(given, "by"),
        comment=_text(given, "comment", LONG),
        shown=_text(given, "shown"),
    )
    return _bound(state, decision, "approval")


def answer(state: TaskState, payload: Any) -> Decided:
    """Returns the decision of an `answer` update. Raises `ApplicationError` with the reason if refused."""
    given = _object(payload, "question")
    if "value" not in given:
        raise _refused("InvalidAnswer", "the answer goes into `value`")
    decision = Decision(
        name=str(given["question"]),
        value=given["value"],
        by=_text(given, "by"),
        shown=_text(given, "shown"),
    )
    return _bound(state, decision, "question")


def held(state: TaskState, payload: Any, what: Literal["retry", "skip"]) -> Decided:
    """Returns the decision of a `retry` or `skip` update. Raises `ApplicationError` if nothing is held, or
    if what it names or changes does not fit."""
    given = payload if isinstance(payload, dict) else {}
    step = _text(given, "step", ID_LIMIT)
    phase = given.get("phase") or _phase_of(state, step)
    if phase is None and step:
        held_now = _names(state, "retry")
        raise _refused("UnknownStep", f"no step is called “{step[:SHORT]}”; held now: {held_now}")
    if phase is None:
        raise _refused("UnknownGate", f'name the phase: {{"phase": "…"}}; held now: {_names(state, "retry")}')
    again = holding.wanted(state, step, given.get("inputs"), what)
    decision = Decision(
        name=str(phase),
        value=again.value(),
        by=_text(given, "by"),
        comment=_text(given, "comment", LONG),
        shown=_text(given, "shown"),
    )
    decided = _bound(state, decision, "retry")
    if decided.is_new:
        holding.check(state, decided.wait, again)
    return decided


def _bound(state: TaskState, decision: Decision, kind: str) -> Decided:
    """Binds a decision to what waits now: before and after, it is refused with the reason."""
    wait = _only([w for w in _called(state, decision.name, kind) if not w.execution])
    if wait is None:
        return _decided_before(state, decision, kind)
    _check_person(wait, decision.by)
    if decision.shown and decision.shown != wait.shown:
        raise changed(wait)
    _check_value(wait, decision.value)
    given = decision.model_copy(update={"name": wait.name, "step": wait.step, "shown": wait.shown})
    before = state.decided.get(gate(wait))
    if before is None:
        return Decided(wait, given, is_new=True)
    return _again(*before, given)


def _decided_before(state: TaskState, decision: Decision, kind: str) -> Decided:
    """Returns the decision of a gate that waits no longer, if it was the same one."""
    for wait, before in reversed(state.decided.values()):
        if wait.kind == kind and decision.name in (wait.name, wait.step):
            _check_person(wait, decision.by)
            if _opens_again(state, wait) or decision.shown not in ("", wait.shown):
                raise _refused("NotWaiting", f"“{wait.name}” does not wait now; it may ask again")
            return _again(wait, before, decision)
    raise _not_waiting(state, decision.name, kind)


def _opens_again(state: TaskState, wait: Wait) -> bool:
    """Whether the phase of a decided gate runs again, and its turn is yet to come."""
    step = state.steps[wait.phase].get(wait.step) if state.corrects else None
    is_gate = step is not None and step.kind in GATES
    return step is not None and is_gate and step.status is StepStatus.PENDING


def _again(wait: Wait, before: Decision, decision: Decision) -> Decided:
    if before.approved != decision.approved or not same(before.value, decision.value):
        raise _refused("AlreadyDecided", f"“{wait.name}” was already decided by {before.by or 'somebody'}")
    return Decided(wait, before, is_new=False)


def _only(found: list[Wait]) -> Wait | None:
    if len(found) > 1:
        steps = ", ".join(wait.step for wait in found)
        raise _refused("UnknownGate", f"several gates are called “{found[0].name}”; name the step: {steps}")
    return found[0] if found else None


def _called(state: TaskState, name: str, kind: str) -> list[Wait]:
    """Returns what waits under a name, here and in sub-tasks."""
    return [w for w in state.waiting if w.kind == kind and name in (w.name, w.step)]


def _not_waiting(state: TaskState, name: str, kind: str) -> ApplicationError:
    if state.status.is_final:
        return _refused("NotWaiting", f"the execution is {state.status}")
    if below := _called(state, name, kind):
        return _refused("UnknownGate", f"“{below[0].name}” waits in {below[0].execution}: decide it there")
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


def _phase_of(state: TaskState, step: str) -> str | None:
    return next((p.slug for p in _phases(state) for s in p.steps if s.id in (step, plain_id(step))), None)


def _phases(state: TaskState) -> tuple[Any, ...]:
    return state.definition.phases if state.definition else ()


def _names(state: TaskState, kind: str) -> str:
    return ", ".join(w.name for w in state.waiting if w.kind == kind and not w.execution) or "nothing"


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
