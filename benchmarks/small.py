"""What single things cost: starts, imports, parsing, an expression, a write, a heartbeat, a killed worker.

    python benchmarks/small.py [-o json] [--repeat 5] [--quick]

Everything is done with the real thing: real processes, a real server, a real SQLite file. Of what computes
alone the best of several is kept, of what waits for others the median.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any
from uuid import uuid4

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from temporalio import activity, workflow  # noqa: E402 - found by the path above
from temporalio.worker import UnsandboxedWorkflowRunner, Worker  # noqa: E402 - the same

from benchmarks import moments, reporting  # noqa: E402 - the same
from benchmarks.engine import EngineWorker, place, usual  # noqa: E402 - the same
from starter.gateway import TaskClient  # noqa: E402 - the same
from taskmark.contracts import StepStatus  # noqa: E402 - the same
from taskmark.privacy.detectors import BUILT_IN  # noqa: E402 - the same
from taskmark.privacy.recording import scrubbed  # noqa: E402 - the same
from taskmark.privacy.scrubbing import chosen  # noqa: E402 - the same
from taskmark.records import AttemptRecord  # noqa: E402 - the same
from taskmark.settings import Settings  # noqa: E402 - the same
from taskmark.store.schema import open_store  # noqa: E402 - the same
from taskmark.store.spool import SpoolRecorder  # noqa: E402 - the same
from taskmark.store.writing import apply  # noqa: E402 - the same
from taskmark.task import check_text, expressions  # noqa: E402 - the same

Rows = Iterator[tuple[str, float, str]]
"""What, how much, in which unit."""

PATIENCE = 60.0


def best(act: Callable[[], object], repeat: int) -> float:
    """Returns the least seconds of so many times."""
    return min(_seconds(act) for _ in range(repeat))


def _seconds(act: Callable[[], object]) -> float:
    begin = time.perf_counter()
    act()
    return time.perf_counter() - begin


# --- doors --------------------------------------------------------------------------------------------

DOORS = {
    "taskmark --help": ["-m", "starter.cli.entry", "--help"],
    "taskmark lint tasks/example.md": ["-m", "starter.cli.entry", "lint", "tasks/example.md"],
    "taskmark plan tasks/example.md": [
        *("-m", "starter.cli.entry", "plan", "tasks/example.md", "--input", "file=README.md")
    ],
    "import taskmark.task": ["-c", "from taskmark.task import parse_file"],
    "import starter": ["-c", "from starter import TaskClient"],
    "import what a worker needs": [
        *(
            "-c",
            "import starter.working, temporalio.worker, workflows.task, workflows.phase, activities.steps",
        )
    ],
    "python itself": ["-c", "pass"],
}


def doors(repeat: int) -> Rows:
    """Whole processes, with the start of Python in them."""
    for name, words in DOORS.items():
        yield name, best(partial(_python, words), repeat + 1), "s"


def _python(words: list[str]) -> None:
    environment = usual(os.environ) | {"PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, *words], cwd=ROOT, env=environment, check=True, capture_output=True)


# --- what computes alone ------------------------------------------------------------------------------


def parsing(repeat: int) -> Rows:
    """From text to definition, as often as nobody remembers the text."""
    for name in ("example", "investment-committee-meeting"):
        text = (ROOT / "tasks" / f"{name}.md").read_text()
        yield f"parse tasks/{name}.md", best(partial(check_text, text), repeat * 3) * 1e3, "ms"


def evaluating(repeat: int) -> Rows:
    """A condition as people write them; compiled once per process, then only evaluated."""
    names = {"inputs": {"limit": 3}, "steps": {"count": {"output": {"stdout": "12 a.txt"}}}}
    source = "inputs.limit > 2 and steps.count.output.stdout.split()[0] | int > 10"
    fresh = iter(range(10**6))
    yield (
        "expression, first time",
        best(lambda: expressions.evaluate(f"{source} or {next(fresh)} == -1", names), repeat * 5) * 1e6,
        "µs",
    )
    yield "expression, again", best(lambda: _many(expressions.evaluate, source, names), repeat) * 1e3, "µs"


def _many(act: Callable[..., object], *given: object) -> None:
    for _ in range(1_000):
        act(*given)


def storing(repeat: int) -> Rows:
    """One record in a transaction of its own, one of a hundred together, and what a worker waits for."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/history.db"
        engine = open_store(url)
        yield "store: one record alone", best(lambda: apply(engine, [_record()]), repeat * 5) * 1e3, "ms"
        hundred = best(lambda: apply(engine, [_record() for _ in range(100)]), repeat)
        yield "store: one of a hundred", hundred * 10, "ms"
        engine.dispose()
        recorder = SpoolRecorder(Path(folder, "spool"), partial(open_store, url))
        record = _record()
        yield "spool: one record", best(lambda: _many(recorder.record, record), repeat) * 1e3, "µs"
        recorder.close(PATIENCE)


def scrubbing(repeat: int) -> Rows:
    """One record of about 1 kB on its way to the spool: prose, log lines, and lines full of personal data."""
    scrubber = chosen(("all",), BUILT_IN)
    for what, line in SCRUBBED.items():
        record = _record().model_copy(update={"output": {"stdout": (line * 20)[:1000], "exit_code": 0}})
        yield f"scrub: 1 kB of {what}", best(partial(_many, scrubbed, record, scrubber), repeat) * 1e3, "µs"


SCRUBBED = {
    "prose": "The step measured the files at noon and wrote a report to reports/summary.md, with no error. ",
    "log lines": "2026-01-02T10:11:12Z INFO 12 files, exit 0, took 3.25 s; sha 9f86d081884c7d, 1048576 B\n",
    "personal data": "alice@example.com at 10.2.3.4, token=abcdef1234567, +49 30 12345678; https://x.example\n",
}


def _record() -> AttemptRecord:
    return AttemptRecord(
        execution_id="exec-bench",
        phase="part",
        step=uuid4().hex,
        attempt=1,
        kind="tool",
        name="trivial",
        status=StepStatus.COMPLETED,
        output={"n": 1},
        started_at=datetime.now(UTC),
        finished_at=datetime.now(UTC),
        as_of=datetime.now(UTC),
    )


# --- a server -----------------------------------------------------------------------------------------


@activity.defn
async def beating(times: int) -> list[float]:
    """Returns the median microseconds of a beat that the SDK holds back, and of one that it sends."""
    held, sent = [], []
    handle = activity.client().get_async_activity_handle(task_token=activity.info().task_token)
    for number in range(times):
        held.append(_seconds(partial(activity.heartbeat, number)))
        begin = time.perf_counter()
        await handle.heartbeat(number)
        sent.append(time.perf_counter() - begin)
    return [median(held) * 1e6, median(sent) * 1e6]


@workflow.defn
class Beating:
    """Runs the activity that beats."""

    @workflow.run
    async def run(self, times: int) -> list[float]:
        return await workflow.execute_activity(
            beating,
            times,
            start_to_close_timeout=timedelta(seconds=PATIENCE),
            heartbeat_timeout=timedelta(seconds=PATIENCE),
        )


async def heartbeats(client: TaskClient, repeat: int) -> Rows:
    """What one heartbeat costs the step, and what it costs when it goes to the server."""
    temporal, queue = client.client, "beating"
    async with Worker(
        temporal,
        task_queue=queue,
        workflows=[Beating],
        activities=[beating],
        workflow_runner=UnsandboxedWorkflowRunner(),
    ):
        name = f"beating-{uuid4().hex[:8]}"
        held, sent = await temporal.execute_workflow(Beating.run, 40 * repeat, id=name, task_queue=queue)
    return iter(
        [("heartbeat, as a step calls it", held, "µs"), ("heartbeat, to the server", sent / 1e3, "ms")]
    )


async def recovery(client: TaskClient, environment: dict[str, str], repeat: int) -> Rows:
    """From the kill -9 of a worker in the middle of a step to the step's next beginning on another."""
    notes, found = moments.Notes(client.wiring.settings.root), []
    workers = [EngineWorker("taskmark", environment) for _ in range(2)]
    try:
        for worker in workers:
            worker.wait_until_ready()
        for _ in range(repeat):
            found.append(await _kill_one(client, workers, notes))
            workers.append(EngineWorker("taskmark", environment))
            workers[-1].wait_until_ready()
    finally:
        for worker in workers:
            worker.close()
    return iter([("recovery: worker killed, another runs", median(found), "s")])


async def _kill_one(client: TaskClient, workers: list[EngineWorker], notes: moments.Notes) -> float:
    before = len(notes.all())
    execution = await client.start(source=moments.task([0.3] * 2))
    begun = await _noted_beyond(notes, before)
    victim = next(worker for worker in workers if worker.process.pid == begun["pid"])
    killed = time.time()
    os.kill(victim.process.pid, signal.SIGKILL)
    workers.remove(victim)
    victim.close()
    again = await _noted_beyond(notes, before + 1)
    result = await client.wait(execution, timeout=PATIENCE)
    assert result.status.is_success, result.error
    return again["at"] - killed


async def _noted_beyond(notes: moments.Notes, count: int) -> dict[str, float]:
    end = time.monotonic() + PATIENCE
    while len(found := notes.all()) <= count:
        assert time.monotonic() < end, "no step began"
        await asyncio.sleep(0.01)
    return found[count]


def cold_starts(repeat: int) -> Rows:
    """`taskmark run` where nothing runs: server, worker, first step; and until the command has ended."""
    found = [_cold_start() for _ in range(repeat)]
    yield "cold start to the first step", median(first for first, _ in found), "s"
    yield "cold start to the command's end", median(ended for _, ended in found), "s"


def _cold_start() -> tuple[float, float]:
    with place("benchmarks.moments") as (settings, environment):
        Path(settings.root, "task.md").write_text(moments.task([0.0]))
        own = usual(os.environ) | environment
        own |= {"PYTHONPATH": str(ROOT), "PYTHONPYCACHEPREFIX": str(_BYTECODE)}
        words = [sys.executable, "-m", "starter.cli.entry", "run", "task.md"]
        begun = time.time()
        subprocess.run(words, cwd=settings.root, env=own, check=True, capture_output=True)
        ended = time.time()
        first = moments.Notes(settings.root).all()[0]["at"]
        _await_end(settings)
    return first - begun, ended - begun


_BYTECODE = Path(tempfile.gettempdir(), f"taskmark-bench-bytecode-{os.getuid()}")
"""Kept between the starts: somebody's second start is meant, not the compilation of every module."""


def _await_end(settings: Settings) -> None:
    """Returns once the server of the folder has ended, so that the folder can go."""
    from starter.embedded.server import running

    end = time.monotonic() + PATIENCE
    while running(settings) is not None and time.monotonic() < end:
        time.sleep(0.05)


async def _with_server(repeat: int) -> list[tuple[str, float, str]]:
    with place("benchmarks.moments") as (settings, environment):
        async with TaskClient.open(settings, worker=False) as client:
            beats = await heartbeats(client, repeat)
            return [*beats, *await recovery(client, environment, repeat)]


def measure(repeat: int) -> dict[str, Any]:
    """Returns everything as rows."""
    begun = reporting.machine()
    found = [
        *(
            row
            for part in (doors, parsing, evaluating, storing, scrubbing, cold_starts)
            for row in part(repeat)
        ),
        *asyncio.run(_with_server(repeat)),
    ]
    rows = [{"what": what, "value": float(f"{value:.4g}"), "unit": unit} for what, value, unit in found]
    return {"machine": begun, "small": rows}


def show(results: dict[str, Any]) -> None:
    """Prints the table."""
    print(f"machine: {results['machine']}")
    reporting.table("Single things", results["small"])


def main() -> None:
    parser = reporting.arguments(__doc__)
    parser.add_argument("--repeat", type=int, default=5, help="how often each is measured")
    options = parser.parse_args()
    reporting.give(measure(1 if options.quick else options.repeat), options, show)


if __name__ == "__main__":
    main()
