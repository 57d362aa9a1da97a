"""How good estimates are on real executions of the example tasks: whether intervals hold the truth as often
as they say, and how far off they are compared with what one would do otherwise.

    python benchmarks/eta_real.py [-o json] [--runs 200] [--seed 1] [--quick]

A worker process on the embedded server, as a user has it, begins with an empty history and learns. What is
judged is what it told the history store while it ran, which is what `taskmark eta calibrate` reads.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from random import Random
from statistics import fmean
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import reporting  # noqa: E402 - found by the path above
from benchmarks.engine import EngineWorker, place  # noqa: E402 - the same
from benchmarks.eta import Answer, judged  # noqa: E402 - the same
from starter.gateway import TaskClient  # noqa: E402 - the same
from taskmark.plan import calibration  # noqa: E402 - the same
from taskmark.plan.calibration import Run  # noqa: E402 - the same
from taskmark.records import WHOLE  # noqa: E402 - the same
from taskmark.settings import Settings  # noqa: E402 - the same
from taskmark.store.estimates import expected  # noqa: E402 - the same
from taskmark.store.schema import open_store  # noqa: E402 - the same

AT_ONCE = 2
PATIENCE = 300.0
SETTLED = 60.0
QUESTIONS = (
    "Does oil move together with the S&P 500, and will that last?",
    "How deep can it fall, going by 2014?",
    "How volatile is it?",
)


def wishes(random: Random) -> tuple[str, dict[str, Any]]:
    """Returns a task and inputs as somebody might start it."""
    match random.choice(("committee", "market", "pipeline", "health")):
        case "committee":
            inputs = {"ticker": "SP500", "amount": random.choice((1_000, 250_000))}
            chosen = {"timeHorizon": random.choice(("short", "medium", "long")), "riskTolerance": "high"}
            return "investment-committee-meeting", inputs | chosen
        case "market":
            return "daily-market-analysis", {"question": random.choice(QUESTIONS), "ticker": "WTI"}
        case "pipeline":
            return "data-pipeline", {"batchSize": random.choice((5, 10, 20))}
        case _:
            return "repo-health", {"repo": "project", "maxSecrets": 1_000}


def furnish(root: Path) -> None:
    """Makes a folder like a user's: the examples, and a repository to look at."""
    for name in ("tasks", "agents"):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run(["git", "clone", "-q", "--no-local", str(ROOT), str(root / "project")], check=True)


async def run_all(client: TaskClient, count: int, random: Random) -> None:
    """Runs so many tasks, two at once."""
    free, failed = asyncio.Semaphore(AT_ONCE), []

    async def one(number: int, task: str, inputs: dict[str, Any]) -> None:
        async with free:
            result = await client.wait(await client.start(task, inputs), timeout=PATIENCE)
        if not result.status.is_success:
            failed.append(f"{task} {inputs}: {result.error.message if result.error else result.status}")
        if number % 20 == 19:
            reporting.say(f"{number + 1} of {count}")

    await asyncio.gather(*(one(number, *wishes(random)) for number in range(count)))
    for message in dict.fromkeys(failed):
        reporting.say(f"did not complete: {message}")


async def answers(settings: Settings, count: int) -> list[Answer]:
    """Returns what was said, once the store knows all of it."""
    engine = open_store(settings.database_url)
    before, found = -1, list(expected(engine))
    async with asyncio.timeout(SETTLED):
        while len(found) != before or not found:
            before = len(found)
            await asyncio.sleep(2)
            found = list(expected(engine))
    reporting.say(f"{len(found)} of {count} completed with estimates")
    usual: dict[str, list[float]] = {}
    said: list[Answer] = []
    for run in sorted(found, key=lambda run: run.estimates[-1].at):
        whole = next(one.worked for one in run.estimates if one.percent == WHOLE)
        said += _said(run, whole, usual.get(run.task, []))
        usual.setdefault(run.task, []).append(whole)
    return said


def _said(run: Run, whole: float, before: Sequence[float]) -> Iterator[Answer]:
    for told, truth in ((one.told, one.truth) for one in calibration.judged(run.estimates)):
        if told.confidence is None or not told.percent or not before:
            continue
        yield Answer(
            family=run.task,
            look=float(told.percent),
            truth=truth / whole,
            said=(told.low / whole, told.remaining / whole, told.high / whole),
            naive=told.worked * (100 / told.percent - 1) / whole,
            usual=max(fmean(before) - told.worked, 0.0) / whole,
        )


async def measure(count: int, seed: int) -> dict[str, Any]:
    """Runs everything and returns the results."""
    with place() as (settings, environment):
        furnish(settings.root)
        async with TaskClient.open(settings, worker=False) as client:
            with closing(EngineWorker("taskmark", environment)) as worker:
                worker.wait_until_ready()
                await run_all(client, count, Random(seed))
                found = await answers(settings, count)
    tasks = sorted({one.family for one in found})
    rows = [judged(task, [one for one in found if one.family == task]) for task in tasks]
    return {
        "machine": reporting.machine(),
        "seed": seed,
        "runs": count,
        "tasks": [*rows, judged("all", found)],
    }


def show(results: dict[str, Any]) -> None:
    """Prints the table."""
    print(f"{results['runs']} executions, seed {results['seed']}; all in shares of what an execution took")
    reporting.table("on real tasks", results["tasks"])


def main() -> None:
    """Measures and shows."""
    parser = reporting.arguments(__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    count = 16 if options.quick else options.runs
    reporting.give(asyncio.run(measure(count, options.seed)), options, show)


if __name__ == "__main__":
    main()
