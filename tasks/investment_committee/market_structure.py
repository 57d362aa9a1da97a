"""Analysts of how the instrument trades and moves with others: liquidity, correlation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

from tasks.investment_committee.brief import HORIZONS, Brief
from tasks.investment_committee.market import Series, load
from tasks.investment_committee.measures import (
    TRADING_DAYS,
    annual,
    average_of_last,
    clamp,
    correlation,
    deviation,
    mean,
    need,
    quantile,
    rank,
    returns,
)
from tasks.investment_committee.opinions import Opinion, abstention, analyst, percent

MONTH = 21


def illiquidity(closes: Sequence[float], volumes: Sequence[float]) -> list[float]:
    """Amihud's measure per day: absolute return in percent per billion shares traded, traded days only."""
    pairs = zip(returns(closes), volumes[1:], strict=True)
    return [abs(change) * 100 / (volume / 1e9) for change, volume in pairs if volume > 0]


@analyst
def liquidity(brief: Brief, series: Series) -> Opinion:
    """Volume and price impact of the last month against the last year; needs a series with volume."""
    if series.volumes is None:
        return abstention(
            "liquidity-analyst", f"The series of {brief.ticker} has no volume: liquidity is not assessed"
        )
    need(series.closes, TRADING_DAYS + 1, "liquidity over a year")
    impact = illiquidity(series.closes, series.volumes)[-TRADING_DAYS:]
    recent = mean(impact[-MONTH:])
    impact_ratio = recent / mean(impact)
    volume_ratio = average_of_last(series.volumes, MONTH) / average_of_last(series.volumes, TRADING_DAYS)
    idle = sum(1 for volume in series.volumes[-TRADING_DAYS:] if volume <= 0)
    relevance = sqrt(
        HORIZONS["short"].days / brief.horizon.days
    )  # this month's market fades with the horizon
    return Opinion(
        "liquidity-analyst",
        clamp(1 - impact_ratio, high=0.0),
        0.6 * relevance,
        f"Volume of the last month is {volume_ratio:.2f} times, price impact {impact_ratio:.2f} times "
        f"that of the last year; {idle} days without trading",
        {
            "volume_21_days": round(average_of_last(series.volumes, MONTH)),
            "volume_ratio": round(volume_ratio, 4),
            "impact_21_days": round(recent, 6),
            "impact_ratio": round(impact_ratio, 4),
            "impact_percentile_pct": percent(rank(impact, recent)),
            "idle_days": idle,
        },
    )


@dataclass(frozen=True)
class Aligned:
    """Daily returns of an instrument and of the portfolio on the days on which all have prices."""

    own: list[float]
    portfolio: list[float]


def align(series: Series, holdings: dict[str, float]) -> Aligned:
    """Returns between common dates of the series and everything held; the portfolio's are weighted by its
    shares, cash earning nothing."""
    others = {ticker: load(ticker).until(series.as_of) for ticker in holdings}
    prices = {ticker: dict(zip(other.dates, other.closes, strict=True)) for ticker, other in others.items()}
    own = dict(zip(series.dates, series.closes, strict=True))
    common = [day for day in series.dates if all(day in known for known in prices.values())]
    parts = [
        [share * change for change in returns([prices[ticker][day] for day in common])]
        for ticker, share in holdings.items()
    ]
    return Aligned(returns([own[day] for day in common]), [sum(day) for day in zip(*parts, strict=True)])


def combined(first: float, second: float, together: float) -> float:
    """Standard deviation of the sum of two quantities with these deviations and this correlation."""
    return sqrt(max(0.0, first**2 + second**2 + 2 * together * first * second))


@analyst
def correlation_view(brief: Brief, series: Series) -> Opinion:
    """Does the purchase diversify what is held? Correlation over a year and on the portfolio's bad days."""
    policy = brief.policy
    both = align(series, policy.holdings)
    need(both.own, TRADING_DAYS, "a correlation over a year")
    own, portfolio = both.own[-TRADING_DAYS:], both.portfolio[-TRADING_DAYS:]
    together = correlation(own, portfolio)
    edge = quantile(both.portfolio, 0.05)
    bad = [(a, b) for a, b in zip(both.own, both.portfolio, strict=True) if b <= edge]
    own_volatility, before = annual(deviation(own)), annual(deviation(portfolio))
    after = combined(before, own_volatility * brief.amount / policy.portfolio_usd, together)
    return Opinion(
        "correlation-analyst",
        clamp(0.5 - together),
        0.7,
        f"Correlation with the portfolio is {together:+.2f} over a year; the purchase moves the portfolio's "
        f"annual volatility from {before:.1%} to {after:.1%}",
        {
            "correlation_252_days": round(together, 4),
            "correlation_bad_days": round(correlation([a for a, _ in bad], [b for _, b in bad]), 4),
            "bad_days": len(bad),
            "portfolio_volatility_before_pct": percent(before),
            "portfolio_volatility_after_pct": percent(after),
            "held_already_pct": percent(policy.holdings.get(brief.ticker, 0.0)),
        },
    )
