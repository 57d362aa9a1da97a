"""A program of one engine as `peers.py` sees it: asked by lines of JSON, watched with its servers."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from queue import Empty, Queue
from typing import Any

import psutil

from benchmarks.programs.lines import Shape
from benchmarks.servers import START_SECONDS, Command, below, end, last_lines

SAMPLED_EVERY = 0.25
"""Seconds between two looks at memory."""
QUIET = 0.1
"""Share of a core above what it uses at rest, below which an engine is quiet."""
QUIET_LOOKS = 3
"""So many in a row, and it is done with a round: what is written in batches comes with pauses."""
QUIET_WITHIN = 120
LOOK = 0.5


class Failed(Exception):
    """A program did not do what it was asked for; the message says why."""


class Program:
    """A running program and its servers: those it has started itself, and those that it was given."""

    def __init__(self, process: subprocess.Popen[str], servers: Sequence[psutil.Process], log: Path) -> None:
        self._process = process
        self._own = psutil.Process(process.pid)
        self._given = servers
        self._log = log
        self._lines: Queue[str] = Queue()
        self.at_rest = 0.0
        """Share of a core that it uses when there is nothing to do."""
        threading.Thread(target=self._read, daemon=True).start()
        self.version = str(self._answer(START_SECONDS)["version"])

    def round(self, shape: Shape, limit: float) -> dict[str, float]:
        """Does the work once and returns what it took. Raises `Failed`."""
        assert self._process.stdin is not None
        before, memory = self.cpu(), Memory(self)
        self._process.stdin.write(json.dumps(asdict(shape)) + "\n")
        self._process.stdin.flush()
        answer = self._answer(limit, memory)
        if answer["steps"] != shape.total:
            raise Failed(f"did {answer['steps']} steps instead of {shape.total}")
        end = time.monotonic()
        quiet = self._until_quiet(memory)
        idle = self.at_rest * (time.monotonic() - end)
        return {
            "seconds": answer["seconds"] / shape.times,
            "cpu": (self.cpu() - before - idle) / shape.times,
            "program_mb": memory.program,
            "servers_mb": memory.servers,
            "seconds_until_quiet": quiet - end,
        }

    def cpu(self) -> float:
        """Seconds used so far, by processes that have ended too."""
        return sum(_cpu(process) for process in [self._own, *self.servers()])

    def servers(self) -> list[psutil.Process]:
        """Everything below the program, the servers that it was given, and everything below those."""
        given = [process for server in self._given for process in (server, *below(server))]
        return [*below(self._own), *given]

    def megabytes(self) -> tuple[float, float]:
        """Returns what the program has in memory now, and what its servers have."""
        return _resident([self._own]), _resident(self.servers())

    def _answer(self, limit: float, memory: Memory | None = None) -> dict[str, Any]:
        deadline = time.monotonic() + limit
        while time.monotonic() < deadline:
            if memory:
                memory.look()
            try:
                return _checked(self._lines.get(timeout=SAMPLED_EVERY))
            except Empty:
                continue
            except EOFError:
                raise Failed(f"the program ended:\n{last_lines(self._log)}") from None
        raise Failed(f"was not done within {limit:.0f} s")

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put("")

    def _until_quiet(self, memory: Memory) -> float:
        """Waits until the engine is done with what it works on after its answer; returns when it was."""
        begin = busy = time.monotonic()
        while time.monotonic() - busy < QUIET_LOOKS * LOOK and time.monotonic() - begin < QUIET_WITHIN:
            before, at = self.cpu(), time.monotonic()
            time.sleep(LOOK)
            memory.look()
            if self.cpu() - before > (self.at_rest + QUIET) * (time.monotonic() - at):
                busy = time.monotonic()
        return busy


class Memory:
    """The most that a program and its servers have had at one moment."""

    def __init__(self, of: Program) -> None:
        self._of = of
        self.program = self.servers = 0.0

    def look(self) -> None:
        """Looks once more."""
        program, servers = self._of.megabytes()
        self.program, self.servers = max(self.program, program), max(self.servers, servers)


@contextmanager
def started(
    words: Command,
    folder: Path,
    environment: Mapping[str, str],
    servers: Sequence[psutil.Process] = (),
) -> Iterator[Program]:
    """Yields the program once it is ready, and ends it with everything below it. Raises `Failed`."""
    log = folder / "program.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            words,
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
            text=True,
            start_new_session=True,
        )
    try:
        yield Program(process, servers, log)
    finally:
        end(process, lambda: _let_go(process))


def _let_go(process: subprocess.Popen[str]) -> None:
    """Tells the program that nothing more will be asked of it."""
    assert process.stdin is not None
    with suppress(BrokenPipeError):
        process.stdin.close()


def _checked(line: str) -> dict[str, Any]:
    if not line:
        raise EOFError
    answer: dict[str, Any] = json.loads(line)
    if "error" in answer:
        raise Failed(answer["error"])
    return answer


def _cpu(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system + times.children_user + times.children_system)


def _resident(processes: Sequence[psutil.Process]) -> float:
    """Returns the resident memory, with what processes share (PostgreSQL's buffers) counted once."""
    found = [used for process in processes if (used := _memory(process))]
    alone = sum(rss - shared for rss, shared in found)
    return (alone + max((shared for _, shared in found), default=0)) / 1e6


def _memory(process: psutil.Process) -> tuple[int, int] | None:
    try:
        used = process.memory_info()
    except psutil.NoSuchProcess:
        return None
    return used.rss, getattr(used, "shared", 0)
