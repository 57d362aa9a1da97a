"""What comes next in a series that may stand still, wander or drift: the simplest forecast that would have
done best so far, and how far off it would have been."""

from __future__ import annotations

from itertools import accumulate
from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

FIRST = 3
"""So many values are known before a forecast is judged."""
BETTER = 0.8
"""A forecast that follows the series must have been better than the plain mean by that, or it follows
noise."""
_FOLLOWING = (0.25, 0.5, 0.8)
_RECENT = 8


class Forecast(NamedTuple):
    """The next value, and the mean square of what it may be off by."""

    value: float
    variance: float


def forecast(series: Sequence[float]) -> Forecast:
    """Returns what is expected after a series, oldest first; it has at least one value."""
    plain = _judged(series, _means(series))
    if len(series) < 2 * FIRST:
        return plain
    following = [_judged(series, _smoothed(series, weight)) for weight in _FOLLOWING]
    following.append(_judged(series, _lines(series)))
    best = min(following, key=lambda one: one.variance)
    return best if best.variance < BETTER * plain.variance else plain


def _judged(series: Sequence[float], expected: Iterable[float]) -> Forecast:
    """Returns what a rule expects next, and how far off it was where the series itself could tell; `expected`
    is what it expects after each value."""
    said = list(expected)
    first = max(min(FIRST, len(series) - 1), 1)
    errors = [(value - before) ** 2 for value, before in zip(series[first:], said[first - 1 :], strict=False)]
    return Forecast(said[-1], fmean(errors) if errors else 0.0)


def _means(series: Sequence[float]) -> Iterator[float]:
    return (total / count for count, total in enumerate(accumulate(series), 1))


def _smoothed(series: Sequence[float], weight: float) -> Iterator[float]:
    """Yields exponential smoothing: the newest value counts so much, what came before for the rest."""
    return accumulate(series, lambda level, value: level + weight * (value - level))


def _lines(series: Sequence[float]) -> Iterator[float]:
    """Yields the next value of the straight line through the newest ones."""
    for end in range(1, len(series) + 1):
        recent = series[max(end - _RECENT, 0) : end]
        middle, level = (len(recent) - 1) / 2, fmean(recent)
        spread = len(recent) * (len(recent) ** 2 - 1) / 12  # the sum of squares around the middle
        slope = sum((n - middle) * value for n, value in enumerate(recent)) / spread if spread else 0.0
        yield level + slope * (middle + 1)
