"""The editor: one short answer from what the agents found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tasks.daily_market_analysis.findings import LEANS
from tasks.daily_market_analysis.question import Reading, reading_of
from tasks.daily_market_analysis.selection import TEAMS
from tasks.daily_market_analysis.words import ABILITIES
from tasks.investment_committee.market import LISTINGS

MOST_TOLD = 3
"""Findings that the answer itself repeats."""


def answer(_instruction: str, context: Mapping[str, Any]) -> dict[str, Any]:
    """Answers the question; says what was not answered and why."""
    reading, phases = reading_of(context), context["phases"]
    if not reading.words:
        return _refusal(reading)
    selection = phases["contextual_agent_selection"]["outputs"]
    asked, said = selection["agents"], phases["rapid_analysis"]["outputs"]["findings"]
    findings = {name: one for name, one in zip(asked, said, strict=True) if _is_finding(one)}
    silent = [f"{name} did not answer" for name in asked if name not in findings]
    silent += [f"{name} was not asked, because others fit better" for name in selection["left_out"]]
    return {
        "answered": bool(findings),
        "understood": understood(reading),
        "answer": _text(reading, findings),
        "findings": {name: one["headline"] for name, one in findings.items()},
        "actions": [one["action"] for one in findings.values()],
        "limits": [*silent, *reading.limits],
    }


def _is_finding(said: Any) -> bool:
    """Whether an agent gave what it was asked for; one that is a language model may have not."""
    fields = ("headline", "lean", "action")
    return isinstance(said, Mapping) and all(isinstance(said.get(field), str) for field in fields)


def understood(reading: Reading) -> str:
    """What the question was taken for."""
    topics = ", ".join(f"{topic} (“{word}”)" for topic, word in reading.words.items())
    beside = f", beside {', '.join(reading.compared)}" if reading.compared else ""
    return f"{topics} of {LISTINGS[reading.subject].name}{beside}, as of {reading.series().as_of.isoformat()}"


def _refusal(reading: Reading) -> dict[str, Any]:
    return {
        "answered": False,
        "understood": "no question that the prices here can answer",
        "answer": " ".join(f"{sentence}." for sentence in (*reading.limits, ABILITIES)),
        "findings": {},
        "actions": [],
        "limits": reading.limits,
    }


def _text(reading: Reading, findings: Mapping[str, Mapping[str, Any]]) -> str:
    """The answer itself: the balance of the signs, what was asked for, and the first thing to do."""
    name = LISTINGS[reading.subject].name.partition(",")[0]
    leading = {TEAMS[topic][0] for topic in reading.words}
    leading |= set(TEAMS["overview"]) if "overview" in reading.words else set()
    told = [one for agent, one in findings.items() if agent in leading][:MOST_TOLD] or [*findings.values()][
        :1
    ]
    sentences = [one["headline"] for one in told] + [one["action"] for one in told[:1]]
    return f"{name}, {reading.series().as_of.isoformat()}; signs: {_balance(findings)}. " + " ".join(
        f"{sentence}." for sentence in sentences
    )


def _balance(findings: Mapping[str, Mapping[str, Any]]) -> str:
    """How many signs there are of each kind."""
    leans = [str(one["lean"]) for one in findings.values()]
    return ", ".join(f"{leans.count(lean)} {lean}" for lean in LEANS if lean in leans) or "no signs"
