"""The remaining time, from what earlier executions took."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskmark.contracts import StepState, StepStatus, Wait
from taskmark.plan.estimate import declared_eta
from taskmark.plan.eta.estimator import estimate
from taskmark.plan.eta.known import learn
from taskmark.plan.experience import Experience, Timed
from taskmark.task.model import Phase, Retry, Step, TaskDefinition

NOW = datetime(2026, 1, 1, tzinfo=UTC)
RUNNING, DONE, PENDING = StepStatus.RUNNING, StepStatus.COMPLETED, StepStatus.PENDING


def steps(*ids, kind="tool", **options):
    return tuple(Step(id=name, kind=kind, value="work", **options) for name in ids)


def phase(slug, *ids, needs=(), **options):
    return Phase(name=slug, slug=slug, depends_on=needs, **{"steps": steps(*ids)} | options)


def task(*phases, **options):
    return TaskDefinition(id="t", name="t", phases=phases, **options)


def took(*seconds, failed=()):
    """Single executions, the latest first."""
    return Timed(tuple(enumerate(seconds)), failed, len(seconds))


def past(definition, runs=10, others=None, people=None, items=None, **timed):
    """What is known if each named step took so long in executions before."""
    known = {step: one if isinstance(one, Timed) else took(*one) for step, one in timed.items()}
    experience = Experience(runs, steps=known, others=others or {}, people=people or {}, items=items or {})
    return learn(definition, experience)


def eta(definition, states=None, now=NOW, waiting=(), **known):
    return estimate(definition, states or {}, past(definition, **known), now, waiting=waiting)


def state(id, status=RUNNING, ago=0.0, took=None, **fields):
    """A step that began so many seconds ago."""
    began = NOW - timedelta(seconds=ago)
    ended = began + timedelta(seconds=took) if took is not None else None
    return StepState(id=id, kind="tool", status=status, started_at=began, finished_at=ended, **fields)


ABOUT_TEN = (9.0, 10.0, 11.0, 9.5, 10.5, 10.0, 9.8, 10.2)


def test_without_a_past_the_estimate_is_the_files_own_and_claims_nothing():
    definition = task(phase("a", "x"))
    for known in (None, past(definition)):
        found = estimate(definition, {}, known, NOW)
        assert (found.basis, found.samples, found.confidence, found.people) == ("declared", 0, None, None)


def test_what_steps_took_before_says_how_long_they_take_and_how_sure_that_is():
    found = eta(task(phase("a", "x", "y")), runs=8, x=ABOUT_TEN, y=[2 * one for one in ABOUT_TEN])
    assert found.remaining_seconds == pytest.approx(30, rel=0.05)
    assert 25 < found.low < found.remaining_seconds < found.high < 36
    assert (found.basis, found.samples, found.confidence) == ("steps", 8, 0.8)
    assert found.finish_at == NOW + timedelta(seconds=found.remaining_seconds)


def test_a_step_without_a_past_takes_what_its_tool_took_elsewhere_and_then_what_the_file_says():
    uses = {("tool", "work"): took(*(5.0,) * 12)}
    found = eta(task(phase("a", "x")), runs=0, others=uses)
    assert (found.basis, found.samples, found.confidence) == ("tools", 12, 0.8)
    assert found.remaining_seconds == pytest.approx(5, rel=0.05)
    mostly = eta(
        task(phase("a", "x", steps=(*steps("x"), *steps("new", kind="wait", estimate=100.0)))), others=uses
    )
    assert (mostly.basis, mostly.confidence) == ("declared", None)


def test_the_same_question_has_the_same_answer():
    definition = task(phase("a", "x", "y", "z", parallel=True))
    known = {"x": ABOUT_TEN, "y": (1.0, 30.0, 2.0), "z": (4.0,)}
    assert eta(definition, **known) == eta(definition, **known)


# --- what runs already ---------------------------------------------------------------------------------


def test_a_step_that_has_run_for_a_while_takes_the_rest_of_what_it_may_take():
    definition = task(phase("a", "x"))
    left = [
        eta(definition, {"a": (RUNNING, {"x": state("x", ago=ago)})}, x=ABOUT_TEN).remaining_seconds
        for ago in (0, 3, 6, 9)
    ]
    assert left == [pytest.approx(10 - ago, abs=0.5) for ago in (0, 3, 6)] + [pytest.approx(1.1, abs=0.5)]


def test_a_step_that_is_either_fast_or_slow_is_slow_once_it_is_not_fast():
    either = (1.0, 1.1, 20.0, 0.9, 1.0, 21.0, 1.05, 0.95, 19.0, 1.0)
    definition = task(phase("a", "x"))
    fresh = eta(definition, x=either)
    late = eta(definition, {"a": (RUNNING, {"x": state("x", ago=3)})}, x=either)
    assert fresh.remaining_seconds < 3 < 10 < late.remaining_seconds < 20


def test_the_longer_something_is_overdue_the_longer_it_may_take_yet():
    definition = task(phase("a", "x"))
    left = [
        eta(definition, {"a": (RUNNING, {"x": state("x", ago=ago)})}, x=ABOUT_TEN).remaining_seconds
        for ago in (20, 60, 200)
    ]
    assert left == sorted(left)
    assert 0 < left[0] < 20


def test_what_has_ended_takes_no_more_time():
    definition = task(phase("a", "x"), phase("b", "y", needs=("a",)))
    found = eta(definition, {"a": (DONE, {"x": state("x", DONE, 10, 10)})}, x=ABOUT_TEN, y=(1.0,) * 8)
    assert found.remaining_seconds == pytest.approx(1, rel=0.1)
    ended = {"a": (DONE, {}), "b": (DONE, {})}
    assert eta(definition, ended, x=ABOUT_TEN, y=(1.0,) * 8).high == 0


def test_what_must_run_by_now_does_though_nobody_has_told_it_yet():
    definition = task(phase("a", "x", "y"))
    began = {"a": NOW - timedelta(seconds=15)}
    known = past(definition, x=ABOUT_TEN, y=ABOUT_TEN)
    first = {"a": (RUNNING, {name: StepState(id=name, kind="tool") for name in ("x", "y")})}
    then = {"a": (RUNNING, {"x": state("x", DONE, 15, 10), "y": StepState(id="y", kind="tool")})}
    soon = {"a": NOW - timedelta(seconds=4)}
    assert estimate(definition, first, known, NOW, began=soon).remaining_seconds == pytest.approx(16, abs=0.5)
    assert estimate(definition, then, known, NOW, began=began).remaining_seconds == pytest.approx(5, abs=0.5)


# --- failures -------------------------------------------------------------------------------------------


def test_tries_that_fail_and_the_waits_after_them_are_in_it():
    retry = Retry(max_attempts=4, backoff_ms=10_000)
    often = Timed(tuple(enumerate((1.0,) * 10)), (1.0,) * 10, 10)
    definition = task(phase("a", "x"), retry=retry)
    assert eta(definition, x=(1.0,) * 10).high < 2
    assert eta(definition, x=often).high > 30  # one failure costs 11 s, a second one 21 s more
    assert eta(task(phase("a", "x"), retry=Retry(max_attempts=1)), x=often).high < 2


def test_at_its_last_attempt_a_step_is_not_expected_to_fail():
    often = Timed(tuple(enumerate((1.0,) * 10)), (1.0,) * 10, 10)
    definition = task(phase("a", "x"), retry=Retry(max_attempts=2, backoff_ms=10_000))
    last = {"a": (RUNNING, {"x": state("x", ago=11, attempt=2)})}
    assert eta(definition, last, x=often).high < 2


# --- limits, items, conditions -----------------------------------------------------------------------


def test_steps_side_by_side_take_as_long_as_the_longest_and_limits_make_rounds():
    ids = ("p", "q", "r", "s")
    known = dict.fromkeys(ids, (10.0,) * 8)
    alone = eta(task(phase("a", *ids, parallel=True)), **known).remaining_seconds
    limited = eta(task(phase("a", *ids, parallel=True, max_concurrent=2)), **known).remaining_seconds
    assert (alone, limited) == (pytest.approx(10, rel=0.1), pytest.approx(20, rel=0.1))


def test_the_longest_way_through_the_phases_counts_and_their_limit_makes_them_wait():
    phases = (phase("a", "x"), phase("b", "y"), phase("c", "z", needs=("a",)))
    known = {"x": (10.0,) * 8, "y": (50.0,) * 8, "z": (20.0,) * 8}
    assert eta(task(*phases), **known).remaining_seconds == pytest.approx(50, rel=0.05)
    limited = eta(task(*phases, max_concurrent_phases=1), **known)
    assert limited.remaining_seconds == pytest.approx(80, rel=0.05)


def test_a_limit_of_the_tasks_steps_is_shared_by_phases_side_by_side_as_when_they_run():
    ids = [f"s{n}" for n in range(16)]
    phases = (phase("a", *ids[:8], parallel=True), phase("b", *ids[8:], parallel=True))
    known = dict.fromkeys(ids, (10.0,) * 8)
    limited = task(*phases, max_concurrent_steps=4)
    assert eta(limited, **known).remaining_seconds == pytest.approx(40, rel=0.1)
    assert (
        declared_eta(limited, {}, {}, NOW).remaining_seconds
        == 4 * declared_eta(task(phase("a", "s0")), {}, {}, NOW).remaining_seconds
    )


def test_no_more_phases_run_at_once_than_steps_may():
    phases = (phase("a", "x"), phase("b", "y"), phase("c", "z"))
    known = dict.fromkeys("xyz", (10.0,) * 8)
    limited = eta(task(*phases, max_concurrent_steps=1), **known)
    assert limited.remaining_seconds == pytest.approx(30, rel=0.05)


@pytest.mark.parametrize("count", [10, 1_000])
def test_items_are_as_many_as_there_are_else_as_listed_else_as_there_were(count):
    each = (1.0,) * 8
    each_listed = (*steps("x", for_each=list(range(count))),)
    limit = {"max_concurrent": 5}
    listed = eta(task(phase("a", steps=each_listed, **limit)), x=each)
    learned = eta(
        task(phase("a", steps=steps("x", for_each="inputs.x"), **limit)), x=each, items={"x": [count]}
    )
    running = {"a": (RUNNING, {"x": state("x", items_total=count)})}
    known = eta(task(phase("a", steps=steps("x", for_each="inputs.x"), **limit)), running, x=each)
    assert listed.remaining_seconds == pytest.approx(count / 5, rel=0.1)
    assert learned.remaining_seconds == pytest.approx(count / 5, rel=0.1)
    assert known.remaining_seconds == pytest.approx(count / 5, rel=0.15)


def test_an_unknown_number_of_items_makes_the_interval_wider():
    definition = task(phase("a", steps=steps("x", for_each="inputs.x"), max_concurrent=1))
    sure = eta(definition, x=(1.0,) * 8, items={"x": [100] * 8})
    unsure = eta(definition, x=(1.0,) * 8, items={"x": [20, 180, 100, 60, 140]})
    assert (unsure.high - unsure.low) > 5 * (sure.high - sure.low)


def test_a_step_that_ran_only_sometimes_may_take_no_time():
    definition = task(phase("a", steps=steps("x", condition="inputs.x")))
    assert eta(definition, runs=40, x=(100.0,) * 4).remaining_seconds == 0
    assert eta(definition, runs=4, x=(100.0,) * 4).remaining_seconds > 90


def test_a_phase_that_never_met_its_condition_is_not_expected_to_do_so_now():
    web = phase("web", steps=steps("w", estimate=100.0), needs=("a",), condition="inputs.web")
    definition = task(phase("a", "x"), web)
    assert eta(definition, runs=9, x=ABOUT_TEN).high < 20
    begun = {"web": (RUNNING, {"w": state("w")}), "a": (DONE, {})}
    assert eta(definition, begun, runs=9, x=ABOUT_TEN).remaining_seconds > 50


def test_a_tool_whose_circuit_breaker_is_open_is_waited_for_once():
    definition = task(phase("a", "x", "y"))
    known = past(definition, x=ABOUT_TEN, y=ABOUT_TEN)
    held = replace(known, held={("tool", "work"): NOW + timedelta(seconds=60)})
    assert estimate(definition, {}, held, NOW).remaining_seconds == pytest.approx(80, rel=0.05)
    later = NOW + timedelta(seconds=61)
    assert estimate(definition, {}, held, later).remaining_seconds == pytest.approx(20, rel=0.05)


# --- adapting -------------------------------------------------------------------------------------------


def test_what_grows_from_run_to_run_is_expected_to_be_as_large_as_lately():
    growing = tuple(10 * 1.15 ** (19 - age) for age in range(20))
    found = eta(task(phase("a", "x")), runs=20, x=growing)
    assert found.remaining_seconds > 0.8 * growing[0]
    assert found.remaining_seconds < 1.3 * growing[0]


def test_a_run_whose_first_steps_are_slow_is_expected_to_go_on_so():
    ids = [f"s{n}" for n in range(8)]
    pace = (1.0, 1.8, 0.6, 1.4, 0.8, 1.1, 0.7, 1.6, 1.2, 0.9)  # in each run all steps together
    known = {
        name: [10 * one * (1 + 0.02 * math.sin(n * k)) for k, one in enumerate(pace)]
        for n, name in enumerate(ids)
    }
    definition = task(phase("a", *ids))
    slow = {name: state(name, DONE, 100, 20) for name in ids[:4]}
    usual = {name: state(name, DONE, 100, 10) for name in ids[:4]}
    assert eta(definition, {"a": (RUNNING, usual)}, **known).remaining_seconds == pytest.approx(40, rel=0.15)
    assert eta(definition, {"a": (RUNNING, slow)}, **known).remaining_seconds == pytest.approx(80, rel=0.15)


def test_starting_phases_and_steps_takes_time_too_as_far_as_whole_executions_tell():
    definition = task(phase("a", "x"), phase("b", "y", needs=("a",)))
    known = {name: took(*(1.0,) * 8) for name in "xy"}
    alone = learn(definition, Experience(8, steps=known))
    whole = learn(definition, Experience(8, steps=known, worked=dict.fromkeys(range(8), 3.0)))
    left = [estimate(definition, {}, one, NOW).remaining_seconds for one in (alone, whole)]
    assert left == [pytest.approx(2, rel=0.05), pytest.approx(3, rel=0.05)]


# --- people ---------------------------------------------------------------------------------------------


def test_the_time_of_people_is_told_apart():
    gate = Step(id="ok", kind="approval", value="ok")
    definition = task(phase("a", "x", steps=(*steps("x"), gate)), phase("b", "y", needs=("a",)))
    known = {"x": (10.0,) * 8, "y": (10.0,) * 8}
    found = eta(definition, people={"ok": [3600.0, 7200.0, 1800.0, 5400.0, 3600.0]}, **known)
    assert found.remaining_seconds == pytest.approx(20, rel=0.05)
    assert found.people is not None
    assert (1000 < found.people.low < 4000 < found.people.high, found.people.samples) == (True, 5)
    assert eta(definition, **known).people is None


def test_who_has_waited_longer_than_people_ever_took_waits_on():
    gate = Step(id="ok", kind="approval", value="ok")
    definition = task(phase("a", "x", steps=(*steps("x"), gate)))
    waiting = [Wait(kind="approval", name="ok", step="ok", phase="a", since=NOW - timedelta(hours=9))]
    states = {"a": (RUNNING, {"x": state("x", DONE, 99, 10), "ok": state("ok", StepStatus.WAITING, 9)})}
    found = eta(definition, states, waiting=waiting, people={"ok": [3600.0] * 5}, x=(10.0,) * 8)
    assert found.people is not None
    assert found.people.seconds > 3600


# --- whatever it is given ---------------------------------------------------------------------------


SECONDS = st.lists(st.floats(0, 1e7), min_size=1, max_size=8)


@given(st.lists(SECONDS, min_size=1, max_size=5), st.booleans(), st.integers(1, 4), st.floats(0, 1e8))
def test_an_interval_holds_its_middle_and_nothing_is_negative(durations, parallel, window, ago):
    ids = [f"s{n}" for n in range(len(durations))]
    definition = task(phase("a", *ids, parallel=parallel, max_concurrent=window))
    states = {"a": (RUNNING, {ids[0]: state(ids[0], ago=ago)})}
    found = eta(definition, states, **dict(zip(ids, durations, strict=True)))
    assert 0 <= found.low <= found.remaining_seconds <= found.high < math.inf


def test_a_step_that_the_past_has_never_heard_of_counts_as_declared():
    learned = past(task(phase("a", "x")), x=ABOUT_TEN)
    grown = task(phase("a", "x", "new"))
    found = estimate(grown, {}, learned, NOW)
    assert found.remaining_seconds > 10
