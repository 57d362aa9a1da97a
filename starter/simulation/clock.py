"""Virtual time: whatever is due next happens at once, and the clock jumps to it."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count

START = datetime(2026, 1, 1, tzinfo=UTC)
"""When every simulation begins, so that two runs of it are the same."""
SECOND = 1_000_000_000


@dataclass(order=True)
class Event:
    """Something that happens at a time; of two at one time the one that was planned first comes first."""

    at: int
    order: int
    happens: Callable[[], None] = field(compare=False)
    cancelled: bool = field(default=False, compare=False)


class Clock:
    """The time, in nanoseconds since the start, and what is planned."""

    def __init__(self) -> None:
        self.elapsed = 0
        self._planned: list[Event] = []
        self._order = count()

    @property
    def now(self) -> datetime:
        """The time of day in the simulation."""
        return START + timedelta(microseconds=self.elapsed // 1000)

    def plan(self, happens: Callable[[], None], after: int = 0) -> Event:
        """Plans something for so many nanoseconds from now; the event can be cancelled."""
        event = Event(self.elapsed + max(0, after), next(self._order), happens)
        heapq.heappush(self._planned, event)
        return event

    def next(self, *, now: bool) -> Event | None:
        """Takes the next event, with `now` only one that is due at this moment, and moves on to its time."""
        while self._planned and self._planned[0].cancelled:
            heapq.heappop(self._planned)
        if not self._planned or (now and self._planned[0].at > self.elapsed):
            return None
        event = heapq.heappop(self._planned)
        self.elapsed = event.at
        return event
