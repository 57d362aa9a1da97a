"""What a call sends and receives over the network: counted, and as fast as its limits allow.

Whoever may not go on waits, and what is not read stays with the sender: TCP slows him down. The one who
connects is far from the tool that knows the step's limits, so the call's traffic is known by its context.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from taskmark.ports import StepContext

PARTS: Final = 10
"""Into so many parts a second's bytes are divided, so that they flow evenly."""
SOON: Final = 0.005
"""Seconds that nobody sleeps for: they would take longer, and are made up for with the next bytes."""


class Throttle:
    """Lets so many bytes a second through, whoever sends and receives them, in the order of asking."""

    def __init__(self, per_second: float) -> None:
        self.per_second = per_second
        self._due = 0.0

    def booked(self, size: int) -> float:
        """Returns in how many seconds so many bytes more are through."""
        now = time.monotonic()
        self._due = max(self._due, now) + size / self.per_second
        return self._due - now


class Traffic:
    """What one call sends and receives."""

    def __init__(self, resources: dict[str, float], throttles: Sequence[Throttle] = ()) -> None:
        """Adds to the `resources` what is measured."""
        self._resources = resources
        self._throttles = throttles

    @property
    def part(self) -> int | None:
        """Bytes that are sent or received at once at most; None if it does not matter."""
        rates = [throttle.per_second for throttle in self._throttles]
        return max(1, int(min(rates) / PARTS)) if rates else None

    async def received(self, size: int) -> None:
        """Counts bytes that came, and returns when more may come."""
        await self._pass("received_bytes", size)

    async def sent(self, size: int) -> None:
        """Counts bytes that went, and returns when more may go."""
        await self._pass("sent_bytes", size)

    async def _pass(self, name: str, size: int) -> None:
        self._resources[name] = self._resources.get(name, 0.0) + size
        wait = max((throttle.booked(size) for throttle in self._throttles), default=0.0)
        if wait > SOON:
            await asyncio.sleep(wait)


_OF_THE_CALL: ContextVar[Traffic | None] = ContextVar("traffic", default=None)


@contextmanager
def metered(context: StepContext, all_steps: Throttle | None = None) -> Iterator[None]:
    """Counts and limits what our HTTP clients send and receive in this block as traffic of the step.

    `all_steps` is the throttle that it shares with whatever else runs in the worker.
    """
    own = (Throttle(context.limits.network),) if context.limits.network else ()
    shared = (all_steps,) if all_steps else ()
    token = _OF_THE_CALL.set(Traffic(context.resources, (*own, *shared)))
    try:
        yield
    finally:
        _OF_THE_CALL.reset(token)


def traffic() -> Traffic:
    """Returns the traffic of the call that this runs in; of nobody's if it is none."""
    return _OF_THE_CALL.get() or Traffic({})
