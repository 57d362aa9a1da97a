"""Ctrl-C and the other signals that ask a process to end."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from starter.cli.exits import Exit

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupts:
    """What was asked so far.

    Before somebody is ready for it (`await_request`), the first signal cancels the command. After that
    it sets `requested`, and the command ends in order within `bound` seconds. The second signal, or the
    end of that time, ends the process at once: what runs is taken over by another worker, and processes
    of steps die with the one that started them.
    """

    def __init__(self, bound: float) -> None:
        self.requested = asyncio.Event()
        self._bound = bound
        self._ready = False
        self._command = asyncio.current_task()

    def await_request(self) -> asyncio.Event:
        """From now on the command itself reacts to the event that is returned."""
        self._ready = True
        return self.requested

    def leave_by(self, code: Exit) -> None:
        """The command is over but for its end in order, which gets `bound` seconds: a workflow that hangs
        in the worker must not keep the process."""
        asyncio.get_running_loop().call_later(self._bound, _end_with, code)

    def notice(self, number: int) -> None:
        """Reacts to a signal."""
        if self.requested.is_set():
            _end_now(number)
        self.requested.set()
        asyncio.get_running_loop().call_later(self._bound, _end_now, number)
        if not self._ready and self._command is not None:
            self._command.cancel()


@contextmanager
def interrupts(grace: float, *, ignore_terminal: bool = False) -> Iterator[Interrupts]:
    """Yields what catches signals while the block runs; `grace` is how long steps may take to end, in
    seconds. With `ignore_terminal` Ctrl-C and a closed terminal are somebody else's to react to."""
    loop = asyncio.get_running_loop()
    caught = Interrupts(grace + 10)
    for number in SIGNALS:
        if ignore_terminal and number != signal.SIGTERM:
            loop.add_signal_handler(number, _nothing)
        else:
            loop.add_signal_handler(number, caught.notice, number)
    try:
        yield caught
    finally:
        for number in SIGNALS:
            loop.remove_signal_handler(number)


def _nothing() -> None:
    """Takes a signal and does nothing."""


def _end_now(number: int) -> None:
    _end_with(Exit.DETACHED if number == signal.SIGINT else 128 + number)


def _end_with(code: int) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
