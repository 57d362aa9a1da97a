"""What an execution that goes on from an earlier one needs of it.

The store has the checkpoints, told by the workers as phases ended. Records may be on their way, or lost with
a store; so Temporal is asked which phases there were, and what is missing is read again from its histories.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from taskmark.contracts import (
    INLINE_LIMIT,
    Remembered,
    Resumed,
    ResumeFrom,
    Resuming,
    StartTask,
    StepStatus,
    artifact_content,
    artifact_reference,
)
from taskmark.errors import Refused, UnknownExecution, Unreachable
from taskmark.plan.reuse import over
from taskmark.portions import portions
from taskmark.records import CheckpointRecord
from taskmark.store.checkpoints import merged
from taskmark.task.model import Json, TaskDefinition

if TYPE_CHECKING:
    from temporalio.client import Client, WorkflowHistory

    from starter.compiling import Compiler
    from taskmark.ports import Artifacts
    from taskmark.store.checkpoints import KeptCheckpoints

LAST_WORDS = 1.0
"""Seconds in which one that says that it has ended may still be recording it."""
LARGEST = 1_500_000
"""Bytes of a phase's checkpoint that can be fetched into a workflow."""
INLINE_IN_ALL = 8 * INLINE_LIMIT
"""Bytes of all checkpoints together that travel as they are."""


@dataclass(frozen=True)
class Earlier:
    """An execution that has ended, as a later one needs it."""

    execution: str
    records: tuple[CheckpointRecord, ...]
    """How it began, and the checkpoints of its phases."""
    definition: TaskDefinition | None
    """None if nobody has it any more as it ran."""

    @property
    def beginning(self) -> CheckpointRecord:
        """How it began."""
        return next(record for record in self.records if not record.phase)


class Earliers:
    """Finds earlier executions."""

    def __init__(self, kept: Callable[[], KeptCheckpoints]) -> None:
        self._kept = kept

    async def find(self, client: Client, execution: str) -> Earlier:
        """Returns an execution that has ended. Raises `UnknownExecution`, `Refused` if it goes on or left
        nothing, `Unreachable`."""
        history = await _history(client, execution)
        records = await asyncio.to_thread(self._stored, execution)
        definition = await asyncio.to_thread(self._definition, execution)
        if history is None:
            if not records:
                raise UnknownExecution(f"there is no execution {execution}, or it left no checkpoint")
            await asyncio.to_thread(self._must_have_ended, execution)
        else:
            if not _is_complete(records, history):
                records = await _rebuilt(client, execution)
            definition = definition or _definition_in(history)
        if not any(not record.phase for record in records):
            raise Refused(f"{execution} left no checkpoint: it ended before it began")
        return Earlier(execution, tuple(records), definition)

    def _stored(self, execution: str) -> Sequence[CheckpointRecord]:
        try:
            return self._kept().of(execution)
        except Unreachable:
            return ()  # Temporal knows as well

    def _definition(self, execution: str) -> TaskDefinition | None:
        try:
            return self._kept().definition(execution)
        except Unreachable:
            return None

    def _must_have_ended(self, execution: str) -> None:
        status = self._kept().status(execution)
        if status is not None and not status.is_final:
            raise Refused(f"{execution} has not ended as far as the store knows, and Temporal forgot it")


async def _history(client: Client, execution: str) -> WorkflowHistory | None:
    """Returns Temporal's history of an execution that has ended, or None if it has none (any more)."""
    from temporalio.client import WorkflowExecutionStatus
    from temporalio.service import RPCError, RPCStatusCode

    from starter.fetching import fetched

    handle = client.get_workflow_handle(execution)
    try:
        ends = time.monotonic() + LAST_WORDS
        while (await handle.describe()).status is WorkflowExecutionStatus.RUNNING:
            if time.monotonic() < ends:
                await asyncio.sleep(0.1)
                continue
            raise Refused(
                f"{execution} has not ended",
                hint="wait for its end or abort it; `taskmark retry EXECUTION PHASE` goes on with a held one",
            )
        return await fetched(client, execution)
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return None
        raise Unreachable(f"Temporal does not answer: {error.message}") from error


def _is_complete(records: Sequence[CheckpointRecord], history: WorkflowHistory) -> bool:
    """Whether there is a checkpoint of each phase that was started, and nothing was left out of them."""
    phases = {_child(event).rpartition("/")[2] for event in history.events}
    known = {one.phase for one in records if one.status.is_final or not one.phase}
    return known >= phases | {""} and not any(one.withheld for one in records)


def _child(event: Any) -> str:
    return str(event.child_workflow_execution_started_event_attributes.workflow_execution.workflow_id)


async def _rebuilt(client: Client, execution: str) -> Sequence[CheckpointRecord]:
    """Returns the checkpoints that the histories tell."""
    from starter.backfill import records_of_all
    from starter.histories import read_execution

    told, _ = await records_of_all([await read_execution(client, execution)])
    found = {(one.phase, one.part): one for one in told[0] if isinstance(one, CheckpointRecord)}
    return sorted(found.values(), key=lambda one: (one.at, one.phase))


def _definition_in(history: WorkflowHistory) -> TaskDefinition | None:
    from starter.straight import definition_in

    return definition_in(history.events)


class Resumption:
    """Carries out the activity `execution.checkpoints`."""

    def __init__(self, earliers: Earliers, compiler: Compiler, artifacts: Artifacts) -> None:
        self._earliers = earliers
        self._compiler = compiler
        self._artifacts = artifacts

    async def resume(self, client: Client, request: Resuming) -> Resumed:
        """Returns what can be reused. Raises `Refused`, `UnknownExecution`, `InvalidTask`, `InvalidInputs`,
        `Unreachable`."""
        try:
            earlier = await self._earliers.find(client, request.wanted.execution)
        except (Refused, UnknownExecution):
            if request.subtask:
                return Resumed()
            raise
        return await asyncio.to_thread(self._resumed, earlier, request)

    def _resumed(self, earlier: Earlier, request: Resuming) -> Resumed:
        phases, missing = self._phases(restorable(earlier.records, request.wanted))
        found = Resumed(
            inputs=earlier.beginning.inputs or {},
            trace_id=earlier.beginning.trace_id or "",
            phases=phases,
            missing=missing,
        )
        return found if request.brought else self._compiled(earlier, request, found)

    def _compiled(self, earlier: Earlier, request: Resuming, found: Resumed) -> Resumed:
        start = StartTask(task=request.task, source=request.source)
        if request.task is None and request.source is None:
            if earlier.definition is None:
                why = "personal data was taken out of it in the store, and Temporal forgot it"
                raise Refused(
                    f"nobody has the definition of {earlier.execution} as it ran: {why}",
                    hint="give the file: `task`",
                )
            start = StartTask(definition=earlier.definition)
        definition = self._compiler.definition(start)
        inputs = over(definition, found.inputs, request.inputs)
        done = self._compiler.compile(StartTask(definition=definition, inputs=inputs))
        fields = {"definition": done.definition, "packed": done.packed, "inputs": done.inputs}
        return found.model_copy(update={**fields, "limits": done.limits})

    def _phases(self, steps: Mapping[str, Mapping[str, Json]]) -> tuple[dict[str, Json], dict[str, str]]:
        """Returns each phase's steps, large ones as references, and why some cannot be used."""
        found: dict[str, Json] = {}
        missing = too_large(steps)
        room = INLINE_IN_ALL
        for phase, some in steps.items():
            if phase in missing:
                continue
            content = artifact_content(some)
            if len(content) > LARGEST:
                found[phase] = [self._kept(artifact_content(dict(part))) for part in _portions(some)]
            elif len(content) > min(INLINE_LIMIT, room):
                found[phase] = self._kept(content)
            else:
                found[phase] = dict(some)
                room -= len(content)
        return found, missing

    def _kept(self, content: bytes) -> dict[str, Any]:
        return artifact_reference(self._artifacts.save(content), len(content))


def too_large(steps: Mapping[str, Mapping[str, Json]]) -> dict[str, str]:
    """Returns by phase why what is known of one of its steps is too much to be reused, where it is."""
    return {
        phase: f"its step {name} left {size // 1024} KiB, more than can be reused"
        for phase, some in steps.items()
        for (name, _), size in _sized(some)
        if size > LARGEST
    }


def _portions(steps: Mapping[str, Json]) -> Iterator[list[tuple[str, Json]]]:
    """Yields steps in as few parts as fit: each part is an answer of an activity, which Temporal limits."""
    return portions(_sized(steps), LARGEST)


def _sized(steps: Mapping[str, Json]) -> Iterator[tuple[tuple[str, Json], int]]:
    return ((step, len(artifact_content(dict([step])))) for step in steps.items())


def restorable(records: Sequence[CheckpointRecord], wanted: ResumeFrom) -> dict[str, dict[str, Json]]:
    """Returns by phase the steps that may be reused; with a label, of what had completed when its phase
    ended. Raises `Refused` for a label that there is none of."""
    parts: dict[str, list[CheckpointRecord]] = {}
    for record in records:
        if record.phase:
            parts.setdefault(record.phase, []).append(record)
    steps: dict[str, dict[str, Json]] = {phase: dict(merged(some)) for phase, some in parts.items()}
    if wanted.checkpoint is None:
        return steps
    at = max((one.at for one in records if one.label == wanted.checkpoint), default=None)
    if at is None:
        labels = ", ".join(dict.fromkeys(one.label for one in records if one.label))
        there = f"there are {labels}" if labels else "its task names none"
        raise Refused(f"{wanted.execution} left no checkpoint {wanted.checkpoint!r}; {there}")
    return {phase: {name: _as_then(step, at) for name, step in some.items()} for phase, some in steps.items()}


def _as_then(step: Json, at: Any) -> Json:
    """Returns a step as it was at a moment: one that had not ended is told as running."""
    ended = Remembered.model_validate(step).finished_at
    if ended is not None and ended <= at:
        return step
    return {**step, "status": StepStatus.RUNNING.value, "items": [], "output": None, "who": []}
