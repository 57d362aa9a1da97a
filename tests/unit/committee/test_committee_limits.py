"""Sizing, the vote, the audit, the back-test and compliance."""

import json
import math
from datetime import date

import numpy as np
import pytest
from committee_meeting import agent

from tasks.investment_committee import consensus, market, round_table, validation
from tasks.investment_committee.market import Listing, Series
from tasks.investment_committee.policy import load_policy

TOLERANCES = ("low", "moderate", "high")


def context(amount=100_000, ticker="SP500", tolerance="moderate", **outputs):
    inputs = {"ticker": ticker, "amount": amount, "timeHorizon": "medium", "riskTolerance": tolerance}
    return {"inputs": inputs, "phases": {"earlier": {"outputs": outputs, "status": "completed"}}}


def opinion(stance, score=0.5, confidence=0.5):
    return {"stance": stance, "score": score, "confidence": confidence, "headline": stance}


def test_the_size_is_the_smallest_of_all_limits(ticker, frame):
    close = frame(ticker).close
    logs, changes = np.log(close).diff().dropna(), close.pct_change()[-1260:]
    fading = math.sqrt((logs**2).ewm(alpha=0.06, adjust=False).mean().iloc[-1] * 252)
    risk = max(fading, logs[-252:].std() * math.sqrt(252))
    shortfall = -changes[changes <= changes.quantile(0.01)].mean()
    held = {"SP500": 250_000, "NASDAQ": 100_000, "WTI": 30_000}[ticker]
    expected = [1e9, 100_000, 400_000 - held, 520_000, 20_000 / risk, 5_000 / shortfall]
    said = agent("position-sizer")("", context(1e9, ticker))
    assert [row["allows_usd"] for row in said["limits"]] == pytest.approx(expected, abs=0.01)
    assert said["size_usd"] == pytest.approx(min(expected), abs=0.01)


def test_a_small_request_is_granted_whole():
    said = agent("position-sizer")("", context(5_000))
    assert (said["size_usd"], said["binding"]) == (5_000, round_table.AS_REQUESTED)


def test_a_higher_tolerance_allows_more(ticker):
    sizes = [agent("position-sizer")("", context(1e9, ticker, t))["size_usd"] for t in TOLERANCES]
    assert sizes == sorted(set(sizes))


def test_a_more_volatile_instrument_gets_less():
    sizes = [
        agent("position-sizer")("", context(1e9, ticker))["size_usd"] for ticker in ("SP500", "NASDAQ", "WTI")
    ]
    assert sizes == sorted(sizes, reverse=True)


def test_the_proposal_is_the_stance_with_most_confidence():
    answers = {
        "trend": opinion("BUY", 0.9, 0.4),
        "risk": opinion("REJECT", -0.5, 0.7),
        "momentum": opinion("BUY", 0.3, 0.4),
    }
    said = agent("portfolio-manager")("", context(sizing={"size_usd": 30_000}, **answers))
    assert (said["stance"], said["size_usd"], said["sized"]) == ("BUY", 30_000, True)
    assert said["score"] == pytest.approx((0.9 * 0.4 - 0.5 * 0.7 + 0.3 * 0.4) / 1.5, abs=1e-4)
    assert said["arguments_against"] == ["risk-analyst: REJECT"]
    assert "volatility-analyst" in said["missing"]


def test_equal_weights_go_to_the_more_cautious_stance():
    said = agent("portfolio-manager")("", context(trend=opinion("BUY"), risk=opinion("HOLD", 0)))
    assert said["stance"] == "HOLD"


def test_without_a_sizer_only_the_policy_caps_the_proposal():
    said = agent("portfolio-manager")("", context(1e9, trend=opinion("BUY")))
    assert (said["size_usd"], said["sized"]) == (100_000, False)


def test_a_sizer_cannot_pass_the_policy():
    said = agent("portfolio-manager")("", context(1e9, trend=opinion("BUY"), sizing={"size_usd": 9e8}))
    assert said["size_usd"] == 100_000


def test_a_proposal_without_any_opinion_is_to_hold():
    said = agent("portfolio-manager")("", context())
    assert (said["stance"], said["score"], len(said["missing"])) == ("HOLD", 0, 8)


def test_challenges_take_confidence_from_those_they_are_against():
    answers = {"trend": opinion("BUY", confidence=0.8), "risk": opinion("REJECT", confidence=0.8)}
    challenges = {
        "stress-tester": {"against": "BUY", "severity": 1.0},
        "regime-skeptic": {"against": "BUY", "severity": 0.5},
    }
    taken = consensus.votes(answers, challenges, "moderate")["votes"]
    after = {vote["member"]: vote["confidence"] for vote in taken}
    assert after == {"trend-analyst": pytest.approx(0.8 * 0.7 * 0.85), "risk-analyst": 0.8}


def test_a_shaken_member_withdraws_to_hold():
    challenges = {"stress-tester": {"against": "BUY", "severity": 1.0}}
    [vote] = consensus.votes({"trend": opinion("BUY", confidence=0.12)}, challenges, "low")["votes"]
    assert (vote["stance_before"], vote["stance"]) == ("BUY", "HOLD")


def test_an_unchallenged_member_keeps_a_weak_vote():
    [vote] = consensus.votes({"trend": opinion("BUY", confidence=0.05)}, {}, "low")["votes"]
    assert (vote["stance"], vote["confidence"]) == ("BUY", 0.05)


@pytest.mark.parametrize(
    "answer", [None, "I would buy", {}, {"stance": "MAYBE", "score": 1, "confidence": 1}, {"stance": "BUY"}]
)
def test_an_unreadable_opinion_counts_as_missing(answer):
    taken = consensus.votes({"trend": answer, "risk": opinion("HOLD")}, None, "low")
    assert [vote["member"] for vote in taken["votes"]] == ["risk-analyst"]
    assert "trend-analyst" in taken["missing"]
    assert "stress-tester" in taken["missing"]


def test_unreadable_challenges_and_answers_leave_no_votes():
    assert (
        consensus.votes("nothing", {"stress-tester": {"against": "BUY", "severity": "much"}}, "low")["votes"]
        == []
    )


def test_an_abstention_is_no_vote():
    taken = consensus.votes({"liquidity": opinion("ABSTAIN", 0, 0)}, {}, "low")
    assert (taken["votes"], taken["abstained"]) == ([], ["liquidity-analyst"])


def test_the_shipped_prices_pass_the_audit(ticker, frame):
    data, found = frame(ticker), validation.audit(ticker)
    assert (found["problems"], found["findings"]) == (0, [])
    assert found["observations"] == len(data)
    assert found["longest_gap_days"] == data.index.diff().max().days
    assert found["lag_days"] == (3 if ticker == "WTI" else 0)


def test_the_audit_counts_every_kind_of_damage(monkeypatch):
    days = [date(2018, 1, day) for day in (1, 2, 2, 20, 21, 22, 23, 24)]
    damaged = Series("SP500", tuple(days), (100.0, 150.0, -1.0, 5.0, 5.0, 5.0, 5.0, 5.0), None)
    monkeypatch.setattr(validation, "load", lambda _ticker: damaged)
    found = validation.audit("SP500")
    assert found["problems"] == len(found["findings"]) + 2
    assert found["findings"] == [
        "1 dates out of order or twice",
        "1 gaps longer than 7 days",
        "1 prices not above zero",
        "3 daily moves beyond 25%",
        "1 runs of 5 equal closes",
    ]


def test_the_back_test_uses_only_days_before(ticker, frame):
    changes = frame(ticker).close.pct_change().dropna()
    edge = changes.rolling(1000).quantile(0.01).shift()
    beyond = changes[changes < edge][-250:]
    expected = [str(day.date()) for day in beyond.index if day >= changes.index[-250]]
    found = validation.backtest(ticker)
    assert found["dates"] == expected
    assert found["exceptions"] == len(expected)


@pytest.mark.parametrize(
    ("exceptions", "colour"), [(0, "green"), (4, "green"), (5, "yellow"), (9, "yellow"), (10, "red")]
)
def test_the_traffic_light(exceptions, colour):
    assert validation.zone(exceptions) == colour


def test_compliance_approves_what_the_sizer_allows(ticker):
    for tolerance in TOLERANCES:
        size = agent("position-sizer")("", context(1e9, ticker, tolerance))["size_usd"]
        said = agent("compliance-officer")(
            "", context(1e9, ticker, tolerance, proposal={"stance": "BUY", "size_usd": size})
        )
        assert (said["within_limits"], said["breaches"]) == (True, [])


def test_compliance_names_every_limit_that_is_broken():
    said = agent("compliance-officer")("", context(proposal={"stance": "BUY", "size_usd": 600_000}))
    assert said["within_limits"] is False
    assert len(said["breaches"]) == len(said["checks"]) == 4
    assert "cash left, at least" in said["headline"]


def test_stricter_tolerances_have_stricter_limits():
    policies = [load_policy(tolerance) for tolerance in TOLERANCES]
    for limit in (
        "position_usd",
        "annual_volatility",
        "volatility_usd",
        "daily_loss_usd",
        "drawdown",
        "stress_loss_usd",
    ):
        values = [getattr(policy, limit) for policy in policies]
        assert values == sorted(set(values))


def test_an_unknown_ticker_is_refused_with_those_there_are():
    for ask in (market.describe, validation.audit, validation.backtest):
        with pytest.raises(market.UnknownTicker, match=r"no prices for ticker 'GOLD'.*SP500, NASDAQ, WTI"):
            ask("GOLD")


def test_the_description_of_the_data_is_that_of_the_file(ticker, frame):
    data, said = frame(ticker), market.describe(ticker)
    assert said["observations"] == len(data)
    assert (said["first_date"], said["as_of"]) == (str(data.index[0].date()), str(data.index[-1].date()))
    assert said["last_close"] == data.close.iloc[-1]
    assert said["has_volume"] == ("volume" in data)
    assert market.LISTINGS[ticker] == Listing(said["name"], said["unit"])
    assert json.loads(json.dumps(said)) == said
