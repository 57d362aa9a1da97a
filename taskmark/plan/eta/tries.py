"""What a step takes with the tries that fail: each may fail, then it waits and is tried again."""

from __future__ import annotations

import math
from itertools import accumulate
from typing import TYPE_CHECKING

from taskmark.plan.eta.draws import MIDDLES
from taskmark.plan.retrying import backoff

if TYPE_CHECKING:
    from taskmark.task.model import Retry

CAP = 60.0
"""Seconds that a wait between two tries has at most."""


def trouble(fails: float, failing: float, retry: Retry, made: int = 0) -> tuple[float, ...]:
    """Returns the seconds that go into tries that fail from now on, and into the waits after them, in
    rising order; nothing if that is too rare to be seen. `made` tries have been made already.

    How many fail in a row is a geometric quantity.
    """
    left = retry.max_attempts - 1 - made
    if left <= 0 or fails < MIDDLES[0]:
        return ()
    costs, likely, share = [], [], fails
    for failure in range(made + 1, made + left + 1):
        costs.append(failing + backoff(retry, failure, cap=CAP, chance=0.5))
        likely.append(share)
        share *= fails
        if share < MIDDLES[0]:
            break
    sums = [0.0, *accumulate(costs)]
    return tuple(sums[sum(middle < one for one in likely)] for middle in reversed(MIDDLES))


def spent(failing: float, retry: Retry, attempt: int) -> float:
    """Returns the seconds that the tries before this attempt took, as a rule."""
    waits = math.fsum(backoff(retry, made, cap=CAP, chance=0.5) for made in range(1, min(attempt, 33)))
    return (attempt - 1) * failing + waits
