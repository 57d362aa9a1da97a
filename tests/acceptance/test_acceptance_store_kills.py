"""Worker, Temporal server and database are killed at random while executions run; then `taskmark backfill`
makes the store equal to Temporal, on either database."""

from __future__ import annotations

import asyncio
import random
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from acceptance_content import assert_equal, content
from acceptance_kinds import PART, TASKS
from acceptance_place import PATIENCE, Place, eventually, kill
from postgresql_cluster import Cluster, require_postgresql

from starter.backfill import backfill
from starter.gateway import TaskClient
from starter.histories import ExecutionHistory, read_execution
from taskmark.contracts import TASK_WORKFLOW
from taskmark.records import Record
from taskmark.store.reading import History
from taskmark.store.schema import open_store
from taskmark.store.writing import apply

KINDS = ("completed", "retried", "each", "parent", "failed", "traced")


@pytest.fixture(params=["sqlite", "postgresql"])
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster | None]:
    """A PostgreSQL that writes as one that people trust, or None: then the store is SQLite."""
    if request.param == "sqlite":
        yield None
        return
    require_postgresql()
    found = Cluster(fsync=True)
    yield found
    found.remove()


class Scene:
    """Everything that can be killed, and how it comes back."""

    def __init__(self, place: Place, cluster: Cluster | None, chance: random.Random) -> None:
        self.place = place
        self._cluster = cluster
        self._chance = chance
        self._worker = place.worker()
        self._reader: subprocess.Popen[bytes] | None = None
        self.struck: list[str] = []

    def victims(self) -> list[str]:
        """Returns all of them, in any order."""
        found = ["worker", "server", "backfill", *(["database"] if self._cluster else [])]
        return self._chance.sample(found, len(found))

    def strike(self, victim: str) -> None:
        """Kills it and starts it again; a worker's machine may be lost with its disk."""
        self.struck.append(victim)
        getattr(self, f"_kill_{victim}")()

    def _kill_worker(self) -> None:
        kill(self._worker)
        if self._chance.random() < 0.7:
            for file in (self.place.settings.state_dir / "spool").glob("*.spool"):
                file.unlink()  # the backfill's too, should one run: it has lost its records then
            self.struck[-1] += " with its disk"
        self._worker = self.place.worker()

    def _kill_server(self) -> None:
        kill(self.place.server())

    def _kill_backfill(self) -> None:
        """In the middle of its own writing, if it came so far."""
        process = self.place.command("backfill")
        time.sleep(self._chance.uniform(0.5, 2))
        kill(process)

    def _kill_database(self) -> None:
        assert self._cluster is not None
        self._cluster.kill()
        time.sleep(self._chance.uniform(0, 1))
        self._cluster.start()

    def tend(self) -> None:
        """Starts another worker for one that ended, as whoever runs workers does: one that starts while the
        server dies gives up."""
        if self._worker.poll() is not None:
            self._worker = self.place.worker()

    def end(self) -> None:
        """Kills the worker for good: what it had not written is for others to write, or to read again."""
        kill(self._worker)


async def loop(client: TaskClient, scene: Scene, chance: random.Random, name: str) -> None:
    """Runs an execution of every kind while something is killed again and again."""
    for kind in KINDS:
        await client.start(source=TASKS[kind][0], id=f"{name}-{kind}")
    waiting = asyncio.gather(*(client.wait(f"{name}-{kind}", timeout=PATIENCE) for kind in KINDS))
    await asyncio.to_thread(eventually, scene.place.traces)
    for victim in scene.victims():
        await asyncio.sleep(chance.uniform(0, 0.8))
        if not waiting.done():
            await asyncio.to_thread(scene.strike, victim)
    while not waiting.done():
        scene.tend()
        await asyncio.wait([waiting], timeout=0.5)
    print(f"{name}: killed {scene.struck}")
    scene.struck.clear()
    results = await waiting
    assert [str(one.status) for one in results] == [TASKS[kind][1] for kind in KINDS]


async def loops(place: Place, cluster: Cluster | None, chance: random.Random, count: int) -> None:
    """Runs so many, reads everything again, and compares every execution."""
    place.task("part", PART)
    async with TaskClient.open(place.settings, worker=False) as client:
        scene = Scene(place, cluster, chance)
        for number in range(count):
            await loop(client, scene, chance, f"exec-{number}")
        await asyncio.to_thread(scene.end)
        history = History(open_store(place.settings.database_url))
        executions = [
            one.id async for one in client.client.list_workflows(f"WorkflowType = '{TASK_WORKFLOW}'")
        ]
        before = [name for name in executions if await differs(client, history, name)]
        print(f"{len(before)} of {len(executions)} executions differed from Temporal before: {before}")
        again = place.command("backfill")
        assert await asyncio.to_thread(again.wait, PATIENCE) == 0, place.said(again)
        async with rebuilt(client, place.folder / "rebuilt.db") as whole:
            for name in executions:
                told = await read_execution(client.client, name)
                assert stored(history, name) == from_temporal(told)
                assert_equal(content(history, name), content(whole, name), name)
                seqs = [event.seq for event in history.events(name)]
                assert seqs == list(range(1, len(seqs) + 1))
    assert len(executions) == count * (len(KINDS) + 1)


async def differs(client: TaskClient, history: History, name: str) -> bool:
    """Whether the store does not say what Temporal says."""
    try:
        return stored(history, name) != from_temporal(await read_execution(client.client, name))
    except Exception:  # it does not even know it
        return True


@asynccontextmanager
async def rebuilt(client: TaskClient, file: Path) -> AsyncIterator[History]:
    """Yields a store that was never told anything but by Temporal's histories."""
    engine = open_store(f"sqlite:///{file}")

    class Direct:
        def record(self, *records: Record) -> None:
            apply(engine, records)

    await backfill(client.client, Direct())
    yield History(engine)
    engine.dispose()


def from_temporal(told: ExecutionHistory) -> dict[str, Any]:
    """Returns status, outputs, steps and attempts as the histories have them."""
    assert told.final is not None
    result = told.final.result
    ran = {(one.call.phase, one.call.step, one.call.item, one.call.attempt): one for one in told.attempts}
    return {
        "status": str(result.status),
        "outputs": result.outputs,
        "phases": {slug: (str(one.status), one.outputs) for slug, one in result.phases.items()},
        "steps": {
            (one.phase, name): (str(one.status), one.output, one.attempts)
            for name, one in result.steps.items()
        },
        "ran": {
            key: (str(one.status), one.done.output if one.done else None, one.error and one.error.message)
            for key, one in ran.items()
        },
    }


def stored(history: History, name: str) -> dict[str, Any]:
    """Returns the same as the store has it."""
    whole, attempts = history.execution(name), history.attempts(name)
    last = {
        (one.phase, one.step): one
        for one in sorted(attempts, key=lambda one: one.attempt)
        if one.item is None
    }
    tools = [
        one for one in attempts if one.kind in ("tool", "agent") and (one.attempt and one.idempotency_key)
    ]
    return {
        "status": str(whole.status),
        "outputs": whole.outputs,
        "phases": {one.phase: (str(one.status), one.outputs) for one in history.phases(name)},
        "steps": {key: (str(one.status), one.output, one.attempt) for key, one in last.items()},
        "ran": {
            (one.phase, one.step, one.item, one.attempt): (
                str(one.status),
                one.output,
                one.error and one.error.message,
            )
            for one in tools
        },
    }


@pytest.mark.semantics("Q7")
async def test_after_random_kills_backfill_makes_the_store_equal_to_temporal(
    make_place: Callable[..., Place], cluster: Cluster | None, chance: random.Random
) -> None:
    """No execution differs in status, steps, attempts or outputs, and no sequence of events has a gap."""
    place = make_place(**({"database_url": cluster.url("public")} if cluster else {}))
    await loops(place, cluster, chance, 1)


@pytest.mark.soak
async def test_after_many_random_kills_too(
    make_place: Callable[..., Place], cluster: Cluster | None, chance: random.Random
) -> None:
    """The same, thirty times as many."""
    place = make_place(**({"database_url": cluster.url("public")} if cluster else {}))
    await loops(place, cluster, chance, 30)
