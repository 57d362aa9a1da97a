"""What a phase may reuse of an earlier execution, and what it leaves for a later one to reuse.

Each step that comes to running leaves a fingerprint here (`taskmark.plan.fingerprints`). Together with how
the steps ended they are the checkpoint, which is told to the store when the phase ends: nothing of it is in
history. A step of an execution that goes on from an earlier one ends at once, with the output of then, if
there is a step with the same fingerprint in the checkpoint that it was given, and which completed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from temporalio import workflow

from taskmark.contracts import PhaseStart, Remembered, Reuse, StepStatus, is_artifact, phase_workflow_id
from taskmark.errors import StepFailed
from taskmark.plan.fingerprints import Fingerprints, Print
from taskmark.plan.reuse import why_anew
from taskmark.projection import ItemPrints, checkpoint_of
from taskmark.task.model import Json, Phase, Step, TaskDefinition
from taskmark.task.packing import unpack
from workflows.artifacts import Shelf
from workflows.board import Board
from workflows.effort import Effort
from workflows.lanes import Lane
from workflows.recording import record
from workflows.scope import Scope

_CHARACTERS = 16
"""Hashed for one unit of work."""
_EACH = 100
"""Units of one fingerprint beside what it hashes."""


class Past:
    """The fingerprints of one phase's steps: those of now, and those of an earlier execution."""

    def __init__(  # noqa: PLR0917 - the parts of one phase, put together in one place
        self, start: PhaseStart, phase: Phase, board: Board, scope: Scope, shelf: Shelf, effort: Effort
    ) -> None:
        self._start = start
        self._phase = phase
        self._board = board
        self._scope = scope
        self._shelf = shelf
        self._effort = effort
        self._prints = Fingerprints(phase, start.agents, start.default_agents, self._task, start.answers)
        self._noted: dict[str, Print] = {}
        self._items: dict[str, ItemPrints] = {}
        self._reuse: Reuse | None = start.reuse
        self._old: dict[str, Remembered] = {}
        self._same: dict[tuple[str, str], list[str]] = {}
        """Ids of those that completed, by fingerprint."""
        self._why: dict[str, str] = {}
        """Why steps of now are not reused."""
        self._taken: dict[str, str] = {}
        """By the id of a step of then, the one of now that reused it."""
        self._values: dict[str, list[Json]] = {}
        """The outputs of the items of a step of then."""
        self._same_items: dict[str, dict[str, list[int]]] = {}
        """Their places, by fingerprint."""
        self._places: dict[str, dict[int, None]] = {}
        """Which of them are reused."""

    def _task(self, name: str) -> TaskDefinition | None:
        packed = self._start.packed_tasks.get(name)
        return unpack(packed, TaskDefinition) if packed else self._start.tasks.get(name)

    async def open(self) -> None:
        """Reads what may be reused, fetching it first if it is large."""
        if self._reuse is None or self._reuse.why_not:
            return
        steps: Mapping[str, Json] = self._reuse.steps
        if self._reuse.kept is not None:
            try:
                steps = await self._kept(self._reuse.kept)
            except StepFailed as error:
                self._reuse = Reuse(execution=self._reuse.execution, why_not=error.message)
                return
        self._effort.charge(_EACH * len(steps))
        self._old = {name: Remembered.model_validate(step) for name, step in steps.items()}
        self._taken = {name: name for name, state in self._board.steps.items() if state.reused}
        for name, old in self._old.items():
            if old.is_whole:
                self._same.setdefault(_key(old.definition, old.reads), []).append(name)

    async def _kept(self, kept: Json) -> dict[str, Json]:
        parts = kept if isinstance(kept, list) else [kept]
        return {name: step for part in parts for name, step in (await self._shelf.load(part)).items()}

    # --- whole steps ------------------------------------------------------------------------------

    def find(self, step: Step, lane: Lane, *, again: bool) -> Remembered | None:
        """Returns what the step came to in the earlier execution if that can be reused, else notes why not.

        Either way its fingerprint is kept for a later one. With `again`, an earlier run of this workflow has
        looked already, and begun the step.
        """
        found = self._note(step, lane)
        if self._reuse is None or again or self._prints.is_evaluated(step):
            return None
        name = self._match(step, found)
        if name is None:
            why = self._reuse.why_not or why_anew(self._old.get(step.id), found, step.kind)
            self._why[step.id] = why
            self._board.change(step.id, anew=why)
            return None
        self._taken[name] = step.id
        old = self._old[name]
        self._items[step.id] = ItemPrints(list(old.items), who=old.who)
        return old.model_copy(update={"reused": old.reused or self._reuse.execution})

    def _note(self, step: Step, lane: Lane) -> Print:
        before = self._prints.spent
        found = self._prints.of(step, lane.plain_id(step.id), self._scope.names(lane))
        self._noted[step.id] = found
        self._charge(before)
        return found

    def _charge(self, before: int) -> None:
        """Executions that began before there were fingerprints count as they did then."""
        if self._start.limits.engine >= 2:
            self._effort.charge(_EACH + (self._prints.spent - before) // _CHARACTERS)

    def _match(self, step: Step, found: Print) -> str | None:
        """Returns the id of the step of then that is the same: its own, else one that has moved."""
        same = self._same.get(_key(found.definition, found.reads), ())
        free = [name for name in same if self._taken.get(name, step.id) == step.id]
        return step.id if step.id in free else next(iter(free), None)

    # --- items ------------------------------------------------------------------------------------

    async def begin_items(self, step: Step, count: int) -> None:
        """The step has so many items, of which none has ended."""
        who = self._prints.listed if step.kind == "plain" else ()
        self._items[step.id] = ItemPrints([""] * count, [None] * count, who)
        old = self._old.get(step.id)
        if old is None or self._prints.is_evaluated(step) or not any(old.items):
            return
        try:
            values = await self._outputs(old)
        except StepFailed:
            return  # what is gone is made again
        same: dict[str, list[int]] = {}
        for place, one in enumerate(old.items[: len(values)]):
            if one:
                same.setdefault(one, []).append(place)
        self._values[step.id], self._same_items[step.id], self._places[step.id] = values, same, {}

    async def _outputs(self, old: Remembered) -> list[Json]:
        found = await self._shelf.load(old.output) if is_artifact(old.output) else old.output
        if old.who:
            return [found.get(name) for name in old.who] if isinstance(found, dict) else []
        return found if isinstance(found, list) else []

    async def item(
        self, step: Step, index: int, names: Mapping[str, Any], perform: Callable[[], Awaitable[Json]]
    ) -> Json:
        """Returns what an item comes to: as in the earlier execution, else by carrying it out."""
        if step.id in self._values:
            await self._effort.turn()
            place = self._place(step, index, self._item_print(step, index, names))
            if place is not None:
                value = self._values[step.id][place]
                self._came(step, index, names, value)
                self._tell_items(step)
                return value
        output = await perform()
        self._came(step, index, names, output)
        return output

    def _place(self, step: Step, index: int, wanted: str) -> int | None:
        """Returns which item of then is the same, and takes it: its own place, else one that has moved."""
        same, taken = self._same_items[step.id].get(wanted, ()), self._places[step.id]
        free = [place for place in same if place not in taken]
        if not free:
            return None
        place = index if index in free else free[0]
        taken[place] = None
        return place

    def _tell_items(self, step: Step) -> None:
        count, total = len(self._places[step.id]), len(self._items[step.id].prints)
        why = self._why.get(step.id, "")
        self._board.change(step.id, anew=f"{why}; {count} of {total} items are reused")

    def _item_print(self, step: Step, index: int, names: Mapping[str, Any]) -> str:
        before, noted = self._prints.spent, self._noted[step.id]
        if step.kind == "plain":
            found = self._prints.asked(noted, self._prints.listed[index])
        else:
            found = self._prints.item(noted, names)
        self._charge(before)
        return found

    def _came(self, step: Step, index: int, names: Mapping[str, Any], output: Json) -> None:
        items = self._items[step.id]
        items.prints[index], items.outputs[index] = self._item_print(step, index, names), output

    def child_of(self, step: Step, item: int | None) -> str | None:
        """Returns the workflow that ran a sub-task in the earlier execution, if one did."""
        old = self._old.get(step.id)
        if self._reuse is None or old is None or not old.begun:
            return None
        place = phase_workflow_id(old.reused or self._reuse.execution, self._phase.slug)
        return f"{place}/{step.id}" if item is None else f"{place}/{step.id}/{item}"

    # --- what is left for a later execution -------------------------------------------------------

    def tell(self, part: int, status: StepStatus, outputs: dict[str, Json] | None = None) -> None:
        """Tells the checkpoint of the phase, which has ended so. If it continues as new, it is the part that
        this run of its workflow knows."""
        record(
            checkpoint_of(
                self._start,
                self._phase,
                self._board.steps,
                self._noted,
                self._items,
                self._prints.of_outputs(),
                part=part,
                status=status,
                outputs=outputs,
                at=workflow.now(),
            )
        )


def _key(definition: str, reads: Mapping[str, str]) -> tuple[str, str]:
    return definition, ",".join(f"{name}:{reads[name]}" for name in sorted(reads))
