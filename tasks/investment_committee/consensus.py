"""The vote: what each analyst's opinion is worth after the debate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import prod
from typing import Any

from tasks.investment_committee.measures import clamp
from tasks.investment_committee.opinions import HOLD
from tasks.investment_committee.policy import Policy, load_policy
from tasks.investment_committee.record import RED_TEAM, Answer, Statement, number, positions


@dataclass(frozen=True)
class Vote:
    """One member's vote. `confidence` is its weight; the debate can only lower it."""

    member: str
    stance: str
    confidence: float
    confidence_before: float
    stance_before: str
    headline: str


def severities(challenges: Answer, stance: str) -> list[float]:
    """How severe each readable challenge against that stance is."""
    answers = [challenges.get(member) for member in RED_TEAM]
    found = [
        number(answer, "severity")
        for answer in answers
        if isinstance(answer, Mapping) and answer.get("against") == stance
    ]
    return [clamp(severity, 0.0, 1.0) for severity in found if severity is not None]


def vote(one: Statement, challenges: Answer, policy: Policy) -> Vote:
    """A statement after the debate: each challenge to its stance takes a share of its confidence, and a
    shaken member whose confidence falls below the floor withdraws to HOLD."""
    against = severities(challenges, one.stance)
    confidence = one.confidence * prod(1 - policy.challenge_weight * severity for severity in against)
    withdraws = confidence < one.confidence and confidence < policy.withdrawal_confidence
    return Vote(
        member=one.member,
        stance=HOLD if withdraws else one.stance,
        confidence=round(confidence, 4),
        confidence_before=one.confidence,
        stance_before=one.stance,
        headline=one.headline,
    )


def votes(answers: Any, challenges: Any, tolerance: str) -> dict[str, Any]:
    """Takes the votes. `answers` maps analysis outputs to opinions, `challenges` red team members to theirs;
    either may have gaps."""
    said = positions(answers if isinstance(answers, Mapping) else {})
    heard = challenges if isinstance(challenges, Mapping) else {}
    policy = load_policy(tolerance)
    silent = [member for member in RED_TEAM if not isinstance(heard.get(member), Mapping)]
    return {
        "votes": [asdict(vote(one, heard, policy)) for one in said.voting],
        "abstained": list(said.abstained),
        "missing": [*said.missing, *silent],
    }
