"""What an agent finds, and how a Python function becomes an agent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import wraps
from typing import Any

from tasks.daily_market_analysis.question import Reading, reading_of
from tasks.investment_committee.market import Series

LEANS = FAVOURABLE, CAUTIOUS, NEUTRAL = "favourable", "cautious", "neutral"


@dataclass(frozen=True)
class Finding:
    """One agent's answer. Figures carry their unit in the name: `_pct`, `_usd`, `_days`."""

    headline: str
    """One sentence with the figures that decide, without its full stop."""
    lean: str
    """Whether it is a reason for confidence or for caution, or neither."""
    action: str
    """What to do with it, also one sentence."""
    figures: dict[str, float | str]


Method = Callable[[Reading, Series], Finding]
AgentFunction = Callable[[str, Mapping[str, Any]], dict[str, Any]]


def watcher(method: Method) -> AgentFunction:
    """Makes an agent of a method: takes the reading from the context, loads the prices, answers in JSON."""

    @wraps(method)
    def answer(_instruction: str, context: Mapping[str, Any]) -> dict[str, Any]:
        reading = reading_of(context)
        return asdict(method(reading, reading.series()))

    return answer
