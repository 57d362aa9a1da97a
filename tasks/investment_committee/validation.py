"""Technical and compliance checks: the data, the risk model, the policy's limits."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from tasks.investment_committee.brief import Brief
from tasks.investment_committee.market import LISTINGS, load
from tasks.investment_committee.market_risk import RISK_WINDOW
from tasks.investment_committee.measures import expected_shortfall, need, returns, value_at_risk
from tasks.investment_committee.opinions import percent
from tasks.investment_committee.record import proposal_in

LONGEST_GAP = 7
"""Calendar days without a price that holidays, and the closure of September 2001, explain."""
JUMP = 0.25
"""Daily return that no series here ever had: beyond it a price is taken for a mistake."""
STALE_RUN = 5
"""So many equal closes in a row mean that a feed has stopped."""
BACKTEST_DAYS = 250
MODEL_DAYS = 1000


def longest_run(values: tuple[float, ...]) -> int:
    """Most equal neighbours in a row."""
    longest = current = 1
    for before, after in pairwise(values):
        current = current + 1 if after == before else 1
        longest = max(longest, current)
    return longest


def audit(ticker: str) -> dict[str, Any]:
    """Checks a price series. `problems` counts what makes it unfit for the committee; `lag_days` is how many
    calendar days it ends before the newest series. Raises `UnknownTicker`."""
    series = load(ticker)
    gaps = [(after - before).days for before, after in pairwise(series.dates)]
    newest = max(load(other).as_of for other in LISTINGS)
    unfit = {
        "dates out of order or twice": sum(1 for gap in gaps if gap <= 0),
        f"gaps longer than {LONGEST_GAP} days": sum(1 for gap in gaps if gap > LONGEST_GAP),
        "prices not above zero": sum(1 for close in series.closes if close <= 0),
        f"daily moves beyond {JUMP:.0%}": sum(1 for change in returns(series.closes) if abs(change) > JUMP),
        f"runs of {STALE_RUN} equal closes": int(longest_run(series.closes) >= STALE_RUN),
    }
    return {
        "ticker": ticker,
        "as_of": series.as_of.isoformat(),
        "observations": len(series.closes),
        "longest_gap_days": max(gaps),
        "days_without_volume": sum(1 for volume in series.volumes or () if volume <= 0),
        "lag_days": (newest - series.as_of).days,
        "problems": sum(unfit.values()),
        "findings": [f"{count} {what}" for what, count in unfit.items() if count],
    }


def zone(exceptions: int) -> str:
    """The Basel Committee's traffic light for exceptions of a 99 % value at risk in 250 days."""
    if exceptions <= 4:
        return "green"
    return "yellow" if exceptions <= 9 else "red"


def backtest(ticker: str) -> dict[str, Any]:
    """Tries the historical value at risk on the last 250 days: each day's is read from the 1,000 days before
    it only. Raises `UnknownTicker`."""
    series = load(ticker)
    need(series.closes, BACKTEST_DAYS + MODEL_DAYS + 1, "a back-test")
    changes = returns(series.closes)
    days = range(len(changes) - BACKTEST_DAYS, len(changes))
    beyond = [day for day in days if changes[day] < -value_at_risk(changes[day - MODEL_DAYS : day], 0.99)]
    return {
        "level": 0.99,
        "days": BACKTEST_DAYS,
        "model_days": MODEL_DAYS,
        "exceptions": len(beyond),
        "expected": BACKTEST_DAYS * 0.01,
        "zone": zone(len(beyond)),
        "dates": [series.dates[day + 1].isoformat() for day in beyond],
    }


def at_most(rule: str, value: float, limit: float) -> dict[str, Any]:
    """A check that a value keeps an upper limit, to the cent."""
    value, limit = round(value, 2), round(limit, 2)
    return {"rule": rule, "value_usd": value, "limit_usd": limit, "ok": value <= limit}


def at_least(rule: str, value: float, limit: float) -> dict[str, Any]:
    """A check that a value keeps a lower limit, to the cent."""
    value, limit = round(value, 2), round(limit, 2)
    return {"rule": f"{rule}, at least", "value_usd": value, "limit_usd": limit, "ok": value >= limit}


def compliance_officer(_instruction: str, context: Mapping[str, Any]) -> dict[str, Any]:
    """Checks the proposed size against every limit of the policy."""
    brief = Brief.from_context(context)
    policy, size = brief.policy, proposal_in(context, brief).size_usd
    shortfall = expected_shortfall(returns(brief.series().closes)[-RISK_WINDOW:], 0.99)
    loss = round(shortfall * size, 2)
    held, cash_left = policy.held_usd(brief.ticker) + size, policy.cash_usd - size
    checks = [
        at_most("one position", size, policy.position_usd),
        at_most("one instrument, holdings included", held, policy.concentration_usd),
        at_most("expected shortfall of a day at 99 %", loss, policy.daily_loss_usd),
        at_least("cash left", cash_left, policy.cash_floor_usd),
    ]
    breaches = [str(check["rule"]) for check in checks if not check["ok"]]
    kept = "keeps every limit" if not breaches else f"breaks: {', '.join(breaches)}"
    return {
        "member": "compliance-officer",
        "headline": f"{size:,.0f} USD of {brief.ticker} for a {brief.tolerance} tolerance {kept}",
        "position_usd": round(size, 2),
        "position_limit_usd": round(policy.position_usd, 2),
        "daily_loss_usd": loss,
        "daily_loss_budget_usd": round(policy.daily_loss_usd, 2),
        "share_of_portfolio_pct": percent(size / policy.portfolio_usd),
        "checks": checks,
        "breaches": breaches,
        "within_limits": not breaches,
    }
