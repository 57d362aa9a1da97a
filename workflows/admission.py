"""Who may start now: the one place where pause, stop and the limit of concurrency meet."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from taskmark.contracts import Wish


class Stopped(Exception):
    """Nothing may start any more."""


class Admission:
    """A counted door that can be shut.

    The danger is in waking up: several conditions that become true in one workflow task would all be
    let in, and ten thousand waiting steps would each be asked at every event. So those who wait stand in
    a queue, and whoever changes something wakes exactly as many as may enter.
    """

    def __init__(self, window: int, wish: Wish) -> None:
        self._queue: deque[asyncio.Future[None]] = deque()
        self._window = window
        self.wish = wish
        self._in_flight = 0
        self._resting: dict[str, None] = {}
        self._idle: dict[str, None] = {}
        self._halted = False
        self._closed = False
        self._between = 0

    @property
    def stopped(self) -> bool:
        """Whether nothing may start any more."""
        return self._halted or bool(self.wish.stop)

    @property
    def paused(self) -> bool:
        """Whether nothing may start for now."""
        return self.wish.paused

    @property
    def interrupts(self) -> bool:
        """Whether what runs and can go on later is to end where it is."""
        return self.wish.paused and self.wish.now and not self.stopped

    @property
    def in_flight(self) -> int:
        """How many run now; a sub-task that stands still for a pause, or only waits for people, does not
        count. Under a pause it does until it has heard of it: somebody may decide before that."""
        return self._in_flight - len(self._resting if self.paused else self._resting | self._idle)

    @property
    def queued(self) -> int:
        """How many wait for a place."""
        return len(self._queue)

    @property
    def is_empty(self) -> bool:
        """Whether nothing runs, and nothing is in the midst of what cannot be begun again."""
        return self._in_flight == 0 and self._between == 0

    @property
    def is_still(self) -> bool:
        """Whether a pause has been reached: nothing may start and nothing runs."""
        return self.paused and self.in_flight == 0

    def apply(self, wish: Wish) -> bool:
        """Takes the parent's wish if it is newer than the one known; returns whether it was."""
        if wish.epoch <= self.wish.epoch:
            return False
        self.wish = wish
        self._wake()
        return True

    def halt(self) -> None:
        """Lets nothing start any more in this phase, whatever the parent wishes."""
        self._halted = True
        self._wake()

    def reopen(self) -> None:
        """Takes back a halt: the phase begins another attempt."""
        self._halted = False

    def close(self) -> None:
        """Lets nothing start for now, so that the phase can continue as new."""
        self._closed = True

    def open(self) -> None:
        """Takes that back."""
        self._closed = False
        self._wake()

    @contextmanager
    def between(self) -> Iterator[None]:
        """What is done here holds no place, and could not be done again by another run of the workflow."""
        self._between += 1
        try:
            yield
        finally:
            self._between -= 1

    def rest(self, child: str, *, still: bool) -> None:
        """A sub-task stands still, or goes on."""
        _mark(self._resting, child, on=still)

    def wait_for_people(self, child: str, *, idle: bool) -> bool:
        """A sub-task only waits for people, or no longer; returns whether that is news."""
        was = child in self._idle
        _mark(self._idle, child, on=idle)
        return was is not idle

    def forget(self, child: str) -> None:
        """A sub-task has ended."""
        _mark(self._resting, child, on=False)
        _mark(self._idle, child, on=False)

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Waits for a place, and gives it back. Raises `Stopped` if nothing may start any more."""
        place = asyncio.get_running_loop().create_future()
        self._queue.append(place)
        self._wake()
        try:
            await place
        except asyncio.CancelledError:
            self._withdraw(place)
            raise
        try:
            yield
        finally:
            self._leave()

    def _withdraw(self, place: asyncio.Future[None]) -> None:
        if place in self._queue:
            self._queue.remove(place)
        elif not place.cancelled() and place.exception() is None:
            self._leave()

    def _leave(self) -> None:
        self._in_flight -= 1
        self._wake()

    def _wake(self) -> None:
        while self._queue and (self.stopped or self._has_room()):
            place = self._queue.popleft()
            if place.done():
                continue
            if self.stopped:
                place.set_exception(Stopped())
            else:
                self._in_flight += 1
                place.set_result(None)

    def _has_room(self) -> bool:
        return not self.paused and not self._closed and self._in_flight < self._window


def _mark(children: dict[str, None], child: str, *, on: bool) -> None:
    if on:
        children[child] = None
    else:
        children.pop(child, None)
