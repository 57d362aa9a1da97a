"""A step that takes all it can get is stopped in time and says by what; what runs beside it goes on."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import psutil
import pytest
from acceptance_place import PATIENCE, Place, bound, eventually, kill

from starter.gateway import TaskClient
from taskmark.contracts import TaskResult
from taskmark.errors import Category

BEYOND = 5.0
"""Seconds beyond its limit in which a step has ended."""
PAUSE = 0.2
"""Seconds that each step beside takes."""
HELD_UP = 1.5
"""Seconds that a step beside may come later than that, on a machine that has two processors for all of it."""

PLUGIN = """
from taskmark.ports import StepContext
from taskmark.registry import tool
from taskmark.tools.processes import ProcessLimits
from taskmark.tools.shell import Shell, ShellParameters

LIMITS = ProcessLimits(
    memory=300_000_000, cpu_seconds=2, file_size=50_000_000, processes=40, output=1_000_000,
    written=60_000_000, grace=0.2,
)

@tool("limited")
async def limited(parameters: ShellParameters, context: StepContext):
    "The tool `shell` with limits that are reached soon."
    return await Shell(LIMITS).execute(parameters, context)
"""

# It stops by itself at a thousand processes, should the limit fail.
BOMB = "bomb() { [ $1 = 0 ] || { bomb $(($1 - 1)) & bomb $(($1 - 1)) & wait; }; sleep 9; }; bomb 9"
HOARD = "import mmap; m = mmap.mmap(-1, 2 * 10**9)\nfor n in range(2000): m.write(b'x' * 10**6)\ninput()"
MANY = "for n in 1 2 3 4 5; do for m in 1 2 3 4 5 6; do while :; do :; done & done; done; wait"
ALLOCATE = "x = b'x' * 2_000_000_000; import time; time.sleep(60)"
FILL = "n = 0\nwhile True: n += 1; open(f'fill{n % 9}', 'wb').write(b'x' * 20_000_000)"


def sh(script: str) -> str:
    return json.dumps(["/bin/sh", "-c", script])


def python(code: str) -> str:
    return json.dumps([sys.executable, "-I", "-c", code])


@dataclass(frozen=True)
class Greedy:
    """A command, the seconds in which its limit is reached, and how its failure reads."""

    command: str
    limit: float
    category: Category
    reason: str


RESOURCE, TRANSIENT = Category.RESOURCE, Category.TRANSIENT
CASES = {
    "fork bomb": Greedy(sh(BOMB), 0, RESOURCE, "sh passed its limit of 40 (processes), so it was ended"),
    "2 GB shared": Greedy(
        python(HOARD), 0, RESOURCE, "passed its limit of 300,000,000 (memory), so it was ended"
    ),
    "2 GB": Greedy(python(ALLOCATE), 0, RESOURCE, "MemoryError"),
    "endless output": Greedy(sh("yes"), 0, RESOURCE, "sh printed more than 1,000,000 bytes, so it was ended"),
    "full disk": Greedy(
        python(FILL), 0, RESOURCE, "passed its limit of 60,000,000 (written), so it was ended"
    ),
    "endless work": Greedy(
        sh("while :; do :; done"), 2, RESOURCE, "used more than 2 s of CPU, so it was ended"
    ),
    "endless work of many": Greedy(sh(MANY), 4, TRANSIENT, "longer than its timeout of 4 s"),
    "sleeps for ever": Greedy(sh("trap '' TERM; while :; do sleep 1; done"), 4, TRANSIENT, "timeout of 4 s"),
}

IN_FILE = {
    "fork bomb": ("{processes: 40}", sh(BOMB), 0.0, "passed its limit of 40 (processes), so it was ended"),
    "2 GB": ("{memory: 300 MB}", python(ALLOCATE), 0.0, "MemoryError"),
    "2 GB shared": ("{memory: 300 MB}", python(HOARD), 0.0, "passed its limit of 300,000,000 (memory)"),
    "endless output": (
        "{output: 1 MB}",
        sh("yes"),
        0.0,
        "printed more than 1,000,000 bytes, so it was ended",
    ),
    "full disk": ("{disk: 60 MB}", python(FILL), 0.0, "passed its limit of 60,000,000 (written)"),
    "endless work of many": (
        "{cpu: 2s}",
        sh(MANY),
        2.0,
        "used more than 2 s of CPU, so it was ended",
    ),
}
"""What a step of `shell` says itself, what it does all the same, in how many seconds its limit is reached,
and how its failure reads."""

GREEDY = """\
# Greedy

## Phase: Only
### Steps
- tool: {tool} - Takes all it can get
  id: greedy
  timeout: {timeout}
  limits: {limits}
  retry: {{maxAttempts: 1}}
  with:
    command: {command}
"""

SILENT = """\
# Silent

## Phase: Only
### Steps
- tool: http - Nobody answers
  id: greedy
  retry: {{maxAttempts: 1}}
  with: {{url: "http://127.0.0.1:{port}/", timeout: 1s}}
"""


def beside(seconds: float, count: int) -> str:
    """Returns a task whose steps come one after the other."""
    steps = (f"- tool: effect - {n}\n  id: step{n}\n  with: {{seconds: {seconds}}}" for n in range(count))
    return "\n".join(("# Beside\n\n## Phase: Only\n### Steps", *steps))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A place with a tool that has low limits."""
    shared = Place(
        tmp_path_factory.mktemp("greedy"),
        plugins="acceptance_effects,greedy_tools",
        http_allow_private="true",
    )
    (shared.root / "greedy_tools.py").write_text(PLUGIN)
    yield shared
    shared.close()


@pytest.fixture(scope="module")
async def worker(place: Place, client: TaskClient) -> AsyncIterator[subprocess.Popen[bytes]]:
    """One worker for all: what is greedy and what is not share it."""
    running = place.worker()
    await client.execute(source=beside(0, 1))
    yield running
    kill(running)


async def ends_beside_others(
    place: Place, client: TaskClient, worker: subprocess.Popen[bytes], source: str, limit: float
) -> TaskResult:
    """Returns how the greedy task has ended, if it did in time, held up nobody and has left nothing."""
    other = await client.start(source=beside(PAUSE, 6 + int(limit / PAUSE)))
    await asyncio.to_thread(eventually, lambda: place.traces(other))
    result = await client.wait(await client.start(source=source), timeout=PATIENCE)
    assert result.finished_at is not None
    took = (result.finished_at - result.started_at).total_seconds()
    assert took < bound(limit + BEYOND)
    assert (await client.wait(other, timeout=PATIENCE)).status == "completed"
    longest = _longest(place, other)
    print(f"ended after {took:.1f} s; the longest step beside took {longest:.2f} s")
    assert longest < bound(PAUSE + HELD_UP)
    assert psutil.Process(worker.pid).children(recursive=True) == []
    return result


def _longest(place: Place, execution: str) -> float:
    """Returns the most seconds from the beginning of a step to its end, or to the next one's beginning."""
    at = [trace["at"] for trace in place.traces(execution)]
    return max(later - earlier for earlier, later in pairwise(at))


@pytest.mark.parametrize("case", CASES)
async def test_a_greedy_step_is_stopped_while_others_go_on(
    case: str, place: Place, client: TaskClient, worker: subprocess.Popen[bytes]
) -> None:
    """Its failure says which limit it was, and what to do."""
    greedy = CASES[case]
    source = GREEDY.format(tool="limited", timeout="4s", limits="{}", command=greedy.command)
    result = await ends_beside_others(place, client, worker, source, greedy.limit)
    failure = result.steps["greedy"].error
    assert failure is not None
    print(f"{case}: {failure.category}: {failure.message} ({failure.hint})")
    assert (result.status, failure.category) == ("failed", greedy.category)
    assert greedy.reason in failure.message
    assert failure.hint


@pytest.mark.parametrize("case", IN_FILE)
async def test_a_greedy_step_is_stopped_by_the_limits_that_the_file_sets(
    case: str, place: Place, client: TaskClient, worker: subprocess.Popen[bytes]
) -> None:
    """Long before its timeout, and while others go on."""
    limits, command, limit, reason = IN_FILE[case]
    source = GREEDY.format(tool="shell", timeout="60s", limits=limits, command=command)
    result = await ends_beside_others(place, client, worker, source, limit)
    failure = result.steps["greedy"].error
    assert failure is not None
    print(f"{case}: {failure.category}: {failure.message} ({failure.hint})")
    assert (result.status, failure.category) == ("failed", Category.RESOURCE)
    assert reason in failure.message
    assert failure.hint


async def test_a_silent_network_holds_up_nobody(
    place: Place, client: TaskClient, worker: subprocess.Popen[bytes]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        source = SILENT.format(port=silent.getsockname()[1])
        result = await ends_beside_others(place, client, worker, source, 1)
    failure = result.steps["greedy"].error
    assert failure is not None
    assert failure.category is Category.TRANSIENT
    assert "no answer within 1 s" in failure.message


async def test_the_worker_is_the_same_afterwards(
    place: Place, client: TaskClient, worker: subprocess.Popen[bytes]
) -> None:
    """It has neither died nor kept what the greedy steps took."""
    assert worker.poll() is None
    assert (await client.execute(source=beside(0, 1))).status == "completed"
    assert psutil.Process(worker.pid).memory_info().rss < 500_000_000
    assert not Path(place.root / "core").exists()
