"""Analysts of market risk: volatility, value at risk, drawdown."""

from __future__ import annotations

from tasks.investment_committee.brief import Brief
from tasks.investment_committee.market import Series
from tasks.investment_committee.measures import (
    TRADING_DAYS,
    clamp,
    drawdowns,
    ewma_volatility,
    expected_shortfall,
    longest_under_water,
    max_drawdown,
    median,
    need,
    quantile,
    rank,
    returns,
    rolling_volatility,
    value_at_risk,
    volatility,
)
from tasks.investment_committee.opinions import Opinion, analyst, percent

RISK_WINDOW = 5 * TRADING_DAYS
"""Days of returns from which value at risk is read: five years, so that 99 % has a dozen days behind it."""
WINDOW_STEP = 21
"""Days between the starts of the windows whose drawdowns are compared."""


@analyst
def volatility_view(brief: Brief, series: Series) -> Opinion:
    """Realised volatility over the horizon's window against what the tolerance bears."""
    limit = brief.policy.annual_volatility
    days = brief.horizon.volatility
    current = volatility(series.closes, days)
    month, year = volatility(series.closes, 21), volatility(series.closes, TRADING_DAYS)
    history = rolling_volatility(series.closes, days)
    place = rank(history, history[-1])
    steadiness = min(month, year) / max(month, year)
    return Opinion(
        "volatility-analyst",
        clamp(1 - current / limit),
        0.5 + 0.5 * steadiness,
        f"Annual volatility over {days} days is {current:.1%} (higher than in {place:.0%} of the past); "
        f"a {brief.tolerance} tolerance bears {limit:.0%}",
        {
            "volatility_annual_pct": percent(current),
            "window_days": days,
            "volatility_21_days_pct": percent(month),
            "volatility_252_days_pct": percent(year),
            "volatility_ewma_pct": percent(ewma_volatility(series.closes)),
            "percentile_pct": percent(place),
            "limit_pct": percent(limit),
        },
    )


@analyst
def value_at_risk_view(brief: Brief, series: Series) -> Opinion:
    """Historical value at risk and expected shortfall of one day, for the requested amount."""
    need(series.closes, RISK_WINDOW + 1, "value at risk")
    changes = returns(series.closes)[-RISK_WINDOW:]
    shortfall = expected_shortfall(changes, 0.99)
    loss, budget = shortfall * brief.amount, brief.policy.daily_loss_usd
    return Opinion(
        "risk-analyst",
        clamp(1 - loss / budget),
        0.8,
        f"On the worst 1 % of days {brief.amount:,.0f} USD lose {loss:,.0f} USD on average; "
        f"the budget for a day is {budget:,.0f} USD",
        {
            "var_95_pct": percent(value_at_risk(changes, 0.95)),
            "var_99_pct": percent(value_at_risk(changes, 0.99)),
            "shortfall_95_pct": percent(expected_shortfall(changes, 0.95)),
            "shortfall_99_pct": percent(shortfall),
            "var_99_usd": round(value_at_risk(changes, 0.99) * brief.amount, 2),
            "shortfall_99_usd": round(loss, 2),
            "budget_usd": budget,
            "window_days": RISK_WINDOW,
            "shortfall_99_whole_history_pct": percent(expected_shortfall(returns(series.closes), 0.99)),
        },
    )


def window_drawdowns(closes: tuple[float, ...], days: int) -> list[float]:
    """Deepest fall within each window of so many days, the newest window first, a month apart."""
    ends = range(len(closes), days, -WINDOW_STEP)
    return [max_drawdown(closes[end - days - 1 : end]).depth for end in ends]


@analyst
def drawdown_view(brief: Brief, series: Series) -> Opinion:
    """How deep one usually falls from a peak within the horizon, against what the tolerance bears."""
    days, limit = brief.horizon.days, brief.policy.drawdown
    need(series.closes, days + 1, f"drawdowns within {days} days")
    falls = window_drawdowns(series.closes, days)
    bad = quantile(falls, 0.9)
    worst = max_drawdown(series.closes)
    independent = (len(series.closes) - 1) / days
    return Opinion(
        "drawdown-analyst",
        clamp(1 - bad / limit),
        clamp(independent / 20, 0.2, 0.9),
        f"In the worst tenth of all windows of {brief.horizon.label} it fell {bad:.0%} or more from a peak "
        f"(median {median(falls):.0%}); a {brief.tolerance} tolerance bears {limit:.0%}",
        {
            "drawdown_90th_percentile_pct": percent(bad),
            "drawdown_median_pct": percent(median(falls)),
            "drawdown_current_pct": percent(drawdowns(series.closes)[-1]),
            "drawdown_worst_pct": percent(worst.depth),
            "worst_peak_date": series.dates[worst.peak].isoformat(),
            "worst_trough_date": series.dates[worst.trough].isoformat(),
            "longest_under_water_days": longest_under_water(series.closes),
            "windows": len(falls),
            "limit_pct": percent(limit),
        },
    )
