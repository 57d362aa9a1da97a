"""The state of one phase in one value: every step as it stands, and what the parent has not heard yet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import chain, islice
from typing import Any

from temporalio import workflow

from taskmark.carried import Bulk, Carried
from taskmark.contracts import (
    Consumption,
    PhaseCounts,
    PhaseReport,
    PhaseStart,
    Remembered,
    StepState,
    StepStatus,
    Used,
    Wait,
    span_id,
)
from taskmark.errors import Failure
from taskmark.plan.phases import SILENT, title
from taskmark.projection import of_agent, step_begun
from taskmark.records import EXCERPT, AttemptRecord, EventKind, beginning, outcome
from taskmark.task.model import Json, Phase, Step
from workflows.admission import Admission
from workflows.recording import event, record

_ENDED: Mapping[StepStatus, EventKind] = {
    StepStatus.COMPLETED: "step_completed",
    StepStatus.FAILED: "step_failed",
    StepStatus.SKIPPED: "step_skipped",
    StepStatus.CANCELLED: "step_cancelled",
}


REPORTED_STEPS = 500
"""Steps in one report; a signal takes 2 MiB, and a failure may have two thousand characters."""


ALARMS = 50
"""Failed steps that the parent hears of at once; of more it hears in time."""
WAITS_BELOW = 50
"""Of what waits in sub-tasks so much is in one report."""


class Board:
    """Every change of a step goes through here, so that progress, results and the store agree."""

    def __init__(self, start: PhaseStart, phase: Phase, admission: Admission) -> None:
        self.start = start
        self.phase = phase
        self.admission = admission
        self.steps = _pending(phase)
        self.finished: dict[str, dict[str, Json]] = {}
        """What expressions see of this phase's own steps."""
        self.readable: dict[str, Json] = dict(start.steps)
        """What they see of all steps. Kept up to date rather than made anew for each of thousands."""
        self.waiting: dict[str, Wait] = {}
        self._below: dict[str, tuple[Wait, ...]] = {}
        """What waits in sub-tasks, by their ids."""
        self.used = Used()
        """What agents used, also in attempts that failed."""
        self.consumed = Consumption()
        """What attempts used of the machine, as far as that is counted."""
        self.repeated: dict[str, int] = {}
        """How often steps were put back to the start though they had completed."""
        self.attempt = 1
        self.failing = False
        self._expanded = False
        self._hurried = False
        self._alarms = 0
        self._told_still = -1
        self._waits = 0
        self._changed: dict[str, None] = {}
        self.moves = 0
        """How many steps and items have ended in this run of the workflow."""
        self._here: dict[str, bool] = {}
        """Steps that the workflow itself carries out, and whether this round of the phase is counted."""

    @property
    def has_news(self) -> bool:
        """Whether the parent has not heard everything."""
        return bool(self._changed) or self.is_urgent

    @property
    def is_urgent(self) -> bool:
        """Whether it must hear it now: waits, failures, and that a pause has been reached."""
        return self._hurried or (self.admission.is_still and self._told_still < self.admission.wish.epoch)

    def hurry(self) -> None:
        """Makes the parent hear how things stand at once."""
        self._hurried = True

    def expand(self, phase: Phase, *, anew: bool = False) -> None:
        """The phase runs once per item: from now on these are its steps; `anew` if others were before."""
        attempts = {name: state.attempt for name, state in self.steps.items()}
        self.phase = phase
        if self._expanded and not anew:
            return
        self.steps = _pending(phase)
        for name in attempts.keys() & self.steps.keys():
            self.steps[name] = self.steps[name].model_copy(update={"attempt": attempts[name]})
        self._expanded = True
        self._changed = dict.fromkeys(self.steps)

    def go_on(self, carried: Carried, *, expanded: bool) -> None:
        """The board stands as an earlier run of the workflow left it; `expanded` if it runs once per item."""
        self.waiting = {gate.wait.key: gate.wait for gate in carried.gates}
        self.attempt, self.failing = carried.attempt, carried.failing
        self.used, self.consumed = carried.used, carried.consumed
        self._expanded = expanded
        self._hurried, self._alarms = carried.hurried, carried.alarms
        self._told_still, self._waits = carried.told_still, carried.waits
        self.repeated = dict(carried.repeated)

    def take_steps(self, bulk: Bulk) -> None:
        """The steps stand as an earlier run of the workflow left them."""
        self.steps = {state.id: state for state in bulk.steps}
        ended = {name: _visible(state) for name, state in self.steps.items() if state.status.is_final}
        self.finished = ended
        self.readable = {**self.start.steps, **ended}
        self._changed = dict.fromkeys(bulk.changed)
        self._here = dict(bulk.here)

    def carried(self) -> dict[str, Any]:
        """Returns what of a `Carried` is on the board."""
        return {
            "attempt": self.attempt,
            "failing": self.failing,
            "used": self.used,
            "consumed": self.consumed,
            "waits": self._waits,
            "hurried": self._hurried,
            "alarms": self._alarms,
            "told_still": self._told_still,
            "repeated": self.repeated,
        }

    def carried_steps(self) -> dict[str, Any]:
        """Returns what of a `Bulk` is on the board."""
        again = (name for name in self._here if self.steps[name].status is not StepStatus.COMPLETED)
        return {
            "steps": tuple(self.steps.values()),
            "changed": tuple(self._changed),
            "here": {name: self._here[name] for name in again},
        }

    def has_begun(self, step: str) -> bool:
        """Whether a step is in the midst of what it does."""
        return self.steps[step].status in (StepStatus.RUNNING, StepStatus.WAITING)

    def change(self, step: str, **fields: Any) -> None:
        """Replaces fields of one step's state."""
        self.steps[step] = self.steps[step].model_copy(update=fields)
        self._changed[step] = None

    def begin_here(self, step: Step) -> None:
        """The step has started and is carried out by the workflow itself, which so counts its attempts.

        Its items have begun with it: they are no attempts.
        """
        if not self._here.get(step.id):
            self._here[step.id] = True
            self.change(step.id, attempt=self.steps[step.id].attempt + 1)
        self.begin(step)

    def begin(self, step: Step) -> None:
        """The step has started; doing it twice changes nothing."""
        if self.steps[step.id].status is StepStatus.PENDING:
            self.change(step.id, status=StepStatus.RUNNING, started_at=workflow.now())
            self._tell("step_started", step, {**step_begun(step), "anew": self.steps[step.id].anew})

    def progress(self, step: str, total: int) -> None:
        """The step has so many items."""
        self.change(step, items_total=total)

    def item_done(self, step: str) -> None:
        """One more of its items has ended."""
        self.moves += 1
        self.change(step, items_done=self.steps[step].items_done + 1)

    def fell_back(self, step: str, failure: Failure) -> None:
        """The fallback has stood in for what failed so; of several items the first is kept."""
        self.change(step, fallback=True, fallback_for=self.steps[step].fallback_for or failure)

    def spend(self, used: Used) -> None:
        """Agents have used so much more."""
        self.used = self.used.plus(used)

    def consume(self, consumed: Consumption) -> None:
        """Attempts have used so much more of the machine."""
        self.consumed = self.consumed.plus(consumed)

    def end(self, step: Step, status: StepStatus, **fields: Any) -> None:
        """The step has ended: `output`, `error` and `reason` as they apply."""
        state = self.steps[step.id]
        if state.status.is_final:
            return
        self.moves += 1
        self.change(step.id, status=status, finished_at=workflow.now(), **fields)
        self.finished[step.id] = self.readable[step.id] = _visible(self.steps[step.id])
        error: Failure | None = fields.get("error")
        payload = {**of_agent(step), "reason": fields.get("reason")}
        payload |= outcome(status, error, fields.get("output"))
        if status is StepStatus.COMPLETED and state.fallback:
            payload["fallback"] = True
            payload["fallback_for"] = state.fallback_for and state.fallback_for.message
        if self.steps[step.id].reused:
            payload["reused"] = self.steps[step.id].reused
        self._tell(_ENDED[status], step, payload, self.steps[step.id].attempt)
        if status is StepStatus.FAILED and self._alarms < ALARMS:
            self._alarms += 1
            self.hurry()
        if step.id in self._here or self.steps[step.id].attempt == 0:
            self._record(step)  # nobody else does: no activity ran

    def tell_retry(self, step: Step, failure: Failure, item: int | None, attempt: int) -> None:
        """A try has failed and another one follows."""
        payload = of_agent(step) | outcome(StepStatus.FAILED, failure)
        self._tell("step_failed", step, payload, attempt, item)

    def tell_interruption(self, step: Step, resume: Json, item: int | None, attempt: int) -> None:
        """A pause has interrupted a try; it goes on from `resume`."""
        self._changed[step.id] = None  # one less is in flight
        record(
            event(
                self.start.execution_id,
                "step_interrupted",
                phase=self.phase.slug,
                step=step.id,
                item=item,
                attempt=attempt,
                occurrence=self.admission.wish.epoch,
                payload={"resume": None if resume is None else beginning(resume, EXCERPT)},
            )
        )

    def reuse(self, step: Step, old: Remembered) -> None:
        """The step ends as it did in an earlier execution, and nothing of it is called."""
        counts = {"items_total": old.items_total, "items_done": old.items_total or 0}
        instead = {"fallback": old.fallback, "fallback_for": old.fallback_for}
        self.change(step.id, reused=old.reused, **instead, **counts)
        self.end(step, StepStatus.COMPLETED, output=old.output)

    def parents(self, step: Step) -> tuple[str, ...]:
        """Returns the spans of what the step reads: steps of its own phase, and what the phase was given.

        An aggregate without `over` reads what was answered before it.
        """
        lane = step.id[step.id.find("[") :] if "[" in step.id else ""
        own = [f"{name}{lane}" for name in step.reads_steps]
        given = [f"steps.{name}" for name in step.reads_steps]
        given += [f"phases.{slug}" for slug in step.reads_phases]
        if step.kind == "aggregate" and "over" not in step.arguments:
            others = (other for other in self.phase.steps if other.id != step.id and other.kind not in SILENT)
            own += [other.id for other in others if other.id.endswith(lane)]
            given += [f"phases.{slug}" for slug in self.phase.depends_on]
        found = [self._span(name) for name in own] + [self.start.spans.get(name) for name in given]
        return tuple(dict.fromkeys(span for span in found if span is not None))

    def _span(self, step: str) -> str | None:
        """Returns the span of the try with which a step of this phase completed."""
        state = self.steps.get(step)
        if state is None or state.status is not StepStatus.COMPLETED:
            return None
        return span_id(self.start.execution_id, self.phase.slug, step, attempt=state.attempt)

    def interrupt(self, step: Step) -> None:
        """The task ended first: what had begun is cancelled, and what had not is skipped."""
        begun = self.steps[step.id].started_at is not None
        status = StepStatus.CANCELLED if begun else StepStatus.SKIPPED
        self.end(step, status, reason="the task was stopped first")

    def retry(self, step: str) -> None:
        """Puts a step that did not complete back to the start, keeping the number of its attempts."""
        state = self.steps[step]
        if state.status is not StepStatus.COMPLETED:
            self._put_back(state)

    def _put_back(self, state: StepState) -> None:
        fresh = StepState(id=state.id, kind=state.kind, name=state.name, critical=state.critical)
        self.steps[state.id] = fresh.model_copy(update={"attempt": state.attempt})
        self._changed[state.id] = None
        if state.id in self._here:
            self._here[state.id] = False
        self.finished.pop(state.id, None)
        self.readable.pop(state.id, None)

    def again(self, step: str) -> None:
        """Puts a step back to the start that completed: what it calls then is another call."""
        if self.steps[step].status is StepStatus.COMPLETED:
            self.repeated[step] = self.repeated.get(step, 0) + 1
            self._put_back(self.steps[step])

    def leave_out(self, step: Step, reason: str) -> None:
        """A person goes on without a step that failed."""
        self.change(step.id, status=StepStatus.SKIPPED, error=None, reason=reason)
        self.finished[step.id] = self.readable[step.id] = _visible(self.steps[step.id])
        payload = {**of_agent(step), "reason": reason, **outcome(StepStatus.SKIPPED, None)}
        self._tell("step_skipped", step, payload, self.steps[step.id].attempt)

    def wait(self, wait: Wait, key: str = "") -> None:
        """Something waits for a person from now on; the parent hears it at once."""
        self.waiting[key or wait.key] = wait
        self._tell_wait(wait)
        self.hurry()

    def waited(self, step: str) -> None:
        """It waits no longer."""
        if self.waiting.pop(step, None) is not None:
            self.hurry()

    def waits_below(self, child: str, waits: tuple[Wait, ...]) -> None:
        """So much waits in a sub-task."""
        if waits == self._below.get(child, ()):
            return
        self._below[child] = waits
        if not waits:
            del self._below[child]
        self.hurry()

    def failed(self) -> None:
        """A critical failure stops the whole task; the parent hears it at once."""
        self.failing = True
        self.hurry()

    def report(self) -> PhaseReport:
        """Returns what the parent has not heard yet, as much as fits one signal, and counts it as told."""
        names = list(islice(self._changed, REPORTED_STEPS))
        report = self._report(names, with_outputs=False)
        for name in names:
            del self._changed[name]
        self._hurried = False
        if self.admission.is_still:
            self._told_still = self.admission.wish.epoch
        return report

    def snapshot(self) -> PhaseReport:
        """Returns every step as it stands, without outputs."""
        return self._report(list(self.steps), with_outputs=False)

    def counts(self) -> PhaseCounts:
        """Returns how many steps have each status."""
        counted = Counter(state.status.value for state in self.steps.values())
        return PhaseCounts(attempt=self.attempt, counts=dict(counted))

    def _report(self, names: list[str], with_outputs: bool) -> PhaseReport:
        states = (self.steps[name] for name in names)
        return PhaseReport(
            phase=self.phase.slug,
            epoch=self.admission.wish.epoch,
            in_flight=self.admission.in_flight,
            steps=tuple(s if with_outputs else s.model_copy(update={"output": None}) for s in states),
            expanded=self._expanded,
            waiting=(*self.waiting.values(), *islice(chain(*self._below.values()), WAITS_BELOW)),
            failing=self.failing,
            attempt=self.attempt,
            used=self.used if self.used.agent_calls else None,
            consumed=self.consumed if self.start.quota else None,
        )

    def last_reports(self) -> Iterator[PhaseReport]:
        """Yields every step as it stands, outputs included, in reports that fit a signal."""
        names = iter(self.steps)
        while some := list(islice(names, REPORTED_STEPS)):
            yield self._report(some, with_outputs=True)

    def _tell_wait(self, wait: Wait) -> None:
        self._waits += 1
        payload = {"kind": wait.kind, "name": wait.name, "prompt": wait.prompt[:EXCERPT]}
        record(
            event(
                self.start.execution_id,
                "waiting",
                phase=self.phase.slug,
                step=wait.step,
                occurrence=self._waits,
                payload=payload,
            )
        )

    def _tell(
        self,
        kind: EventKind,
        step: Step,
        payload: Mapping[str, Json],
        attempt: int = 0,
        item: int | None = None,
    ) -> None:
        record(
            event(
                self.start.execution_id,
                kind,
                phase=self.phase.slug,
                step=step.id,
                item=item,
                attempt=attempt,
                occurrence=self.attempt - 1,
                payload=payload,
            )
        )

    def _record(self, step: Step) -> None:
        state = self.steps[step.id]
        record(
            AttemptRecord(
                execution_id=self.start.execution_id,
                phase=self.phase.slug,
                step=step.id,
                attempt=state.attempt,
                kind=step.kind,
                name=step.value,
                description=step.description or None,
                status=state.status,
                output=state.output,
                error=state.error,
                started_at=state.started_at,
                finished_at=state.finished_at,
                as_of=workflow.now(),
                trace_id=self.start.trace_id,
                parents=self.parents(step) or None,
                cause=self.start.cause,
                questions=1 if step.kind == "question" and state.attempt else None,
                reused_from=state.reused,
            )
        )


def _pending(phase: Phase) -> dict[str, StepState]:
    return {
        step.id: StepState(id=step.id, kind=step.kind, name=title(step), critical=step.is_critical)
        for step in phase.steps
    }


def _visible(state: StepState) -> dict[str, Json]:
    view: dict[str, Json] = {"status": state.status.value}
    if state.status is StepStatus.COMPLETED:
        view["output"] = state.output
    return view
