"""Every measure equals that of numpy or pandas on the real prices."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.investment_committee import measures
from tasks.investment_committee.market import load

exactly = pytest.approx
prices = st.lists(st.floats(0.01, 1e6), min_size=2, max_size=60)


@pytest.fixture
def closes(ticker):
    return load(ticker).closes


@pytest.fixture
def simple(ticker, frame):
    return frame(ticker).close.pct_change().dropna()


@pytest.fixture
def logs(ticker, frame):
    return np.log(frame(ticker).close).diff().dropna()


def test_the_loader_reads_every_row_as_pandas_does(ticker, frame):
    series, read = load(ticker), frame(ticker)
    assert series.closes == tuple(read.close)
    assert series.dates == tuple(day.date() for day in read.index)
    assert series.volumes == (tuple(read.volume) if "volume" in read else None)


def test_returns(closes, simple, logs):
    assert measures.returns(closes) == exactly(simple.to_numpy())
    assert measures.log_returns(closes) == exactly(logs.to_numpy())


@pytest.mark.parametrize("days", [1, 63, 252, 756])
def test_window_returns(closes, ticker, frame, days):
    assert measures.window_returns(closes, days) == exactly(
        frame(ticker).close.pct_change(days).dropna().to_numpy()
    )


@pytest.mark.parametrize("days", [21, 63, 252])
def test_volatility_and_its_history(closes, logs, days):
    rolling = logs.rolling(days).std().dropna() * np.sqrt(252)
    assert measures.rolling_volatility(closes, days) == exactly(rolling.to_numpy())
    assert measures.volatility(closes, days) == exactly(rolling.iloc[-1])


def test_ewma_volatility(closes, logs):
    variance = (logs**2).ewm(alpha=0.06, adjust=False).mean().iloc[-1]
    assert measures.ewma_volatility(closes) == exactly(np.sqrt(variance * 252))


@pytest.mark.parametrize("share", [0.0, 0.01, 0.05, 0.5, 0.9, 1.0])
def test_quantile(simple, share):
    assert measures.quantile(list(simple), share) == exactly(np.quantile(simple, share))


@pytest.mark.parametrize("level", [0.95, 0.99])
def test_value_at_risk_and_expected_shortfall(simple, level):
    edge = np.quantile(simple, 1 - level)
    assert measures.value_at_risk(list(simple), level) == exactly(-edge)
    assert measures.expected_shortfall(list(simple), level) == exactly(-simple[simple <= edge].mean())


def test_moving_average(closes, ticker, frame):
    expected = frame(ticker).close.rolling(200).mean().iloc[-1]
    assert measures.average_of_last(closes, 200) == exactly(expected)


def test_fitted_line(closes):
    logged = np.log(closes[-200:])
    days = np.arange(200)
    slope = np.polyfit(days, logged, 1)[0]
    line = measures.log_line(closes[-200:])
    assert line.annual_growth == exactly(np.exp(slope * 252) - 1, rel=1e-6)
    assert line.fit == exactly(np.corrcoef(days, logged)[0, 1] ** 2)


def test_drawdowns(closes, ticker, frame):
    series = frame(ticker).close
    falls = 1 - series / series.cummax()
    worst = measures.max_drawdown(closes)
    assert measures.drawdowns(closes) == exactly(falls.to_numpy())
    assert worst.depth == exactly(falls.max())
    assert load(ticker).dates[worst.trough] == falls.idxmax().date()
    assert load(ticker).dates[worst.peak] == series[: falls.idxmax()].idxmax().date()


def test_longest_time_under_water(closes, ticker, frame):
    series = frame(ticker).close
    under = series < series.cummax()
    runs = under.groupby((~under).cumsum()).sum()
    assert measures.longest_under_water(closes) == runs.max()


def test_kurtosis_and_normal_shortfall(simple):
    values = list(simple)
    drawn = -np.sort(np.random.default_rng(1).normal(simple.mean(), simple.std(), 2_000_000))[:20_000].mean()
    assert measures.excess_kurtosis(values) == exactly(simple.kurt())
    assert measures.normal_expected_shortfall(values) == exactly(drawn, rel=0.01)


def test_correlation(frame):
    pair = (
        pd.concat([frame("SP500").close, frame("WTI").close], axis=1, sort=True)
        .dropna()
        .pct_change()
        .dropna()
    )
    assert measures.correlation(*(list(pair.iloc[:, column]) for column in (0, 1))) == exactly(
        pair.corr().iloc[0, 1]
    )


def test_correlation_with_a_constant_is_zero():
    assert measures.correlation([1.0, 2.0, 3.0], [5.0, 5.0, 5.0]) == 0


def test_rank_counts_values_up_to_the_given_one():
    assert measures.rank([1, 2, 3, 4], 3) == 0.75


@pytest.mark.parametrize(
    "call",
    [
        lambda: measures.mean([]),
        lambda: measures.deviation([1.0]),
        lambda: measures.quantile([], 0.5),
        lambda: measures.average_of_last([1.0], 2),
        lambda: measures.volatility([1.0, 2.0], 2),
        lambda: measures.ewma_volatility([1.0]),
    ],
)
def test_too_few_observations_are_refused_with_both_numbers(call):
    with pytest.raises(measures.TooShort, match=r"needs at least .* the series has \d"):
        call()


@given(prices)
def test_a_drawdown_is_a_share_of_its_peak(closes):
    worst = measures.max_drawdown(closes)
    assert 0 <= worst.depth < 1
    assert worst.peak <= worst.trough


@given(prices, st.floats(0.5, 0.99))
def test_expected_shortfall_is_at_least_the_value_at_risk(closes, level):
    changes = measures.returns(closes)
    shortfall, var = measures.expected_shortfall(changes, level), measures.value_at_risk(changes, level)
    assert shortfall >= var - 1e-9 * max(1.0, abs(var))


@given(prices, st.floats(0.1, 100))
def test_the_unit_of_the_price_does_not_matter(closes, factor):
    scaled = [close * factor for close in closes]
    assert measures.returns(scaled) == exactly(measures.returns(closes), rel=1e-6, abs=1e-9)
    assert measures.max_drawdown(scaled).depth == exactly(measures.max_drawdown(closes).depth, abs=1e-9)
