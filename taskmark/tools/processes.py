"""Every subprocess: an argument list, a clean environment, limits, and an end that leaves nothing behind."""

from __future__ import annotations

import asyncio
import errno
import math
import os
import re
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Final

from taskmark.errors import Category, StepFailed
from taskmark.ports import Health, StepContext
from taskmark.task.model import StepLimits
from taskmark.tools.confinement import directory
from taskmark.tools.finishing import to_the_end
from taskmark.tools.pipes import TwoPipes, two_pipes

# Isolated and without site-packages: the launcher starts in about 15 ms.
LAUNCHER: Final = (sys.executable, "-I", "-S", str(Path(__file__).with_name("launch.py")))
INHERITED: Final = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ")
CHUNK: Final = 64 * 1024
FORCE_AFTER: Final = 7.0
"""Seconds beyond the grace period after which a launcher counts as stuck."""
LAST_WORDS: Final = 2.0
"""Seconds in which output must have ended once the launcher has."""
SIGNALLED: Final = 128
"""Added to a signal's number, as shells do, it is the exit code of what the signal has ended."""
LONGEST_REPORT: Final = 4096
"""Bytes that are kept of what a launcher says."""
LESS: Final = "let it do less at one time, or raise its `limits`, as far as the settings allow"
LINE_REACH: Final = 2000
"""Bytes from the end in which the last line is looked for: who watches sees less of it."""
_ESCAPES: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_])")
_ENDS: Final = frozenset({"exit", "signal", "error", "limit", "cancelled"})
"""The first words of a launcher's last line."""


@dataclass(frozen=True)
class ProcessLimits:
    """What one command and everything it starts may use. Bytes and seconds; 0 means no limit."""

    memory: int = 4 * 1024**3
    """Of each process as the system enforces it; of all together as the launcher sees it, on Linux."""
    cpu_seconds: int = 3600
    """Of each process."""
    cpu_together: float = 0.0
    """Seconds of CPU of all together, on Linux, which is looked at at least once a second."""
    file_size: int = 4 * 1024**3
    """Of each file written."""
    open_files: int = 4096
    """Of each process."""
    processes: int = 512
    """At one time."""
    written: int = 256 * 1024**3
    """To disks by all together, also what is deleted again, on Linux."""
    free_disk: int = 1024**3
    """That stay free on the disk of its directory, on Linux: with less, a command that has written more than
    32 MiB is ended, so that it fills no disk that others need too."""
    output: int = 64 * 1024**2
    """Printed in total; the command is ended beyond it."""
    kept: int = 256 * 1024
    """Of each stream's end that is kept."""
    nice: int = 0
    """How far they make way for other processes, from 0 to 19."""
    grace: float = 2.0
    """Between SIGTERM and SIGKILL."""

    def narrowed(self, asked: StepLimits) -> ProcessLimits:
        """Returns these limits, and where less is asked for the lower one. Nothing can be asked for that they
        do not allow."""
        return replace(
            self,
            memory=_lower(self.memory, asked.memory),
            cpu_seconds=_lower(self.cpu_seconds, math.ceil(asked.cpu) if asked.cpu else None),
            cpu_together=min(filter(None, (self.cpu_together, asked.cpu)), default=0.0),
            file_size=_lower(self.file_size, asked.disk),
            open_files=_lower(self.open_files, asked.open_files),
            processes=_lower(self.processes, asked.processes),
            written=_lower(self.written, asked.disk),
            output=_lower(self.output, asked.output),
            nice=max(self.nice, asked.nice or 0),
        )


def _lower(limit: int, asked: int | None) -> int:
    """Returns the lower one; a limit of 0 is none."""
    return limit if asked is None else min(limit or asked, asked)


@dataclass(frozen=True)
class Command:
    """What to start."""

    arguments: tuple[str, ...]
    directory: str = "."
    """Where, relative to the root."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Added to the clean environment."""
    stdin: bytes | None = None
    timeout: float | None = None
    """Seconds, besides the step's own."""
    descriptors: tuple[int, ...] = ()
    """Kept open in the command, under the same numbers."""
    says: bool = True
    """Whether who watches is shown the last line that it has printed."""
    hear: Callable[[bytes], None] | None = None
    """Is given what it prints on standard output, as it comes. It must not raise."""


@dataclass
class Capture:
    """The end of what a stream printed."""

    kept: int
    hide: Callable[[str], str] = str
    """Takes secrets out of a text that was cut."""
    total: int = 0
    tail: bytearray = field(default_factory=bytearray)

    def add(self, chunk: bytes) -> None:
        """Takes what was printed, and forgets what is too far back."""
        self.total += len(chunk)
        self.tail += chunk
        if len(self.tail) > 2 * self.kept:
            del self.tail[: -self.kept]

    @property
    def text(self) -> str:
        """The end of it as text; bytes that are not UTF-8 are replaced."""
        text = self.tail[-self.kept :].decode(errors="replace")
        return self.hide(text) if self.truncated else text

    @property
    def last_line(self) -> str:
        """The last line that is not blank, without colours, as far as it is near the end."""
        text = _ESCAPES.sub("", self.tail[-LINE_REACH:].decode(errors="replace"))
        return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")

    @property
    def truncated(self) -> bool:
        """Whether the beginning is missing."""
        return self.total > self.kept


@dataclass(frozen=True)
class Ended:
    """How a command ended by itself."""

    exit_code: int
    """128 and the number for a signal, as shells say it."""
    stdout: Capture
    stderr: Capture

    @property
    def reason(self) -> str:
        """How it ended, and the end of what it said about it."""
        said = self.stderr.hide(self.stderr.text.strip() or self.stdout.text.strip())[-2000:]
        how = f"exit code {self.exit_code}"
        if self.exit_code > SIGNALLED:
            with suppress(ValueError):
                how += f" ({signal.Signals(self.exit_code - SIGNALLED).name})"
        return f"{how}: {said}" if said else how


async def run(command: Command, context: StepContext, limits: ProcessLimits | None = None) -> Ended:
    """Runs a command to its end and returns how it ended; a non-zero exit is for the caller to judge.

    When it returns, raises or is cancelled, no process that the command started is left. Raises
    `StepFailed`: configuration if it cannot be started, resource if it passes a limit, transient if it does
    not end in time.
    """
    limits = (limits or ProcessLimits()).narrowed(context.limits)
    environment = clean_environment(context, command.environment)
    _check_words(command.arguments)
    with ExitStack() as stack:
        place = stack.enter_context(directory(context.root, command.directory))
        pipes = stack.enter_context(two_pipes(_Pipes, partial(_not_started, "the command")))
        supervised = _Supervised(command, limits, pipes, context)
        try:
            return await supervised.run(
                place, environment, min(command.timeout or context.timeout, context.timeout)
            )
        finally:
            supervised.count(context.resources)


async def launcher_health() -> Health:
    """Whether processes can be started and supervised here."""
    context = StepContext(root=Path.cwd(), timeout=10.0)
    try:
        ended = await run(Command((sys.executable, "-I", "-S", "-c", "")), context)
    except StepFailed as error:
        return Health(healthy=False, message=error.message, hint=error.hint)
    return Health(healthy=ended.exit_code == 0, message="" if ended.exit_code == 0 else ended.reason)


def clean_environment(context: StepContext, added: Mapping[str, str]) -> dict[str, str]:
    """Returns the environment of a command: little of the worker's, what was asked for, and who is asking.

    Raises `StepFailed` (configuration) for a name or value that no environment can hold.
    """
    for name, value in added.items():
        if not name or "=" in name or not _can_be_given(name + value):
            raise StepFailed(f"env: {name!r} cannot be set", Category.CONFIGURATION)
    return {
        "PATH": os.defpath,
        **{name: os.environ[name] for name in INHERITED if name in os.environ},
        **added,
        "TASKMARK_IDEMPOTENCY_KEY": context.idempotency_key,
        "TASKMARK_EXECUTION_ID": context.execution_id,
        "TASKMARK_PROJECT_ID": context.project or "",
        "TASKMARK_WORKER_ID": context.worker_id,
        "TASKMARK_ATTEMPT": str(context.attempt),
        **({"TASKMARK_REDUCED": "1"} if context.reduced else {}),
        **({"TASKMARK_REFRESH_CREDENTIALS": "1"} if context.refresh_credentials else {}),
    }


def _check_words(words: tuple[str, ...]) -> None:
    """Raises `StepFailed` (configuration) for a command that no system can start."""
    if not words or not words[0]:
        raise StepFailed(
            "the command is empty", Category.CONFIGURATION, hint="give a program and its arguments"
        )
    for word in words:
        if not _can_be_given(word):
            raise StepFailed(
                f"the command has a word that no program can be given: {word[:80]!r}", Category.CONFIGURATION
            )


def _can_be_given(text: str) -> bool:
    """Whether a program can be given this text as a word or in its environment."""
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        return False


@dataclass
class _Pipes(TwoPipes):
    """The worker's and the launcher's ends."""

    control_reading: int
    control: int
    status: int
    status_writing: int


class _Supervised:
    """One command under its launcher."""

    def __init__(self, command: Command, limits: ProcessLimits, pipes: _Pipes, context: StepContext) -> None:
        self.command = command
        self.say = context.say
        self.limits = limits
        self.pipes = pipes
        self.stdout = Capture(limits.kept, context.hide)
        self.stderr = Capture(limits.kept, context.hide)
        self.said = bytearray()
        """By the launcher."""

    async def run(self, place: int, environment: Mapping[str, str], seconds: float) -> Ended:
        """Starts it, waits for its end or ends it."""
        starting = asyncio.ensure_future(self._start(place, environment))
        try:
            process = await asyncio.shield(starting)
            async with asyncio.timeout(seconds):
                await self._follow(process)
        except TimeoutError as error:
            raise StepFailed(
                f"{self._name} did not end within {seconds:g} s, so it was ended",
                hint="raise the step's `timeout` if it needs longer",
            ) from error
        except OSError as error:
            raise _not_started(self._name, error) from error
        finally:
            await to_the_end(self._end(starting))
        return self._judge()

    @property
    def _name(self) -> str:
        """The program, for messages."""
        return os.path.basename(self.command.arguments[0])

    async def _start(self, place: int, environment: Mapping[str, str]) -> asyncio.subprocess.Process:
        """Starts the launcher, with its ends of the pipes."""
        limits, pipes = self.limits, self.pipes
        numbers = (pipes.control_reading, pipes.status_writing, place)
        sizes = (
            *(limits.memory, limits.cpu_seconds, limits.file_size, limits.open_files),
            *(limits.processes, limits.written, limits.free_disk),
            *(round(limits.cpu_together * 1000), limits.nice),
        )
        try:
            return await asyncio.create_subprocess_exec(
                *LAUNCHER,
                ",".join(str(number) for number in (*numbers, *sizes)),
                str(limits.grace),
                *self.command.arguments,
                stdin=asyncio.subprocess.DEVNULL if self.command.stdin is None else asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env={str(n): "=".join(pair) for n, pair in enumerate(environment.items())},
                start_new_session=True,
                pass_fds=(*numbers, *self.command.descriptors),
            )
        finally:
            pipes.close("control_reading", "status_writing")

    async def _follow(self, process: asyncio.subprocess.Process) -> None:
        """Feeds and reads the streams until all is over."""
        await asyncio.gather(self._feed(process.stdin), self._drain(process))

    async def _drain(self, process: asyncio.subprocess.Process) -> None:
        """Reads the streams until all is over."""
        assert process.stdout is not None
        assert process.stderr is not None
        reading = asyncio.gather(
            self._read(process.stdout, self.stdout, self.command.hear),
            self._read(process.stderr, self.stderr),
            process.wait(),
        )
        try:
            await self._launcher_gone()
            if not _ENDS & self._told.keys():
                _force_group(self._told.get("pid", 0))
            # Without its launcher a descendant may have escaped and hold the output open.
            await asyncio.wait({reading}, timeout=LAST_WORDS)
        finally:
            reading.cancel()
            with suppress(asyncio.CancelledError):
                await reading

    async def _feed(self, stream: asyncio.StreamWriter | None) -> None:
        """Writes the command's input; it may end without reading it."""
        if stream is None:
            return
        with suppress(BrokenPipeError, ConnectionResetError):
            stream.write(self.command.stdin or b"")
            await stream.drain()
        stream.close()

    async def _read(
        self, stream: asyncio.StreamReader, capture: Capture, hear: Callable[[bytes], None] | None = None
    ) -> None:
        """Keeps the end of what is printed, and ends a command that prints without end."""
        while chunk := await stream.read(CHUNK):
            capture.add(chunk)
            if hear is not None:
                hear(chunk)
            if self.command.says and (line := capture.last_line):
                self.say(line)
            if self._printed_too_much:
                self.pipes.close("control")

    @property
    def _printed_too_much(self) -> bool:
        """Whether both streams together have passed the limit."""
        return bool(self.limits.output) and self.stdout.total + self.stderr.total > self.limits.output

    async def _end(self, starting: asyncio.Future[asyncio.subprocess.Process]) -> None:
        """Waits until the launcher has put an end to everything; forces it if it is stuck."""
        self.pipes.close("control")
        try:
            process = await starting
        except OSError:
            return  # nothing was started, and who awaited it knows
        try:
            async with asyncio.timeout(self.limits.grace + FORCE_AFTER):
                await self._drain(process)
        except TimeoutError:
            _force(process.pid, self._told.get("pid", 0))
            with suppress(TimeoutError):
                async with asyncio.timeout(2 * LAST_WORDS):
                    await self._drain(process)
        finally:
            # Who has killed its launcher and fled may hold the pipes open for ever.
            process._transport.close()  # type: ignore[attr-defined]  # nothing else lets go of them

    async def _launcher_gone(self) -> None:
        """Waits until nobody holds the other end of the status pipe, and keeps what is said on it."""
        loop = asyncio.get_running_loop()
        gone: asyncio.Future[None] = loop.create_future()

        def listen() -> None:
            said = os.read(self.pipes.status, 4096)
            # A program that is hostile can write there as well; a launcher says less.
            self.said += said[: LONGEST_REPORT - len(self.said)]
            if not said and not gone.done():
                gone.set_result(None)

        loop.add_reader(self.pipes.status, listen)
        try:
            await gone
        finally:
            loop.remove_reader(self.pipes.status)

    @property
    def _lines(self) -> list[tuple[str, str]]:
        """What the launcher has reported so far, as the first word of each line and the rest."""
        lines = (line.partition(" ") for line in self.said.decode("ascii", "replace").splitlines())
        return [(word, rest) for word, _, rest in lines]

    @property
    def _told(self) -> dict[str, int]:
        """The number after each word; 0 where there is none."""
        return {word: int(rest) if rest.isdecimal() else 0 for word, rest in self._lines}

    @property
    def _passed(self) -> str:
        """Which limit was passed, if any."""
        return next((name for word, name in self._lines if word == "limit" and name in vars(self.limits)), "")

    def count(self, resources: dict[str, float]) -> None:
        """Adds what the command used, as far as its launcher could still tell."""
        told = self._told
        if "cpu" not in told or "rss" not in told:
            return
        added = {
            "cpu_seconds": told["cpu"] / 1000,
            "written_bytes": float(told.get("written", 0)),
            "printed_bytes": float(self.stdout.total + self.stderr.total),
        }
        for name, amount in added.items():
            resources[name] = resources.get(name, 0.0) + amount
        resources["max_rss_bytes"] = max(resources.get("max_rss_bytes", 0.0), told["rss"] * 1024.0)

    def _judge(self) -> Ended:
        """Returns how the command ended. Raises `StepFailed` if it was not by itself."""
        told = self._told
        if self._printed_too_much:
            raise self._exhausted(f"printed more than {self.limits.output:,} bytes")
        if self._passed:
            amount = getattr(self.limits, self._passed)
            if self._passed == "free_disk":
                what = f"went on writing with less than {amount:,} bytes of the disk free"
                raise self._exhausted(what, "make room on the disk, or let it write less")
            if self._passed == "cpu_together":
                raise self._exhausted(f"used more than {amount:g} s of CPU")
            raise self._exhausted(f"passed its limit of {amount:,} ({self._passed})")
        if "error" in told:
            raise _not_started(self._name, OSError(told["error"], os.strerror(told["error"])))
        if "exit" not in told and "signal" not in told:
            said = self.stderr.hide(self.stderr.text.strip())[-500:]
            raise StepFailed(f"{self._name} was lost: its launcher was killed {said}".rstrip())
        code = told["exit"] if "exit" in told else SIGNALLED + told["signal"]
        self._check_signal(code - SIGNALLED)
        return Ended(code, self.stdout, self.stderr)

    def _check_signal(self, number: int) -> None:
        """Raises `StepFailed` (resource) if a signal stands for a limit.

        A shell tells the signal of its last command by its own exit code. Who does not heed SIGXCPU is killed
        a second later.
        """
        limits, used = self.limits, self._told.get("cpu", 0) / 1000
        late = number == signal.SIGKILL and used > limits.cpu_seconds
        if limits.cpu_seconds and (late or number == signal.SIGXCPU):
            raise self._exhausted(f"used more than {limits.cpu_seconds:,} s of CPU")
        if limits.file_size and number == signal.SIGXFSZ:
            raise self._exhausted(f"wrote a file of more than {limits.file_size:,} bytes")

    def _exhausted(self, what: str, hint: str = LESS) -> StepFailed:
        """Returns the error for a limit."""
        return StepFailed(f"{self._name} {what}, so it was ended", Category.RESOURCE, hint=hint)


def _not_started(name: str, error: OSError) -> StepFailed:
    """Returns the error for a command that the system refused to start."""
    if error.errno == errno.ENOENT:
        return StepFailed(
            f"{name}: command not found",
            Category.CONFIGURATION,
            hint="install it on every worker, or correct its name",
        )
    if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN):
        return StepFailed(f"{name} could not be started: {error.strerror}", Category.RESOURCE)
    hint = (
        "pass long data by `stdin` or a file" if error.errno == errno.E2BIG else "check that it is a program"
    )
    return StepFailed(f"{name} could not be started: {error.strerror}", Category.CONFIGURATION, hint=hint)


def _force(launcher: int, command: int) -> None:
    """Kills a launcher that does not answer, and the group it leads to."""
    with suppress(ProcessLookupError):
        os.kill(launcher, signal.SIGKILL)
    _force_group(command)


def _force_group(command: int) -> None:
    """Kills the group of a command whose launcher is gone; 0 and 1 would mean our own, and everybody's."""
    if command > 1:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(command, signal.SIGKILL)
