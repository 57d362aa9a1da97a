"""Steps that take all they can get: each is stopped, says by what, and leaves others what they need."""

from __future__ import annotations

import asyncio
import fcntl
import os
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from taskmark.errors import Category, StepFailed
from taskmark.ports import StepContext
from taskmark.tools import launch, processes
from taskmark.tools.files import ReadFile, WriteFile
from taskmark.tools.filing import CopyFile
from taskmark.tools.listing import ListFiles
from taskmark.tools.processes import Command, ProcessLimits, run
from taskmark.tools.shell import Shell

Call = Callable[..., Awaitable[Any]]
MB = 1_000_000
BOUND = 5.0
"""Seconds beyond its limit in which a command is gone."""

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what processes do")


def python(code: str, **more: Any) -> Command:
    return Command((sys.executable, "-I", "-c", code), **more)


def shell(script: str, **more: Any) -> Command:
    return Command(("/bin/sh", "-c", script), **more)


@pytest.fixture
def on_disk(root: Path) -> None:
    """Skips where the system does not tell what is written, as in memory."""
    before = launch.written_by(os.getpid())
    (root / "probe").write_bytes(b"x" * MB)
    if launch.written_by(os.getpid()) - before < MB:
        pytest.skip("what is written here is not counted")
    (root / "probe").unlink()


WRITE = """
import os, time
for n in range({files}):
    with open(f"f{{n % 2}}", "wb") as file:
        file.write(b"x" * 10_000_000)
    time.sleep(0.01)
"""
HOLD = """
import mmap, time
memory = mmap.mmap(-1, 400_000_000)
for n in range(0, 400_000_000, 4096): memory[n] = 1
time.sleep(60)
"""
FORK = """
import os, time
time.sleep({wait})
for n in range({count}):
    if os.fork() == 0:
        {leave}
        time.sleep(60)
time.sleep(60)
"""
DEAF = "import signal; signal.signal(signal.SIGXCPU, signal.SIG_IGN)\nwhile True: pass"
SPIN = f"{sys.executable} -Ic 'while True: pass'"

GREEDY: dict[str, tuple[Command, ProcessLimits, str]] = {
    "many files": (python(WRITE.format(files=99)), ProcessLimits(written=60 * MB), r"\(written\)"),
    "the rest of the disk": (
        python(WRITE.format(files=99)),
        ProcessLimits(free_disk=10**16),
        "less than 10,000,000,000,000,000 bytes of the disk free",
    ),
    "memory for many": (python(HOLD), ProcessLimits(memory=150 * MB), r"\(memory\)"),
    "a bomb after a while": (
        python(FORK.format(wait=2, count=400, leave="pass")),
        ProcessLimits(processes=50),
        r"\(processes\)",
    ),
    "a bomb of sessions": (
        python(FORK.format(wait=0, count=400, leave="os.setsid()")),
        ProcessLimits(processes=50),
        r"\(processes\)",
    ),
    "CPU in a child": (shell(f"{SPIN}; exit $?"), ProcessLimits(cpu_seconds=1), "more than 1 s of CPU"),
    "CPU and heeds nothing": (python(DEAF), ProcessLimits(cpu_seconds=1), "more than 1 s of CPU"),
    "a file in a child": (
        shell("head -c 9000000 /dev/zero > x; exit $?"),
        ProcessLimits(file_size=MB),
        "a file of more than 1,000,000 bytes",
    ),
    "lines without end": (shell("yes"), ProcessLimits(output=MB), "printed more than"),
    "a line without end": (shell("cat /dev/zero"), ProcessLimits(output=MB), "printed more than"),
}


@on_linux
@pytest.mark.parametrize("case", GREEDY)
async def test_what_is_greedy_is_ended_for_lack_of_resources(
    case: str, context: StepContext, on_disk: None, left_behind: Callable[[], list[psutil.Process]]
) -> None:
    """Within five seconds of its limit, with what it wanted, and with all that it started."""
    command, limits, reason = GREEDY[case]
    before = time.monotonic()
    with pytest.raises(StepFailed, match=reason) as caught:
        await run(command, context, replace(limits, grace=0.2))
    assert caught.value.category is Category.RESOURCE
    assert caught.value.hint
    assert time.monotonic() - before < BOUND + 2
    assert left_behind() == []


@on_linux
async def test_who_writes_little_is_not_ended_for_a_disk_that_others_have_filled(
    context: StepContext,
) -> None:
    ended = await run(python("open('x', 'wb').write(b'x' * 10**6)"), context, ProcessLimits(free_disk=10**16))
    assert ended.exit_code == 0


async def test_who_opens_files_without_end_gets_no_more_at_some_time(context: StepContext) -> None:
    """The system refuses them to this process alone, whatever the program would raise its limit to."""
    code = """
import resource
with __import__('contextlib').suppress(ValueError, OSError):
    resource.setrlimit(resource.RLIMIT_NOFILE, (2000, 2000))
files = []
try:
    while len(files) < 1000: files.append(open('/dev/null'))
except OSError as error:
    print(len(files), error.strerror)
"""
    if os.getuid() == 0:  # root may raise what nobody else may
        code = code.replace("2000, 2000", "60, 60")
    ended = await run(python(code), context, ProcessLimits(open_files=60))
    count, reason = ended.stdout.text.split(" ", 1)
    assert 40 < int(count) < 62
    assert reason == "Too many open files\n"


async def test_a_limit_that_is_lower_already_stays(context: StepContext) -> None:
    usual = await run(shell("ulimit -Sn"), context, ProcessLimits(open_files=0))
    ended = await run(shell("ulimit -Sn"), context, ProcessLimits(open_files=int(usual.stdout.text) + 5))
    assert ended.stdout.text == usual.stdout.text


@on_linux
async def test_a_command_is_ended_before_its_worker_if_the_machine_has_no_memory_left(
    context: StepContext,
) -> None:
    own = int(Path("/proc/self/oom_score_adj").read_text())
    ended = await run(shell("cat /proc/self/oom_score_adj"), context)
    assert int(ended.stdout.text) == max(own, 500)


@on_linux
async def test_what_a_command_used_is_told(context: StepContext, on_disk: None) -> None:
    """Also what its children did, what was deleted again, and what is not kept of its output."""
    write = "(head -c 20000000 /dev/zero > x; rm x); head -c 3000000 /dev/zero; echo told >&2"
    await run(shell(write), context)
    await run(shell("echo more"), context)
    assert 20 * MB <= context.resources["written_bytes"] < 30 * MB
    assert context.resources["printed_bytes"] == 3 * MB + 10


@on_linux
async def test_what_failed_has_used_something_too(context: StepContext, on_disk: None) -> None:
    with suppress(StepFailed):
        await run(python(WRITE.format(files=99)), context, ProcessLimits(written=60 * MB, grace=0.2))
    assert context.resources["written_bytes"] > 60 * MB


@on_linux
@pytest.mark.parametrize("limits", [ProcessLimits(written=60 * MB), ProcessLimits(free_disk=10**16)])
async def test_the_launcher_itself_ends_who_writes_too_much(
    limits: ProcessLimits,
    context: StepContext,
    on_disk: None,
    measured: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same again, with the launcher's own lines measured."""
    monkeypatch.setattr(processes, "LAUNCHER", (*measured, launch.__file__))
    with pytest.raises(StepFailed) as caught:
        await run(python(WRITE.format(files=999)), context, replace(limits, grace=0.2))
    assert caught.value.category is Category.RESOURCE


def test_where_the_system_does_not_tell_nothing_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does it matter that it cannot be told whom to end first."""
    gone = 2**22 + 1
    assert launch.written_by(gone) == launch.shared_memory(gone) == 0
    assert launch.memory_of([]) == launch.memory_of([gone]) == 0

    def refused(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(launch, "open", refused, raising=False)
    launch.go_first_on_shortage()
    assert launch.written_by(os.getpid()) == 0


def test_what_is_free_on_a_disk_is_told(root: Path) -> None:
    descriptor = os.open(root, os.O_RDONLY)
    free = launch.free_on_disk(descriptor)
    os.close(descriptor)
    assert 0 < free < 2**60


@pytest.mark.parametrize(
    "said", ["MemoryError", "write error: No space left on device", "x: Too many open files"]
)
async def test_what_says_that_it_lacks_something_failed_for_lack_of_resources(said: str, call: Call) -> None:
    """Also where the system has refused it something by itself, and the program alone can tell."""
    with pytest.raises(StepFailed, match=said) as caught:
        await call(Shell(), command=["/bin/sh", "-c", f"echo '{said}' >&2; exit 1"])
    assert caught.value.category is Category.RESOURCE


# --- files ----------------------------------------------------------------------------------------


async def test_who_waits_for_a_locked_file_keeps_nobody_else_from_files(
    root: Path, call: Call, context: StepContext
) -> None:
    """However many they are, and for however long: they end with their step."""
    (root / "log").touch()
    (root / "free").write_text("free")
    hurried = replace(context, timeout=2.0)
    parameters = WriteFile().validate({"path": "log", "content": "x", "append": True})
    with (root / "log").open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        waiting = [asyncio.ensure_future(WriteFile().execute(parameters, hurried)) for _ in range(50)]
        await asyncio.sleep(0.05)
        before = time.monotonic()
        assert (await call(ReadFile(), path="free"))["content"] == "free"
        assert time.monotonic() - before < 1.5
        for failure in await asyncio.gather(*waiting, return_exceptions=True):
            assert isinstance(failure, StepFailed)
            assert failure.category is Category.TRANSIENT
            assert "keeps it locked" in failure.message
    assert (root / "log").read_text() == ""


async def test_a_copy_that_is_cancelled_ends_and_leaves_nothing(root: Path, call: Call) -> None:
    with (root / "large").open("wb") as file:
        file.truncate(4 * 1024**3)
    copying = asyncio.ensure_future(call(CopyFile(), path="large", to="copy"))
    while len(list(root.iterdir())) == 1:
        await asyncio.sleep(0.005)
    before = time.monotonic()
    copying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await copying
    assert time.monotonic() - before < 4
    assert [entry.name for entry in root.iterdir()] == ["large"]


@pytest.mark.parametrize("pattern", ["**/" * 1300 + "x", "**/*/" * 650 + "x", "*a" * 1500 + "b", "[" * 4000])
async def test_a_pattern_that_is_much_work_ends_in_time(pattern: str, root: Path, call: Call) -> None:
    place = root
    for _ in range(50):
        place = place / ("a" * 50)
        place.mkdir()
        for n in range(10):
            (place / f"{'a' * 200}{n}").touch()
    before = time.monotonic()
    assert await call(ListFiles(), pattern=pattern) == {"files": []}
    assert time.monotonic() - before < 5


async def test_a_pattern_longer_than_any_path_is_refused(call: Call) -> None:
    with pytest.raises(StepFailed, match="cannot fit any file") as caught:
        await call(ListFiles(), pattern="**/" * 2000)
    assert caught.value.category is Category.CONFIGURATION
    assert len(caught.value.message) < 300
