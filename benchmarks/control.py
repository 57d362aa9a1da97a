"""How soon people are obeyed while a hundred tasks run: `pause` to the last new step, `approve` to the next.

    python benchmarks/control.py [-o json] [--tasks 100] [--repeat 100] [--quick]

One worker process on the embedded server. A hundred tasks run steps of five to fifteen seconds, one after
the other. Beside them one task runs steps that take no time and is paused and resumed, at moments chosen by
chance; another one has a step behind each of its approvals. Steps note when they begin, by the clock of this
process.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from random import Random
from typing import Any
from uuid import uuid4

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import moments, reporting  # noqa: E402 - found by the path above
from benchmarks.engine import EngineWorker, place  # noqa: E402 - the same
from starter.gateway import TaskClient  # noqa: E402 - the same

PAUSE_TARGET_MS, APPROVE_TARGET_MS, PROGRESS_TARGET_MS = 200.0, 100.0, 50.0
STEP_SECONDS = (5.0, 15.0)
"""As agents and tools take them. With two seconds the machine that this was written on is saturated, at 36
steps a second, and control waits as everything else does."""
STEPS = 60
"""Of each of them: ten minutes of work."""
SETTLE = 1.0
"""Seconds after a pause in which a step that still begins is looked for; nothing begins later."""
PATIENCE = 60.0
LOOK = 0.1
"""Seconds between two looks at the progress, each of which costs the others something."""
WARM = 3


class Bench:
    """A client, and the folder in which steps note their beginnings."""

    def __init__(self, client: TaskClient, root: Path) -> None:
        self.client = client
        self._notes = moments.Notes(root)

    async def start(self, text: str) -> str:
        """Starts a task and returns its id once a step of it has begun, or it waits."""
        name = await self.client.start(source=text, id=f"bench-{uuid4().hex[:8]}")
        await until(lambda: bool(self.begun(name)))
        return name

    def begun(self, execution: str) -> list[float]:
        """Returns when each step of the execution began, in order."""
        return self._notes.begun(execution)


async def until(holds: Callable[[], bool]) -> None:
    """Waits until it holds. Raises `TimeoutError` if it does not in a minute."""
    async with asyncio.timeout(PATIENCE):
        while not holds():  # noqa: ASYNC110 - another process writes what is looked at
            await asyncio.sleep(0.01)


async def crowd(bench: Bench, count: int) -> None:
    """Starts so many tasks; they end with the server."""
    chance = Random(3)
    texts = [moments.task([chance.uniform(*STEP_SECONDS) for _ in range(STEPS)]) for _ in range(count)]
    await asyncio.gather(*map(bench.start, texts))
    reporting.say(f"{count} tasks run")


# --- what is measured -----------------------------------------------------------------------------


async def pauses(bench: Bench, repeat: int) -> list[float]:
    """Returns the milliseconds from each acknowledged pause to the last step that began after it, if any."""
    chance, took = Random(5), []
    name = await bench.start(moments.task([0.0] * 5_000))
    for _ in range(repeat + WARM):
        await asyncio.sleep(chance.uniform(0.1, 0.3))
        await bench.client.pause(name)
        acknowledged = time.time()
        await asyncio.sleep(SETTLE)
        took.append(max(0.0, bench.begun(name)[-1] - acknowledged) * 1e3)
        before = len(bench.begun(name))
        await bench.client.resume(name)
        await until(lambda then=before: len(bench.begun(name)) > then)  # type: ignore[misc] # a default binds it
    await bench.client.abort(name)
    return took[WARM:]


async def approvals(bench: Bench, repeat: int) -> list[float]:
    """Returns the milliseconds from each call of `approve` to the beginning of the step behind the gate."""
    took: list[float] = []
    name = await bench.start(_gates(repeat + WARM))
    for number in range(repeat + WARM):
        await _waits(bench, name, f"g{number}")
        before = len(bench.begun(name))
        asked = time.time()
        await bench.client.approve(name, f"g{number}", by="bench")
        await until(lambda then=before: len(bench.begun(name)) > then)  # type: ignore[misc] # a default binds it
        took.append((bench.begun(name)[before] - asked) * 1e3)
    await bench.client.wait(name)
    return took[WARM:]


def _gates(count: int) -> str:
    """Returns a task that begins with a step and has one behind each of its approvals."""
    steps = [f"- approval: g{n} - Go on?\n- tool: moment\n  id: s{n}\n" for n in range(count)]
    return "# Gates\n\n## Phase: Only\n\n### Steps\n- tool: moment\n  id: first\n" + "".join(steps)


async def _waits(bench: Bench, execution: str, gate: str) -> None:
    async with asyncio.timeout(PATIENCE):
        while all(wait.name != gate for wait in (await bench.client.progress(execution)).waiting):  # noqa: ASYNC110 - another process answers
            await asyncio.sleep(LOOK)


async def progresses(bench: Bench, repeat: int, ask: Callable[[str], Awaitable[object]]) -> list[float]:
    """Returns the milliseconds of each question for the progress of a running task."""
    took = []
    for execution in [one.execution_id for one in await bench.client.active()][:10]:
        for _ in range(max(1, repeat // 10)):
            begin = time.perf_counter()
            await ask(execution)
            took.append((time.perf_counter() - begin) * 1e3)
    return took


# --- all of it ------------------------------------------------------------------------------------


async def measure(tasks: int, repeat: int) -> dict[str, Any]:
    """Runs everything and returns the results."""
    begun = reporting.machine()
    with place("benchmarks.moments") as (settings, environment):
        async with TaskClient.open(settings, worker=False) as client:
            with closing(EngineWorker("taskmark", environment)) as worker:
                worker.wait_until_ready()
                bench = Bench(client, settings.root)
                query, doors = partial(_asked, client), client.progress
                await crowd(bench, tasks)
                rows = [
                    _row("pause → last new step", await pauses(bench, repeat), PAUSE_TARGET_MS),
                    _row("approve → next step", await approvals(bench, repeat), APPROVE_TARGET_MS),
                    _row("progress: the query", await progresses(bench, repeat, query), PROGRESS_TARGET_MS),
                    _row("progress of doors", await progresses(bench, repeat, doors), PROGRESS_TARGET_MS),
                ]
    return {"machine": begun | {"load_after": reporting.machine()["load"]}, "tasks": tasks, "control": rows}


async def _asked(client: TaskClient, execution: str) -> object:
    return await client.client.get_workflow_handle(execution).query("progress")


def _row(what: str, took: list[float], target: float) -> dict[str, Any]:
    reporting.say(f"{what}: done")
    found = reporting.percentiles(took)
    reporting.say(f"{found}, at most {max(took):.0f} ms")
    return {"what": what, "times": len(took), **found, "most_ms": round(max(took), 2), "target_ms": target}


def show(results: dict[str, Any]) -> None:
    """Prints the table."""
    print(f"machine: {results['machine']}")
    reporting.table(f"While {results['tasks']} tasks run", results["control"])


def main() -> None:
    parser = reporting.arguments(__doc__)
    parser.add_argument("--tasks", type=int, default=100, help="how many run meanwhile")
    parser.add_argument("--repeat", type=int, default=100, help="how often each is done")
    options = parser.parse_args()
    tasks, repeat = (5, 5) if options.quick else (options.tasks, options.repeat)
    reporting.give(asyncio.run(measure(tasks, repeat)), options, show)


if __name__ == "__main__":
    main()
