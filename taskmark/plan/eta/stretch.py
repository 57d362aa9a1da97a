"""Whether intervals held as much as they said, and by how much the next ones have to be wider or narrower.

No model knows everything: where machines are busy now and then, durations of one run depend on each other
in ways that none sees. What can be seen is how far off the estimates of a task have been (conformal
prediction, Vovk et al. 2005): if 80 of 100 truths were within so many half widths of the middle, that is
how wide an interval of 80 % is."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from taskmark.plan.calibration import judged

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from taskmark.records import EstimateRecord

LEAST, MOST = 0.6, 4.0
_PRIOR = 6.0
"""So many executions weigh the model's own width against what was seen."""
_NOTHING = 0.05
"""Seconds that do not matter: a truth so near to an end is neither in nor out."""
_SLOPE = math.log(1.02)
"""A half width has at least that, on a logarithmic scale."""


def scores(estimates: Iterable[EstimateRecord]) -> Iterator[float]:
    """Yields how far estimates of one execution were off, in half widths as wide as the model alone would
    have made them; nothing if it did not complete."""
    for one in judged(estimates):
        if one.told.confidence is not None and one.truth > 0:
            yield one.told.stretch * _off(one.told, one.truth)


def _off(one: EstimateRecord, truth: float) -> float:
    """Returns how far the truth was from the middle; 1 is an end of the interval."""
    low, middle, high, true = (math.log(s + _NOTHING) for s in (one.low, one.remaining, one.high, truth))
    half = high - middle if true > middle else middle - low
    return abs(true - middle) / max(half, _SLOPE)


def stretch(seen: Mapping[int, Sequence[float]], confidence: float) -> float:
    """Returns by how much half widths have to be multiplied, given the scores of each execution: nothing as
    long as few are known, because those of one execution are alike."""
    ranked = sorted(score for found in seen.values() for score in found)
    if not ranked:
        return 1.0
    place = min(int(confidence * (len(ranked) + 1)), len(ranked) - 1)
    count = len(seen)
    wanted = (count * ranked[place] + _PRIOR) / (count + _PRIOR)
    return min(max(wanted, LEAST), MOST)


def stretched(middle: float, end: float, factor: float) -> float:
    """Returns an end of an interval so much further from its middle, on a logarithmic scale."""
    if middle <= 0.0 or end <= 0.0:
        return end
    return middle * math.exp(factor * math.log(end / middle))
