"""The red team: computed evidence against whatever is proposed.

Against a purchase it brings losses; against standing aside, what followed from states like today's.
A past state is recognised by what was known on its day, and counts only if its horizon has passed.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any

from tasks.investment_committee.brief import Brief
from tasks.investment_committee.market import Series
from tasks.investment_committee.market_risk import RISK_WINDOW
from tasks.investment_committee.measures import (
    TRADING_DAYS,
    clamp,
    deviation,
    excess_kurtosis,
    expected_shortfall,
    log_returns,
    median,
    need,
    normal_expected_shortfall,
    quantile,
    returns,
    rolling_volatility,
    volatility,
    window_returns,
)
from tasks.investment_committee.opinions import BUY, AgentFunction, Challenge, Figure, percent
from tasks.investment_committee.record import Proposal, proposal_in

QUARTER = 63
TURBULENT = 0.8
"""Share of past volatilities below which today's must not lie for the market to count as turbulent."""
SHOCK = 3.0
"""Standard deviations that make a day's loss a shock."""
WARM_UP = TRADING_DAYS
"""Days before a past state can be told."""
SAMPLING = 21


def challenger(method: Callable[[Brief, Series, Proposal], Challenge]) -> AgentFunction:
    """Makes a member of a method: reads the inputs and the proposal, answers in JSON."""

    @wraps(method)
    def answer(_instruction: str, context: Mapping[str, Any]) -> dict[str, Any]:
        brief = Brief.from_context(context)
        return method(brief, brief.series(), proposal_in(context, brief)).as_json()

    return answer


def gain_share(gains: Sequence[float]) -> float:
    """Share of the returns that are gains; one half where there are none to go by."""
    return sum(1 for gain in gains if gain > 0) / len(gains) if gains else 0.5


def foregone(gains: Sequence[float]) -> float:
    """Severity against standing aside: how far gains outnumbered losses, from 0 to 1."""
    return clamp(2 * gain_share(gains) - 1, low=0.0)


def worst_windows(windows: Sequence[float], days: int, count: int) -> list[int]:
    """Start positions of the worst windows that do not overlap, the worst first."""
    chosen: list[int] = []
    for start in sorted(range(len(windows)), key=lambda position: windows[position]):
        if all(abs(start - other) >= days for other in chosen):
            chosen.append(start)
        if len(chosen) == count:
            break
    return chosen


@challenger
def stress_tester(brief: Brief, series: Series, proposal: Proposal) -> Challenge:
    """The worst windows of the horizon's length in the data, applied to the proposed size."""
    days, budget = brief.horizon.days, brief.policy.stress_loss_usd
    need(series.closes, days + 1, f"a stress test over {days} days")
    windows = window_returns(series.closes, days)
    worst = worst_windows(windows, days, 3)
    loss = max(0.0, -windows[worst[0]])
    share = gain_share(windows)
    figures: dict[str, Figure] = {
        "worst_window_pct": percent(windows[worst[0]]),
        "worst_loss_usd": round(loss * proposal.size_usd, 2),
        "budget_usd": budget,
        "max_size_usd": round(budget / loss, 2) if loss else None,
        "window_5th_percentile_pct": percent(quantile(windows, 0.05)),
        "window_median_pct": percent(median(windows)),
        "windows_gaining_pct": percent(share),
        "windows": len(windows),
    }
    for place, start in enumerate(worst, 1):
        span = f"{series.dates[start].isoformat()} to {series.dates[start + days].isoformat()}"
        figures[f"worst_{place}"] = f"{span}: {windows[start]:+.1%}"
    if proposal.stance == BUY:
        severity = loss * proposal.size_usd / budget
        headline = (
            f"The worst {brief.horizon.label} in the data ({figures['worst_1']}) would cost "
            f"{loss * proposal.size_usd:,.0f} USD; the policy bears {budget:,.0f} USD"
        )
    else:
        severity = foregone(windows)
        headline = (
            f"Standing aside: {share:.0%} of all windows of {brief.horizon.label} gained, "
            f"median {median(windows):+.1%}"
        )
    return Challenge("stress-tester", proposal.stance, severity, headline, figures)


def shock_days(closes: Sequence[float], decay: float = 0.94) -> list[int]:
    """Positions of closes that lost more than `SHOCK` standard deviations as estimated the day before."""
    changes = log_returns(closes)
    shocks = []
    variance = changes[0] ** 2
    for day, change in enumerate(changes[1:], 2):
        if day > WARM_UP and change < -SHOCK * variance**0.5:
            shocks.append(day)
        variance = decay * variance + (1 - decay) * change**2
    return shocks


def followed(closes: Sequence[float], positions: Sequence[int], days: int) -> list[float]:
    """Returns over so many days from each position whose window is complete."""
    return [closes[day + days] / closes[day] - 1 for day in positions if day + days < len(closes)]


@challenger
def tail_risk_skeptic(brief: Brief, series: Series, proposal: Proposal) -> Challenge:
    """How much worse the tail is than a normal distribution says, and what followed shocks."""
    need(series.closes, RISK_WINDOW + 1, "a tail")
    changes = returns(series.closes)[-RISK_WINDOW:]
    actual, normal = expected_shortfall(changes, 0.99), normal_expected_shortfall(changes)
    ratio, beyond = actual / normal, 4 * deviation(changes)
    shocks = shock_days(series.closes)
    after = followed(series.closes, shocks, brief.horizon.days)
    if proposal.stance == BUY:
        severity = ratio - 1
        headline = (
            f"The worst 1 % of days lose {actual:.1%} on average, {ratio:.2f} times what a normal "
            f"distribution says: volatility understates {actual * proposal.size_usd:,.0f} USD in a day"
        )
    else:
        severity = foregone(after)
        headline = (
            f"Fear of the tail: {gain_share(after):.0%} of the {len(after)} shocks in the data were followed "
            f"by a gain within {brief.horizon.label}"
        )
    return Challenge(
        "tail-risk-skeptic",
        proposal.stance,
        severity,
        headline,
        {
            "shortfall_99_pct": percent(actual),
            "normal_shortfall_99_pct": percent(normal),
            "tail_ratio": round(ratio, 4),
            "excess_kurtosis": round(excess_kurtosis(changes), 4),
            "days_beyond_4_deviations": sum(1 for change in changes if abs(change) > beyond),
            "shocks": len(shocks),
            "gains_after_shocks_pct": percent(gain_share(after)),
            "median_after_shocks_pct": percent(median(after)) if after else None,
        },
    )


def turbulence(closes: Sequence[float]) -> list[bool]:
    """For each day that has a quarter's volatility: was it high among those known by then?

    The first year only collects; those days count as ordinary.
    """
    known: list[float] = []
    states = []
    for one in rolling_volatility(closes, QUARTER):
        insort(known, one)
        place = bisect_right(known, one) / len(known)
        states.append(len(known) > WARM_UP and place > TURBULENT)
    return states


@challenger
def regime_skeptic(brief: Brief, series: Series, proposal: Proposal) -> Challenge:
    """Has the market changed? Volatility now against the year before, and what followed such regimes."""
    days = brief.horizon.days
    need(series.closes, QUARTER + 2 * WARM_UP + days, "a comparison of regimes")
    now = volatility(series.closes, QUARTER)
    before = volatility(series.closes[:-QUARTER], TRADING_DAYS)
    states = turbulence(series.closes)
    sampled = range(WARM_UP, len(states), SAMPLING)
    everything = followed(series.closes, [QUARTER + day for day in sampled], days)
    alike = followed(series.closes, [QUARTER + day for day in sampled if states[day] == states[-1]], days)
    regime = "turbulent" if states[-1] else "ordinary"
    if proposal.stance == BUY:
        severity = 0.5 * (now / before - 1) + gain_share(everything) - gain_share(alike)
        headline = (
            f"Volatility of the last quarter is {now / before:.2f} times that of the year before "
            f"({regime} market): what was measured over longer windows may no longer hold"
        )
    else:
        severity = foregone(alike)
        headline = (
            f"In {regime} markets like today's {gain_share(alike):.0%} of {len(alike)} past entries gained "
            f"over {brief.horizon.label}"
        )
    return Challenge(
        "regime-skeptic",
        proposal.stance,
        severity,
        headline,
        {
            "regime": regime,
            "volatility_quarter_pct": percent(now),
            "volatility_year_before_pct": percent(before),
            "change_ratio": round(now / before, 4),
            "gains_in_regime_pct": percent(gain_share(alike)),
            "gains_in_all_pct": percent(gain_share(everything)),
            "entries_in_regime": len(alike),
            "entries": len(everything),
        },
    )
