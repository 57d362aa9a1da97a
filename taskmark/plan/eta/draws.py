"""Draws: a random quantity is as many equally likely values as there are draws, the same number everywhere.

Quantities that are independent have their values in unrelated orders, so that adding them draw by draw adds
them as quantities. The orders are fixed: the same question has the same answer, and an estimate that is
repeated does not jitter.
"""

from __future__ import annotations

from statistics import NormalDist
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

DRAWS = 96
"""Enough that the ends of an interval of 80 % are each the middle of ten values."""

Draws = list[float]
"""`DRAWS` values."""

MIDDLES = tuple((place + 0.5) / DRAWS for place in range(DRAWS))
"""Of `DRAWS` equally likely parts of all that can be, how likely it is to be below their middles."""
NORMAL = tuple(NormalDist().inv_cdf(middle) for middle in MIDDLES)
"""A standard normal quantity, in rising order."""

_MASK = (1 << 64) - 1


def _mixed(number: int) -> int:
    """Returns 64 bits that look random (the finalizer of SplitMix64, Steele et al. 2014): workflow code has
    no source of randomness, and this needs none."""
    mixed = (number + 1) * 0x9E3779B97F4A7C15 & _MASK
    mixed = (mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9 & _MASK
    mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EB & _MASK
    return mixed ^ mixed >> 31


def _shuffle(number: int) -> tuple[int, ...]:
    return tuple(sorted(range(DRAWS), key=lambda place: _mixed(number * DRAWS + place)))


_SHUFFLES = tuple(_shuffle(number) for number in range(256))


def order(number: int) -> tuple[int, ...]:
    """Returns the places of all draws in an order of its own for each of some 65,000 numbers."""
    turn, first = divmod(number, len(_SHUFFLES))
    if not turn:
        return _SHUFFLES[first]
    inner = _SHUFFLES[first]
    return tuple([inner[place] for place in _SHUFFLES[turn % len(_SHUFFLES)]])


def added(one: Draws, other: Draws) -> Draws:
    """Returns the sum of two quantities."""
    return [a + b for a, b in zip(one, other, strict=True)]


def larger(one: Draws, other: Draws) -> Draws:
    """Returns the larger one of two quantities."""
    return [max(pair) for pair in zip(one, other, strict=True)]


def quantiles(values: Draws, weights: Sequence[float], shares: Sequence[float]) -> list[float]:
    """Returns the values that are not exceeded in such shares of all cases, given how likely each draw is."""
    ranked = sorted(zip(values, weights, strict=True))
    whole, found, passed = sum(weights), [], 0.0
    wanted = iter(sorted(shares))
    share = next(wanted)
    for value, weight in ranked:
        passed += weight
        while passed >= share * whole:
            found.append(value)
            share = next(wanted, 2.0)
    return found + [ranked[-1][0]] * (len(shares) - len(found))
