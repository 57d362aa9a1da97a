"""The law of a duration: what is to be expected of the next one, given some of the past.

Of n past durations the next one is as likely to fall into each of the n + 1 gaps between them (it could as
well have come at any other place among them). That holds whatever their distribution, bimodal ones too, and
is what makes intervals honest with few samples: the outer two gaps have no end.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import fmean
from typing import TYPE_CHECKING

from taskmark.plan.eta.draws import DRAWS, MIDDLES, NORMAL, Draws, order
from taskmark.plan.eta.variance import squares

if TYPE_CHECKING:
    from collections.abc import Sequence

SHORTEST = 0.001
"""Seconds that a duration has at least: logarithms need some."""
FEW = 5
"""Fewer durations than that say little of how they spread; what is usual in the task does."""
_PRIOR = 2.0
"""So many durations weigh what is usual against a step's own deviation."""
_TAIL = 0.5
"""How far out the outer gaps reach, in deviations."""
_LEAST = 0.1
"""How far they reach at least."""
_OVERDUE = 2.5
"""How soon something ends that has run longer than was ever seen: the larger, the sooner (Pareto's alpha)."""


@dataclass(frozen=True)
class Law:
    """A duration: its values in rising order, and on a logarithmic scale their middle and deviation."""

    rising: tuple[float, ...]
    """Seconds, one for each draw, at a pace of 1."""
    center: float
    deviation: float
    samples: int

    @cached_property
    def mean(self) -> float:
        """The seconds that it takes on average."""
        return fmean(self.rising)

    @cached_property
    def variation(self) -> float:
        """The mean square of its deviation from the mean, in means."""
        mean = self.mean
        return fmean((value / mean - 1) ** 2 for value in self.rising)

    def drawn(self, number: int, pace: Draws) -> Draws:
        """Returns the seconds of one that begins now."""
        rising = self.rising
        return [rising[place] * factor for place, factor in zip(order(number), pace, strict=True)]

    def with_costs(self, costs: Sequence[float]) -> Law:
        """Returns the law of such a duration and of independent costs, given in rising order, together."""
        if not costs:
            return self
        sums = sorted(one + costs[place] for one, place in zip(self.rising, order(1), strict=True))
        return replace(self, rising=tuple(sums))

    def left(self, number: int, pace: Draws, ran: float) -> tuple[Draws, Draws]:
        """Returns the seconds yet of one that has run for so long, and how likely each draw was to get there.

        Of the durations that are possible only those longer than that are; if none is, it is overdue, and
        the longer it has run the longer it may take.
        """
        found, likely = [], []
        for place, factor in zip(order(number), pace, strict=True):
            first = bisect_right(self.rising, ran / factor)
            likely.append((DRAWS - first + 0.5) / (DRAWS + 0.5))
            chosen = first + place * (DRAWS - first) // DRAWS
            if chosen < DRAWS:
                found.append(self.rising[chosen] * factor - ran)
            else:
                found.append(ran * ((1 - MIDDLES[place]) ** (-1 / _OVERDUE) - 1))
        return found, likely


def logarithm(seconds: float) -> float:
    """Returns the logarithm of a duration, on whose scale durations are compared."""
    return math.log(max(seconds, SHORTEST))


def learned(logs: Sequence[float], usual: float, center: float | None = None) -> Law:
    """Returns the law of the next duration after those with these logarithms, in any order.

    `usual` is how far such logarithms deviate in general, `center` where the next one is expected if not in
    the middle of the others.
    """
    ranked = sorted(logs)
    middle = _middle(ranked)
    deviation = _deviation(ranked, usual)
    shift = 0.0 if center is None else center - middle
    if len(ranked) < FEW:
        spread = deviation * math.sqrt(1 + 1 / len(ranked))
        values = [middle + shift + spread * z for z in NORMAL]
    else:
        values = [shift + _quantile(ranked, middle_of, deviation) for middle_of in MIDDLES]
    rising = tuple(math.exp(value) for value in values)
    if len(ranked) >= FEW:
        rising = _with_mean(rising, fmean(math.exp(log + shift) for log in ranked))
    return Law(rising, middle + shift, max(deviation, 0.02), len(ranked))


def assumed(seconds: float, deviation: float) -> Law:
    """Returns the law of a duration of which nothing but a declaration is known."""
    center = logarithm(seconds)
    return Law(tuple(math.exp(center + deviation * z) for z in NORMAL), center, deviation, 0)


def _with_mean(rising: Sequence[float], mean: float) -> tuple[float, ...]:
    """Returns the values with this mean: the outer gaps have no end, and of many durations added up each
    would add a little too much."""
    factor = mean / fmean(rising)
    return tuple(value * factor for value in rising)


def _deviation(ranked: Sequence[float], usual: float) -> float:
    """Returns how far logarithms deviate: of few ones rather what is usual."""
    count = len(ranked)
    return math.sqrt((squares(ranked) + _PRIOR * usual**2) / (count - 1 + _PRIOR))


def _quantile(ranked: Sequence[float], share: float, deviation: float) -> float:
    """Returns the value that the next one stays below with this probability."""
    count = len(ranked)
    position = share * (count + 1) - 1
    if position < 0:
        reach = _reach(ranked[1] - ranked[0], ranked[2] - ranked[0], deviation)
        return ranked[0] + reach * math.log(share * (count + 1))
    if position > count - 1:
        reach = _reach(ranked[-1] - ranked[-2], ranked[-1] - ranked[-3], deviation)
        return ranked[-1] - reach * math.log((1 - share) * (count + 1))
    below = int(position)
    above = min(below + 1, count - 1)
    return ranked[below] + (position - below) * (ranked[above] - ranked[below])


def _reach(gap: float, two_gaps: float, deviation: float) -> float:
    """Returns how far an outer gap reaches, beyond which values are exponentially less likely: about as far
    as the gaps beside it, and no further than the whole deviates."""
    return min(max(gap, two_gaps / 2, _LEAST * deviation), _TAIL * deviation)


def _middle(ranked: Sequence[float]) -> float:
    half = len(ranked) // 2
    return ranked[half] if len(ranked) % 2 else (ranked[half - 1] + ranked[half]) / 2
