"""How often a target is asked: all workers together keep to its rate, and leave it alone when it says so.

Who wants to ask takes its place in time and sleeps until then; so nobody asks in vain, and nobody is
overtaken. A place that would come too late is not taken, and who is behind loses nothing by it.

Places are moments of the clocks of several machines. With them stands when they were noted: a worker whose
clock is ahead of the reader's has meant as many seconds from then on, not until the reader's clock gets
there. Otherwise one wrong clock would stop all the others.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

from taskmark.contracts import HELD_OFF
from taskmark.errors import Category, StepFailed, Unreachable
from taskmark.ports import StepContext
from taskmark.shared import MemoryShared, Shared
from taskmark.task.model import Json
from taskmark.tools.sharing import Sharing

PACE: Final = "pace"
"""The kind of shared values that say when a target can be asked next."""
LONGEST_HOLD: Final = 900.0
"""Seconds for which a target is left alone at most, whatever it asks for."""
UNTOLD: Final = 0.1
"""Seconds of waiting that who watches is not told of."""
_KEPT: Final = 3_600.0


class HeldOff(StepFailed):
    """Nothing was tried, because it would have been too early: transient, and no fault of who is asked.

    `retry_after` is in seconds: before, another attempt would not be let through either.
    """

    def __init__(self, message: str, *, hint: str | None = None, retry_after: float | None = None) -> None:
        super().__init__(message, Category.TRANSIENT, hint=hint, type=HELD_OFF, retry_after=retry_after)


@dataclass(frozen=True)
class Limit:
    """How often a target may be asked. All workers should have the same."""

    tool: str
    target: str
    """Whose rate counts, such as a mail server; it holds nothing secret."""
    per_minute: float
    """In the long run."""
    burst: float = 1.0
    """So often at once after a pause; at least once."""

    @property
    def interval(self) -> float:
        """Seconds from one turn to the next."""
        return 60.0 / self.per_minute

    @property
    def key(self) -> str:
        """Of its shared value."""
        return f"{self.tool}:{self.target}"

    def __str__(self) -> str:
        """As messages say it."""
        return f"{self.target} is asked {self.per_minute:g} times a minute"


class Turns(NamedTuple):
    """What is known of a target. Moments are in seconds since 1970, by the reader's clock."""

    due: float = 0.0
    """When the next turn is."""
    held: float = 0.0
    """Until when it asked to be left alone."""

    def wait(self, limit: Limit, now: float) -> float:
        """Returns the seconds until the next turn."""
        return max(0.0, self._next(limit, now) - now)

    def taken(self, limit: Limit, now: float) -> Turns:
        """Returns what is known when somebody took the next turn."""
        return self._replace(due=self._next(limit, now) + limit.interval)

    def kept_off(self, until: float) -> Turns:
        """Returns what is known when the target asked to be left alone until then. After that it is asked by
        one at first, not by as many as have waited."""
        return Turns(max(self.due, until), max(self.held, until))

    def _next(self, limit: Limit, now: float) -> float:
        # Turns that nobody took are saved up, as many as may be taken at once.
        return max(self.due, now - (max(limit.burst, 1.0) - 1.0) * limit.interval)


Step = Callable[[Turns, float], Turns]
"""What is known, and the time, to what is known next."""


class Pace:
    """Keeps to limits. One object serves a tool; all that have the same `tool` and `target` take turns.

    Where what workers share does not answer, each worker keeps to the rate for itself, from what it knew
    last.
    """

    def __init__(self, sharing: Sharing | None = None) -> None:
        self._sharing = sharing or Sharing()
        self._own = MemoryShared()

    async def turn(self, limit: Limit, context: StepContext, patience: float) -> None:
        """Returns when the target may be asked. Raises `HeldOff` at once if that would be later than in
        `patience` seconds.

        While somebody sleeps the target may have asked to be left alone, so that is looked at afterwards: who
        finds it so goes to the end of the line.
        """
        ends_at = time.monotonic() + patience
        is_held = True
        while is_held:
            wait = await self._take(limit, context, max(0.0, ends_at - time.monotonic()))
            await asyncio.sleep(wait)
            is_held = bool(wait) and await self.held(limit, context) > 0

    async def hold(self, limit: Limit, context: StepContext, seconds: float) -> None:
        """Lets no worker ask the target for so long, or for as long as is reasonable."""
        seconds = min(max(seconds, 0.0), LONGEST_HOLD)
        await self._change(limit, context, lambda known, now: known.kept_off(now + seconds))

    async def held(self, limit: Limit, context: StepContext) -> float:
        """Returns the seconds for which the target is still to be left alone; it takes no turn."""

        def look(shared: Shared) -> float:
            now = time.time()
            return max(0.0, _read(shared.get(PACE, limit.key), now).held - now)

        try:
            return await self._sharing.ask(context.shared, look)
        except Unreachable:
            return look(self._own)

    async def _take(self, limit: Limit, context: StepContext, patience: float) -> float:
        """Returns the seconds until the turn that was taken. Raises `HeldOff`."""

        def step(known: Turns, now: float) -> Turns:
            return known.taken(limit, now) if known.wait(limit, now) <= patience else known

        known, now = await self._change(limit, context, step)
        wait = known.wait(limit, now)
        why = "it asked to be left alone" if known.held > now else str(limit)
        if wait > patience:
            raise too_late(limit, why, wait, patience)
        if wait > UNTOLD:
            context.say(f"waits {wait:.1f} s for its turn at {limit.target}: {why}")
        return wait

    async def _change(self, limit: Limit, context: StepContext, step: Step) -> tuple[Turns, float]:
        """Returns what was known before the step, and when that was."""
        ttl = _KEPT + limit.interval + context.timeout
        try:
            changed = await self._sharing.ask(
                context.shared, lambda shared: _changed(shared, limit.key, step, ttl)
            )
        except Unreachable as error:
            context.logger.debug("%s: other workers' turns are not known: %s", limit.target, error)
            changed = _changed(self._own, limit.key, step, ttl)
        else:
            self._own.put(PACE, limit.key, changed.value, ttl)
        return changed.before, changed.now


class _Changed(NamedTuple):
    before: Turns
    now: float
    value: Json


def _changed(shared: Shared, key: str, step: Step, ttl: float) -> _Changed:
    """Makes a step. Its value is noted as if by our clock, also if nothing else changes: from then on the
    time that passes counts, whoever's clock is wrong."""
    made: list[_Changed] = []

    def change(value: Json | None) -> Json:
        now = time.time()
        before = _read(value, now)
        after = step(before, now)
        made.append(_Changed(before, now, {"due": after.due, "held": after.held, "at": now}))
        return made[-1].value

    shared.change(PACE, key, change, ttl)
    return made[-1]


def _read(value: Json | None, now: float) -> Turns:
    """Returns what a value says, by our clock: what a clock that is ahead says counts from now."""
    found = value if isinstance(value, dict) else {}
    due, held, at = (_number(found.get(name)) for name in ("due", "held", "at"))
    ahead = max(0.0, at - now)
    return Turns(due - ahead, held - ahead)


def _number(value: Json) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def too_late(limit: Limit, why: str, wait: float, patience: float) -> HeldOff:
    """Returns the failure of who would have to wait longer than it wants to, in seconds."""
    said = f"{limit.target}: the next turn is in {wait:.1f} s only, which is too late: {why}"
    hint = "give the step more `timeout`, ask less at once, or raise the limit"
    return HeldOff(said, hint=hint, retry_after=wait - patience)
