"""A browser's processes: how much memory they use together, which of them is to end, and the end of all."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import Final

import psutil  # type: ignore[import-untyped] # it ships no types

GONE_SECONDS: Final = 5.0
"""In which what was killed is gone."""


class Family:
    """A browser, the driver that has started it, and everything they start.

    Whom it has seen once it does not lose with its parent. Where orphans become children of the worker,
    because it is the first process of a container, it finds them by their group or by a mark in their command
    line, and collects all that have ended: else they would stay as zombies.
    """

    def __init__(self, driver: psutil.Process, browser: psutil.Process, mark: str) -> None:
        self._heads = (driver, browser)
        self._mark = mark
        self._known: dict[int, psutil.Process] = {head.pid: head for head in self._heads}

    def members(self) -> list[psutil.Process]:
        """Returns all that live."""
        for head in self._heads:
            with suppress(psutil.Error):
                self._known |= {child.pid: child for child in head.children(recursive=True)}
        self._known |= {child.pid: child for child in psutil.Process().children() if self._is_orphan(child)}
        living = {pid: process for pid, process in self._known.items() if _lives(process)}
        for pid in self._known.keys() - living.keys() - {self._heads[0].pid}:
            _collect(self._known[pid])
        self._known = living
        return list(living.values())

    def _is_orphan(self, child: psutil.Process) -> bool:
        """Whether a child of the worker was one of the browser: it is in its group still, or has the mark."""
        with suppress(psutil.Error, ProcessLookupError):
            is_in_group = os.getpgid(child.pid) == self._heads[1].pid
            return is_in_group or any(self._mark in word for word in child.cmdline())
        return False

    @property
    def is_whole(self) -> bool:
        """Whether all those live of whom the others come."""
        return all(map(_lives, self._heads))

    def kill(self, *, spare: psutil.Process | None = None) -> None:
        """Kills all of them but one, and returns when they are gone."""
        deadline = time.monotonic() + GONE_SECONDS
        while members := [member for member in self.members() if member != spare]:
            if time.monotonic() > deadline:
                return
            _kill(members)
            # Nobody is waited for: the status of a child is for who started it.
            time.sleep(0.02)


def excess(family: Family, limit: int) -> Callable[[], None] | None:
    """Returns how to end what uses most, if all together use more bytes than the limit.

    If that is a renderer, its page ends and others go on. Else it is a process that all pages share, and all
    of them end.
    """
    used = {process: _used(process) for process in family.members()}
    if sum(used.values()) <= limit:
        return None
    largest = max(used, key=lambda process: used[process])
    return partial(_kill, [largest]) if _is_renderer(largest) else family.kill


def _used(process: psutil.Process) -> int:
    """Returns the bytes that a process uses: what it shares counts in part, where the system tells that."""
    with suppress(psutil.AccessDenied):  # a process in a sandbox may not be looked into
        try:
            told = process.memory_full_info()
            return int(getattr(told, "pss", told.uss))
        except psutil.NoSuchProcess:
            return 0
    with suppress(psutil.Error):
        told = process.memory_info()
        return int(told.rss - getattr(told, "shared", 0))
    return 0


def _is_renderer(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return "--type=renderer" in process.cmdline()
    return False


def _collect(process: psutil.Process) -> None:
    """Takes note that an orphan of ours has ended. The driver is none: asyncio waits for it."""
    with suppress(psutil.Error, ChildProcessError):
        if process.is_running() and process.ppid() == os.getpid():
            os.waitpid(process.pid, os.WNOHANG)


def _lives(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False


def _kill(processes: Iterable[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.Error):
            process.kill()
