"""How fast `taskmark backfill` is: from files of past results, and from Temporal's histories."""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

from benchmarks import past, reporting, trivial
from benchmarks.engine import EngineWorker, place
from starter.backfill import backfill
from starter.gateway import TaskClient
from starter.wiring import Wiring
from taskmark.contracts import ExecutionStatus, PhaseOutcome, StepOutcome, StepStatus, TaskResult
from taskmark.garbage import search_less
from taskmark.past.importing import take
from taskmark.settings import Settings

FILES_TARGET, TEMPORAL_TARGET = 2_000, 100
AT_ONCE = 20
"""Executions that run side by side, while something to read is made."""
PATIENCE = 600.0


# --- files ----------------------------------------------------------------------------------------


def from_files(url: str, count: int) -> list[dict[str, Any]]:
    """Returns rates for results of other programs and for our own, of 3 phases with 3 steps: the first time
    into the store at the URL, and again."""
    found = []
    for what, document in (("results of other programs", other), ("own results, 3 × 3 steps", own)):
        with tempfile.TemporaryDirectory() as folder:
            for number in range(count):
                Path(folder, f"{number}.json").write_text(json.dumps(document(number), indent=2))
            settings = Settings(state_dir=Path(folder, "state"), root=Path(folder), database_url=url)
            found += [
                {"from files": what + when, **_taken(Path(folder), settings)} for when in ("", ", again")
            ]
    return found


def _taken(folder: Path, settings: Settings) -> dict[str, Any]:
    wiring = Wiring(settings)
    search_less()  # as the command does
    write, begin = wiring.writer(), time.perf_counter()
    done = take(folder, write, lambda problem: reporting.say(str(problem)), wiring.scrub)
    rate = done.results / (time.perf_counter() - begin)
    return {
        "results": done.results,
        "records": done.records,
        "per_second": round(rate),
        "target": FILES_TARGET,
    }


def other(number: int) -> dict[str, Any]:
    """Returns a result as other programs write it."""
    begun = past.FIRST + timedelta(seconds=number)
    return {
        "task_id": f"task-{number % past.TASKS}",
        "agent": f"agent-{number % 6}",
        "status": "failed" if number % 9 == 0 else "success",
        "output": f"{number} lines were counted and the report was written",
        "error": "the connection was refused" if number % 9 == 0 else None,
        "started_at": begun.isoformat(),
        "completed_at": (begun + timedelta(seconds=3)).isoformat(),
        "tokens": 100 + number,
        "cost": 0.01,
        "files": ["report.md"],
    }


def own(number: int) -> dict[str, Any]:
    """Returns a result as we print it."""
    begun = past.FIRST + timedelta(seconds=number)
    ended: dict[str, Any] = {"started_at": begun, "finished_at": begun + timedelta(seconds=1)}
    done = StepStatus.COMPLETED
    phases = [f"part_{n}" for n in range(past.PHASES)]
    result = TaskResult(
        execution_id=past.id_of(number),
        status=ExecutionStatus.COMPLETED,
        outputs={"lines": number},
        phases={name: PhaseOutcome(status=done, name=name, attempts=1, **ended) for name in phases},
        steps={
            f"{name}_{n}": StepOutcome(
                status=done, attempts=1, kind="tool", phase=name, output={"stdout": f"{n} lines"}, **ended
            )
            for name in phases
            for n in range(past.STEPS)
        },
        trace_id=past.trace_of(number),
        **ended,
    )
    return result.model_dump(mode="json")


# --- Temporal -------------------------------------------------------------------------------------


async def from_temporal(url: str, count: int) -> dict[str, Any]:
    """Runs executions of 3 phases with 3 steps that nobody records, and returns how fast a store is made of
    their histories."""
    with place() as (settings, environment):
        own = settings.model_copy(update={"database_url": url})
        async with TaskClient.open(own, worker=False) as client:
            with closing(EngineWorker("unrecorded", environment)) as worker:
                worker.wait_until_ready()
                await _run(client, count)
            begin = time.perf_counter()
            done = await backfill(client.client, client.wiring.recorder)
            written = await asyncio.to_thread(client.wiring.spool.flush, PATIENCE)
            seconds = time.perf_counter() - begin
    assert written, "the store did not take it"
    assert (done.executions, done.problems) == (count, []), done.problems[:3]
    rate = round(done.executions / seconds)
    return {"executions": count, "records": done.records, "per_second": rate, "target": TEMPORAL_TARGET}


async def _run(client: TaskClient, count: int) -> None:
    text = trivial.task("Bench", past.PHASES, past.STEPS, parallel=False)
    turns = asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> None:
        async with turns:
            name = await client.start(source=text, id=f"bench-{number}")
            await client.wait(name)

    await asyncio.gather(*map(one, range(count)))
    reporting.say(f"{count} executions are there to be read")
