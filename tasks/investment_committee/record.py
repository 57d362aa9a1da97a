"""The meeting's record: what members said so far, read from a step's context.

Any answer may be missing (the agent failed) or malformed (a language model wrote it). What cannot be
read counts as missing; nothing here fails because one member did.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tasks.investment_committee.brief import Brief
from tasks.investment_committee.measures import clamp
from tasks.investment_committee.opinions import ABSTAIN, BUY, HOLD, REJECT

Answer = Mapping[str, Any]

ANALYSTS = {
    "trend": "trend-analyst",
    "momentum": "momentum-analyst",
    "volatility": "volatility-analyst",
    "risk": "risk-analyst",
    "drawdown": "drawdown-analyst",
    "liquidity": "liquidity-analyst",
    "correlation": "correlation-analyst",
    "seasonality": "seasonality-analyst",
}
"""Names of the analysis phase's outputs and the members that give them."""
RED_TEAM = ("stress-tester", "tail-risk-skeptic", "regime-skeptic")


def find(context: Answer, name: str) -> Answer:
    """Returns the answer of that name, from earlier steps of the phase or the outputs of earlier phases;
    empty if there is none."""
    step = (context.get("steps") or {}).get(name)
    candidates = [step.get("output")] if isinstance(step, Mapping) else []
    phases = (context.get("phases") or {}).values()
    candidates.extend((phase.get("outputs") or {}).get(name) for phase in phases)
    for candidate in candidates:
        if isinstance(candidate, Mapping):
            return candidate
    return {}


def number(answer: Answer, key: str) -> float | None:
    """The number under that key, if there is one."""
    value = answer.get(key)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def figure(answer: Answer, key: str) -> float | None:
    """The number of that name among an answer's figures, if there is one."""
    figures = answer.get("figures")
    return number(figures, key) if isinstance(figures, Mapping) else None


@dataclass(frozen=True)
class Statement:
    """An analyst's opinion as it stands in the record."""

    member: str
    stance: str
    score: float
    confidence: float
    headline: str


def statement(member: str, answer: Any) -> Statement | None:
    """Reads one opinion; None if it is missing or cannot be read."""
    if not isinstance(answer, Mapping):
        return None
    stance, score, confidence = answer.get("stance"), number(answer, "score"), number(answer, "confidence")
    if stance not in (BUY, HOLD, REJECT, ABSTAIN) or score is None or confidence is None:
        return None
    headline = str(answer.get("headline", ""))
    return Statement(member, stance, clamp(score), clamp(confidence, 0.0, 1.0), headline)


@dataclass(frozen=True)
class Positions:
    """Everything the analysts said, and who said nothing."""

    stated: tuple[Statement, ...]
    missing: tuple[str, ...]

    @property
    def voting(self) -> tuple[Statement, ...]:
        """Those who take a side."""
        return tuple(one for one in self.stated if one.stance != ABSTAIN)

    @property
    def abstained(self) -> tuple[str, ...]:
        """Members whose question the data cannot answer."""
        return tuple(one.member for one in self.stated if one.stance == ABSTAIN)


def positions(answers: Answer) -> Positions:
    """Reads the analysts' answers from a mapping of output name to answer."""
    read = {member: statement(member, answers.get(name)) for name, member in ANALYSTS.items()}
    return Positions(
        stated=tuple(one for one in read.values() if one is not None),
        missing=tuple(member for member, one in read.items() if one is None),
    )


def positions_in(context: Answer) -> Positions:
    """Reads the analysts' answers from a step's context."""
    return positions({name: find(context, name) for name in ANALYSTS})


@dataclass(frozen=True)
class Proposal:
    """What the meeting debates."""

    stance: str
    size_usd: float
    """What would be bought if the stance were BUY."""


def policy_cap(brief: Brief) -> float:
    """The requested amount, cut to what the policy's plain limits on size allow. USD."""
    return min(brief.amount, *brief.policy.caps(brief.ticker).values())


def proposal_in(context: Answer, brief: Brief) -> Proposal:
    """The portfolio manager's proposal; without one, the request within the policy's caps, to be bought."""
    answer = find(context, "proposal")
    size = number(answer, "size_usd")
    if answer.get("stance") not in (BUY, HOLD, REJECT) or size is None:
        return Proposal(BUY, policy_cap(brief))
    return Proposal(answer["stance"], size)
