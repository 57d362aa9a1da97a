"""A phase's steps as often as they run: once, or once per item of the phase's `forEach`.

In a phase with `forEach` each item has steps of its own, `<id>[0]`, `<id>[1]`, …; inside an item they
are read by their plain ids, and outside `steps.<id>.output` is the list over all items.
"""

from __future__ import annotations

from taskmark.contracts import StepState, StepStatus
from taskmark.errors import Failure
from taskmark.plan.phases import title
from taskmark.task.model import Json, Phase, Step
from workflows.board import Board

MANY_FAILURES = 500
"""So many failures of one phase keep their whole text."""


class Lane:
    """The steps for one item, or for the whole phase if `index` is None."""

    def __init__(self, steps: tuple[Step, ...], index: int | None = None, item: Json = None) -> None:
        self.steps = steps
        self.index = index
        self.item = item

    def plain_id(self, step: str) -> str:
        """Returns the id as the file has it."""
        return step if self.index is None else step.removesuffix(f"[{self.index}]")

    def outputs(self, board: Board) -> dict[str, dict[str, Json]]:
        """Returns what this lane's expressions see of its own steps, by plain id."""
        finished = board.finished
        if self.index is None:
            return finished
        return {self.plain_id(s.id): finished[s.id] for s in self.steps if s.id in finished}

    def readable(self, board: Board) -> dict[str, Json]:
        """Returns what this lane's expressions see of all steps, its own by plain id."""
        return board.readable if self.index is None else {**board.readable, **self.outputs(board)}


def lanes(phase: Phase, items: list[Json] | None) -> tuple[Lane, ...]:
    """Returns the lanes of a phase: one, or one per item."""
    if items is None:
        return (Lane(phase.steps),)
    return tuple(
        Lane(
            tuple(s.model_copy(update={"id": f"{s.id}[{index}]"}) for s in phase.steps),
            index,
            item,
        )
        for index, item in enumerate(items)
    )


def expanded(phase: Phase, run: tuple[Lane, ...]) -> Phase:
    """Returns the phase with the steps of all its lanes."""
    return phase.model_copy(update={"steps": tuple(step for lane in run for step in lane.steps)})


def merged(phase: Phase, run: tuple[Lane, ...], states: dict[str, StepState]) -> tuple[StepState, ...]:
    """Returns the states that readers of the phase see: of all lanes, and per plain id over all of them."""
    if run and run[0].index is None:
        return tuple(states.values())
    return (*(_over(step, run, states) for step in phase.steps), *states.values())


def _over(step: Step, run: tuple[Lane, ...], states: dict[str, StepState]) -> StepState:
    found = [states[f"{step.id}[{lane.index}]"] for lane in run]
    starts = [s.started_at for s in found if s.started_at]
    ends = [s.finished_at for s in found if s.finished_at]
    return StepState(
        id=step.id,
        kind=step.kind,
        name=title(step),
        critical=step.is_critical,
        status=_worst([s.status for s in found]),
        attempt=max((s.attempt for s in found), default=0),
        started_at=min(starts, default=None),
        finished_at=max(ends, default=None),
        error=next((s.error for s in found if s.error), None),
        output=[s.output for s in found],
        items_total=len(found),
        items_done=sum(s.status.is_final for s in found),
        reused=found[0].reused if found and all(s.reused for s in found) else None,
        anew=next((s.anew for s in found if s.anew), None),
    )


def shortened(states: tuple[StepState, ...]) -> tuple[StepState, ...]:
    """Returns the states so that thousands of failures do not exceed what a result can hold."""
    if sum(state.error is not None for state in states) <= MANY_FAILURES:
        return states
    return tuple(s.model_copy(update={"error": s.error and _gist(s.error)}) for s in states)


def _gist(failure: Failure) -> Failure:
    fields = ("type", "category", "step", "phase")
    return Failure(**{name: getattr(failure, name) for name in fields}, message=failure.message[:100])


def _worst(statuses: list[StepStatus]) -> StepStatus:
    order = (StepStatus.FAILED, StepStatus.CANCELLED, StepStatus.COMPLETED, StepStatus.SKIPPED)
    return next((s for s in order if s in statuses), StepStatus.COMPLETED)
