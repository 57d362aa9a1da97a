"""The work as a task file, started and worked on in this one process; for `peers.py`.

    python benchmarks/programs/in_taskmark.py

Settings come from `TASKMARK_*` variables. The embedded Temporal server is a child process.
"""

from __future__ import annotations

import asyncio
import sys
from importlib.metadata import version
from pathlib import Path
from uuid import uuid4

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks import trivial
from benchmarks.programs.lines import Shape, serve
from starter.gateway import TaskClient
from taskmark.contracts import StepStatus


async def whole(client: TaskClient, shape: Shape) -> int:
    """Runs the task and returns how many steps have a result."""
    text = trivial.task("Bench", shape.phases, shape.steps, parallel=shape.parallel)
    name = await client.start(source=text, id=f"bench-{uuid4().hex[:8]}")
    result = await client.wait(name)
    assert result.status.is_success, result.error
    return sum(step.status is StepStatus.COMPLETED for step in result.steps.values())


async def main() -> None:
    async with TaskClient.open(worker=True) as client:
        await serve(lambda shape: whole(client, shape), version("taskmark"))


if __name__ == "__main__":
    asyncio.run(main())
