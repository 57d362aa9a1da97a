"""What each analyst says equals an independent computation from the same file."""

import numpy as np
import pandas as pd
import pytest
from committee_meeting import ANALYSTS, agent

DAYS = {"short": 63, "medium": 252, "long": 756}


def say(member, ticker="SP500", amount=50_000, horizon="medium", tolerance="moderate"):
    inputs = {"ticker": ticker, "amount": amount, "timeHorizon": horizon, "riskTolerance": tolerance}
    return agent(f"{member}-analyst")("", {"inputs": inputs})


def about(value):
    return pytest.approx(value, abs=0.00501)


@pytest.mark.parametrize(
    ("horizon", "fast", "slow"), [("short", 20, 50), ("medium", 50, 200), ("long", 200, 500)]
)
def test_trend(ticker, frame, horizon, fast, slow):
    close = frame(ticker).close
    means = close.rolling(fast).mean().iloc[-1], close.rolling(slow).mean().iloc[-1]
    slope = np.polyfit(np.arange(slow), np.log(close[-slow:]), 1)[0]
    up = int(close.iloc[-1] > means[1]) + int(means[0] > means[1]) + int(slope > 0)
    said = say("trend", ticker, horizon=horizon)
    assert said["figures"]["fast_average"] == about(means[0])
    assert said["figures"]["slow_average"] == about(means[1])
    assert said["figures"]["signals_up"] == up
    assert said["score"] == pytest.approx((2 * up - 3) / 3, abs=1e-4)


@pytest.mark.parametrize(("horizon", "skip"), [("short", 5), ("medium", 21), ("long", 21)])
def test_momentum_and_its_record(ticker, frame, horizon, skip):
    close, days = frame(ticker).close, DAYS[horizon]
    gain = close.shift(skip) / close.shift(days) - 1
    future = close.shift(-days) / close - 1
    trials = pd.DataFrame({"gain": gain, "future": future}).dropna()[::-1][::21]
    hits = (trials.gain > 0) == (trials.future > 0)
    figures = say("momentum", ticker, horizon=horizon)["figures"]
    logs = np.log(close).diff()[-days : len(close) - skip]
    assert figures["momentum_pct"] == about(100 * gain.iloc[-1])
    assert figures["strength_deviations"] == about(gain.iloc[-1] / (logs.std() * np.sqrt(days - skip)))
    assert figures["trials"] == len(trials)
    assert figures["hit_rate_pct"] == about(100 * hits.mean())


@pytest.mark.parametrize(("horizon", "days"), [("short", 21), ("medium", 63), ("long", 252)])
def test_volatility(ticker, frame, horizon, days):
    rolling = np.log(frame(ticker).close).diff().rolling(days).std().dropna() * np.sqrt(252) * 100
    figures = say("volatility", ticker, horizon=horizon)["figures"]
    assert figures["volatility_annual_pct"] == about(rolling.iloc[-1])
    assert figures["percentile_pct"] == about(100 * (rolling <= rolling.iloc[-1] + 1e-9).mean())


def test_value_at_risk(ticker, frame):
    changes = frame(ticker).close.pct_change()[-1260:]
    edge = changes.quantile(0.01)
    figures = say("risk", ticker)["figures"]
    assert figures["var_95_pct"] == about(-100 * changes.quantile(0.05))
    assert figures["var_99_usd"] == about(-50_000 * edge)
    assert figures["shortfall_99_usd"] == about(-50_000 * changes[changes <= edge].mean())


@pytest.mark.parametrize("horizon", DAYS)
def test_drawdown(ticker, frame, horizon):
    close, days = frame(ticker).close, DAYS[horizon]
    ends = range(len(close), days, -21)
    falls = []
    for end in ends:
        window = close.iloc[end - days - 1 : end]
        falls.append(100 * (1 - window / window.cummax()).max())
    figures = say("drawdown", ticker, horizon=horizon)["figures"]
    assert figures["windows"] == len(falls)
    assert figures["drawdown_90th_percentile_pct"] == about(np.quantile(falls, 0.9))
    assert figures["drawdown_median_pct"] == about(np.median(falls))
    assert figures["drawdown_current_pct"] == about(100 * (1 - close.iloc[-1] / close.max()))


@pytest.mark.parametrize("ticker", ["SP500", "NASDAQ"])
def test_liquidity(ticker, frame):
    data = frame(ticker)
    impact = (data.close.pct_change().abs() * 1e11 / data.volume)[data.volume > 0].dropna()[-252:]
    figures = say("liquidity", ticker)["figures"]
    assert figures["volume_ratio"] == about(data.volume[-21:].mean() / data.volume[-252:].mean())
    assert figures["impact_ratio"] == about(impact[-21:].mean() / impact.mean())
    assert figures["idle_days"] == (data.volume[-252:] == 0).sum()


def test_liquidity_abstains_without_volume():
    said = say("liquidity", "WTI")
    assert (said["stance"], said["confidence"]) == ("ABSTAIN", 0)
    assert "no volume" in said["headline"]


def test_correlation_with_what_is_held(ticker, frame):
    held = {"SP500": 0.25, "NASDAQ": 0.10, "WTI": 0.03}
    changes = pd.DataFrame({name: frame(name).close for name in held}).dropna().pct_change().dropna()
    portfolio = sum(share * changes[name] for name, share in held.items())
    after = (portfolio + 0.05 * changes[ticker])[-252:]
    bad = portfolio <= portfolio.quantile(0.05)
    figures = say("correlation", ticker)["figures"]
    assert figures["correlation_252_days"] == about(changes[ticker][-252:].corr(portfolio[-252:]))
    assert figures["correlation_bad_days"] == about(changes[ticker][bad].corr(portfolio[bad]))
    assert figures["portfolio_volatility_after_pct"] == about(100 * after.std() * np.sqrt(252))


def test_seasonality(ticker, frame):
    monthly = frame(ticker).close.groupby(pd.Grouper(freq="ME")).last().pct_change().dropna()
    own = monthly[monthly.index.month.isin([1, 2, 3])]
    other = monthly.drop(own.index)
    t = (own.mean() - other.mean()) / np.sqrt(own.var() / len(own) + other.var() / len(other))
    figures = say("seasonality", ticker, horizon="short")["figures"]
    assert figures["t_statistic"] == about(t)
    assert figures["months_observed"] == len(own)
    assert figures["months_ahead"] == "1, 2, 3"


@pytest.mark.parametrize("horizon", ["medium", "long"])
def test_seasonality_abstains_where_every_month_counts_the_same(horizon):
    assert say("seasonality", horizon=horizon)["stance"] == "ABSTAIN"


@pytest.mark.parametrize("member", ANALYSTS)
def test_an_answer_has_what_the_vote_reads(member, ticker):
    said = say(member, ticker, horizon="short")
    assert said["member"] == f"{member}-analyst"
    assert -1 <= said["score"] <= 1
    assert 0 <= said["confidence"] <= 1
    assert said["headline"]


@pytest.mark.parametrize("member", ["volatility", "risk", "drawdown"])
def test_a_higher_tolerance_never_lowers_a_score(member, ticker):
    scores = [say(member, ticker, tolerance=tolerance)["score"] for tolerance in ("low", "moderate", "high")]
    assert scores == sorted(scores)
    assert scores[0] < scores[-1] or scores[0] == -1


def test_a_larger_amount_lowers_the_risk_score():
    assert say("risk", amount=200_000)["score"] < say("risk", amount=50_000)["score"]
