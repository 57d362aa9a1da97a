"""The round table: how much could be bought, and what is proposed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tasks.investment_committee.brief import Brief
from tasks.investment_committee.market import Series
from tasks.investment_committee.market_risk import RISK_WINDOW
from tasks.investment_committee.measures import (
    TRADING_DAYS,
    ewma_volatility,
    expected_shortfall,
    returns,
    volatility,
)
from tasks.investment_committee.opinions import BUY, HOLD, REJECT, percent
from tasks.investment_committee.record import Statement, find, number, policy_cap, positions_in

AS_REQUESTED = "requested amount"


def size_limits(brief: Brief, series: Series) -> dict[str, float]:
    """Highest purchase in USD that each limit allows, the request itself included.

    The volatility is the higher of the current (exponentially weighted) and last year's, so that neither
    a calm month nor a calm year makes the position large.
    """
    policy = brief.policy
    risk = max(ewma_volatility(series.closes), volatility(series.closes, TRADING_DAYS))
    shortfall = expected_shortfall(returns(series.closes)[-RISK_WINDOW:], 0.99)
    return {
        AS_REQUESTED: brief.amount,
        **policy.caps(brief.ticker),
        "volatility budget of a year": policy.volatility_usd / risk,
        "loss budget of a day": policy.daily_loss_usd / shortfall,
    }


def position_sizer(_instruction: str, context: Mapping[str, Any]) -> dict[str, Any]:
    """Sizes the position: the lowest of what every limit allows."""
    brief = Brief.from_context(context)
    series = brief.series()
    limits = size_limits(brief, series)
    binding = min(limits, key=lambda name: limits[name])
    size = limits[binding]
    return {
        "member": "position-sizer",
        "headline": f"At most {size:,.0f} of the {brief.amount:,.0f} USD requested; what binds: {binding}",
        "size_usd": round(size, 2),
        "requested_usd": brief.amount,
        "binding": binding,
        "limits": [{"limit": name, "allows_usd": round(allows, 2)} for name, allows in limits.items()],
        "figures": {
            "share_of_portfolio_pct": percent(size / brief.policy.portfolio_usd),
            "volatility_ewma_pct": percent(ewma_volatility(series.closes)),
            "volatility_252_days_pct": percent(volatility(series.closes, TRADING_DAYS)),
        },
    }


def leading_stance(statements: tuple[Statement, ...]) -> str:
    """The stance with most confidence behind it; the more cautious one where two are equal."""
    weights = {
        stance: sum(one.confidence for one in statements if one.stance == stance)
        for stance in (HOLD, REJECT, BUY)
    }
    return max(weights, key=lambda stance: weights[stance])


def _arguments(statements: tuple[Statement, ...], stance: str) -> list[str]:
    """What members of that stance said, the most confident first."""
    speakers = sorted((one for one in statements if one.stance == stance), key=lambda one: -one.confidence)
    return [f"{one.member}: {one.headline}" for one in speakers]


def portfolio_manager(_instruction: str, context: Mapping[str, Any]) -> dict[str, Any]:
    """Puts a proposal on the table: the leading stance, the size, the arguments on both sides."""
    brief = Brief.from_context(context)
    said = positions_in(context)
    sized = number(find(context, "sizing"), "size_usd")
    size = policy_cap(brief) if sized is None else min(sized, policy_cap(brief))
    stance = leading_stance(said.voting)
    weight = sum(one.confidence for one in said.voting)
    score = sum(one.score * one.confidence for one in said.voting) / weight if weight else 0.0
    return {
        "member": "portfolio-manager",
        "headline": f"Proposal: {stance} {brief.ticker}"
        + (f" for {size:,.0f} USD" if stance == BUY else "")
        + f", mean score {score:+.2f} of {len(said.voting)} voting members",
        "stance": stance,
        "size_usd": round(size, 2),
        "score": round(score, 4),
        "sized": sized is not None,
        "arguments_for": _arguments(said.voting, BUY),
        "arguments_against": _arguments(said.voting, REJECT),
        "undecided": _arguments(said.voting, HOLD),
        "abstained": list(said.abstained),
        "missing": list(said.missing),
    }
