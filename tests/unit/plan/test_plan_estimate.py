"""The remaining time, from declarations."""

from datetime import UTC, datetime, timedelta

import pytest

from taskmark.contracts import StepState, StepStatus
from taskmark.plan.estimate import declared_eta
from taskmark.task.model import Phase, Step, TaskDefinition

NOW = datetime(2026, 1, 1, tzinfo=UTC)
RUNNING, DONE = StepStatus.RUNNING, StepStatus.COMPLETED


def phase(slug, *seconds, needs=(), **options):
    """A phase of tool steps `slug0`, `slug1`, … that take so many seconds."""
    steps = tuple(Step(id=f"{slug}{n}", kind="tool", estimate=part) for n, part in enumerate(seconds))
    return Phase(name=slug, slug=slug, depends_on=needs, **{"steps": steps} | options)


def remaining(*phases, states=None, started=None, **options):
    task = TaskDefinition(id="t", name="t", phases=phases, **options)
    return declared_eta(task, states or {}, started or {}, NOW).remaining_seconds


def running(id, seconds, **options):
    began = NOW - timedelta(seconds=seconds)
    return {id: StepState(id=id, kind="tool", status=RUNNING, started_at=began, **options)}


def test_an_estimate_without_history_claims_no_confidence_and_a_wide_interval():
    eta = declared_eta(TaskDefinition(id="t", name="t", phases=(phase("a", 30.0),)), {}, {}, NOW)
    assert (eta.basis, eta.samples, eta.confidence) == ("declared", 0, None)
    assert eta.low < eta.remaining_seconds / 2
    assert eta.high > eta.remaining_seconds * 2
    assert eta.finish_at == NOW + timedelta(seconds=30)


def test_steps_add_up_in_sequence_and_overlap_in_parallel():
    assert remaining(phase("a", 10.0, 20.0)) == 30
    assert remaining(phase("a", 10.0, 20.0, parallel=True)) == 20


def test_an_aggregate_waits_for_the_others_of_a_parallel_phase():
    steps = (
        Step(id="x", kind="tool", estimate=5.0),
        Step(id="y", kind="aggregate", value="list", estimate=1.0),
        Step(id="z", kind="tool", estimate=8.0),
    )
    assert remaining(phase("a", parallel=True, steps=steps)) == 9


@pytest.mark.parametrize("limit", [{"max_concurrent": 2}, {}])
def test_limits_on_steps_slow_a_parallel_phase(limit):
    options = {} if limit else {"max_concurrent_steps": 2}
    assert remaining(phase("a", 10.0, 10.0, 10.0, 10.0, parallel=True, **limit), **options) == 20


def test_the_longest_way_through_what_is_left_counts():
    phases = (phase("a", 10.0), phase("b", 50.0), phase("c", 20.0, needs=("a",)))
    assert remaining(*phases) == 50
    assert remaining(*phases, states={"b": (DONE, {})}) == 30


def test_a_limit_on_phases_makes_them_queue():
    assert remaining(phase("a", 10.0), phase("b", 10.0), phase("c", 10.0), max_concurrent_phases=1) == 30


def test_final_steps_take_nothing_more():
    done = {"a0": StepState(id="a0", kind="tool", status=StepStatus.FAILED)}
    assert remaining(phase("a", 10.0, 20.0), states={"a": (RUNNING, done)}) == 20


def test_a_running_step_takes_less_the_longer_it_ran_until_it_is_overdue():
    def left(ran):
        return remaining(phase("a", 100.0), states={"a": (RUNNING, running("a0", ran))})

    assert left(40) == 60
    assert left(100) == 25
    assert left(400) == 100


def test_time_in_a_pause_does_not_count_as_run():
    states = {"a": (RUNNING, running("a0", 90))}
    assert remaining(phase("a", 100.0), states=states, started={"a0": NOW - timedelta(seconds=10)}) == 90


def test_a_running_step_without_a_start_has_not_run():
    states = {"a": (RUNNING, {"a0": StepState(id="a0", kind="tool", status=RUNNING)})}
    assert remaining(phase("a", 100.0), states=states) == 100


def test_a_for_each_goes_by_its_items_and_by_the_pace_it_has_shown():
    steps = (Step(id="a0", kind="tool", estimate=2.0, for_each=[1, 2, 3, 4, 5]),)
    items = phase("a", steps=steps, max_concurrent=2)
    assert remaining(items) == 6
    assert remaining(items, states={"a": (RUNNING, running("a0", 1, items_total=100))}) == 100
    paced = running("a0", 30, items_total=100, items_done=10)
    assert remaining(items, states={"a": (RUNNING, paced)}) == 270


def test_a_date_beyond_a_century_is_not_given():
    task = TaskDefinition(id="t", name="t", phases=(phase("a", 3e9, 3e9),))
    assert declared_eta(task, {}, {}, NOW).finish_at is None
