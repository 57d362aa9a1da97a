"""Where the CPU of Taskmark's worker goes while it runs many tasks, by layer and by function.

    python benchmarks/layers.py [-o json] [--tasks 40] [--quick]

The stacks of all threads are sampled in the worker, and each thread's samples are weighted with the CPU time
that the system says it used. What has no Python stack is the SDK's core.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import reporting
from benchmarks.engine import Bench, Work, place, workers
from starter.gateway import TaskClient


async def measure(tasks: int, folder: str) -> dict[str, Any]:
    """Runs the tasks, eight at once, and returns milliseconds of CPU per step."""
    work = Work("sequential", 4, 5, parallel=False, at_once=min(8, tasks))
    samples = Path(folder, "samples.json")
    with place() as (settings, environment):
        async with TaskClient.open(settings, worker=False) as client:
            with workers(environment) as found:
                bench = Bench(client, found)
                await bench.round("taskmark", work)
                found["taskmark"].sample(samples)
                for _ in range(max(1, tasks // work.at_once)):
                    await bench.round("taskmark", work)
    sampled = json.loads(await asyncio.to_thread(samples.read_text))
    steps = work.total * max(1, tasks // work.at_once)
    per_step = {key: _each(sampled[key], steps) for key in ("layers", "functions")}
    return {"machine": reporting.machine(), "steps": steps, "ms_per_step": per_step}


def _each(seconds: dict[str, float], steps: int) -> dict[str, float]:
    return {name: round(value / steps * 1000, 3) for name, value in seconds.items()}


def show(results: dict[str, Any]) -> None:
    """Prints the tables."""
    print(f"machine: {results['machine']}")
    layers = {name: ms for name, ms in results["ms_per_step"]["layers"].items() if name != "sampler"}
    total = sum(layers.values())
    rows = [{"layer": n, "ms/step": v, "%": round(v / total * 100, 1)} for n, v in layers.items()]
    reporting.table(f"CPU of the worker, {results['steps']} steps", rows)
    functions = results["ms_per_step"]["functions"]
    rows = [{"with all that it calls": n, "ms/step": v} for n, v in functions.items()]
    reporting.table("Functions", rows[:60])


def main() -> None:
    parser = reporting.arguments(__doc__)
    parser.add_argument("--tasks", type=int, default=40, help="tasks of 4 phases with 5 steps each")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        results = asyncio.run(measure(1 if options.quick else options.tasks, folder))
    reporting.give(results, options, show)


if __name__ == "__main__":
    main()
