"""The state of an execution in one value: handlers change it, `run` reacts, queries read it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from itertools import islice

from taskmark.contracts import (
    Consumption,
    Decision,
    ExecutionStatus,
    Paused,
    PhaseOutcome,
    PhaseReport,
    PhaseResult,
    Spending,
    StepState,
    StepStatus,
    Used,
    Wait,
    Wish,
)
from taskmark.errors import Failure
from taskmark.fitting import same
from taskmark.plan.phases import title
from taskmark.plan.progress import TaskPercent
from taskmark.plan.quota import used_up
from taskmark.task.model import Json, Phase, TaskDefinition
from workflows.spending import Raised, Spendings

Gate = tuple[str, str, datetime]
"""One opening of a gate: its phase, its step (or its name), and since when it waits."""
WAITS_TOLD = 20
"""Of what waits so much is told above."""


class TaskState:
    """What is known of the execution. Before its definition is known it is `pending`."""

    def __init__(self) -> None:
        self.definition: TaskDefinition | None = None
        self.definition_sha256 = ""
        """Of the whole definition, by which the store knows it."""
        self.corrects = False
        """`Limits.corrects` of the execution."""
        self.inputs: dict[str, Json] = {}
        self.input_changes: list[tuple[str, ...]] = []
        """Names of the inputs that each change of them changed."""
        self.wish = Wish()
        self.paused: Paused | None = None
        self.abort_reason: str | None = None
        self.final: ExecutionStatus | None = None
        self.error: Failure | None = None
        self.started_at: datetime | None = None
        self.updated_at: datetime | None = None
        self.percent = 0.0
        self._weighed: TaskPercent | None = None
        self.changes = 0
        """How often a phase has changed, as far as it has told."""
        self.outcomes: dict[str, PhaseOutcome] = {}
        self.steps: dict[str, dict[str, StepState]] = {}
        self.reports: dict[str, PhaseReport] = {}
        """The last report of each phase that runs."""
        self.decisions: dict[str, list[Decision]] = {}
        """Decisions not yet passed on, by phase."""
        self.consumed_by: dict[str, Consumption] = {}
        """What each phase used of the machine, as far as that is counted and has been told."""
        self.spendings: Spendings | None = None
        """What is used of the task's budget, if it has one."""
        self.failures: list[tuple[str, StepState]] | None = None
        """Failures of steps, by phase, that nobody was told of yet; None if nobody wants to be."""
        self.decided: dict[Gate, tuple[Wait, Decision]] = {}
        """Every decision that was taken, by the opening of the gate it was for."""

    def open(self, definition: TaskDefinition, inputs: dict[str, Json], now: datetime) -> None:
        """The definition is known: everything is pending."""
        self.definition, self.inputs = definition, inputs
        self._weighed = TaskPercent(definition)
        self.started_at = self.updated_at = now
        for phase in definition.phases:
            self.outcomes[phase.slug] = PhaseOutcome(status=StepStatus.PENDING, name=phase.name)
            self.steps[phase.slug] = _pending(phase)

    def change_inputs(self, inputs: dict[str, Json]) -> None:
        """A person has changed inputs; each phase hears of it."""
        names = tuple(name for name, value in inputs.items() if not same(value, self.inputs.get(name)))
        if names:
            self.inputs = inputs
            self.input_changes.append(names)

    # --- what happens -----------------------------------------------------------------------------

    def change_wish(self, **changes: object) -> None:
        """Raises the epoch, so that the newest wish wins wherever it arrives late."""
        self.wish = self.wish.model_copy(update={**changes, "epoch": self.wish.epoch + 1})

    def phase_started(self, phase: Phase, now: datetime) -> None:
        """Its child workflow is being started."""
        self.steps[phase.slug] = _pending(phase)
        self._set(phase.slug, now, status=StepStatus.RUNNING, started_at=now, attempts=1)
        self.reports[phase.slug] = PhaseReport(phase=phase.slug, epoch=self.wish.epoch, in_flight=1)

    def reported(self, report: PhaseReport, now: datetime) -> None:
        """A running phase tells what changed."""
        if report.phase not in self.reports:
            return  # its result is here already and says more
        self.reports[report.phase] = report
        known = self.steps[report.phase]
        self._note_failures(report.phase, report.steps)
        self.steps[report.phase] = known | {state.id: state for state in report.steps}
        if report.expanded:
            self._sum_up(report.phase)
        status = StepStatus.WAITING if report.waiting and not report.in_flight else StepStatus.RUNNING
        self._set(report.phase, now, status=status, attempts=report.attempt, used=report.used)
        self._count(report.phase, report.consumed)

    def _count(self, slug: str, consumed: Consumption | None) -> None:
        if consumed is not None:
            self.consumed_by[slug] = consumed

    def _note_failures(self, slug: str, steps: Iterable[StepState]) -> None:
        """Keeps what has failed since the phase told the last time."""
        if self.failures is None:
            return
        for state in steps:
            before = self.steps[slug].get(state.id)
            if state.error is not None and (before is None or state.error != before.error):
                self.failures.append((slug, state))

    def _sum_up(self, slug: str) -> None:
        """In a phase with `forEach` each step of the file counts its items, and those that have ended."""
        assert self.definition is not None
        known = self.steps[slug]
        for step in self.definition.phase(slug).steps:
            items = [state for name, state in known.items() if name.startswith(f"{step.id}[")]
            counts = {"items_total": len(items), "items_done": sum(s.status.is_final for s in items)}
            begun = any(s.status is not StepStatus.PENDING for s in items)
            status = StepStatus.RUNNING if begun else StepStatus.PENDING
            known[step.id] = known[step.id].model_copy(update={**counts, "status": status})

    def heard_of_spending(self, told: Spending, now: datetime) -> None:
        """A phase, or one of a sub-task, tells what it used and what it wants."""
        if self.spendings is not None:
            self.spendings.hear(told)
            self._changed(now)

    def raised(self, limit: Raised, now: datetime) -> None:
        """A limit of the budget is higher from now on."""
        assert self.spendings is not None
        self.spendings.raise_limit(limit)
        self._changed(now)

    def phase_lost(self, phase: Phase, now: datetime) -> None:
        """Somebody else ended its child workflow. What it did after its last report nobody knows, so none
        of its steps is told to have been skipped."""
        self._close_account(phase.slug)
        for name, state in self.steps[phase.slug].items():
            if not state.status.is_final:
                ended = {"status": StepStatus.CANCELLED, "finished_at": now, "reason": "its phase was lost"}
                self.steps[phase.slug][name] = state.model_copy(update=ended)

    def phase_ended(self, phase: Phase, result: PhaseResult, now: datetime) -> None:
        """Its child workflow has ended."""
        self._close_account(phase.slug)
        self.reports.pop(phase.slug, None)
        self._count(phase.slug, result.consumed)
        if result.steps:
            self._note_failures(phase.slug, result.steps)
            self.steps[phase.slug] = {state.id: state for state in result.steps}
        self._close_steps(phase.slug, now)
        self._set(
            phase.slug,
            now,
            status=result.status,
            outputs=result.outputs,
            error=result.error,
            attempts=result.attempts,
            used=result.used or self.outcomes[phase.slug].used,
            started_at=result.started_at or self.outcomes[phase.slug].started_at,
            finished_at=result.finished_at or now,
        )

    def close(self, now: datetime) -> None:
        """Nothing runs any more: what had begun and not ended is cancelled, the rest is skipped."""
        for slug, outcome in self.outcomes.items():
            if not outcome.status.is_final:
                begun = outcome.status is not StepStatus.PENDING
                self.reports.pop(slug, None)
                self._close_steps(slug, now)
                status = StepStatus.CANCELLED if begun else StepStatus.SKIPPED
                self._set(slug, now, status=status, finished_at=now)

    def _close_steps(self, slug: str, now: datetime) -> None:
        for name, state in self.steps[slug].items():
            if state.status is StepStatus.PENDING:
                skipped = {"status": StepStatus.SKIPPED, "reason": "its phase ended first"}
                self.steps[slug][name] = state.model_copy(update=skipped)
            elif not state.status.is_final:
                ended = {"status": StepStatus.CANCELLED, "finished_at": now}
                self.steps[slug][name] = state.model_copy(update=ended)

    def phase_skipped(self, phase: Phase, reason: str, now: datetime) -> None:
        """It will not run, and neither will its steps."""
        self.steps[phase.slug] = {
            name: state.model_copy(update={"status": StepStatus.SKIPPED, "reason": reason})
            for name, state in self.steps[phase.slug].items()
        }
        self._set(phase.slug, now, status=StepStatus.SKIPPED, reason=reason, finished_at=now)

    def _set(self, slug: str, now: datetime, **fields: object) -> None:
        self.outcomes[slug] = self.outcomes[slug].model_copy(update=fields)
        self._changed(now)

    def _changed(self, now: datetime) -> None:
        self.updated_at = now
        self.changes += 1

    def _close_account(self, slug: str) -> None:
        if self.spendings is not None:
            self.spendings.close(slug)

    def advance(self) -> None:
        """Brings the percentage up to date: once for all that happened in one moment."""
        if self._weighed is not None and not self.wish.stop:
            # what is skipped because the task ends early brings it no further
            states = {s: (self.outcomes[s].status, self.steps[s]) for s in self.outcomes}
            self.percent = max(self.percent, self._weighed.of(states))

    def phase_percent(self, slug: str) -> float:
        """Returns how far a phase is, 0 to 100. The definition is known by now."""
        assert self._weighed is not None, "only a known definition has phases"
        return self._weighed.phases[slug].of(self.steps[slug], self.outcomes[slug].status)

    def ended_undecided(self, wait: Wait) -> bool:
        """Whether a gate that waits no longer ended without a decision."""
        if not wait.step and wait.kind == "approval":
            return self.outcomes[wait.phase].status in (StepStatus.SKIPPED, StepStatus.CANCELLED)
        if not wait.step:
            return bool(self.wish.stop)
        if self.renewed(wait):
            return True
        state = self.steps[wait.phase].get(wait.step)
        if state is None or state.status is StepStatus.CANCELLED:
            return True
        return (
            state.status is StepStatus.FAILED and state.error is not None and state.error.type == "timed_out"
        )

    def renewed(self, wait: Wait) -> Wait | None:
        """Returns the wait that took the place of one that showed something else, if there is one."""
        others = (w for w in self.waiting if (w.phase, w.key) == (wait.phase, wait.key))
        return next((other for other in others if other.replaces and other.replaces >= wait.since), None)

    # --- what follows from it ---------------------------------------------------------------------

    @property
    def status(self) -> ExecutionStatus:
        """The state of the execution, as docs/semantics.md means it."""
        if self.final is not None:
            return self.final
        if self.wish.paused and not self.wish.stop:
            return ExecutionStatus.PAUSED if self._stands_still else ExecutionStatus.PAUSING
        if self.definition is None:
            return ExecutionStatus.PENDING
        return ExecutionStatus.WAITING if self._only_waits else ExecutionStatus.RUNNING

    @property
    def _stands_still(self) -> bool:
        epoch = self.wish.epoch
        return all(r.epoch == epoch and r.in_flight == 0 for r in self.reports.values())

    @property
    def _only_waits(self) -> bool:
        reports = self.reports.values()
        return bool(reports) and all(r.waiting and r.in_flight == 0 for r in reports)

    @property
    def clock_stands(self) -> bool:
        """Whether the time limit's clock stands: it counts active time only."""
        return self.status in (ExecutionStatus.PAUSING, ExecutionStatus.PAUSED, ExecutionStatus.WAITING)

    @property
    def waiting(self) -> tuple[Wait, ...]:
        """Everything that waits for a person, in the order of the phases."""
        told = tuple(wait for report in self.reports.values() for wait in report.waiting)
        if self.spendings is None:
            return told
        return (*(wait for wait in told if not self.spendings.is_own(wait)), *self.spendings.waits)

    def waiting_here(self, execution: str) -> tuple[Wait, ...]:
        """Returns what waits, each with where it is decided; of much only the first."""
        here = {"execution": execution}
        few = islice(self.waiting, WAITS_TOLD)
        return tuple(wait if wait.execution else wait.model_copy(update=here) for wait in few)

    @property
    def used(self) -> Used:
        """What agents used so far, as far as the phases have told."""
        if self.spendings is not None:
            return self.spendings.used
        found = Used()
        for outcome in self.outcomes.values():
            found = found.plus(outcome.used)
        return found

    @property
    def consumed(self) -> Consumption:
        """What attempts used of the machine."""
        return self.consumed_beside("")

    def consumed_beside(self, slug: str) -> Consumption:
        """Returns what all phases but one have used of it."""
        found = Consumption()
        for name, consumed in self.consumed_by.items():
            found = found if name == slug else found.plus(consumed)
        return found

    @property
    def is_used_up(self) -> bool:
        """Whether nothing is left of what the task's `limits` allow."""
        limits = self.definition.limits if self.definition and self.consumed_by else None
        return limits is not None and used_up(limits, self.consumed) is not None

    @property
    def in_flight(self) -> int:
        """How many steps run, as far as the phases have told."""
        return sum(report.in_flight for report in self.reports.values())

    @property
    def any_step_failed(self) -> bool:
        """Whether something failed that did not stop the task."""
        return any(state.error is not None for steps in self.steps.values() for state in steps.values())


def gate(wait: Wait) -> Gate:
    """Returns what tells one opening of a gate from every other."""
    return (wait.phase, wait.key, wait.since)


def _pending(phase: Phase) -> dict[str, StepState]:
    return {
        step.id: StepState(
            id=step.id,
            kind=step.kind,
            name=title(step),
            critical=step.is_critical,
        )
        for step in phase.steps
    }
