"""What members say: opinions and challenges, and how a Python function becomes a member."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import wraps
from typing import Any

from tasks.investment_committee.brief import Brief
from tasks.investment_committee.market import Series
from tasks.investment_committee.measures import clamp

BUY, HOLD, REJECT, ABSTAIN = "BUY", "HOLD", "REJECT", "ABSTAIN"
THRESHOLD = 0.2
"""A score beyond it, on a scale from -1 to 1, is a stance; nearer to zero it is HOLD."""

Figure = float | str | None


@dataclass(frozen=True)
class Opinion:
    """One member's view. Figures carry their unit in the name: `_pct`, `_usd`, `_days`, `_ratio`."""

    member: str
    score: float
    """From -1 (against buying) to 1 (for it)."""
    confidence: float
    """From 0 to 1: how clear the evidence is, not how strong the view."""
    headline: str
    figures: dict[str, Figure] = field(default_factory=dict)
    abstains: bool = False

    @property
    def stance(self) -> str:
        """BUY, HOLD, REJECT, or ABSTAIN where the data cannot answer the member's question."""
        if self.abstains:
            return ABSTAIN
        if self.score >= THRESHOLD:
            return BUY
        return REJECT if self.score <= -THRESHOLD else HOLD

    def as_json(self) -> dict[str, Any]:
        """The answer as the task passes it on."""
        return {
            "member": self.member,
            "stance": self.stance,
            "score": round(clamp(self.score), 4),
            "confidence": round(clamp(self.confidence, 0.0, 1.0), 4),
            "headline": self.headline,
            "figures": self.figures,
        }


def abstention(member: str, reason: str) -> Opinion:
    """An opinion that counts for nobody, with the reason."""
    return Opinion(member, 0.0, 0.0, reason, abstains=True)


@dataclass(frozen=True)
class Challenge:
    """What the red team holds against the proposal."""

    member: str
    against: str
    """The stance it argues against."""
    severity: float
    """From 0 (nothing found) to 1: how much it should shake those who hold that stance."""
    headline: str
    figures: dict[str, Figure] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The answer as the task passes it on."""
        return asdict(self) | {"severity": round(clamp(self.severity, 0.0, 1.0), 4)}


AgentFunction = Callable[[str, Mapping[str, Any]], dict[str, Any]]


def analyst(method: Callable[[Brief, Series], Opinion]) -> AgentFunction:
    """Makes a member of a method: reads the inputs, loads the prices, answers in JSON."""

    @wraps(method)
    def answer(_instruction: str, context: Mapping[str, Any]) -> dict[str, Any]:
        brief = Brief.from_context(context)
        return method(brief, brief.series()).as_json()

    return answer


def percent(fraction: float) -> float:
    """A fraction as percent, rounded to hundredths."""
    return round(100 * fraction, 2)
