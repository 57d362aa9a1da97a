"""The arithmetic: pure functions on sequences of prices and returns.

Returns, volatilities and drawdowns are fractions (0.05 is 5 %); standard deviations are those of a
sample (divisor n - 1); a trading year has 252 days. Written for the standard library because every
agent starts a process of its own, where importing an array library would cost more than the sums do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from math import exp, fsum, log, sqrt

TRADING_DAYS = 252
"""Trading days in a year."""
Z99 = 2.3263478740408408
"""The 99 % quantile of the standard normal distribution."""
NORMAL_DENSITY_AT_Z99 = 0.02665214220345808


class TooShort(ValueError):
    """The series has fewer observations than the measure needs."""

    category = "logic"


def need(values: Sequence[float], count: int, what: str) -> None:
    """Raises `TooShort` unless there are at least so many values."""
    if len(values) < count:
        raise TooShort(f"{what} needs at least {count} observations, the series has {len(values)}")


def clamp(value: float, low: float = -1.0, high: float = 1.0) -> float:
    """Returns the value, moved into the interval."""
    return max(low, min(high, value))


def mean(values: Sequence[float]) -> float:
    """Arithmetic mean. Raises `TooShort` for no values."""
    need(values, 1, "a mean")
    return fsum(values) / len(values)


def deviation(values: Sequence[float]) -> float:
    """Sample standard deviation. Raises `TooShort` below two values."""
    need(values, 2, "a standard deviation")
    centre = mean(values)
    return sqrt(fsum((value - centre) ** 2 for value in values) / (len(values) - 1))


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which that share of the values lies, interpolated linearly between neighbours."""
    need(values, 1, "a quantile")
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def median(values: Sequence[float]) -> float:
    """The middle value."""
    return quantile(values, 0.5)


def rank(values: Sequence[float], value: float) -> float:
    """Share of the values that are at most the given one."""
    need(values, 1, "a rank")
    return sum(1 for other in values if other <= value) / len(values)


def correlation(first: Sequence[float], second: Sequence[float]) -> float:
    """Pearson's correlation of two sequences of one length; 0 where one of them is constant."""
    need(first, 2, "a correlation")
    centre_first, centre_second = mean(first), mean(second)
    together = fsum((a - centre_first) * (b - centre_second) for a, b in zip(first, second, strict=True))
    spread = fsum((a - centre_first) ** 2 for a in first) * fsum((b - centre_second) ** 2 for b in second)
    return together / sqrt(spread) if spread > 0 else 0.0


def returns(closes: Sequence[float]) -> list[float]:
    """Simple returns from each close to the next."""
    return window_returns(closes, 1)


def log_returns(closes: Sequence[float]) -> list[float]:
    """Logarithmic returns from each close to the next."""
    return [log(after / before) for before, after in pairwise(closes)]


def window_returns(closes: Sequence[float], days: int) -> list[float]:
    """Simple returns of every window of so many days; the one at i runs from day i to day i + days."""
    return [after / before - 1 for before, after in zip(closes, closes[days:], strict=False)]


def annual(daily_deviation: float) -> float:
    """A daily standard deviation as one of a year, for independent days."""
    return daily_deviation * sqrt(TRADING_DAYS)


def volatility(closes: Sequence[float], days: int) -> float:
    """Annual volatility of the last so many logarithmic daily returns."""
    need(closes, days + 1, f"a volatility of {days} days")
    return annual(deviation(log_returns(closes[-days - 1 :])))


def rolling_volatility(closes: Sequence[float], days: int) -> list[float]:
    """Annual volatility at every day that has so many returns behind it; the last one is today's.

    Read from running sums, in one pass: daily returns lie so near zero that the differences stay exact.
    """
    changes = log_returns(closes)
    sums = [0.0, *accumulate(changes)]
    squares = [0.0, *accumulate(change * change for change in changes)]
    volatilities = []
    for end in range(days, len(sums)):
        total, square = sums[end] - sums[end - days], squares[end] - squares[end - days]
        volatilities.append(annual(sqrt(max(0.0, square - total * total / days) / (days - 1))))
    return volatilities


def ewma_volatility(closes: Sequence[float], decay: float = 0.94) -> float:
    """Annual volatility with exponentially fading weights (RiskMetrics), started from the first squared
    return. Raises `TooShort` below two closes."""
    changes = log_returns(closes)
    need(changes, 1, "an exponentially weighted volatility")
    variance = changes[0] ** 2
    for change in changes[1:]:
        variance = decay * variance + (1 - decay) * change**2
    return annual(sqrt(variance))


def average_of_last(values: Sequence[float], days: int) -> float:
    """Mean of the last so many values: a simple moving average."""
    need(values, days, f"an average of {days} days")
    return mean(values[-days:])


@dataclass(frozen=True)
class Line:
    """A straight line through logarithmic prices."""

    annual_growth: float
    """Growth a year as a fraction, compounded."""
    fit: float
    """Share of the variance explained (R squared), 0 to 1."""


def log_line(closes: Sequence[float]) -> Line:
    """Least squares line through the logarithms of the closes, one day apart."""
    need(closes, 3, "a regression")
    prices = [log(close) for close in closes]
    days = [float(day) for day in range(len(prices))]
    centre_day, centre_price = mean(days), mean(prices)
    slope = fsum((d - centre_day) * (p - centre_price) for d, p in zip(days, prices, strict=True)) / fsum(
        (d - centre_day) ** 2 for d in days
    )
    return Line(exp(slope * TRADING_DAYS) - 1, correlation(days, prices) ** 2)


@dataclass(frozen=True)
class Drawdown:
    """A fall from a peak: how deep (a positive fraction) and between which days (positions)."""

    depth: float
    peak: int
    trough: int


def drawdowns(closes: Sequence[float]) -> list[float]:
    """For each day the fall from the highest close so far, as a positive fraction."""
    highest = 0.0
    falls = []
    for close in closes:
        highest = max(highest, close)
        falls.append(1 - close / highest)
    return falls


def max_drawdown(closes: Sequence[float]) -> Drawdown:
    """The deepest fall from a peak; depth 0 where the closes never fall."""
    need(closes, 1, "a drawdown")
    falls = drawdowns(closes)
    trough = falls.index(max(falls))
    peak = max(range(trough + 1), key=lambda day: closes[day])
    return Drawdown(falls[trough], peak, trough)


def longest_under_water(closes: Sequence[float]) -> int:
    """Most days in a row below an earlier peak."""
    longest = current = 0
    for fall in drawdowns(closes):
        current = current + 1 if fall > 0 else 0
        longest = max(longest, current)
    return longest


def value_at_risk(changes: Sequence[float], level: float) -> float:
    """Historical value at risk: the loss (positive fraction) not exceeded in that share of the days."""
    return -quantile(changes, 1 - level)


def expected_shortfall(changes: Sequence[float], level: float) -> float:
    """Mean loss (positive fraction) of the days at or beyond the value at risk of that level."""
    edge = quantile(changes, 1 - level)
    return -mean([change for change in changes if change <= edge])


def normal_expected_shortfall(changes: Sequence[float]) -> float:
    """Expected shortfall at 99 % if returns were normal with the sample's mean and deviation."""
    return deviation(changes) * NORMAL_DENSITY_AT_Z99 / 0.01 - mean(changes)


def excess_kurtosis(values: Sequence[float]) -> float:
    """Sample excess kurtosis, corrected for bias: 0 for a normal distribution, larger for fatter tails."""
    need(values, 4, "a kurtosis")
    n = len(values)
    centre = mean(values)
    second = fsum((value - centre) ** 2 for value in values)
    fourth = fsum((value - centre) ** 4 for value in values)
    scale = n * (n + 1) * (n - 1) / ((n - 2) * (n - 3))
    return scale * fourth / second**2 - 3 * (n - 1) ** 2 / ((n - 2) * (n - 3))
