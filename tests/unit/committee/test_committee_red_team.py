"""The red team's evidence equals an independent computation and knows nothing of the future."""

import numpy as np
import pandas as pd
import pytest
from committee_meeting import RED_TEAM, agent

from tasks.investment_committee.market import load
from tasks.investment_committee.red_team import foregone, gain_share, shock_days, turbulence, worst_windows

DAYS = {"short": 63, "medium": 252, "long": 756}


def challenge(member, ticker="SP500", stance="BUY", size=80_000.0, horizon="medium", tolerance="moderate"):
    inputs = {"ticker": ticker, "amount": 100_000, "timeHorizon": horizon, "riskTolerance": tolerance}
    proposal = {"stance": stance, "size_usd": size}
    phases = {"round_table": {"outputs": {"proposal": proposal}, "status": "completed"}}
    return agent(member)("", {"inputs": inputs, "phases": phases})


def about(value):
    return pytest.approx(value, abs=0.00501)


@pytest.mark.parametrize("horizon", DAYS)
def test_stress_is_the_worst_window_in_the_data(ticker, frame, horizon):
    windows = frame(ticker).close.pct_change(DAYS[horizon]).dropna()
    said = challenge("stress-tester", ticker, horizon=horizon)
    figures, worst = said["figures"], windows.min()
    assert figures["worst_window_pct"] == about(100 * worst)
    assert figures["worst_1"].startswith(str(frame(ticker).index[windows.argmin()].date()))
    assert figures["worst_loss_usd"] == about(-80_000 * worst)
    assert figures["max_size_usd"] == about(-40_000 / worst)
    assert figures["window_5th_percentile_pct"] == about(100 * windows.quantile(0.05))
    assert figures["windows_gaining_pct"] == about(100 * (windows > 0).mean())
    assert said["severity"] == pytest.approx(min(1, -80_000 * worst / 40_000), abs=1e-4)


def test_worst_windows_do_not_overlap():
    windows = load("SP500").closes[:2000]
    chosen = worst_windows(windows, 252, 3)
    assert len(chosen) == 3
    assert chosen[0] == int(np.argmin(windows))
    assert min(abs(a - b) for a in chosen for b in chosen if a != b) >= 252


def test_tail_risk_is_compared_with_a_normal_distribution(ticker, frame):
    changes = frame(ticker).close.pct_change()[-1260:]
    actual = -changes[changes <= changes.quantile(0.01)].mean()
    figures = challenge("tail-risk-skeptic", ticker)["figures"]
    normal = 2.665214 * changes.std() - changes.mean()
    assert figures["tail_ratio"] == about(actual / normal)
    assert figures["excess_kurtosis"] == about(changes.kurt())
    assert figures["days_beyond_4_deviations"] == (changes.abs() > 4 * changes.std()).sum()


def test_shocks_exceed_what_was_expected_the_day_before(ticker, frame):
    close = frame(ticker).close
    logs = np.log(close).diff().dropna()
    expected = (logs**2).ewm(alpha=0.06, adjust=False).mean().shift() ** 0.5
    days = [close.index.get_loc(day) for day in logs.index[logs < -3 * expected]]
    shocks = [day for day in days if day > 252]
    after = (close.shift(-252) / close - 1).iloc[shocks].dropna()
    figures = challenge("tail-risk-skeptic", ticker)["figures"]
    assert shock_days(load(ticker).closes) == shocks
    assert figures["gains_after_shocks_pct"] == about(100 * (after > 0).mean())


def test_the_regime_is_volatility_now_against_the_year_before(ticker, frame):
    close = frame(ticker).close
    logs = np.log(close).diff().dropna()
    quarter = logs.rolling(63).std().dropna()
    turbulent = quarter.expanding().apply(lambda known: (known <= known[-1]).mean(), raw=True) > 0.8
    turbulent[:252] = False
    entries = pd.DataFrame({"turbulent": turbulent, "future": close.shift(-252) / close - 1}).dropna()
    entries = entries.iloc[252::21]
    alike = entries[entries.turbulent == turbulent.iloc[-1]]
    figures = challenge("regime-skeptic", ticker)["figures"]
    assert figures["change_ratio"] == about(logs[-63:].std() / logs[-315:-63].std())
    assert (figures["regime"] == "turbulent") == turbulent.iloc[-1]
    assert figures["entries_in_regime"] == len(alike)
    assert figures["gains_in_regime_pct"] == about(100 * (alike.future > 0).mean())
    assert figures["gains_in_all_pct"] == about(100 * (entries.future > 0).mean())


def test_there_may_be_fewer_worst_windows_than_asked_for():
    assert worst_windows([0.1, -0.2, 0.3], 10, 3) == [1]


@pytest.mark.parametrize("known", [1000, 2500, 4000])
def test_a_past_state_does_not_depend_on_what_came_later(known):
    closes = load("SP500").closes
    assert turbulence(closes[:known]) == turbulence(closes)[: known - 63]
    assert shock_days(closes[:known]) == [day for day in shock_days(closes) if day < known]


@pytest.mark.parametrize("member", RED_TEAM)
@pytest.mark.parametrize("stance", ["BUY", "HOLD", "REJECT"])
def test_a_challenge_is_against_whatever_is_proposed(member, stance):
    said = challenge(member, stance=stance)
    assert said["against"] == stance
    assert 0 <= said["severity"] <= 1


def test_a_larger_position_makes_stress_more_severe():
    assert (
        challenge("stress-tester", size=60_000.0)["severity"]
        > challenge("stress-tester", size=20_000.0)["severity"]
    )


def test_without_a_proposal_the_request_within_policy_is_attacked():
    inputs = {"ticker": "SP500", "amount": 1_000_000}
    said = agent("stress-tester")("", {"inputs": inputs, "phases": {}})
    figures = said["figures"]
    assert said["against"] == "BUY"
    assert figures["worst_loss_usd"] == about(100_000 / figures["max_size_usd"] * figures["budget_usd"])


def test_no_past_cases_speak_for_neither_side():
    assert gain_share([]) == 0.5
    assert foregone([]) == 0
