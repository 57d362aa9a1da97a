"""The launcher again, with its own lines measured: the same real processes, started a little slower."""

import asyncio
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from taskmark.errors import StepFailed
from taskmark.ports import StepContext
from taskmark.tools import launch, processes
from taskmark.tools.processes import Command, ProcessLimits, run

QUICK = ProcessLimits(grace=0.3)


@pytest.fixture(autouse=True)
def launcher(measured: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "LAUNCHER", (*measured, launch.__file__))


async def test_a_command_runs_with_its_limits(context: StepContext) -> None:
    """It ends by itself, by a signal, or not at all because there is no such program."""
    limits = ProcessLimits(memory=10**9, cpu_seconds=100, file_size=10**8)
    ended = await run(Command(("/bin/sh", "-c", "echo out; exit 3")), context, limits)
    assert (ended.exit_code, ended.stdout.text) == (3, "out\n")
    assert (await run(Command(("/bin/sh", "-c", "kill -9 $$")), context)).exit_code == 137
    unlimited = ProcessLimits(memory=0, cpu_seconds=0, file_size=0, processes=0)
    assert (await run(Command(("sleep", "0.4")), context, unlimited)).exit_code == 0
    with pytest.raises(StepFailed, match="not found"):
        await run(Command(("no-such-program",)), context)


@pytest.mark.parametrize("script", ["trap '' TERM; sleep 100 & setsid sleep 100 & wait", "exec sleep 100"])
async def test_what_takes_too_long_ends_with_all_it_started(
    script: str, context: StepContext, left_behind: Callable[[], list[psutil.Process]]
) -> None:
    with pytest.raises(StepFailed, match="did not end"):
        await run(Command(("/bin/sh", "-c", script)), replace(context, timeout=1.5), QUICK)
    assert left_behind() == []


async def test_limits_on_all_together_are_watched(context: StepContext) -> None:
    hoard = 'x = b"x" * 60_000_000; import time; time.sleep(9)'
    many = "for i in 1 2 3 4 5 6; do sleep 9 & done; wait"
    much = f"for i in 1 2 3 4; do {sys.executable} -Ic '{hoard}' & done; wait"
    for script, limits, reason in (
        (many, ProcessLimits(processes=4), r"limit of 4 \(processes\)"),
        (much, ProcessLimits(memory=120_000_000), r"\(memory\)"),
    ):
        with pytest.raises(StepFailed, match=reason):
            await run(Command(("/bin/sh", "-c", script)), context, limits)


async def test_nothing_begins_for_a_worker_that_gave_up(root: Path, context: StepContext) -> None:
    running = asyncio.ensure_future(run(Command(("touch", "begun")), context, QUICK))
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not (root / "begun").exists()


def test_a_process_that_is_gone_has_neither_children_nor_memory() -> None:
    gone = 2**22 + 1
    assert launch.children_of(gone) == []
    assert launch.resident(gone) == 0
