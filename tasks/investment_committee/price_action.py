"""Analysts of the price itself: trend, momentum, seasonality."""

from __future__ import annotations

from math import sqrt

from tasks.investment_committee.brief import Brief
from tasks.investment_committee.market import Series
from tasks.investment_committee.measures import (
    average_of_last,
    clamp,
    deviation,
    log_line,
    log_returns,
    mean,
    need,
    window_returns,
)
from tasks.investment_committee.opinions import Opinion, abstention, analyst, percent

SAMPLING = 21
"""Trading days between the past dates at which a rule is tried."""


@analyst
def trend(brief: Brief, series: Series) -> Opinion:
    """Moving averages and a fitted line: three signs that can agree or not."""
    horizon = brief.horizon
    fast, slow = average_of_last(series.closes, horizon.fast), average_of_last(series.closes, horizon.slow)
    line = log_line(series.closes[-horizon.slow :])
    signs = [1 if above else -1 for above in (series.last > slow, fast > slow, line.annual_growth > 0)]
    score = sum(signs) / len(signs)
    where = "above" if series.last > slow else "below"
    return Opinion(
        "trend-analyst",
        score,
        abs(score) * (0.5 + 0.5 * line.fit),
        f"Close {series.last:,.2f} is {abs(series.last / slow - 1):.1%} {where} its "
        f"{horizon.slow}-day average; {signs.count(1)} of 3 trend signals point up",
        {
            "close": series.last,
            "fast_average": round(fast, 2),
            "slow_average": round(slow, 2),
            "fast_days": horizon.fast,
            "slow_days": horizon.slow,
            "trend_growth_annual_pct": percent(line.annual_growth),
            "trend_fit_ratio": round(line.fit, 4),
            "signals_up": signs.count(1),
        },
    )


def momentum_return(closes: tuple[float, ...], lookback: int, skip: int, end: int) -> float:
    """Return from `lookback` days before the position `end` to `skip` days before it."""
    return closes[end - skip] / closes[end - lookback] - 1


def momentum_hits(series: Series, lookback: int, skip: int, horizon: int) -> list[bool]:
    """For past dates a month apart: did the sign of momentum then foretell that of the following return?

    Each trial knows only prices up to its date and counts only if its whole horizon has passed since.
    """
    closes = series.closes
    newest = len(closes) - 1 - horizon
    ends = range(newest, lookback - 1, -SAMPLING)
    return [
        (momentum_return(closes, lookback, skip, end) > 0) == (closes[end + horizon] > closes[end])
        for end in ends
    ]


@analyst
def momentum(brief: Brief, series: Series) -> Opinion:
    """Time-series momentum over the horizon's length without the latest days, and its record so far."""
    days, skip = brief.horizon.days, brief.horizon.skip
    need(series.closes, 2 * days + 1, f"momentum over {days} days with one past trial")
    gain = momentum_return(series.closes, days, skip, len(series.closes) - 1)
    changes = log_returns(series.closes[-days - 1 : len(series.closes) - skip])
    strength = gain / (deviation(changes) * sqrt(days - skip))
    hits = momentum_hits(series, days, skip, days)
    hit_rate = mean([float(hit) for hit in hits])
    score = clamp(strength / 2)
    return Opinion(
        "momentum-analyst",
        score,
        hit_rate * (0.5 + 0.5 * abs(score)),
        f"Momentum over {brief.horizon.label} without the last {skip} days is {gain:+.1%} "
        f"({strength:+.2f} standard deviations); its sign was right "
        f"in {hit_rate:.0%} of {len(hits)} past trials",
        {
            "momentum_pct": percent(gain),
            "strength_deviations": round(strength, 4),
            "lookback_days": days,
            "skipped_days": skip,
            "hit_rate_pct": percent(hit_rate),
            "trials": len(hits),
        },
    )


def month_ends(series: Series) -> list[int]:
    """Positions of the last price of each complete month; the last month counts as complete."""
    dates = series.dates
    return [
        position
        for position in range(len(dates))
        if position == len(dates) - 1 or dates[position].month != dates[position + 1].month
    ]


def monthly_returns(series: Series) -> list[tuple[int, float]]:
    """Calendar month (1 to 12) and simple return of each month between two month ends."""
    ends = month_ends(series)
    closes = [series.closes[end] for end in ends]
    months = [series.dates[end].month for end in ends[1:]]
    return list(zip(months, window_returns(closes, 1), strict=True))


@analyst
def seasonality(brief: Brief, series: Series) -> Opinion:
    """Do the calendar months ahead differ from the others? A Welch t-test on monthly returns."""
    if brief.horizon.days >= 252:
        return abstention(
            "seasonality-analyst",
            f"A horizon of {brief.horizon.label} holds every month equally: the season does not matter",
        )
    ahead = {(series.as_of.month + offset) % 12 + 1 for offset in range(round(brief.horizon.days / 21))}
    history = monthly_returns(series)
    own = [change for month, change in history if month in ahead]
    other = [change for month, change in history if month not in ahead]
    difference = mean(own) - mean(other)
    error = sqrt(deviation(own) ** 2 / len(own) + deviation(other) ** 2 / len(other))
    t = difference / error
    return Opinion(
        "seasonality-analyst",
        clamp(t / 4),
        clamp(abs(t) / 2, 0.1, 1.0),
        f"Months {sorted(ahead)} averaged {mean(own):+.2%} against {mean(other):+.2%} in the others "
        f"(t = {t:+.2f}, {'significant' if abs(t) >= 2 else 'not significant'} at 5 %)",
        {
            "months_ahead": ", ".join(str(month) for month in sorted(ahead)),
            "mean_ahead_pct": percent(mean(own)),
            "mean_other_pct": percent(mean(other)),
            "t_statistic": round(t, 4),
            "months_observed": len(own),
        },
    )
