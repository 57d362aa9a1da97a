"""Who answers: the agents of the topics first, then those who put them into context."""

from __future__ import annotations

from collections.abc import Mapping

FEWEST, MOST = 3, 5
TEAMS = {
    "trend": ("trend-watcher", "price-watcher", "volatility-watcher"),
    "volatility": ("volatility-watcher", "drawdown-watcher", "price-watcher"),
    "drawdown": ("drawdown-watcher", "volatility-watcher", "trend-watcher"),
    "season": ("season-watcher", "price-watcher", "volatility-watcher"),
    "correlation": ("correlation-watcher", "volatility-watcher", "price-watcher"),
    "price": ("price-watcher", "trend-watcher", "volatility-watcher"),
    "overview": ("price-watcher", "trend-watcher", "volatility-watcher", "drawdown-watcher"),
}
"""Per topic the agent whose subject it is, then others whose answers belong to it."""


def choose(words: Mapping[str, str]) -> dict[str, object]:
    """Returns `agents`, three to five of them in the order of their weight, and the reason for each.

    `words` are topics with the words that told them; for none of them nobody is chosen.
    """
    reasons: dict[str, str] = {}
    for topic, word in words.items():
        reasons.setdefault(TEAMS[topic][0], f"the question says “{word}”")
    whole = [name for topic in words if topic == "overview" for name in TEAMS[topic]]
    context = [name for place in (1, 2) for topic in words for name in TEAMS[topic][place : place + 1]]
    for name in [*whole, *context]:
        if len(reasons) < FEWEST or name in whole:
            reasons.setdefault(name, f"context for {', '.join(words)}")
    chosen = list(reasons)[:MOST]
    return {
        "agents": chosen,
        "reasons": {name: reasons[name] for name in chosen},
        "left_out": list(reasons)[MOST:],
    }
