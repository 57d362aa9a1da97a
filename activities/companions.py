"""Lets calls of one workflow that end at nearly the same time end together.

With each end the server asks the workflow what follows: a workflow task, which costs more than a short call
does. Ends that reach it at once are one question instead of several. So a call whose neighbours are just
beginning or ending waits for them, a few thousandths of a second; what takes longer is not waited for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

QUIET = 0.001
"""Seconds in which no neighbour began or ended: nobody comes any more."""
LONGEST = 0.006
"""Seconds that a call waits at most for neighbours that still run."""


@dataclass
class _Calls:
    """Those of one workflow run in this process."""

    running: int = 0
    held: int = 0
    changed: float = 0.0


class Companions:
    """Knows which calls run side by side in this process."""

    def __init__(self) -> None:
        self._calls: dict[str, _Calls] = {}

    @contextmanager
    def running(self, run: str) -> Iterator[None]:
        """Counts a call of a workflow run as running."""
        calls = self._calls.setdefault(run, _Calls())
        calls.running += 1
        calls.changed = _now()
        try:
            yield
        finally:
            calls.running -= 1
            calls.changed = _now()
            self._forget(run)

    async def end_together(self, run: str) -> None:
        """Returns when the neighbours of a call that is done are done too, or take longer than is worth it.

        A cancellation ends the wait and nothing else: what is done is done.
        """
        calls = self._calls.setdefault(run, _Calls(changed=_now()))
        calls.held += 1
        try:
            with suppress(asyncio.CancelledError):
                await _settled(calls, _now() + LONGEST)
        finally:
            calls.held -= 1
            self._forget(run)

    def _forget(self, run: str) -> None:
        calls = self._calls.get(run)
        if calls is not None and not calls.running and not calls.held:
            del self._calls[run]


async def _settled(calls: _Calls, until: float) -> None:
    while (now := _now()) < until:
        rest = calls.changed + QUIET - now
        if rest <= 0 and not calls.running:
            return
        await asyncio.sleep(min(max(rest, QUIET / 2), until - now))


def _now() -> float:
    return asyncio.get_running_loop().time()
