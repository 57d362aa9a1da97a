"""Whether a failed attempt is tried again, when, and what is different then.

The rule is the category's (docs/semantics.md, R): transient and resource failures are retried with
exponential backoff, permission once after refreshing credentials, configuration and logic never.
"""

from __future__ import annotations

from typing import NamedTuple

from taskmark.errors import Category
from taskmark.task.model import Retry

JITTER = 0.1
FACTOR = 2.0


class Again(NamedTuple):
    """One more attempt, after `delay` seconds."""

    delay: float
    reduced: bool = False
    refresh_credentials: bool = False
    counts: bool = True
    """Whether it is another one of those that the file allows: what was not called was not tried."""


def backoff(retry: Retry, attempt: int, *, cap: float, chance: float) -> float:
    """Returns the seconds to wait after the given attempt failed.

    `chance` is a number in [0, 1) that spreads the wait by ±10 %, so that many steps that failed
    together do not come back together.
    """
    exponent = min(attempt - 1, 32)  # beyond it the cap holds anyway, and floats stay finite
    wait = min(retry.backoff_ms / 1000 * FACTOR**exponent, cap)
    spread = wait * (1 + JITTER * (2 * chance - 1))
    return spread if spread <= cap else cap * (1 - JITTER * chance)  # the cap holds, and still spreads


def spread(seconds: float, chance: float) -> float:
    """Returns the seconds to wait at least so long, and up to ten percent longer."""
    return seconds * (1 + JITTER * chance)


def held_back(seconds: float, chance: float) -> Again:
    """Returns the next attempt of a call that waits until what it needs answers again."""
    return Again(spread(seconds, chance), counts=False)


def decide(
    category: Category,
    attempt: int,
    retry: Retry,
    *,
    refreshed: bool,
    cap: float,
    chance: float,
    not_before: float = 0.0,
) -> Again | None:
    """Returns the next attempt, or None if there is none.

    `attempt` counts from 1, `refreshed` tells that credentials were already refreshed once, `not_before` how
    many seconds whoever failed asks to be left alone: within the cap that is heeded.
    """
    if attempt >= retry.max_attempts:
        return None
    wait = max(backoff(retry, attempt, cap=cap, chance=chance), spread(min(not_before, cap), chance))
    match category:
        case Category.TRANSIENT:
            return Again(wait)
        case Category.RESOURCE:
            return Again(wait, reduced=True)
        case Category.PERMISSION:
            return None if refreshed else Again(0.0, refresh_credentials=True)
        case _:
            return None
