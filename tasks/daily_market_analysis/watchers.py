"""The agents that look at prices, each with one method."""

from __future__ import annotations

from calendar import month_name
from math import sqrt

from tasks.daily_market_analysis.findings import CAUTIOUS, FAVOURABLE, NEUTRAL, Finding, watcher
from tasks.daily_market_analysis.question import Reading
from tasks.investment_committee.market import LISTINGS, Series
from tasks.investment_committee.market_risk import window_drawdowns
from tasks.investment_committee.market_structure import align
from tasks.investment_committee.measures import (
    TRADING_DAYS,
    average_of_last,
    correlation,
    deviation,
    drawdowns,
    log_line,
    max_drawdown,
    mean,
    need,
    quantile,
    rank,
    returns,
    rolling_volatility,
    value_at_risk,
    volatility,
    window_returns,
)
from tasks.investment_committee.opinions import percent
from tasks.investment_committee.price_action import monthly_returns

MONTH = 21
"""Trading days."""
FAST, SLOW = 50, 200
"""Days of the moving averages."""
STAKE_USD = 10_000
"""What losses are shown for."""


@watcher
def price(_reading: Reading, series: Series) -> Finding:
    """Where the last close stands within a year, and how it came there."""
    need(series.closes, TRADING_DAYS + 1, "the range of a year")
    year = series.closes[-TRADING_DAYS:]
    low, high = min(year), max(year)
    place = (series.last - low) / (high - low)
    month_change, year_change = (window_returns(series.closes, days)[-1] for days in (MONTH, TRADING_DAYS))
    return Finding(
        f"It closed at {series.last:,.2f} {series.listing.unit}, {month_change:+.1%} over a month and "
        f"{year_change:+.1%} over a year, {place:.0%} of the way from the year's low to its high",
        NEUTRAL,
        f"Watch {low:,.2f} and {high:,.2f}: a close beyond them leaves the range of a year",
        {
            "close": series.last,
            "change_21_days_pct": percent(month_change),
            "change_252_days_pct": percent(year_change),
            "low_252_days": low,
            "high_252_days": high,
            "place_in_range_pct": percent(place),
        },
    )


@watcher
def trend(_reading: Reading, series: Series) -> Finding:
    """Two moving averages and a fitted line: three signs that can agree or not."""
    fast, slow = average_of_last(series.closes, FAST), average_of_last(series.closes, SLOW)
    line = log_line(series.closes[-SLOW:])
    up = sum((series.last > slow, fast > slow, line.annual_growth > 0))
    side, turn = ("above", "below") if series.last > slow else ("below", "above")
    return Finding(
        f"{up} of 3 trend signs point{'s' if up == 1 else ''} up; the close is "
        f"{abs(series.last / slow - 1):.1%} {side} its {SLOW}-day average",
        (CAUTIOUS, NEUTRAL, NEUTRAL, FAVOURABLE)[up],
        f"Think again on a close {turn} {slow:,.2f}, the {SLOW}-day average",
        {
            "average_50_days": round(fast, 2),
            "average_200_days": round(slow, 2),
            "growth_annual_pct": percent(line.annual_growth),
            "fit_ratio": round(line.fit, 4),
            "signs_up": up,
        },
    )


@watcher
def volatility_now(_reading: Reading, series: Series) -> Finding:
    """How much the price moves now, against its own past, and what that means in money."""
    now, history = volatility(series.closes, MONTH), rolling_volatility(series.closes, MONTH)
    place = rank(history, history[-1])
    loss = value_at_risk(returns(series.closes[-TRADING_DAYS - 1 :]), 0.95)
    usual = now / sqrt(TRADING_DAYS)
    return Finding(
        f"Volatility over a month is {now:.1%} a year, higher than in {place:.0%} of the past",
        CAUTIOUS if place > 0.75 else FAVOURABLE if place < 0.25 else NEUTRAL,
        f"For each {STAKE_USD:,} USD reckon with moves of {usual * STAKE_USD:,.0f} USD on a usual day, and "
        f"with losses of {loss * STAKE_USD:,.0f} USD or more on one day in twenty",
        {
            "volatility_21_days_pct": percent(now),
            "volatility_252_days_pct": percent(volatility(series.closes, TRADING_DAYS)),
            "percentile_pct": percent(place),
            "daily_move_pct": percent(usual),
            "var_95_pct": percent(loss),
        },
    )


@watcher
def drawdown(_reading: Reading, series: Series) -> Finding:
    """How far below its peak the price is, and how deep it fell within a year."""
    need(series.closes, TRADING_DAYS + 1, "drawdowns within a year")
    now, worst = drawdowns(series.closes)[-1], max_drawdown(series.closes)
    bad = quantile(window_drawdowns(series.closes, TRADING_DAYS), 0.9)
    return Finding(
        f"It is {now:.1%} below its peak; the deepest fall since {series.dates[0].year} was "
        f"{worst.depth:.1%}, until {series.dates[worst.trough].isoformat()}",
        CAUTIOUS if now > 0.1 else FAVOURABLE if now < 0.02 else NEUTRAL,
        f"Plan for a fall of {bad:.0%} within a year: one year in ten had that or more",
        {
            "drawdown_pct": percent(now),
            "drawdown_worst_pct": percent(worst.depth),
            "worst_peak_date": series.dates[worst.peak].isoformat(),
            "worst_trough_date": series.dates[worst.trough].isoformat(),
            "drawdown_90th_percentile_pct": percent(bad),
            "gain_to_peak_pct": percent(1 / (1 - now) - 1),
        },
    )


@watcher
def season(reading: Reading, series: Series) -> Finding:
    """Do the months that are asked about, else the one ahead, differ from the others? Welch's t-test."""
    months = list(reading.months) or [series.as_of.month % 12 + 1]
    history = monthly_returns(series)
    own = [change for month, change in history if month in months]
    others = [change for month, change in history if month not in months]
    error = sqrt(deviation(own) ** 2 / len(own) + deviation(others) ** 2 / len(others))
    t = (mean(own) - mean(others)) / error
    certain = abs(t) >= 2
    names = ", ".join(month_name[month] for month in months)
    return Finding(
        f"{names} averaged {mean(own):+.1%} against {mean(others):+.1%} in other months since "
        f"{series.dates[0].year} (t = {t:+.1f}), {'more' if certain else 'no more'} than chance explains",
        NEUTRAL if not certain else FAVOURABLE if t > 0 else CAUTIOUS,
        "Give the calendar some weight, and test it on newer prices"
        if certain
        else "Do not act on the calendar",
        {
            "months": names,
            "mean_pct": percent(mean(own)),
            "mean_other_pct": percent(mean(others)),
            "t_statistic": round(t, 4),
            "months_observed": len(own),
        },
    )


@watcher
def correlation_view(reading: Reading, series: Series) -> Finding:
    """How daily returns went with those of the other markets over the last year of common days."""
    others = list(reading.compared) or [ticker for ticker in LISTINGS if ticker != series.ticker]
    found = {}
    for other in others:
        both = align(series, {other: 1.0})
        need(both.own, TRADING_DAYS, "a correlation over a year")
        found[other] = correlation(both.own[-TRADING_DAYS:], both.portfolio[-TRADING_DAYS:])
    shown = ", ".join(f"{value:+.2f} with {other}" for other, value in found.items())
    return Finding(
        f"Daily returns over a year correlate {shown}",
        NEUTRAL,
        "; ".join(_spread(series.ticker, other, value) for other, value in found.items()),
        {f"correlation_{other.lower()}": round(value, 4) for other, value in found.items()},
    )


def _spread(own: str, other: str, together: float) -> str:
    """What a correlation means for somebody who holds both."""
    if together > 0.7:
        return f"{own} and {other} are nearly one bet: count them together"
    if together < 0.3:
        return f"{other} beside {own} spreads the risk"
    return f"{other} beside {own} spreads the risk in part"
