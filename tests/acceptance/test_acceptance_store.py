"""The history store: its absence delays nobody, and what it missed is rebuilt from Temporal."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from acceptance_place import PATIENCE, Place, bound, eventually
from acceptance_tasks import MANY, WAITING, assert_complete
from sqlalchemy import Engine

from starter.backfill import Backfilled, backfill
from starter.connection import connected
from starter.gateway import TaskClient
from starter.wiring import Wiring
from starter.working import working
from taskmark.contracts import span_id
from taskmark.ports import Recorder
from taskmark.records import EventRecord, Record
from taskmark.store.merging import key_of
from taskmark.store.reading import History, StoredEvent
from taskmark.store.schema import open_store
from taskmark.store.writing import apply

# --- slow, locked, missing ------------------------------------------------------------------------------


async def run_and_measure(client: TaskClient) -> tuple[str, float]:
    """Runs the task; returns its id and the seconds it took."""
    started = time.monotonic()
    result = await client.execute(source=MANY)
    assert_complete(result)
    return result.execution_id, time.monotonic() - started


async def catches_up(client: TaskClient, execution: str) -> None:
    """Returns once the store tells the end, and all events without a gap."""

    def told() -> bool:
        try:
            events = client.wiring.history.events(execution)
        except Exception:
            return False
        assert [event.seq for event in events] == list(range(1, len(events) + 1))
        return any(event.kind == "execution_completed" for event in events)

    await asyncio.to_thread(eventually, told)


@pytest.mark.semantics("Q7")
async def test_a_locked_store_delays_no_step_and_catches_up(make_place: Callable[..., Place]) -> None:
    """Somebody holds the database for as long as the whole task runs."""
    place = make_place()
    async with TaskClient.open(place.settings, worker=True) as client:
        first, usual = await run_and_measure(client)
        await catches_up(client, first)
        locked = sqlite3.connect(place.settings.state_dir / "taskmark.db", timeout=PATIENCE)
        locked.execute("BEGIN EXCLUSIVE")
        second, with_lock = await run_and_measure(client)
        locked.rollback()
        locked.close()
        assert with_lock < usual + bound(2)
        await catches_up(client, second)


@pytest.mark.semantics("Q7")
async def test_a_store_that_is_not_there_delays_no_step(make_place: Callable[..., Place]) -> None:
    """A folder lies where the database should be; once it is gone, the store is made and filled."""
    place = make_place()
    in_the_way = place.settings.state_dir / "taskmark.db"
    in_the_way.mkdir(parents=True)
    async with TaskClient.open(place.settings, worker=True) as client:
        execution, seconds = await run_and_measure(client)
        assert seconds < bound(10)
        in_the_way.rmdir()
        await catches_up(client, execution)


@pytest.mark.semantics("Q6")
async def test_a_worker_that_leaves_tells_no_end_of_what_goes_on(make_place: Callable[..., Place]) -> None:
    """It drops its workflows from memory, which cancels everything in them; nothing of that has happened."""
    place = make_place()
    async with TaskClient.open(place.settings, worker=True) as client:
        await client.start(source=WAITING, id="exec-waiting")
        while (await client.progress("exec-waiting")).status != "waiting":
            await asyncio.sleep(0.05)
    engine = open_store(place.settings.database_url)
    history = History(engine)
    assert str(history.execution("exec-waiting").status) == "waiting"
    assert [(a.step, str(a.status)) for a in history.attempts("exec-waiting")] == [("before", "completed")]
    assert not [e.kind for e in history.events("exec-waiting") if e.kind.endswith("cancelled")]
    engine.dispose()


# --- records that are lost ------------------------------------------------------------------------------


class Store:
    """A recorder that writes at once, and drops every n-th record."""

    def __init__(self, file: Path, drop: int | None = None) -> None:
        self._engine: Engine = open_store(f"sqlite:///{file}")
        self._drop = drop
        self._count = 0
        self.history = History(self._engine)

    def record(self, *records: Record) -> None:
        """Writes what is not dropped."""
        kept = [record for record in records if self._keeps()]
        apply(self._engine, kept)

    def _keeps(self) -> bool:
        self._count += 1
        return self._drop is None or self._count % self._drop != 0

    def close(self) -> None:
        """Ends its connections."""
        self._engine.dispose()


class Several:
    """A recorder that tells all of several recorders the same."""

    def __init__(self, recorders: Iterable[Recorder]) -> None:
        self._recorders = list(recorders)

    def record(self, *records: Record) -> None:
        """Hands the records on."""
        for recorder in self._recorders:
            recorder.record(*records)

    def close(self, timeout: float) -> bool:
        """Nothing waits here."""
        return True


PART = "# Part\n\n## Phase: Only\n### Steps\n- tool: effect\n  id: part\n  with: {value: 7}\n"

TASKS = {
    "completed": (MANY, "completed"),
    "failed": (
        """\
# Failed

## Phase: First
### Steps
- tool: flaky
  with: {failures: 9, category: logic}
- tool: effect - Not reached
## Phase: Second
dependsOn: [First]
### Steps
- validation: 1 < 2 - One is not less than two
""",
        "failed",
    ),
    "retried": (
        """\
# Retried

## Phase: Only
retry: {maxAttempts: 2, backoffMs: 10}
### Steps
- validation: 1 < 2 - One is not less than two
- tool: flaky - Fails twice in the first round, and once in the second
  retry: {maxAttempts: 2, backoffMs: 10}
  with: {failures: 3}
""",
        "completed",
    ),
    "each": (
        """\
# Each

## Phase: Phases
forEach: [1, 2]
### Steps
- tool: effect
  id: one
  with: {value: "{{ item }}"}
## Phase: Steps
if: 1 < 2
### Steps
- tool: flaky - Some items fail
  id: some
  forEach: [0, 9, 0]
  critical: false
  with: {failures: "{{ item }}", category: logic}
- tool: effect - Skipped
  if: 1 > 2
""",
        "completed_with_errors",
    ),
    "parent": (
        "# Parent\n\n## Phase: Only\n### Steps\n- task: part - A task of its own\n  id: sub\n",
        "completed",
    ),
    "traced": (
        """# Traced

## Phase: First
### Steps
- tool: effect
  id: a
  with: {value: 3}
- tool: shell - Work
  id: work
  with: {command: [echo, "{{ steps.a.output }}"]}
- tool: write-file - Keep it
  id: keep
  with: {path: kept.txt, content: "{{ steps.work.output.stdout }}"}
- tool: read-file - Look at it
  id: look
  with: {path: kept.txt}
### Outputs
- n: steps.a.output

## Phase: Second
dependsOn: [First]
### Steps
- tool: flaky - Fails once
  id: b
  retry: {maxAttempts: 2, backoffMs: 10}
  if: phases.first.outputs.n == 3
  with: {failures: 1}
- aggregate: count - What was said
  id: all
- validation: steps.look.output.content != '' and steps.b.output - There is something
  id: check
""",
        "completed",
    ),
    "decided": (
        "# Decided\n\n## Phase: Ask\n### Steps\n- approval: go - Shall we go?\n- wait: 10ms - A moment\n",
        "completed",
    ),
    "cancelled": (
        "# Cancelled\n\n## Phase: Only\n### Steps\n- tool: effect\n  id: fast\n"
        "- tool: effect\n  id: slow\n  with: {seconds: 60}\n- tool: effect\n",
        "cancelled",
    ),
}


@asynccontextmanager
async def engine_with(place: Place, recorder: Any) -> AsyncIterator[TaskClient]:
    """The engine, which records into what it is given."""
    wiring = Wiring(place.settings)
    wiring.__dict__["recorder"] = recorder
    async with connected(place.settings) as (client, server), working(client, wiring):
        yield TaskClient(client, wiring, server)


async def run_all(place: Place, client: TaskClient) -> list[str]:
    """Runs every kind of execution; returns their ids, those of sub-tasks too."""
    place.task("part", PART)
    for name, (text, _) in TASKS.items():
        await client.start(source=text, id=f"exec-{name}")
    await asyncio.to_thread(eventually, lambda: place.begun("exec-cancelled", "slow"))
    await client.abort("exec-cancelled", reason="wrong data", by="ann")
    while (await client.progress("exec-decided")).status != "waiting":
        await asyncio.sleep(0.05)
    await client.pause("exec-decided", by="ann", reason="lunch")
    await client.approve("exec-decided", "go", by="ann", comment="fine")
    await client.resume("exec-decided")
    for name, (_, status) in TASKS.items():
        assert (await client.wait(f"exec-{name}", timeout=PATIENCE)).status == status
    return [*(f"exec-{name}" for name in TASKS), "exec-parent/only/sub"]


def _rows(records: Iterable[Any]) -> list[dict[str, Any]]:
    """Returns what rows say, without what differs between telling it live and later: who told it, the
    fractions of a second in which worker and server saw the same, and the stack of an error."""
    skipped = {"provenance", "as_of", "seq", "stack"}
    moments = ("started_at", "finished_at", "at", "duration_ms")
    rows = [record.model_dump(mode="json", exclude=skipped) for record in records]
    for row in rows:
        row |= {name: row[name] is not None for name in moments if name in row}
        if row.get("error"):
            row["error"] = {**row["error"], "stack": None}
    return sorted(rows, key=repr)


def content(history: History, execution: str) -> dict[str, Any]:
    """Returns all that a store tells of an execution."""
    record = history.execution(execution)
    found: dict[str, Any] = {
        "execution": _rows([record]),
        "phases": _rows(history.phases(execution)),
        "attempts": _rows(history.attempts(execution)),
        "events": _rows(history.events(execution)),
    }
    if record.definition_sha256:
        found["definition"] = _rows([history.definition(record.definition_sha256)])
    return found


@pytest.mark.semantics("Q7")
async def test_a_store_that_lost_records_is_made_equal_by_backfill(make_place: Callable[..., Place]) -> None:
    """Every second, third or fifth record was dropped, or all of them; then it says what a whole one says."""
    place = make_place()
    whole = Store(place.folder / "whole.db")
    lossy = {n: Store(place.folder / f"drop-{n}.db", n) for n in (1, 2, 3, 5)}
    async with engine_with(place, Several([whole, *lossy.values()])) as client:
        executions = await run_all(place, client)
        for n, store in lossy.items():
            store._drop = None
            done = await backfill(client.client, store)
            assert (done.executions, done.problems) == (len(executions), [])
            for execution in executions:
                _assert_equal(content(store.history, execution), content(whole.history, execution), n)
                _assert_same_times(store.history.events(execution), whole.history.events(execution))
                seqs = [event.seq for event in store.history.events(execution)]
                assert seqs == list(range(1, len(seqs) + 1))
    _assert_traced(whole.history)
    for store in (whole, *lossy.values()):
        store.close()


def _assert_traced(history: History) -> None:
    """What read what, what failed and what came of it, as the task `traced` says."""
    name = "exec-traced"
    found = {(one.step, one.attempt): one for one in history.attempts(name)}
    spans = {step: one.span_id for (step, _), one in found.items()}
    first = span_id(name, "first")
    parents = {step: one.parents for (step, _), one in found.items()}
    assert parents["a"] is None
    assert parents["work"] == (spans["a"],)
    assert parents["b"] == (first,)
    assert parents["all"] == (spans["b"], first)
    assert parents["check"] == (spans["b"], spans["look"])
    failed, passed = found["b", 1], found["b", 2]
    assert (failed.causes, passed.causes, passed.retry_of) == (("user",), ("retry", "user"), failed.span_id)
    assert failed.stack_hash
    assert failed.error_category == "transient"
    assert found["keep", 1].files == ("kept.txt",)
    assert found["look", 1].retrieval == {"sources": ["kept.txt"], "count": 1}
    used = found["work", 1].resources
    assert used is not None
    assert used["max_rss_bytes"] > 0
    assert history.execution(name).files_modified == ("kept.txt",)
    assert {one.trace_id for one in (*found.values(), *history.phases(name))} == {
        history.execution(name).trace_id
    }
    told = [
        (one.attempt, one.payload["will_retry"]) for one in history.events(name) if one.kind == "step_failed"
    ]
    assert told == [(1, True)]
    [done] = [one for one in history.events(name) if one.kind == "step_completed" and one.step == "a"]
    assert done.payload == {"success": True, "output": "3"}


def _assert_equal(found: dict[str, Any], wanted: dict[str, Any], drop: int) -> None:
    for part, rows in wanted.items():
        missing = [row for row in rows if row not in found[part]]
        extra = [row for row in found[part] if row not in rows]
        assert (missing, extra) == ([], []), f"dropping every {drop}., {part}:\n{missing}\n{extra}"


def _assert_same_times(found: Iterable[StoredEvent], wanted: Iterable[StoredEvent]) -> None:
    times = {key_of(event): event.at for event in wanted}
    assert all(abs((event.at - times[key_of(event)]).total_seconds()) < 2 for event in found)


@pytest.mark.semantics("Q7")
async def test_backfill_tells_of_executions_that_have_no_end_of_their_own(
    make_place: Callable[..., Place],
) -> None:
    """One that runs is told as far as it is, one that was terminated or refused as failed; an unknown one
    is a problem and stops nothing; a dry run writes nothing; a second run changes nothing."""
    place = make_place()
    store = Store(place.folder / "empty.db")
    async with engine_with(place, Several([])) as client:
        for name in ("running", "terminated"):
            await client.start(source=TASKS["cancelled"][0], id=f"exec-{name}")
            await asyncio.to_thread(eventually, lambda n=name: place.begun(f"exec-{n}", "slow"))
        await client.client.get_workflow_handle("exec-terminated").terminate(reason="by hand")
        await client.client.start_workflow(
            "TaskWorkflow", {"inputs": 1}, id="exec-refused", task_queue=place.settings.task_queue
        )
        await client.wait("exec-refused", timeout=PATIENCE)
        dry = await backfill(client.client, store, dry_run=True)
        assert dry.records > 0
        assert store.history.executions() == ()
        only = ["exec-running", "exec-nobody", "exec-terminated", "exec-refused"]
        done = await backfill(client.client, store, only=only)
        assert (done.executions, len(done.problems)) == (3, 1)
        told = {record.execution_id: record for record in store.history.executions()}
        assert {name: str(record.status) for name, record in told.items()} == {
            "exec-running": "running",
            "exec-terminated": "failed",
            "exec-refused": "failed",
        }
        assert told["exec-terminated"].error is not None
        assert told["exec-terminated"].error.message == "terminated: by hand"
        attempts = {a.step: str(a.status) for a in store.history.attempts("exec-running")}
        assert attempts == {"fast": "completed", "slow": "running"}
        before = {name: content(store.history, name) for name in told}
        assert isinstance(await backfill(client.client, store, only=told), Backfilled)
        for name in told:
            _assert_equal(content(store.history, name), before[name], 1)
        await client.abort("exec-running")
        await client.wait("exec-running", timeout=PATIENCE)
    assert isinstance(store.history.events("exec-running")[0], EventRecord)
    store.close()
