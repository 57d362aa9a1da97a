"""The whole meeting: what changes the verdict, what it says when somebody is missing."""

import json
import time

import pytest
from committee_meeting import ANALYSTS, RED_TEAM, agent, definition

from tasks.investment_committee import consensus, market, minutes, validation
from tasks.investment_committee.brief import InvalidBrief

MEMBERS = sorted(definition().agents)


def risk(verdict, source):
    return next(row for row in verdict["risks"] if row["source"] == source)


def test_a_suitable_purchase_is_approved_whole(meeting):
    verdict = meeting().hold()
    assert verdict["decision"] == "BUY"
    assert verdict["approved_usd"] == verdict["requested_usd"] == 50_000
    assert verdict["headline"].startswith("BUY 50,000 of 50,000 USD of SP500 (3 years, high risk; ")
    assert verdict["missing"] == []


def test_an_amount_above_the_limits_is_reduced(meeting):
    held = meeting(amount=250_000)
    verdict = held.hold()
    sized = held.phases["round_table"]["outputs"]["sizing"]["size_usd"]
    assert verdict["decision"] == "BUY"
    assert sized - 1 < verdict["approved_usd"] <= sized < 250_000
    assert "volatility budget" in verdict["reasons"][1]


def test_a_low_tolerance_rejects_what_a_high_one_buys(meeting):
    bought = meeting(amount=250_000, riskTolerance="high").hold()
    assert bought["decision"] == "BUY"
    assert meeting(amount=250_000, riskTolerance="low").hold()["decision"] == "REJECT"


def test_a_purchase_that_nobody_proposed_is_not_made(meeting):
    held = meeting(riskTolerance="low")
    verdict = held.hold()
    assert held.phases["consensus"]["outputs"]["consensus"]["winner"] == "BUY"
    assert (verdict["decision"], verdict["approved_usd"]) == ("HOLD", 0)
    assert "REJECT was proposed" in verdict["reasons"][0]
    assert "the vote for BUY does not stand" in verdict["headline"]


def test_a_short_horizon_rejects_what_a_long_one_buys_after_a_fall(meeting):
    assert meeting(timeHorizon="short", riskTolerance="moderate").hold()["decision"] == "REJECT"


def test_a_more_volatile_instrument_is_not_bought(meeting):
    verdict = meeting(ticker="WTI").hold()
    assert verdict["decision"] != "BUY"
    assert verdict["approved_usd"] == 0


@pytest.mark.parametrize("horizon", ["short", "medium", "long"])
def test_a_higher_tolerance_never_weakens_the_case_for_buying(meeting, ticker, horizon):
    order = ["REJECT", "HOLD", "BUY"]
    decisions = [
        meeting(ticker=ticker, timeHorizon=horizon, riskTolerance=tolerance).hold()["decision"]
        for tolerance in ("low", "moderate", "high")
    ]
    assert decisions == sorted(decisions, key=order.index)


def test_the_debate_lowers_the_confidence_of_those_it_is_against(meeting):
    attacked, spared = meeting().hold(), meeting(silent=RED_TEAM).hold()
    assert attacked["confidence"] < attacked["confidence_before_debate"]
    assert spared["confidence"] == pytest.approx(spared["confidence_before_debate"])
    assert spared["agreement"] > attacked["agreement"]


def test_the_stress_test_caps_the_position(meeting):
    stress = {"against": "BUY", "severity": 0, "headline": "", "figures": {"max_size_usd": 12_345.6}}
    verdict = meeting(forged={"stress-tester": stress}).hold()
    assert verdict["approved_usd"] == 12_345
    assert "worst window" in verdict["reasons"][-1]


def test_below_the_smallest_order_nothing_is_bought(meeting):
    verdict = meeting(amount=900).hold()
    assert verdict["decision"] == "HOLD"
    assert "smallest order of 1,000 USD" in verdict["reasons"][0]


def test_without_compliance_nothing_is_bought(meeting):
    verdict = meeting(silent=("compliance-officer",)).hold()
    assert (verdict["decision"], verdict["approved_usd"]) == ("HOLD", 0)
    assert "Compliance did not answer" in verdict["reasons"][0]
    assert risk(verdict, "compliance-officer")["status"] == "not answered"


@pytest.mark.parametrize(
    "answer", [{"within_limits": False, "breaches": ["one position"]}, {"headline": "fine"}]
)
def test_compliance_can_veto(meeting, answer):
    verdict = meeting(forged={"compliance-officer": answer}).hold()
    assert verdict["decision"] == "HOLD"
    assert "compliance objects" in verdict["reasons"][0]


def test_a_proposal_above_the_policy_is_reported_and_not_bought(meeting):
    greedy = {"stance": "BUY", "size_usd": 500_000}
    held = meeting(forged={"portfolio-manager": greedy})
    assert held.hold()["approved_usd"] == 0
    assert "The proposed position is above the policy limit" in held.failed_checks


def test_without_a_majority_nothing_is_bought(meeting):
    verdict = meeting(riskTolerance="moderate").hold()
    assert verdict["decision"] == "HOLD"
    assert "majority" in verdict["reasons"][0]
    assert "no majority" in verdict["headline"]


def test_a_meeting_without_a_vote_holds(meeting):
    verdict = agent("committee-chair")("", {"inputs": meeting().inputs})
    assert (verdict["decision"], verdict["agreement"], verdict["votes"]) == ("HOLD", 0, [])
    assert {row["status"] for row in verdict["risks"]} == {"not answered"}
    assert minutes.render(verdict)


@pytest.mark.parametrize("member", [name for name in MEMBERS if name != "committee-chair"])
def test_one_missing_member_does_not_stop_the_meeting_and_is_named(meeting, member):
    verdict = meeting(silent=(member, member.removesuffix("-analyst"))).hold()
    assert verdict["missing"] == [member]
    assert f"- {member} did not answer" in minutes.render(verdict)


@pytest.mark.parametrize("member", [f"{name}-analyst" for name in ANALYSTS])
def test_a_member_that_answers_in_prose_counts_as_missing(meeting, member):
    verdict = meeting(forged={member: "I have a good feeling about this."}).hold()
    assert member in verdict["missing"]


def test_the_plan_buys_the_approved_amount_in_tranches(meeting):
    verdict = meeting(amount=33_333).hold()
    tranches = verdict["plan"]["tranches"]
    assert [tranche["day"] for tranche in tranches] == [0, 21, 42, 63]
    assert sum(tranche["usd"] for tranche in tranches) == pytest.approx(verdict["approved_usd"], abs=1e-6)
    assert tranches[0]["units_at_last_close"] == pytest.approx(tranches[0]["usd"] / 2506.85, abs=1e-4)


def test_the_stop_lies_two_deviations_of_a_month_below_the_close(meeting, frame):
    import numpy as np

    close = frame("SP500").close
    variance = (np.log(close).diff().dropna() ** 2).ewm(alpha=0.06, adjust=False).mean().iloc[-1]
    stop, distance = meeting().hold()["plan"]["stop"], 2 * np.sqrt(21 * variance)
    assert stop["level"] == pytest.approx(close.iloc[-1] * (1 - distance), abs=0.01)
    assert stop["loss_usd"] == pytest.approx(50_000 * distance, abs=0.01)


def test_without_a_purchase_the_plan_says_what_would_reopen_it(meeting, frame):
    plan = meeting(riskTolerance="low").hold()["plan"]
    average = frame("SP500").close[-500:].mean()
    assert (plan["tranches"], plan["stop"]) == ([], None)
    assert f"a close above {average:,.2f} index points" in plan["reopen_when"][0]


def test_dissent_is_every_other_vote_the_weightiest_first(meeting):
    verdict = meeting().hold()
    against = [vote for vote in verdict["votes"] if vote["stance"] != "BUY"]
    weights = [row["confidence"] for row in verdict["dissent"]]
    assert {row["member"] for row in verdict["dissent"]} == {vote["member"] for vote in against}
    assert weights == sorted(weights, reverse=True)


def test_a_risk_above_its_limit_is_a_breach(meeting):
    verdict = meeting(riskTolerance="low").hold()
    assert risk(verdict, "volatility-analyst")["status"] == "breach"
    assert risk(verdict, "compliance-officer")["status"] == "within"


def test_the_verdict_says_as_of_when_it_was_computed(meeting):
    assert "as of 2018-12-28" in meeting(ticker="WTI").hold()["headline"]


def test_the_verdict_is_plain_json_and_the_same_each_time(meeting):
    verdict = meeting().hold()
    assert json.loads(json.dumps(verdict, allow_nan=False)) == verdict == meeting().hold()


def test_the_shipped_data_pass_every_check(meeting, ticker):
    held = meeting(ticker=ticker)
    held.hold()
    assert held.failed_checks == []


def test_the_report_is_kept_under_a_name_made_of_the_inputs(meeting):
    held = meeting()
    verdict = held.hold()
    assert held.written == {"reports/investment-committee-SP500-long-high.md": minutes.render(verdict)}
    assert held.outputs()["headline"] == verdict["headline"]


def test_a_tie_is_no_majority(meeting):
    tie = {"consensus": {"winner": "BUY", "agreement": 0.5, "reached": True, "tie": ["BUY", "HOLD"]}}
    phases = {"consensus": {"outputs": tie}}
    assert agent("committee-chair")("", {"inputs": meeting().inputs, "phases": phases})["decision"] == "HOLD"


def test_the_minutes_say_what_the_verdict_says(meeting):
    verdict = meeting().hold()
    report = minutes.render(verdict)
    assert f"**{verdict['headline']}**" in report
    for section in ("Reasons", "Risks", "Votes", "Challenges", "Dissent", "Implementation", "Absences"):
        assert f"\n## {section}" in report
    assert all(row["risk"] in report for row in verdict["risks"])
    assert "seasonality-analyst abstained" in report


def test_the_minutes_show_a_dash_for_what_a_verdict_lacks():
    report = minutes.render(
        {"ticker": "SP500", "risks": [{"risk": "a|b", "value": None}, "odd"], "plan": None}
    )
    assert "| a\\|b | — | — | — | — | — |" in report
    assert "Review after — trading days" in report
    assert "None." in report


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"amount": 0}, "amount is 0; it must be a number of USD above 0"),
        ({"amount": float("nan")}, "amount is nan"),
        ({"amount": True}, "amount is True"),
        ({"timeHorizon": "forever"}, "timeHorizon is 'forever'; it must be one of short, medium, long"),
        ({"riskTolerance": "none"}, "riskTolerance is 'none'; it must be one of low, moderate, high"),
    ],
)
def test_a_wrong_input_is_named_with_what_it_may_be(meeting, wrong, message):
    with pytest.raises(InvalidBrief, match=message):
        agent("trend-analyst")("", {"inputs": meeting(**wrong).inputs})


def test_a_missing_ticker_is_named():
    with pytest.raises(InvalidBrief, match="ticker is missing"):
        agent("trend-analyst")("", {"inputs": {"amount": 1}})


def test_every_member_refuses_an_unknown_ticker(meeting):
    for member in MEMBERS:
        with pytest.raises(market.UnknownTicker, match="SP500, NASDAQ, WTI"):
            agent(member)("", {"inputs": meeting(ticker="GOLD").inputs})


@pytest.mark.parametrize("member", MEMBERS)
def test_a_member_answers_within_seconds(meeting, member):
    context = {"inputs": meeting(ticker="NASDAQ", timeHorizon="long").inputs}
    market.load.cache_clear()
    started = time.thread_time()
    agent(member)("", context)
    assert time.thread_time() - started < 3


def test_the_other_steps_take_seconds_at_most():
    market.load.cache_clear()
    started = time.thread_time()
    validation.audit("SP500")
    validation.backtest("SP500")
    consensus.votes({}, {}, "low")
    assert time.thread_time() - started < 3


def test_a_meeting_has_ten_to_fifteen_members():
    assert 10 <= len(MEMBERS) <= 15
