"""Makes the store equal to Temporal: what was lost on the way is told again by the histories.

Workflows record as they run; so their histories are replayed, with a recorder that takes what they tell:
the same records, with the same times. What activities record, one row per attempt, is in their events.
Records have deterministic keys and merge, so telling everything again changes nothing that is right.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from starter import straight
from starter.histories import Attempt, ExecutionHistory, read_execution
from taskmark.contracts import TASK_WORKFLOW, ExecutionStatus, StepStatus
from taskmark.errors import Unreachable
from taskmark.projection import attempt_of, ended_event, records_of
from taskmark.records import (
    AttemptRecord,
    DefinitionRecord,
    EventRecord,
    ExecutionRecord,
    PhaseRecord,
    Record,
)
from taskmark.store.merging import key_of

if TYPE_CHECKING:
    from temporalio.client import Client, WorkflowHistory

    from taskmark.ports import Recorder

AT_ONCE = 8
"""Executions read and replayed together."""
LANES = 3
"""Such batches side by side: half of the time of one is waiting."""


@dataclass
class Backfilled:
    """What was done."""

    executions: int = 0
    records: int = 0
    problems: list[str] = field(default_factory=list)


@dataclass
class Rebuilt:
    """A recorder that keeps what replayed workflows tell."""

    records: list[Record] = field(default_factory=list)

    def record(self, *records: Record) -> None:
        """Keeps the records."""
        self.records.extend(records)


async def backfill(
    client: Client,
    recorder: Recorder,
    *,
    only: Iterable[str] = (),
    dry_run: bool = False,
    room: Callable[[], bool] = lambda: True,
) -> Backfilled:
    """Reads executions from Temporal and hands their records to the recorder.

    Without `only` it reads every execution that Temporal still keeps. One that cannot be read is told in
    `problems` and stops nothing. `room` is asked before each batch: it returns once there is room for more,
    or False if there will be none, which ends everything with `Unreachable`.
    """
    done, turn = Backfilled(), asyncio.Lock()
    batches = _batches(_executions(client, list(only)))

    async def next_batch() -> list[str] | None:
        async with turn:
            if not await asyncio.to_thread(room):
                hint = "`taskmark backfill` again once it does: what is there already changes nothing"
                raise Unreachable("the store does not take what is read", hint=hint)
            return await anext(batches, None)

    async def lane() -> None:
        while names := await next_batch():
            for records in await _read(client, names, done):
                done.executions += 1
                done.records += len(records)
                if not dry_run:
                    recorder.record(*records)

    lanes = [asyncio.create_task(lane()) for _ in range(LANES)]
    try:
        await asyncio.gather(*lanes)
    finally:
        for one in lanes:
            one.cancel()
    return done


async def _executions(client: Client, only: list[str]) -> AsyncIterator[str]:
    """Yields the ids; one that was started several times has one history to tell of, the latest."""
    if only:
        for name in dict.fromkeys(only):
            yield name
        return
    seen: set[str] = set()
    async for found in client.list_workflows(f"WorkflowType = '{TASK_WORKFLOW}'"):
        if found.id not in seen:
            seen.add(found.id)
            yield found.id


async def _batches(names: AsyncIterator[str]) -> AsyncIterator[list[str]]:
    batch: list[str] = []
    async for name in names:
        batch.append(name)
        if len(batch) == AT_ONCE:
            yield batch
            batch = []
    if batch:
        yield batch


async def _read(client: Client, names: Sequence[str], done: Backfilled) -> list[list[Record]]:
    """Returns the records of each execution that can be read, in the order of what happened."""
    found = await asyncio.gather(*(read_execution(client, name) for name in names), return_exceptions=True)
    readable: list[ExecutionHistory] = []
    for name, history in zip(names, found, strict=True):
        if isinstance(history, ExecutionHistory):
            readable.append(history)
        else:
            done.problems.append(f"{name}: {history}")
    records, problems = await records_of_all(readable)
    done.problems += problems
    return records


async def records_of_all(histories: Sequence[ExecutionHistory]) -> tuple[list[list[Record]], list[str]]:
    """Returns the records of each execution, and what could not be replayed."""
    directly = {history.execution: _told_straight(history) for history in histories}
    told, problems = await rebuilt([one for _, rest in directly.values() for one in rest])
    for name, (records, _) in directly.items():
        told[name] = records + told.get(name, [])
    return [_records(history, told) for history in histories], problems


def _told_straight(history: ExecutionHistory) -> tuple[list[Record], list[WorkflowHistory]]:
    """Returns what workflows recorded that went straight on, and those that have to be replayed."""
    own, *phases = history.workflows
    told = [(own, straight.of_task(own.events, history.final))]
    told += [(phase, straight.of_phase(phase.events, history.attempts)) for phase in phases]
    records = [record for _, some in told if some is not None for record in some]
    return records, [workflow for workflow, some in told if some is None]


async def rebuilt(histories: Sequence[WorkflowHistory]) -> tuple[dict[str, list[Record]], list[str]]:
    """Returns what the workflows recorded when they ran, by execution, and what could not be replayed."""
    if not histories:
        return {}, []
    return await asyncio.to_thread(lambda: asyncio.run(_replayed(histories)))


async def _replayed(histories: Sequence[WorkflowHistory]) -> tuple[dict[str, list[Record]], list[str]]:
    """Replays in the thread of its event loop, which therefore has to be one of its own: a replayer with
    threads for its workflows interrupts what takes two seconds, and may then never end
    (starter/blocking.py)."""
    from temporalio.worker import Replayer, UnsandboxedWorkflowRunner

    from starter.converting import data_converter
    from starter.recording import RebuildingInterceptor
    from workflows.phase import PhaseWorkflow
    from workflows.task import TaskWorkflow

    kept = Rebuilt()
    replayer = Replayer(
        workflows=[TaskWorkflow, PhaseWorkflow],
        workflow_runner=UnsandboxedWorkflowRunner(),  # guards nothing here, and takes most of the time
        data_converter=data_converter,
        interceptors=[RebuildingInterceptor(kept)],
        build_id="backfill",  # without one the SDK hashes the code of every module, each time
        debug_mode=True,
    )

    async def one_by_one() -> AsyncIterator[WorkflowHistory]:
        for history in histories:
            yield history

    results = await replayer.replay_workflows(one_by_one(), raise_on_replay_failure=False)
    ids = {history.run_id: history.workflow_id for history in histories}
    problems = [f"{ids[run]}: its events are lost: {e}" for run, e in results.replay_failures.items()]
    told: dict[str, list[Record]] = {}
    for record in kept.records:
        told.setdefault(getattr(record, "execution_id", ""), []).append(record)
    return told, problems


def _records(history: ExecutionHistory, told: dict[str, list[Record]]) -> list[Record]:
    """Returns every record of an execution: rows first, then events in the order of their times."""
    records = [*told.get(history.execution, []), *(_attempt(one) for one in history.attempts)]
    if history.final is not None:
        records += _missing(records_of(history.final, "backfilled"), records)
    elif history.closed is not None:
        records += _closed(history, history.closed)
    rows = [_backfilled(record) for record in records if not isinstance(record, EventRecord)]
    events = sorted((r for r in records if isinstance(r, EventRecord)), key=lambda event: event.at)
    used = {row.definition_sha256 for row in rows if isinstance(row, ExecutionRecord)}
    known = {d.sha256: d for d in told.get("", []) if isinstance(d, DefinitionRecord)}
    definitions = [definition for sha256, definition in known.items() if sha256 in used]
    return [*definitions, *rows, *events]


def _missing(records: Sequence[Record], told: Sequence[Record]) -> Iterator[Record]:
    """Yields the records that tell anything: not of what is told to have completed, and no event twice."""
    known = {(one.type, key_of(one)) for one in told if isinstance(one, EventRecord) or _has_completed(one)}
    return (one for one in records if (one.type, key_of(one)) not in known)


def _has_completed(record: Record) -> bool:
    return isinstance(record, PhaseRecord | AttemptRecord) and record.status is StepStatus.COMPLETED


def _backfilled(record: Record) -> Record:
    """Returns the record as one that came later, of the moment it tells of."""
    if isinstance(record, ExecutionRecord | PhaseRecord | AttemptRecord):
        moment = record.as_of or record.finished_at or record.started_at
        return record.model_copy(update={"provenance": "backfilled", "as_of": moment})
    return record


def _attempt(found: Attempt) -> AttemptRecord:
    return attempt_of(
        found.call,
        found.status,
        worker=found.worker,
        done=found.done,
        error=found.error,
        usage=found.usage,
        started_at=found.started_at,
        finished_at=found.finished_at,
        delivery=found.delivery,
        given_up=found.given_up,
    )


def _closed(history: ExecutionHistory, status: ExecutionStatus) -> list[Record]:
    """Returns the records of an execution that ended without a word: terminated, or refused at its start."""
    finished = history.finished_at or datetime.now(UTC)
    row = ExecutionRecord(
        execution_id=history.execution,
        status=status,
        error=history.error,
        started_at=history.started_at,
        finished_at=finished,
    )
    return [row, ended_event(history.execution, status, history.error, finished)]
