"""The work as Prefect flows, with one sub-flow per phase and one task per step; for `peers.py`.

    python benchmarks/programs/in_prefect.py

Settings come from `PREFECT_*` variables. Results are persisted, so that a flow run that is tried again takes
the results of its tasks from storage instead of doing them again.
"""

from __future__ import annotations

import asyncio
from importlib.metadata import version

from lines import Shape, serve
from prefect import flow
from prefect import task as step

Results = list[dict[str, int]]


@step(persist_result=True)
async def trivial(n: int) -> dict[str, int]:
    """Returns what it was given."""
    return {"n": n}


@flow(persist_result=True)
async def phase(steps: int, parallel: bool) -> Results:
    """Runs the steps of one phase."""
    if parallel:
        return await asyncio.gather(*(trivial(n) for n in range(steps)))
    return [await trivial(n) for n in range(steps)]


@flow(persist_result=True)
async def whole(phases: int, steps: int, parallel: bool) -> dict[str, Results]:
    """Runs the phases one after the other."""
    return {f"part_{number}": await phase(steps, parallel) for number in range(phases)}


async def task(shape: Shape) -> int:
    """Runs the flow and returns how many steps have a result."""
    done = await whole(shape.phases, shape.steps, shape.parallel)
    return sum(len(results) for results in done.values())


if __name__ == "__main__":
    asyncio.run(serve(task, version("prefect")))
