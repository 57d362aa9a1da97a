"""What the history store adds to the engine: the same tasks by a worker that records and one that forgets.

There is no setting for the second: only the benchmark's worker is given a recorder that keeps nothing. All
else is the same: one server, one process each, the same texts; they take turns.
"""

from __future__ import annotations

from contextlib import AsyncExitStack, closing
from typing import Any

from benchmarks import reporting
from benchmarks.engine import Bench, EngineWorker, Work, place
from starter.gateway import TaskClient

KINDS = {"on": "taskmark", "off": "unrecorded"}
NEVER = 86_400.0
"""Seconds. Else both workers would read from Temporal, while others are measured, what the one forgets."""
KEYS = {"time": "seconds", "CPU of server and worker": "cpu", "CPU of the worker": "cpu_worker"}


def works(*, quick: bool) -> tuple[Work, ...]:
    many = 2 if quick else 40
    return (
        Work("4 × 5 steps in sequence, one task", 4, 5, parallel=False),
        Work(f"the same, {many} tasks at once", 4, 5, parallel=False, at_once=many),
        Work(f"in parallel, {many} tasks at once", 4, 5, parallel=True, at_once=many),
    )


async def measure(rounds: int, *, quick: bool) -> list[dict[str, Any]]:
    """Returns a row per work and kind of cost: with the recorder, without, and the ratio."""
    with place() as (settings, environment):
        environment |= {"TASKMARK_CATCH_UP_SECONDS": str(NEVER)}
        async with AsyncExitStack() as stack:
            benches = {}
            for name, kind in KINDS.items():
                own = settings.model_copy(update={"task_queue": kind})
                client = await stack.enter_async_context(TaskClient.open(own, worker=False))
                worker = EngineWorker(kind, environment | {"TASKMARK_TASK_QUEUE": kind})
                stack.enter_context(closing(worker))
                worker.wait_until_ready()
                benches[name] = Bench(client, {"taskmark": worker})
            return [row for work in works(quick=quick) for row in await _rows(benches, work, rounds)]


async def _rows(benches: dict[str, Bench], work: Work, rounds: int) -> list[dict[str, Any]]:
    """Alternates, each second pair in the other order; the first pair does not count."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in benches}
    for number in range(rounds * work.pairs + 1):
        for name in benches if number % 2 else reversed(benches):
            found[name].append(await benches[name].round("taskmark", work))
    reporting.say(f"recording, {work.name}: done")
    on, off = found["on"][1:], found["off"][1:]
    return [_row(what, key, work, on, off) for what, key in KEYS.items()]


def _row(
    what: str, key: str, work: Work, on: list[dict[str, float]], off: list[dict[str, float]]
) -> dict[str, Any]:
    ratios = [one[key] / max(other[key], 1e-9) for one, other in zip(on, off, strict=True)]
    added = sum(one[key] - other[key] for one, other in zip(on, off, strict=True)) / len(on)
    return {
        "work": work.name,
        "of": what,
        **{
            f"{name}_ms_per_step": round(sum(row[key] for row in rows) / len(rows) / work.total * 1e3, 2)
            for name, rows in (("on", on), ("off", off))
        },
        "added_ms_per_step": round(added / work.total * 1e3, 2),
        "ratio": reporting.spread(ratios),
    }
