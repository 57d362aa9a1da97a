"""A process that writes blocks of the spool to the store, for a worker that has no time to.

Threads of one process take turns, and one that writes rows gives its turn back at every row: what it costs
the others then is several times its own work. Messages go through pipes, each with its length before it. The
process ends with whoever started it, however that ends, because then there is nothing more to read.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from contextlib import suppress
from functools import partial
from typing import IO

from taskmark.errors import Unreachable
from taskmark.store.blocks import BlockWriter
from taskmark.store.quarantine import Bad

_BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from taskmark.store.scribe import main; main()"
)
"""By the same path as here, which flags and variables of Python need not lead to."""
_LENGTH = 8
_READY = b"ready"
_ENDS_WITHIN = 5.0
_NICE = 10
"""Work comes first: where there is none to spare it still gets a tenth of a core, twice what it takes."""


class ScribeLost(Exception):
    """The process has ended or could not be started."""


class Scribe:
    """A `BlockWriter` in a process of its own. One thread uses it."""

    def __init__(self, url: str) -> None:
        """Raises `ScribeLost` if there can be no such process. `url` is the store's."""
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-c", _BOOT, json.dumps(sys.path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
        except (OSError, ValueError) as error:
            raise ScribeLost(f"it could not be started: {error}") from error
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._to, self._from = self._process.stdin, self._process.stdout
        self._is_ready = False
        self._send(url.encode())  # through the pipe: others can read arguments and environments

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    @property
    def is_ready(self) -> bool:
        """Whether it takes blocks by now. Where work leaves no time to a process that comes last, it begins
        only after a minute. Raises `ScribeLost` if the process has ended."""
        return self._is_ready or (bool(select.select([self._from], [], [], 0)[0]) and self._begun())

    def write(self, block: bytes) -> list[Bad]:
        """As `BlockWriter.write`, once it is ready; raises `ScribeLost` if the process has ended, and
        `Unreachable`."""
        if not self._is_ready:
            self._begun()
        self._send(block)
        told = json.loads(self._answer())
        if "failed" in told:
            raise Unreachable(told["failed"])
        return [Bad(text, reason) for text, reason in told["bad"]]

    def close(self) -> None:
        """Ends the process, once it has written what it was given."""
        if not self._is_ready:
            self._process.kill()  # it was given nothing
        with suppress(OSError):
            self._to.close()
        try:
            self._process.wait(_ENDS_WITHIN)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._from.close()

    def _begun(self) -> bool:
        """Waits until it is ready."""
        self._is_ready = bool(self._answer())
        return self._is_ready

    def _answer(self) -> bytes:
        answer = _receive(self._from)
        if answer is None:
            raise ScribeLost(f"it ended with {self._process.wait()}")
        return answer

    def _send(self, message: bytes) -> None:
        try:
            _send(self._to, message)
        except (OSError, ValueError) as error:  # the latter says that its pipe was closed here
            raise ScribeLost(f"it takes nothing any more: {error}") from error


def main() -> None:
    """Writes every block that comes, and says what became of it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who started it decides when there is nothing more to do
    with suppress(OSError):
        os.nice(_NICE)
    taken, answers = sys.stdin.buffer, os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whatever may print must not answer
    url = _receive(taken)
    if url is None:
        return
    from taskmark.garbage import search_less
    from taskmark.store.schema import open_store

    search_less()
    writer = BlockWriter(partial(open_store, url.decode()))
    with suppress(Exception):  # it is opened again with the first block, whose answer says what is wrong
        writer.write(b"")
    with suppress(BrokenPipeError):
        _send(answers, _READY)
        while (block := _receive(taken)) is not None:
            _send(answers, json.dumps(_answer(writer, block)).encode())


def _answer(writer: BlockWriter, block: bytes) -> dict[str, object]:
    try:
        return {"bad": [(one.text, one.reason) for one in writer.write(block)]}
    except Exception as error:  # whatever it is, the next try may succeed
        return {"failed": str(error) or type(error).__name__}


def _send(to: IO[bytes], message: bytes) -> None:
    to.write(len(message).to_bytes(_LENGTH, "big") + message)
    to.flush()


def _receive(source: IO[bytes]) -> bytes | None:
    """Returns the next message, or None if there is none or only a part of one."""
    length = int.from_bytes(source.read(_LENGTH), "big")
    message = source.read(length)
    return message if length and len(message) == length else None
