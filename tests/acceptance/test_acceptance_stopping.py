"""How workers end: asked to, or killed, and what becomes of the steps and processes they had."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable

import psutil
import pytest
from acceptance_place import PATIENCE, Place, eventually, kill
from acceptance_tasks import LONG

from starter.gateway import TaskClient
from taskmark.contracts import StepStatus

GRACE = 1.0
BOUND = GRACE + 5


@pytest.fixture
def hasty(make_place: Callable[..., Place]) -> Place:
    """A place whose workers have one second to end."""
    return make_place(grace_seconds=GRACE)


@pytest.mark.semantics("C12")
async def test_a_worker_that_is_told_to_stop_hands_its_step_over(hasty: Place) -> None:
    """It ends in time with code 0; another worker does the step, and no attempt has failed."""
    async with TaskClient.open(hasty.settings, worker=False) as client:
        first = hasty.worker()
        execution = await client.start(source=LONG)
        await asyncio.to_thread(eventually, lambda: hasty.begun(execution, "long"))
        started = time.monotonic()
        first.send_signal(signal.SIGTERM)
        hasty.worker()
        assert await asyncio.to_thread(first.wait, PATIENCE) == 0
        assert time.monotonic() - started < BOUND
        result = await client.wait(execution, timeout=PATIENCE)
        assert (result.status, result.steps["long"].attempts) == ("completed", 1)
        assert len(hasty.begun(execution, "long")) == 2
        attempts = await asyncio.to_thread(_attempts, client, execution)
        assert attempts == [("long", 1, StepStatus.COMPLETED), ("after", 1, StepStatus.COMPLETED)]


def _attempts(client: TaskClient, execution: str) -> list[tuple[str, int, StepStatus]]:
    """Returns what the store tells of the attempts, once it tells that the execution has ended."""
    history = client.wiring.history
    eventually(lambda: any(e.kind == "execution_completed" for e in history.events(execution)))
    return [(a.step, a.attempt, a.status) for a in history.attempts(execution)]


@pytest.mark.semantics("C12")
async def test_a_step_that_ends_within_the_grace_time_is_not_repeated(
    make_place: Callable[..., Place],
) -> None:
    """A worker with time enough completes what it has begun."""
    place = make_place(grace_seconds=20)
    async with TaskClient.open(place.settings, worker=False) as client:
        first = place.worker()
        execution = await client.start(source=LONG)
        await asyncio.to_thread(eventually, lambda: place.begun(execution, "long"))
        first.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(first.wait, PATIENCE) == 0
        place.worker()
        result = await client.wait(execution, timeout=PATIENCE)
        assert result.status == "completed"
        assert len(place.begun(execution, "long")) == 1


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGKILL], ids=["told", "killed"])
async def test_several_workers_end_with_the_process_that_started_them(
    hasty: Place, ending: signal.Signals
) -> None:
    """Told to end, it ends with code 0 after them; killed, it takes them along within the grace time."""
    async with TaskClient.open(hasty.settings, worker=False):
        parent = hasty.command("worker", "--workers", "2")
        children = await asyncio.to_thread(eventually, lambda: _two(psutil.Process(parent.pid)))
        await asyncio.to_thread(
            eventually, lambda: hasty.said(parent).count("worker on") == 2 or parent.poll() is not None
        )
        os.kill(parent.pid, ending)
        code = await asyncio.to_thread(parent.wait, PATIENCE)
        assert code == (0 if ending is signal.SIGTERM else -signal.SIGKILL), hasty.said(parent)
        _, left = await asyncio.to_thread(psutil.wait_procs, children, BOUND)
        assert not left


def _two(parent: psutil.Process) -> list[psutil.Process]:
    children: list[psutil.Process] = parent.children()
    return children if len(children) == 2 else []


FAMILY = """\
# Family

## Phase: Only
### Steps
- tool: shell - A process with a child, and a grandchild that left its group
  with:
    shell: true
    command: "sleep 987.1 & (setsid sleep 987.2 &) ; sleep 987.3"
"""


async def test_processes_of_a_step_die_with_a_worker_that_is_killed(hasty: Place) -> None:
    """No process outlives its worker, not even one that left its session."""
    async with TaskClient.open(hasty.settings, worker=False) as client:
        worker = hasty.worker()
        await client.start(source=FAMILY)
        family = await asyncio.to_thread(eventually, lambda: _sleepers(hasty, 3))
        kill(worker)
        _, left = await asyncio.to_thread(psutil.wait_procs, family, 5)
        assert not left


def _sleepers(place: Place, count: int) -> list[psutil.Process]:
    found = [process for process in place.processes() if process.name() == "sleep"]
    return found if len(found) >= count else []
