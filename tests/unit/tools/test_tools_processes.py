"""Every subprocess: what it gets, what it may use, and that it leaves nothing behind."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from taskmark.errors import Category, StepFailed
from taskmark.ports import StepContext
from taskmark.task.model import StepLimits
from taskmark.tools import processes
from taskmark.tools.processes import Capture, Command, ProcessLimits, clean_environment, launcher_health, run

QUICK = ProcessLimits(grace=0.3)
# A family that does not want to go: deaf to SIGTERM, one of them in a session of its own.
FAMILY = """
trap '' TERM
sh -c 'trap "" TERM; echo $$ > one; while :; do sleep 1; done' &
setsid sh -c 'trap "" TERM; echo $$ > two; while :; do sleep 1; done' &
( setsid sh -c 'echo $$ > three; exec sleep 100' & )
echo $$ > zero
while :; do sleep 1; done
"""


def shell(script: str, **more: object) -> Command:
    return Command(("/bin/sh", "-c", script), **more)  # type: ignore[arg-type]  # keywords of a dataclass


def lives(process: int) -> bool:
    try:
        return psutil.Process(process).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def family(root: Path) -> list[int]:
    """Returns the process ids once all have begun."""
    names = ("zero", "one", "two", "three")
    async with asyncio.timeout(10):
        while not all((root / name).exists() and (root / name).read_text().strip() for name in names):
            await asyncio.sleep(0.01)
    return [int((root / name).read_text()) for name in names]


async def none_left(members: list[int], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while any(lives(member) for member in members) and time.monotonic() < deadline:
        await asyncio.sleep(0.02)
    return not any(lives(member) for member in members)


def start_worker(root: Path, script: str) -> subprocess.Popen[bytes]:
    """Returns a process of its own that runs a script as a worker does."""
    program = (
        "import asyncio, sys; from pathlib import Path\n"
        "from taskmark.ports import StepContext\n"
        "from taskmark.tools.processes import Command, ProcessLimits, run\n"
        f"command = Command(('/bin/sh', '-c', {script!r}))\n"
        "asyncio.run(run(command, StepContext(root=Path(sys.argv[1])), ProcessLimits(grace=0.3)))\n"
    )
    return subprocess.Popen([sys.executable, "-c", program, str(root)])


async def test_cancelling_leaves_no_process_not_even_those_that_ignore_it(
    root: Path, context: StepContext
) -> None:
    """When the cancelled call has ended, every descendant is gone."""
    running = asyncio.ensure_future(run(shell(FAMILY), context, QUICK))
    members = await family(root)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not any(lives(member) for member in members)


async def test_cancelling_twice_leaves_no_process_either(root: Path, context: StepContext) -> None:
    running = asyncio.ensure_future(run(shell(FAMILY), context, QUICK))
    members = await family(root)
    running.cancel()
    await asyncio.sleep(0.05)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not any(lives(member) for member in members)


@pytest.mark.parametrize("delay", [0.0, 0.001, 0.01, 0.03])
async def test_cancelling_while_it_starts_leaves_no_process(
    delay: float, root: Path, context: StepContext, left_behind: Callable[[], list[psutil.Process]]
) -> None:
    running = asyncio.ensure_future(run(shell("exec sleep 100"), context, QUICK))
    await asyncio.sleep(delay)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert left_behind() == []


async def test_killing_the_worker_leaves_no_process(root: Path) -> None:
    """SIGKILL leaves the worker no time for anything; the launcher sees it all the same."""
    worker = start_worker(root, FAMILY)
    members = await family(root)
    worker.kill()
    worker.wait()
    assert await none_left(members, 5)


async def test_a_command_dies_with_its_launcher_while_the_worker_cannot_help(root: Path) -> None:
    """Out of memory, the system may kill launcher and worker at once."""
    worker = start_worker(root, "echo $$ > zero; exec sleep 100")
    async with asyncio.timeout(10):
        while not (root / "zero").exists() or not (root / "zero").read_text():
            await asyncio.sleep(0.01)
    command = psutil.Process(int((root / "zero").read_text()))
    launcher = command.parent()
    assert launcher is not None
    worker.send_signal(signal.SIGSTOP)
    launcher.kill()
    assert await none_left([command.pid], 2)
    worker.kill()
    worker.wait()


async def test_what_a_command_leaves_running_ends_with_it(root: Path, context: StepContext) -> None:
    """And nobody waits for it because it holds the output open."""
    before = time.monotonic()
    ended = await run(shell("sleep 100 & setsid sleep 100 & echo $! > left; echo done"), context, QUICK)
    assert ended.stdout.text == "done\n"
    assert time.monotonic() - before < 5
    assert not lives(int((root / "left").read_text()))


async def test_a_command_may_clean_up_when_it_is_asked_to_end(root: Path, context: StepContext) -> None:
    script = "trap 'sleep 0.1; echo bye > said; exit 0' TERM; echo > ready; while :; do sleep 0.02; done"
    running = asyncio.ensure_future(run(shell(script), context, ProcessLimits(grace=5)))
    while not (root / "ready").exists():
        await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert (root / "said").read_text() == "bye\n"


async def test_a_killed_launcher_takes_its_command_along(root: Path, context: StepContext) -> None:
    """The step fails as transient: somebody killed it, the next attempt may go well."""
    with pytest.raises(StepFailed, match="launcher was killed") as caught:
        await run(
            shell("echo $$ > zero; sleep 100 & echo $! > one; kill -9 $PPID; sleep 100"), context, QUICK
        )
    assert caught.value.category is Category.TRANSIENT
    assert await none_left([int((root / name).read_text()) for name in ("zero", "one")], 2)


async def test_a_stuck_launcher_is_forced(
    root: Path, context: StepContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command that stops its launcher is ended by the worker itself."""
    monkeypatch.setattr(processes, "FORCE_AFTER", 0.3)
    script = "echo $$ > zero; sleep 100 & echo $! > one; kill -STOP $PPID; sleep 100"
    with pytest.raises(StepFailed, match=r"within 0.5 s"):
        await run(shell(script), replace(context, timeout=0.5), QUICK)
    assert await none_left([int((root / name).read_text()) for name in ("zero", "one")], 2)


async def test_the_environment_is_clean(
    root: Path, context: StepContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Little of the worker's own, what the step gives, and who is asking; the latter cannot be forged."""
    monkeypatch.setenv("DATABASE_PASSWORD", "hunter2")
    monkeypatch.setenv("TZ", "Europe/Berlin")
    given = {"MINE": "1", "TASKMARK_WORKER_ID": "forged"}
    ended = await run(Command(("/usr/bin/env",), environment=given), context)
    seen = dict(line.split("=", 1) for line in ended.stdout.text.splitlines())
    assert {name for name in seen if not name.startswith("TASKMARK_")} <= {*processes.INHERITED, "MINE"}
    assert seen["MINE"] == "1"
    assert seen["TZ"] == "Europe/Berlin"
    assert {name: value for name, value in seen.items() if name.startswith("TASKMARK_")} == {
        "TASKMARK_IDEMPOTENCY_KEY": "key-1",
        "TASKMARK_EXECUTION_ID": "exec-1",
        "TASKMARK_PROJECT_ID": "garden",
        "TASKMARK_WORKER_ID": "worker-1",
        "TASKMARK_ATTEMPT": "2",
    }


def test_there_is_a_path_and_a_project_even_if_nobody_set_one(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PATH")
    environment = clean_environment(StepContext(root=root), {})
    assert environment["PATH"] == os.defpath
    assert environment["TASKMARK_PROJECT_ID"] == ""


@pytest.mark.parametrize("name", ["", "A=B", "A\0"])
async def test_an_environment_that_cannot_be_is_refused(name: str, context: StepContext) -> None:
    with pytest.raises(StepFailed, match="cannot be set") as caught:
        await run(Command(("true",), environment={name: "x"}), context)
    assert caught.value.category is Category.CONFIGURATION


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ((), "empty"),
        (("",), "empty"),
        (("true", "a\0b"), "no program can be given"),
        (("true", "\ud800"), "no program can be given"),
        (("no-such-program",), "no-such-program: command not found"),
        (("/etc/passwd",), "passwd could not be started: Permission denied"),
        (("/bin/echo", "x" * 200_000), "echo could not be started: Argument list too long"),
    ],
)
async def test_a_command_that_cannot_start_is_a_mistake(
    words: tuple[str, ...], reason: str, context: StepContext
) -> None:
    """No attempt will go better, so it is configuration, with what to do."""
    with pytest.raises(StepFailed, match=reason) as caught:
        await run(Command(words), context)
    assert caught.value.category is Category.CONFIGURATION


async def test_it_starts_where_it_is_told_and_nowhere_outside(root: Path, context: StepContext) -> None:
    (root / "sub").mkdir()
    (root / "out").symlink_to("/")
    ended = await run(Command(("/bin/pwd", "-P"), directory="sub"), context)
    assert ended.stdout.text.strip() == str((root / "sub").resolve())
    for place in ("..", "out", "/", "gone"):
        with pytest.raises(StepFailed):
            await run(Command(("/bin/pwd",), directory=place), context)


async def test_input_reaches_it_and_may_be_left_unread(context: StepContext) -> None:
    """A command that ends without reading a large input is no failure of the step's."""
    assert (await run(Command(("cat",), stdin=b"in"), context)).stdout.text == "in"
    assert (await run(Command(("true",), stdin=b"x" * 1_000_000), context)).exit_code == 0
    assert (await run(Command(("cat",)), context)).stdout.text == ""


async def test_words_reach_it_unchanged(context: StepContext) -> None:
    """No shell reads them."""
    words = ("$HOME", "; rm -rf /", "`id`", "$(id)", "a\nb", "-n", "*", "' \"", "ü\udc80", "--")
    code = "import sys, os; sys.stdout.buffer.write(b'\\0'.join(map(os.fsencode, sys.argv[1:])))"
    ended = await run(Command((sys.executable, "-I", "-c", code, *words)), context)
    assert bytes(ended.stdout.tail).split(b"\0") == [os.fsencode(word) for word in words]


async def test_signals_are_told_as_shells_tell_them(context: StepContext) -> None:
    ended = await run(shell("echo said >&2; kill -SEGV $$"), context)
    assert (ended.exit_code, ended.reason) == (139, "exit code 139 (SIGSEGV): said")
    assert (await run(shell("exit 200"), context)).reason == "exit code 200"


async def test_default_signal_handling_is_restored(context: StepContext) -> None:
    """A pipe whose reader is gone ends its writer, as in any shell."""
    ended = await run(shell("yes | head -n 1"), context)
    assert (ended.exit_code, ended.stdout.text, ended.stderr.text) == (0, "y\n", "")


# Grows as a fork bomb does and stops at some 250 processes, should the limit fail.
BOMB = "bomb() { [ $1 = 0 ] || { bomb $(($1 - 1)) & bomb $(($1 - 1)) & wait; }; sleep 3; }; bomb 7"
HOARD = 'x = b"x" * 60_000_000; import time; time.sleep(9)'
LIMITS: list[tuple[str, Command, ProcessLimits, str]] = [
    (
        "fork bomb",
        shell(BOMB),
        ProcessLimits(processes=50),
        "processes",
    ),
    (
        "much memory together",
        shell(f"for i in 1 2 3 4; do {sys.executable} -Ic '{HOARD}' & done; wait"),
        ProcessLimits(memory=120_000_000),
        "memory",
    ),
    ("endless output", Command(("yes",)), ProcessLimits(output=1_000_000), "printed more than"),
    ("much CPU", shell("while :; do :; done"), ProcessLimits(cpu_seconds=1), "of CPU"),
    (
        "a large file",
        shell("exec head -c 2000000 /dev/zero > x"),
        ProcessLimits(file_size=1_000_000),
        "wrote a file",
    ),
]


@pytest.mark.parametrize(
    ("command", "limits", "reason"), [case[1:] for case in LIMITS], ids=[case[0] for case in LIMITS]
)
async def test_each_limit_ends_the_command(
    command: Command,
    limits: ProcessLimits,
    reason: str,
    context: StepContext,
    left_behind: Callable[[], list[psutil.Process]],
) -> None:
    """Within five seconds, as a lack of resources, and nothing is left."""
    before = time.monotonic()
    with pytest.raises(StepFailed, match=reason) as caught:
        await run(command, context, replace(limits, grace=0.2))
    assert caught.value.category is Category.RESOURCE
    assert time.monotonic() - before < 6
    assert left_behind() == []


async def test_one_process_cannot_take_more_memory_than_allowed(context: StepContext) -> None:
    """The system itself refuses it, so the command can say so."""
    command = Command((sys.executable, "-I", "-c", "b'x' * 2_000_000_000"))
    ended = await run(command, context, ProcessLimits(memory=256_000_000))
    assert "MemoryError" in ended.reason


async def test_without_limits_none_is_set(context: StepContext) -> None:
    unlimited = ProcessLimits(memory=0, cpu_seconds=0, file_size=0, processes=0, output=0)
    ended = await run(shell("ulimit -d; ulimit -t; ulimit -f; ulimit -c"), context, unlimited)
    assert ended.stdout.text.split() == ["unlimited"] * 3 + ["0"]


async def test_time_is_limited_by_the_command_and_by_the_step(context: StepContext) -> None:
    for command, step in (
        (Command(("sleep", "50"), timeout=0.2), context),
        (shell("sleep 50"), replace(context, timeout=0.2)),
    ):
        with pytest.raises(StepFailed, match=r"did not end within 0\.2 s") as caught:
            await run(command, step, QUICK)
        assert caught.value.category is Category.TRANSIENT


async def test_output_is_kept_from_its_end(context: StepContext) -> None:
    ended = await run(shell("seq 1 100000; printf end"), context, ProcessLimits(kept=1000))
    assert ended.stdout.truncated
    assert ended.stdout.text.endswith("100000\nend")
    assert len(ended.stdout.text) == 1000
    assert len(ended.stdout.tail) <= 2000
    assert not ended.stderr.truncated


def test_a_capture_replaces_what_is_no_text() -> None:
    capture = Capture(10)
    capture.add(b"a\xff")
    assert capture.text == "a�"


@pytest.mark.parametrize(("number", "category"), [(24, Category.RESOURCE), (8, Category.CONFIGURATION)])
async def test_a_system_that_cannot_start_more_is_short_of_resources(
    number: int, category: Category, context: StepContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(asyncio, "create_subprocess_exec", refuse)
    with pytest.raises(StepFailed, match="true could not be started") as caught:
        await run(Command(("true",)), context)
    assert caught.value.category is category


async def test_no_more_descriptors_is_short_of_resources(
    context: StepContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise OSError(24, os.strerror(24))

    monkeypatch.setattr(os, "pipe", refuse)
    with pytest.raises(StepFailed) as caught:
        await run(Command(("true",)), context)
    assert caught.value.category is Category.RESOURCE


async def test_no_descriptor_is_left_open(context: StepContext) -> None:
    await run(Command(("true",)), context)
    before = psutil.Process().num_fds()
    for command in (Command(("true",)), Command(("no-such-program",)), Command(("sleep", "9"), timeout=0.1)):
        with suppress(StepFailed):
            await run(command, context, QUICK)
    await asyncio.sleep(0.05)
    assert psutil.Process().num_fds() <= before


async def test_starting_costs_little(context: StepContext) -> None:
    """The launcher between worker and command imports little: it starts in less than six times of what an
    interpreter takes that imports nothing."""

    def least(code: str) -> float:
        took = []
        for _ in range(9):
            before = time.perf_counter()
            subprocess.run([*processes.LAUNCHER[:3], "-c", code], check=True)
            took.append(time.perf_counter() - before)
        return min(took)

    bare = least("pass")
    assert least("import os, resource, select, signal, sys, time, ctypes") < 6 * bare


async def test_it_is_healthy_if_it_can_start_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (await launcher_health()).healthy
    for executable, reason in (("/no/such/python", "not found"), ("/bin/false", "exit code 1")):
        monkeypatch.setattr(processes.sys, "executable", executable)
        health = await launcher_health()
        assert not health.healthy
        assert reason in health.message


async def test_what_commands_used_is_added_up(context: StepContext) -> None:
    """The CPU of all of them, with what they started, and the memory of the largest."""
    used = context.resources
    await run(Command((sys.executable, "-Ic", "x = b'x' * 50_000_000; sum(range(3_000_000))")), context)
    first = dict(used)
    assert first["cpu_seconds"] > 0
    assert first["max_rss_bytes"] > 50_000_000
    await run(shell("(i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done)"), context)
    assert used["cpu_seconds"] > first["cpu_seconds"]
    assert used["max_rss_bytes"] == first["max_rss_bytes"]


async def test_the_last_line_is_said_while_the_command_runs(context: StepContext) -> None:
    """Without its colours, of whichever stream, and of a bar that is redrawn the newest state."""
    said: list[str] = []
    prints = (
        r"printf '\033[32mone\033[0m\n\n'",
        "sleep 0.1",
        "echo two >&2",
        "sleep 0.1",
        r"printf '10 %%\r20 %%\r'",
    )
    await run(shell("; ".join(prints)), replace(context, say=said.append))
    assert list(dict.fromkeys(said)) == ["one", "two", "20 %"]


async def test_a_command_can_keep_its_lines_to_itself(context: StepContext) -> None:
    said: list[str] = []
    await run(shell("echo secret", says=False), replace(context, say=said.append))
    assert said == []


def test_a_line_without_end_is_looked_at_only_near_its_end() -> None:
    capture = Capture(10**6)
    capture.add(b"x" * 10_000 + "ü".encode() * 1000)
    assert capture.last_line == "ü" * 1000


def test_a_limit_is_lowered_and_never_raised() -> None:
    """Where the settings know no limit, what is asked for is one."""
    allowed = ProcessLimits(
        memory=100, cpu_seconds=0, output=0, processes=8, written=50, file_size=10, nice=5
    )
    asked = StepLimits(memory=200, cpu=1.5, output=7, processes=4, disk=20, nice=3)
    narrowed = allowed.narrowed(asked)
    assert (narrowed.memory, narrowed.output, narrowed.processes, narrowed.nice) == (100, 7, 4, 5)
    assert (narrowed.cpu_seconds, narrowed.cpu_together) == (2, 1.5)
    assert (narrowed.written, narrowed.file_size) == (20, 10)
    assert allowed.narrowed(StepLimits()) == allowed
    assert ProcessLimits(cpu_together=1.0).narrowed(asked).cpu_together == 1.0


async def test_a_command_makes_way_for_others_as_far_as_it_is_told(context: StepContext) -> None:
    ended = await run(shell("nice"), context, ProcessLimits(nice=7))
    assert int(ended.stdout.text) == min(19, os.nice(0) + 7)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what processes use")
async def test_the_cpu_that_all_processes_use_together_is_limited(context: StepContext) -> None:
    """Those that have ended count too: each of these ends soon, and there is always a next one."""
    spin = f"{sys.executable} -Ic 'sum(range(10**6))'"
    endless = f"while :; do {spin} & {spin}; wait; done"
    begin = time.monotonic()
    with pytest.raises(StepFailed, match=r"used more than 0\.5 s of CPU") as caught:
        await run(shell(endless), replace(context, limits=StepLimits(cpu=0.5)), QUICK)
    assert caught.value.category is Category.RESOURCE
    assert 0.5 < context.resources["cpu_seconds"] < 5
    assert time.monotonic() - begin < 10
