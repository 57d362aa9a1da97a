"""The work as a DBOS application, with one child workflow per phase and one step per step; for `peers.py`.

    python benchmarks/programs/in_dbos.py DATABASE_URL

What is done in sequence are ordinary functions, each task in a thread, as in a web server; what is done in
parallel are coroutines, the only way to have several steps of a workflow at once.
"""

from __future__ import annotations

import asyncio
import sys
from importlib.metadata import version

from dbos import DBOS, DBOSConfig
from lines import Shape, serve

Results = list[dict[str, int]]


@DBOS.step()
def trivial(n: int) -> dict[str, int]:
    """Returns what it was given."""
    return {"n": n}


@DBOS.workflow()
def phase(steps: int) -> Results:
    """Runs the steps of one phase in sequence."""
    return [trivial(n) for n in range(steps)]


@DBOS.workflow()
def whole(phases: int, steps: int) -> dict[str, Results]:
    """Runs the phases one after the other, their steps in sequence."""
    return {f"part_{number}": phase(steps) for number in range(phases)}


@DBOS.step()
async def trivial_beside(n: int) -> dict[str, int]:
    """Returns what it was given, as a coroutine."""
    return {"n": n}


@DBOS.workflow()
async def phase_beside(steps: int) -> Results:
    """Runs the steps of one phase at once; DBOS numbers them as they are called."""
    return await asyncio.gather(*(trivial_beside(n) for n in range(steps)))


@DBOS.workflow()
async def whole_beside(phases: int, steps: int) -> dict[str, Results]:
    """Runs the phases one after the other, the steps of each at once."""
    return {f"part_{number}": await phase_beside(steps) for number in range(phases)}


async def task(shape: Shape) -> int:
    """Runs the workflow and returns how many steps have a result."""
    if shape.parallel:
        done = await whole_beside(shape.phases, shape.steps)
    else:
        done = await asyncio.to_thread(whole, shape.phases, shape.steps)
    return sum(len(results) for results in done.values())


def main() -> None:
    config: DBOSConfig = {"name": "bench", "system_database_url": sys.argv[1], "log_level": "WARNING"}
    DBOS(config=config)
    DBOS.launch()
    try:
        asyncio.run(serve(task, version("dbos")))
    finally:
        DBOS.destroy()


if __name__ == "__main__":
    main()
