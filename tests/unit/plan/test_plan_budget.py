"""The meter of a budget: what it grants, refuses and warns of."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from taskmark.contracts import Spending, Spent, Used
from taskmark.plan.budget import Estimate, Meter, calls_of, estimate
from taskmark.task.model import AskAbove, Budget, Phase, Step, TaskDefinition

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def told(
    name="x/a", waiting=0, heard=0, ended=0, tokens=0, cost=0.0, *, who="ann", returned=0, failed=0, **more
):
    spent = Spent(agent_calls=ended, answered=ended - failed, tokens=tokens, cost=cost)
    return Spending(
        workflow=name,
        run=more.pop("run", "r"),
        waiting={who: waiting} if waiting else {},
        heard={who: heard},
        returned={who: returned},
        ended={who: spent},
        **more,
    )


def granted(meter, name="x/a"):
    return sum(meter.accounts[name].granted.values())


def heard(budget, *messages):
    meter = Meter(budget)
    for message in messages:
        meter.hear(message)
        meter.grant(NOW)
    return meter


CALLS = Budget(agent_calls=5)


@pytest.mark.semantics("B1")
def test_calls_are_granted_up_to_the_limit_to_those_first_who_asked_first():
    meter = heard(CALLS, told("x/a", 3), told("x/b", 4), told("x/c", 1))
    assert [granted(meter, name) for name in ("x/a", "x/b", "x/c")] == [3, 2, 0]
    (refusal,) = meter.refusals
    assert (refusal.budget, refusal.used, refusal.limit, refusal.waiting) == ("agentCalls", 5, 5, 3)


@pytest.mark.semantics("B1")
def test_a_message_that_crossed_with_a_grant_does_not_ask_twice():
    meter = heard(CALLS, told(waiting=2), told(waiting=2), told(waiting=2, heard=2))
    assert granted(meter) == 4


@pytest.mark.semantics("B1")
def test_what_is_given_back_is_given_to_others():
    meter = heard(CALLS, told("x/a", 5), told("x/b", 2), told("x/a", 0, 5, ended=3, returned=2))
    assert (granted(meter, "x/b"), meter.used.agent_calls, meter.refusals) == (2, 5, ())


@pytest.mark.semantics("B4")
def test_a_refusal_keeps_the_time_at_which_it_began_and_ends_with_who_waits():
    meter = heard(CALLS, told(waiting=6))
    meter.grant(NOW + timedelta(hours=1))
    assert meter.refusals[0].since == NOW
    meter.close("x/a")
    meter.grant(NOW)
    assert meter.refusals == ()


@pytest.mark.semantics("B2")
def test_while_nothing_is_known_one_call_runs():
    meter = heard(Budget(tokens=100), told("x/a", 3), told("x/b", 3, who="bob"))
    assert (granted(meter, "x/a"), granted(meter, "x/b"), meter.refusals) == (1, 0, ())
    meter.hear(told("x/a", 2, 1, ended=1, tokens=20))
    meter.grant(NOW)
    assert (granted(meter, "x/a"), granted(meter, "x/b")) == (1 + 2, 2), "20 used, and 4 times 20 expected"


@pytest.mark.semantics("B2")
def test_a_call_that_failed_tells_nothing_of_what_one_uses():
    meter = heard(Budget(tokens=100), told(waiting=3), told(waiting=3, heard=1, ended=1, failed=1))
    assert granted(meter) == 2


@pytest.mark.semantics("B2")
def test_a_call_is_held_back_while_others_run_and_refused_when_it_would_not_fit_after_them():
    first = told(waiting=1)
    meter = heard(Budget(tokens=100), first, told(waiting=3, heard=1, ended=1, tokens=40))
    assert (granted(meter), meter.refusals) == (2, ()), "two that run might use less than expected"
    meter.hear(told(waiting=2, heard=2, ended=2, tokens=80))
    meter.grant(NOW)
    assert [(r.budget, r.used) for r in meter.refusals] == [("tokens", 80)]


@pytest.mark.semantics("B2")
def test_an_agent_of_which_nothing_is_known_is_expected_to_use_what_the_others_do():
    meter = heard(
        Budget(cost=10), told(waiting=1), told(ended=1, heard=1, cost=4.0), told("x/b", 5, who="bob")
    )
    assert granted(meter, "x/b") == 1


@pytest.mark.semantics("B2")
def test_sums_of_costs_are_not_refused_for_their_last_binary_digit():
    meter = heard(Budget(cost=1.0), told(waiting=1))
    for ended in range(1, 10):
        meter.hear(told(waiting=1, heard=ended, ended=ended, cost=sum([0.1] * ended)))
        meter.grant(NOW)
    assert granted(meter) == 10


@pytest.mark.semantics("B2")
def test_agents_that_use_nothing_are_not_held_back():
    meter = heard(Budget(tokens=10), told(waiting=1), told(waiting=99, heard=1, ended=1))
    assert granted(meter) == 100


@pytest.mark.semantics("B3")
def test_each_level_of_each_limit_is_told_once():
    meter = heard(Budget(agent_calls=4), told(waiting=3))
    assert [(w.budget, w.percent, w.used) for w in meter.warnings()] == [("agentCalls", 75, 3)]
    assert meter.warnings() == []
    meter.hear(told(waiting=1, heard=3))
    meter.grant(NOW)
    assert [w.percent for w in meter.warnings()] == [90]
    meter.raise_limit("agentCalls", 5)
    assert [w.percent for w in meter.warnings()] == [75], "of the new limit"


@pytest.mark.semantics("B10")
def test_another_run_under_the_same_id_begins_anew_and_what_the_first_was_given_stays_used():
    meter = heard(CALLS, told(waiting=3), told(waiting=1, run="s"))
    assert (granted(meter), meter.used.agent_calls) == (1, 4)


@pytest.mark.semantics("B10")
def test_what_has_ended_neither_waits_nor_runs_and_is_heard_no_more():
    meter = heard(CALLS, told("x/a/sub/p", 9), told("x/ab", 1))
    meter.close("x/a")
    meter.hear(told("x/a/sub/p", 9))
    meter.raise_limit("agentCalls", 7)
    meter.grant(NOW)
    assert (granted(meter, "x/a/sub/p"), granted(meter, "x/ab")) == (5, 1)


@pytest.mark.semantics("B8")
def test_an_estimate_knows_no_cost_before_anything_has_cost():
    assert estimate(4, Used()) == Estimate(4, None)
    assert estimate(4, Used(cost=6, agent_calls=3)) == Estimate(4, 8.0)
    assert Estimate(4, 8.0).exceeds(AskAbove(cost=7))
    assert not Estimate(4, 8.0).exceeds(AskAbove(cost=8, agent_calls=4))
    assert Estimate(5, None).exceeds(AskAbove(cost=8, agent_calls=4))
    assert not Estimate(5, None).exceeds(AskAbove(cost=8))


@pytest.mark.semantics("B8")
def test_the_calls_of_a_phase_are_counted_as_far_as_the_file_tells():
    inner = Phase(name="I", slug="i", for_each=[1, 2], steps=(Step(id="q", kind="agent", value="ann"),))
    below = TaskDefinition(id="b", name="B", phases=(inner,))
    steps = (
        Step(id="a", kind="agent", value="ann", for_each=[1, 2, 3]),
        Step(id="b", kind="agent", value="ann", for_each="inputs.list"),
        Step(id="c", kind="plain", value=""),
        Step(id="d", kind="tool", value="shell"),
        Step(id="e", kind="task", value="b"),
    )
    phase = Phase(name="P", slug="p", steps=steps)
    assert calls_of(phase, ("ann", "bob"), {"b": below}) == 3 + 1 + 2 + 2
