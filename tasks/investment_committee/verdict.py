"""The verdict: the decision, its size, the risks against their limits, the dissent and the plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import floor
from typing import Any

from tasks.investment_committee.brief import Brief
from tasks.investment_committee.market import Series
from tasks.investment_committee.measures import TRADING_DAYS, average_of_last, clamp, ewma_volatility
from tasks.investment_committee.opinions import ABSTAIN, BUY, HOLD, REJECT, percent
from tasks.investment_committee.record import (
    RED_TEAM,
    Answer,
    Positions,
    Proposal,
    figure,
    find,
    number,
    positions_in,
    proposal_in,
)

STOP_DAYS = 21
STOP_DEVIATIONS = 2.0
"""The stop lies as many standard deviations of `STOP_DAYS` days below the price."""
WITHIN, BREACH, UNKNOWN = "within", "breach", "not answered"


@dataclass(frozen=True)
class Risk:
    """A row of the risk table: a measure against its limit, both in the unit."""

    risk: str
    value: float | None
    limit: float | None
    unit: str
    source: str

    @property
    def status(self) -> str:
        """Whether it is within its limit, or that nobody measured it."""
        if self.value is None or self.limit is None:
            return UNKNOWN
        return WITHIN if self.value <= self.limit else BREACH

    def as_json(self) -> dict[str, Any]:
        """The row with its status."""
        return asdict(self) | {"status": self.status}


@dataclass(frozen=True)
class Ballot:
    """The outcome of the vote."""

    winner: str | None
    """The strongest stance, if it has the majority of the weight and no other is as strong."""
    agreement: float
    """Share of the weight behind the strongest stance, 0 to 1."""
    confidence: float
    """Mean confidence of those who voted for the strongest stance, after the debate."""
    confidence_before: float
    """The same before the debate."""
    votes: tuple[Answer, ...]


@dataclass(frozen=True)
class Decision:
    """What is decided, for how much (USD), and why, in sentences."""

    decision: str
    approved_usd: float
    reasons: tuple[str, ...]


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def ballot_in(context: Answer) -> Ballot:
    """Reads the vote and its consensus; what is missing counts as no winner and no agreement."""
    consensus = find(context, "consensus")
    taken = find(context, "votes").get("votes")
    votes = tuple(one for one in taken if isinstance(one, Mapping)) if isinstance(taken, list) else ()
    strongest = consensus.get("winner")
    decided = strongest in (BUY, HOLD, REJECT) and consensus.get("reached", True) and not consensus.get("tie")
    mine = [one for one in votes if one.get("stance") == strongest]
    return Ballot(
        winner=str(strongest) if decided else None,
        agreement=number(consensus, "agreement") or 0.0,
        confidence=_mean([number(one, "confidence") or 0.0 for one in mine]),
        confidence_before=_mean([number(one, "confidence_before") or 0.0 for one in mine]),
        votes=votes,
    )


def affordable(context: Answer, proposal: Proposal) -> tuple[float, str]:
    """The proposed size, cut so that the worst window in the data costs no more than the policy bears, and
    the sentence that says so (empty if nothing was cut)."""
    most = figure(challenges_in(context).get("stress-tester", {}), "max_size_usd")
    if most is None or most >= proposal.size_usd:
        return proposal.size_usd, ""
    return (
        most,
        f"Cut from {proposal.size_usd:,.0f} USD so that the worst window in the data stays affordable",
    )


def challenges_in(context: Answer) -> dict[str, Answer]:
    """The red team's answers that can be read, by member."""
    heard = find(context, "challenges")
    return {member: heard[member] for member in RED_TEAM if isinstance(heard.get(member), Mapping)}


def size_sentence(brief: Brief, sizing: Answer, approved: float) -> str:
    """How the approved amount relates to the request, and which limit binds."""
    if approved >= floor(brief.amount):
        return f"The whole {brief.amount:,.0f} USD requested fit every limit"
    binding = sizing.get("binding", "the policy's caps (nobody sized the position)")
    return f"{approved:,.0f} of {brief.amount:,.0f} USD requested; sizing was bound by: {binding}"


def objection(proposal: Proposal, compliance: Answer) -> str:
    """Why a vote for BUY cannot stand; empty if it can.

    A vote can turn to BUY because the red team attacked those who wanted to stand aside. Such a purchase
    was not itself under attack, so it has to be proposed at another meeting.
    """
    if proposal.stance != BUY:
        return (
            f"The vote turned to BUY, but {proposal.stance} was proposed: the purchase was never under attack"
        )
    if not compliance:
        return "Compliance did not answer: nothing is bought without its check"
    if compliance.get("within_limits") is not True:
        broken = ", ".join(str(rule) for rule in compliance.get("breaches") or ["limits"])
        return f"The vote is BUY, but compliance objects: {broken}"
    return ""


def purchase(brief: Brief, context: Answer, proposal: Proposal) -> Decision:
    """How much of the proposal is bought; nothing if the limits leave less than the smallest order."""
    size, cut = affordable(context, proposal)
    approved, smallest = float(floor(size)), brief.policy.minimum_order_usd
    if approved < smallest:
        short = f"The limits leave {approved:,.0f} USD, below the smallest order of {smallest:,.0f} USD"
        return Decision(HOLD, 0.0, (short,))
    reasons = (
        f"{ballot_in(context).agreement:.0%} of the votes' weight is for BUY",
        size_sentence(brief, find(context, "sizing"), approved),
    )
    return Decision(BUY, approved, reasons + ((cut,) if cut else ()))


def decide(brief: Brief, context: Answer) -> Decision:
    """The rule of decision: the vote decides the direction, compliance may veto, limits decide the size."""
    ballot, proposal = ballot_in(context), proposal_in(context, brief)
    if ballot.winner is None:
        return Decision(HOLD, 0.0, ("No stance has the majority of the votes' weight: nothing is bought",))
    if ballot.winner != BUY:
        share = f"{ballot.agreement:.0%} of the votes' weight is for {ballot.winner}"
        return Decision(ballot.winner, 0.0, (share,))
    veto = objection(proposal, find(context, "compliance"))
    return Decision(HOLD, 0.0, (veto,)) if veto else purchase(brief, context, proposal)


def risk_table(brief: Brief, context: Answer) -> list[Risk]:
    """Every risk that was measured against a limit. Losses in USD are those of the proposed size."""
    policy = brief.policy
    stress, compliance = challenges_in(context).get("stress-tester", {}), find(context, "compliance")
    return [
        Risk(
            "annual volatility",
            figure(find(context, "volatility"), "volatility_annual_pct"),
            percent(policy.annual_volatility),
            "%",
            "volatility-analyst",
        ),
        Risk(
            f"drawdown within {brief.horizon.label}, 90th percentile",
            figure(find(context, "drawdown"), "drawdown_90th_percentile_pct"),
            percent(policy.drawdown),
            "%",
            "drawdown-analyst",
        ),
        Risk(
            "expected shortfall of a day, 99 %",
            number(compliance, "daily_loss_usd"),
            policy.daily_loss_usd,
            "USD",
            "compliance-officer",
        ),
        Risk(
            f"loss in the worst {brief.horizon.label} in the data",
            figure(stress, "worst_loss_usd"),
            policy.stress_loss_usd,
            "USD",
            "stress-tester",
        ),
        Risk(
            "position", number(compliance, "position_usd"), policy.position_usd, "USD", "compliance-officer"
        ),
        Risk(
            "exceptions of value at risk in 250 days (2.5 expected)",
            number(find(context, "backtest"), "exceptions"),
            9,
            "days",
            "back-test",
        ),
        Risk("problems in the price data", number(find(context, "audit"), "problems"), 0, "count", "audit"),
    ]


def dissent(decision: str, ballot: Ballot) -> list[dict[str, Any]]:
    """Votes against the decision, the weightiest first, with what the member said."""
    others = [one for one in ballot.votes if one.get("stance") != decision]
    ordered = sorted(others, key=lambda one: -(number(one, "confidence") or 0.0))
    return [
        {
            "member": str(one.get("member", "?")),
            "stance": str(one.get("stance", ABSTAIN)),
            "confidence": number(one, "confidence") or 0.0,
            "why": str(one.get("headline", "")),
        }
        for one in ordered
    ]


def stop_distance(brief: Brief, series: Series) -> float:
    """How far below the price the stop lies, as a fraction: two standard deviations of a month, at most the
    drawdown that the tolerance bears."""
    month = ewma_volatility(series.closes) * (STOP_DAYS / TRADING_DAYS) ** 0.5
    return clamp(STOP_DEVIATIONS * month, 0.0, brief.policy.drawdown)


def implementation_plan(brief: Brief, series: Series, approved: float) -> dict[str, Any]:
    """Tranches, stop and review for a purchase; without one, the levels that would reopen the question.

    Days are trading days after approval, because nobody knows the prices or holidays to come.
    """
    slow = average_of_last(series.closes, brief.horizon.slow)
    watch = [
        f"a close above {slow:,.2f} {series.listing.unit} (the {brief.horizon.slow}-day average)",
        f"annual volatility over {brief.horizon.volatility} days at or below "
        f"{brief.policy.annual_volatility:.0%}",
    ]
    if not approved:
        return {
            "tranches": [],
            "stop": None,
            "reopen_when": watch,
            "review_after_days": brief.horizon.spacing,
        }
    distance = stop_distance(brief, series)
    count = brief.horizon.tranches
    part = round(approved / count, 2)
    amounts = [part] * (count - 1) + [round(approved - part * (count - 1), 2)]
    return {
        "tranches": [
            {
                "number": position + 1,
                "day": position * brief.horizon.spacing,
                "usd": usd,
                "units_at_last_close": round(usd / series.last, 4),
            }
            for position, usd in enumerate(amounts)
        ],
        "stop": {
            "level": round(series.last * (1 - distance), 2),
            "unit": series.listing.unit,
            "distance_pct": percent(distance),
            "loss_usd": round(approved * distance, 2),
            "rule": f"Sell on a close below it; {STOP_DEVIATIONS:g} standard deviations of "
            f"{STOP_DAYS} days, at most the drawdown the tolerance bears; a gap can cost more",
        },
        "reopen_when": [],
        "review_after_days": count * brief.horizon.spacing,
    }


def caveats(series: Series) -> list[str]:
    """What the figures cannot say."""
    own = (
        "An index of prices: dividends, fees and taxes are not in the figures"
        if series.volumes is not None
        else "A spot price: storage and the cost of rolling futures are not in the figures"
    )
    return [
        f"Computed as of {series.as_of.isoformat()}, the last price in the data; nothing later is known",
        own,
        "Past distributions are not forecasts; overlapping windows are fewer independent cases than it seems",
        "The portfolio and its limits are the policy file's, not measured",
    ]


def absent(said: Positions, context: Answer) -> list[str]:
    """Members whose answer is missing or cannot be read."""
    others = {
        "position-sizer": "sizing",
        "portfolio-manager": "proposal",
        "compliance-officer": "compliance",
    }
    silent = [member for member, name in others.items() if not find(context, name)]
    heard = challenges_in(context)
    return [*said.missing, *silent, *(member for member in RED_TEAM if member not in heard)]


def headline(brief: Brief, series: Series, decision: Decision, ballot: Ballot) -> str:
    """The verdict in one line."""
    what = {
        BUY: f"BUY {decision.approved_usd:,.0f} of {brief.amount:,.0f} USD of {brief.ticker}",
        HOLD: f"HOLD: do not add {brief.ticker} now",
        REJECT: f"REJECT the purchase of {brief.ticker}",
    }[decision.decision]
    if ballot.winner is None:
        support = "no majority"
    elif ballot.winner == decision.decision:
        support = f"{ballot.agreement:.0%} agreement"
    else:
        support = f"the vote for {ballot.winner} does not stand"
    terms = f"{brief.horizon.label}, {brief.tolerance} risk"
    return f"{what} ({terms}; {support}, as of {series.as_of.isoformat()})"


def committee_chair(_instruction: str, context: Mapping[str, Any]) -> dict[str, Any]:
    """Closes the meeting: the structured verdict."""
    brief = Brief.from_context(context)
    series, said, ballot = brief.series(), positions_in(context), ballot_in(context)
    decision = decide(brief, context)
    objections = challenges_in(context)
    return {
        "decision": decision.decision,
        "headline": headline(brief, series, decision, ballot),
        "ticker": brief.ticker,
        "instrument": series.listing.name,
        "as_of": series.as_of.isoformat(),
        "last_close": series.last,
        "unit": series.listing.unit,
        "horizon": brief.horizon.label,
        "risk_tolerance": brief.tolerance,
        "requested_usd": brief.amount,
        "approved_usd": decision.approved_usd,
        "share_of_portfolio_pct": percent(decision.approved_usd / brief.policy.portfolio_usd),
        "agreement": round(ballot.agreement, 4),
        "confidence": round(ballot.confidence, 4),
        "confidence_before_debate": round(ballot.confidence_before, 4),
        "reasons": list(decision.reasons),
        "votes": [dict(one) for one in ballot.votes],
        "dissent": dissent(decision.decision, ballot),
        "challenges": [
            {
                "member": member,
                "against": str(answer.get("against", "")),
                "severity": number(answer, "severity"),
                "headline": str(answer.get("headline", "")),
            }
            for member, answer in objections.items()
        ],
        "risks": [risk.as_json() for risk in risk_table(brief, context)],
        "plan": implementation_plan(brief, series, decision.approved_usd),
        "abstained": list(said.abstained),
        "missing": absent(said, context),
        "caveats": caveats(series),
    }
