"""How single durations become that of a whole: one after another, side by side within limits, and along the
graph of phases."""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass, field
from itertools import islice, repeat
from typing import TYPE_CHECKING

from taskmark.plan.eta.draws import DRAWS, MIDDLES, NORMAL, Draws, added, larger, order
from taskmark.plan.graph import followers
from taskmark.plan.graph import order as in_order

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from taskmark.plan.eta.law import Law
    from taskmark.task.model import TaskDefinition

EXACT = 150
"""So many durations are laid side by side one by one; of more it is told what they come to as a rule."""
SUMMED = 40
"""The same where they take place one after another."""
FEW = 24
"""So many items are drawn one by one."""

NOTHING: Draws = [0.0] * DRAWS


@dataclass
class Load:
    """Work for the places of a phase: what has begun comes first, the rest as places become free."""

    window: int = 1
    """How many places there are."""
    begun: list[Draws] = field(default_factory=list)
    waiting: list[Draws] = field(default_factory=list)
    counts: Draws = field(default_factory=lambda: NOTHING)
    """Further ones: how many, what they come to, and the longest of them."""
    total: Draws = field(default_factory=lambda: NOTHING)
    longest: Draws = field(default_factory=lambda: NOTHING)
    further: int = 0
    """Single ones of which only the sum is kept: their mean and variance, and the slowest."""
    mean: float = 0.0
    variance: float = 0.0
    slowest: Law | None = None

    def add_many(self, law: Law, counts: Draws, number: int, pace: Draws) -> None:
        """Adds independent durations of one law, which begin when they can; how many may be uncertain."""
        least, most = min(counts), max(counts)
        if least == most <= FEW:
            self.waiting += [law.drawn(number * 1009 + place, pace) for place in range(int(most))]
            return
        mean, deviation = law.mean, law.mean * math.sqrt(law.variation)
        totals = [
            max(count * mean + deviation * math.sqrt(count) * NORMAL[place], 0.0) * factor
            for count, place, factor in zip(counts, order(number), pace, strict=True)
        ]
        longest = [t * f for t, f in zip(_longest(law, most, number + 1), pace, strict=True)]
        self.counts = added(self.counts, counts)
        self.total = added(self.total, totals)
        self.longest = larger(self.longest, longest)

    def add_one(self, law: Law) -> None:
        """Adds one more by its mean and deviation alone."""
        self.further += 1
        self.mean += law.mean
        self.variance += law.variation * law.mean**2
        if self.slowest is None or law.rising[-DRAWS // 10] > self.slowest.rising[-DRAWS // 10]:
            self.slowest = law

    @property
    def exact(self) -> int:
        """How many are worth to be drawn one by one: sums soon depend on nothing but means and deviations."""
        return SUMMED if self.window == 1 else EXACT

    def done(self, number: int, pace: Draws) -> Draws:
        """Returns when the last of it ends."""
        window = self.window
        if self.further:
            self._add_further(number, pace)
        parts = [*self.begun, *self.waiting]
        if not any(self.counts):
            if not parts:
                return NOTHING
            if window == 1:
                return [sum(values) for values in zip(*parts, strict=True)]
            if len(parts) <= window:
                return [max(values) for values in zip(*parts, strict=True)]
            if len(parts) <= EXACT:
                return [_packed(values, window) for values in zip(*parts, strict=True)]
        rows = zip(*parts, strict=True) if parts else repeat((), DRAWS)
        further = zip(self.counts, self.total, self.longest, strict=True)
        return [_about(row, *rest, window) for row, rest in zip(rows, further, strict=True)]

    def _add_further(self, number: int, pace: Draws) -> None:
        deviation = math.sqrt(self.variance)
        totals = [max(self.mean + deviation * NORMAL[place], 0.0) for place in order(number)]
        self.counts = [count + self.further for count in self.counts]
        self.total = added(self.total, [t * factor for t, factor in zip(totals, pace, strict=True)])
        assert self.slowest is not None, "there are some"
        longest = _longest(self.slowest, self.further, number + 1)
        self.longest = larger(self.longest, [t * factor for t, factor in zip(longest, pace, strict=True)])


def _longest(law: Law, count: float, number: int) -> Draws:
    """Returns the longest of so many durations of one law."""
    return [law.rising[int(MIDDLES[place] ** (1 / max(count, 1)) * DRAWS)] for place in order(number)]


def _about(seconds: Sequence[float], further: float, total: float, longest: float, window: int) -> float:
    """Returns about when all ends: places are busy all the time but for the last part of each."""
    count, total = further + len(seconds), total + sum(seconds)
    if not count:
        return 0.0
    longest = max(longest, *seconds) if seconds else longest
    places = min(window, count)
    return max(longest, total / places + 0.5 * total / count * (1 - 1 / places))


def _packed(seconds: Sequence[float], window: int) -> float:
    """Returns when the last of them ends if each begins as soon as there is a place."""
    places = list(seconds[:window])
    heapq.heapify(places)
    for one in islice(seconds, window, None):
        heapq.heapreplace(places, places[0] + one)
    return max(places)


def along_the_graph(definition: TaskDefinition, left: Mapping[str, Draws], at_once: int | None) -> Draws:
    """Returns how long phases take, each after those that it depends on, so many at once; one that is not in
    `left` has ended."""
    if at_once is not None and len(left) > at_once:
        return _limited(definition, left, at_once)
    ends: dict[str, Draws] = {}
    needs = {phase.slug: [need for need in phase.depends_on if need in left] for phase in definition.phases}
    whole = NOTHING
    for slug in in_order(definition):
        if slug in left:
            start = NOTHING
            for need in needs[slug]:
                start = larger(start, ends[need])
            ends[slug] = added(start, left[slug])
            whole = larger(whole, ends[slug])
    return whole


def _limited(definition: TaskDefinition, left: Mapping[str, Draws], at_once: int) -> Draws:
    """Returns it where phases wait for a place: each draw is played through."""
    game = _Game(definition, left, at_once)
    return [game.played(draw) for draw in range(DRAWS)]


class _Game:
    """Phases that wait for each other and for a place."""

    def __init__(self, definition: TaskDefinition, left: Mapping[str, Draws], at_once: int) -> None:
        self._left, self._at_once = left, at_once
        self._after = {slug: [f for f in found if f in left] for slug, found in followers(definition).items()}
        needs = {p.slug: sum(need in left for need in set(p.depends_on)) for p in definition.phases}
        self._needs = {slug: needs[slug] for slug in in_order(definition) if slug in left}

    def played(self, draw: int) -> float:
        """Returns when the last one ends in one draw."""
        missing, now = dict(self._needs), 0.0
        ready = [slug for slug, needs in missing.items() if not needs]
        running: list[tuple[float, str]] = []
        while ready or running:
            while ready and len(running) < self._at_once:
                slug = ready.pop(0)
                heapq.heappush(running, (now + self._left[slug][draw], slug))
            now, ended = heapq.heappop(running)
            for follower in self._after[ended]:
                missing[follower] -= 1
                if not missing[follower]:
                    ready.append(follower)
        return now
