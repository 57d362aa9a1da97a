"""The same work through Taskmark and through hand-written Temporal, on one server, in alternating rounds.

    python benchmarks/engine.py [-o json] [--rounds 5] [--quick]

Each engine has a worker process of its own with the same options; this process starts the work and waits
for it. CPU is that of the server and of the engine's worker, until shortly after the end, so that what
is written to the history store late counts too.
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import mean, median
from typing import Any
from uuid import uuid4

import psutil

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import handwritten, reporting, trivial  # noqa: E402 - found by the path above
from benchmarks.servers import free_port  # noqa: E402 - the same
from starter.embedded.server import running  # noqa: E402 - the same
from starter.gateway import TaskClient  # noqa: E402 - the same
from taskmark.settings import Settings  # noqa: E402 - the same

ENGINES = ("taskmark", "handwritten")
QUICK = 100
"""Steps below which a round takes less than a second."""
COUNTED = 12
"""Tasks of each engine whose events are counted."""
WINDOW = 80
"""The one that Taskmark has by default."""
AFTER = 1.6
"""Seconds after the end of a round whose CPU still belongs to it."""


@dataclass(frozen=True)
class Work:
    """What one round does."""

    name: str
    phases: int
    steps: int
    parallel: bool
    at_once: int = 1
    window: int | None = None
    """Steps in flight of a hand-written phase; None: all at once, as people write it. Taskmark has one."""

    @property
    def total(self) -> int:
        """Steps of one round."""
        return self.phases * self.steps * self.at_once

    @property
    def pairs(self) -> int:
        """How many pairs are measured for each that is asked for: in a short round a moment weighs more."""
        return 1 if self.at_once > 1 else 4 if self.total < QUICK else 3


def works(*, quick: bool) -> tuple[Work, ...]:
    """Returns the rounds' work; `quick` only shows that everything runs."""
    many, wide = (3, 40) if quick else (40, 1_000)
    return (
        Work("sequential, alone", 4, 5, parallel=False),
        Work("parallel, alone", 4, 5, parallel=True),
        Work(f"sequential, {many} at once", 4, 5, parallel=False, at_once=many),
        Work(f"parallel, {many} at once", 4, 5, parallel=True, at_once=many),
        Work(f"{wide} parallel steps", 1, wide, parallel=True),
        Work(f"{wide}, by hand with a window of {WINDOW}", 1, wide, parallel=True, window=WINDOW),
    )


class EngineWorker:
    """One engine's worker process, and what it has used so far."""

    def __init__(self, kind: str, environment: dict[str, str]) -> None:
        self.kind = kind
        self._port = free_port()
        program = ROOT / "benchmarks/engine_worker.py"
        self.process = subprocess.Popen(
            [sys.executable, str(program), kind, str(self._port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=usual(os.environ) | environment,
            text=True,
        )
        self._watched = psutil.Process(self.process.pid)

    def wait_until_ready(self) -> None:
        """Returns once it works. Raises `RuntimeError` if it ends instead."""
        assert self.process.stdout is not None
        if self.process.stdout.readline() != "ready\n":
            raise RuntimeError(f"the {self.kind} worker did not start")

    @property
    def cpu(self) -> float:
        """Seconds used."""
        return _cpu(self._watched)

    @property
    def megabytes(self) -> float:
        """Resident memory, that of processes it started with it."""
        every = (self._watched, *self._watched.children(recursive=True))
        return sum(one.memory_info().rss for one in every) / 1e6

    def requests(self) -> Counter[str]:
        """Returns the gRPC calls so far by operation, as the SDK counts them; long polls included."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/metrics") as answer:
            text = answer.read().decode()
        found: Counter[str] = Counter()
        for name, labels, value in re.findall(
            r"^(temporal_(?:long_)?request)\{(.*?)\} (\S+)$", text, re.MULTILINE
        ):
            operation = re.search(r'operation="(\w+)"', labels)
            if operation and name in ("temporal_request", "temporal_long_request"):
                found[operation[1]] += int(float(value))
        return found

    def sample(self, target: Path) -> None:
        """Lets it sample its stacks from now on; they are in the file when it has ended."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{target}\n")
        self.process.stdin.flush()

    def close(self) -> None:
        """Ends it; by force if it does not want to."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Bench:
    """Both engines on one server."""

    def __init__(self, client: TaskClient, workers: dict[str, EngineWorker]) -> None:
        self.client = client
        self.workers = workers
        state = running(client.wiring.settings)
        assert state is not None
        self._server = psutil.Process(state.pid)

    async def round(self, engine: str, work: Work) -> dict[str, float]:
        """Runs the work once and returns what it took."""
        worker = self.workers[engine]
        before = (_cpu(self._server), worker.cpu, time.process_time())
        begin = time.perf_counter()
        await asyncio.gather(*(self.run(engine, work) for _ in range(work.at_once)))
        seconds = time.perf_counter() - begin
        await asyncio.sleep(AFTER)
        server, own, client = (
            now - then
            for now, then in zip((_cpu(self._server), worker.cpu, time.process_time()), before, strict=True)
        )
        return {
            "seconds": seconds,
            "cpu": server + own,
            "cpu_server": server,
            "cpu_worker": own,
            "cpu_client": client,
            "megabytes": worker.megabytes,
        }

    async def run(self, engine: str, work: Work) -> str:
        """Runs one task to its end and returns its id."""
        name = f"bench-{engine}-{uuid4().hex[:8]}"
        if engine == "taskmark":
            text = trivial.task("Bench", work.phases, work.steps, parallel=work.parallel)
            await self.client.start(source=text, id=name)
            result = await self.client.wait(name)
            assert result.status.is_success, result.error
            return name
        shape = handwritten.Shape(
            phases=work.phases, steps=work.steps, parallel=work.parallel, window=work.window
        )
        await self.client.client.execute_workflow(
            handwritten.HandwrittenTask.run, shape, id=name, task_queue=handwritten.QUEUE
        )
        return name

    async def counts(self, engine: str, work: Work) -> dict[str, Any]:
        """Runs one task alone and counts what it leaves in history and what it asks of the server."""
        worker = self.workers[engine]
        await asyncio.sleep(1)
        before = worker.requests()
        name = await self.run(engine, work)
        await asyncio.sleep(0.2)
        asked = worker.requests() - before
        histories = [await self._events(one) for one in self._ids(name, work)]
        events = [event for history in histories for event in history]
        kinds = Counter(event.WhichOneof("attributes") for event in events)
        return {
            "events": len(events),
            "workflow_tasks": kinds["workflow_task_completed_event_attributes"],
            "bytes": sum(event.ByteSize() for event in events),
            "calls": sum(asked[name] for name in _CALLS),
            "polls": sum(count for name, count in asked.items() if name.startswith("Poll")),
            "calls_by_operation": {name: asked[name] for name in sorted(asked)},
            "ms_between_steps": _between_steps(histories[1]),
        }

    def _ids(self, name: str, work: Work) -> list[str]:
        return [name, *(f"{name}/part_{number}" for number in range(work.phases))]

    async def _events(self, workflow: str) -> list[Any]:
        handle = self.client.client.get_workflow_handle(workflow)
        return [event async for event in handle.fetch_history_events()]


_CALLS = (
    "RespondWorkflowTaskCompleted",
    "RespondActivityTaskCompleted",
    "RecordActivityTaskHeartbeat",
)
"""Calls that a task's own work makes; a worker's housekeeping is left out."""


def _between_steps(history: Sequence[Any]) -> float:
    """Returns the milliseconds from one step's schedule to the next one's: what a step in sequence takes."""
    at = [
        e.event_time.ToNanoseconds()
        for e in history
        if e.HasField("activity_task_scheduled_event_attributes")
    ]
    gaps = [(after - before) / 1e6 for before, after in pairwise(at)]
    return round(median(gaps), 1) if gaps else 0.0


def usual(environment: Mapping[str, str]) -> dict[str, str]:
    """Returns the environment without a wish to compile every module at every import, which is unusual."""
    return {name: value for name, value in environment.items() if name != "PYTHONDONTWRITEBYTECODE"}


def _cpu(process: psutil.Process) -> float:
    """Returns the seconds of a process, of those that it started, and of those of them that have ended."""
    times = process.cpu_times()
    ended = getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0)
    return times.user + times.system + ended + sum(map(_cpu, process.children()))


@contextmanager
def place(plugin: str = "benchmarks.trivial") -> Iterator[tuple[Settings, dict[str, str]]]:
    """Yields the settings of a folder of its own, and the environment that says the same to a process."""
    with tempfile.TemporaryDirectory(prefix="taskmark-bench-") as folder:
        given: dict[str, Any] = {
            "state_dir": Path(folder, "state"),
            "root": Path(folder),
            "plugins": plugin,
        }
        environment = {"PYTHONPYCACHEPREFIX": str(Path(folder, "bytecode"))} | {
            f"TASKMARK_{name.upper()}": str(value) for name, value in given.items()
        }
        yield Settings(**given), environment


@contextmanager
def workers(environment: dict[str, str]) -> Iterator[dict[str, EngineWorker]]:
    """Yields the two worker processes, ready."""
    with ExitStack() as stack:
        found = {}
        for kind in ENGINES:
            found[kind] = EngineWorker(kind, environment)
            stack.callback(found[kind].close)
        for worker in found.values():
            worker.wait_until_ready()
        yield found


async def measure(rounds: int, *, quick: bool) -> dict[str, Any]:
    """Runs everything and returns the results."""
    begun = reporting.machine()
    with place() as (settings, environment):
        async with TaskClient.open(settings, worker=False) as client:
            with workers(environment) as found:
                bench = Bench(client, found)
                timed = [await _timed(bench, work, rounds, quick=quick) for work in works(quick=quick)]
                counted = [await _counted(bench, work, quick=quick) for work in works(quick=quick)[:2]]
        version = client.server.version if client.server else ""
    ended = reporting.machine()["load"]
    return {"machine": begun | {"load_after": ended, "server": version}, "timed": timed, "counted": counted}


async def _timed(bench: Bench, work: Work, rounds: int, *, quick: bool) -> dict[str, Any]:
    """Alternates the engines, each second pair in the other order."""
    found: dict[str, list[dict[str, float]]] = {engine: [] for engine in ENGINES}
    for number in range(rounds if quick else rounds * work.pairs + 1):
        for engine in ENGINES if number % 2 else reversed(ENGINES):
            found[engine].append(await bench.round(engine, work))
    if not quick:
        found = {engine: rows[1:] for engine, rows in found.items()}
    reporting.say(f"{work.name}: done")
    medians = {e: {k: median(row[k] for row in rows) for k in rows[0]} for e, rows in found.items()}
    return {
        "work": work.name,
        "steps": work.total,
        **{engine: {k: round(v, 4) for k, v in m.items()} for engine, m in medians.items()},
        "steps_per_second": {engine: round(work.total / medians[engine]["seconds"], 1) for engine in ENGINES},
        "ratios": {
            key: _ratio(found, key) for key in ("seconds", "cpu", "cpu_server", "cpu_worker", "megabytes")
        },
    }


def _ratio(found: dict[str, list[dict[str, float]]], key: str) -> dict[str, float]:
    """Returns Taskmark's part of the hand-written engine's: the median of the pairs, and their range."""
    pairs = zip(found["taskmark"], found["handwritten"], strict=True)
    return reporting.spread([ours[key] / max(theirs[key], 1e-9) for ours, theirs in pairs])


async def _counted(bench: Bench, work: Work, *, quick: bool) -> dict[str, Any]:
    """Counts several times, in turns. What coincides differs by a workflow task and its three events, so
    the mean stands."""
    found: dict[str, list[dict[str, Any]]] = {engine: [] for engine in ENGINES}
    for _ in range(1 if quick else COUNTED):
        for engine in ENGINES:
            found[engine].append(await bench.counts(engine, work))
    keys = ("events", "workflow_tasks", "bytes", "calls", "polls", "ms_between_steps")
    return {
        "work": work.name,
        **{
            engine: {key: round(mean(row[key] for row in rows), 1) for key in keys}
            for engine, rows in found.items()
        },
        "calls_by_operation": {engine: rows[-1]["calls_by_operation"] for engine, rows in found.items()},
    }


def show(results: dict[str, Any]) -> None:
    """Prints the tables."""
    print(f"machine: {results['machine']}")
    reporting.table(
        "Taskmark against hand-written Temporal (median; ratio with its range)", _time_rows(results)
    )
    reporting.table("Exact, one task alone", _count_rows(results))


def _time_rows(results: dict[str, Any]) -> list[dict[str, Any]]:
    rows = []
    for one in results["timed"]:
        ours, theirs, ratios = one["taskmark"], one["handwritten"], one["ratios"]
        for name, unit, key in (("time", "s", "seconds"), ("CPU", "s", "cpu"), ("memory", "MB", "megabytes")):
            ratio = ratios[key]
            rows.append(
                {
                    "work": one["work"] if key == "seconds" else "",
                    "of": f"{name}, {unit}",
                    "taskmark": float(ours[key]),
                    "by hand": float(theirs[key]),
                    "ratio": float(ratio["median"]),
                    "range": f"{ratio['least']:.2f}-{ratio['most']:.2f}",
                }
            )
        speed = one["steps_per_second"]
        rows.append(
            {
                "work": "",
                "of": "steps/s",
                "taskmark": float(speed["taskmark"]),
                "by hand": float(speed["handwritten"]),
                "ratio": speed["taskmark"] / speed["handwritten"],
                "range": "",
            }
        )
    return rows


def _count_rows(results: dict[str, Any]) -> list[dict[str, Any]]:
    names = {
        "events": "history events",
        "workflow_tasks": "workflow tasks",
        "bytes": "history bytes",
        "calls": "gRPC calls without polls",
        "polls": "gRPC polls",
        "ms_between_steps": "ms from step to step",
    }
    return [
        {
            "work": one["work"] if key == "events" else "",
            "of": name,
            "taskmark": one["taskmark"][key],
            "by hand": one["handwritten"][key],
            "ratio": one["taskmark"][key] / max(one["handwritten"][key], 1e-9),
        }
        for one in results["counted"]
        for key, name in names.items()
    ]


def main() -> None:
    parser = reporting.arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="pairs of rounds that count, after one more")
    options = parser.parse_args()
    results = asyncio.run(measure(1 if options.quick else options.rounds, quick=options.quick))
    reporting.give(results, options, show)


if __name__ == "__main__":
    main()
