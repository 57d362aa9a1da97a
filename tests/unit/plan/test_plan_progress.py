"""Percent."""

import pytest

from taskmark.contracts import StepState, StepStatus
from taskmark.plan.progress import PhasePercent, TaskPercent, expected_seconds
from taskmark.task.model import Phase, Step, TaskDefinition

DONE, RUNNING, FAILED = StepStatus.COMPLETED, StepStatus.RUNNING, StepStatus.FAILED


def step(id, kind="tool", **options):
    return Step(id=id, kind=kind, **options)


def state(id, status=DONE, **options):
    return {id: StepState(id=id, kind="tool", status=status, **options)}


EXPECTED = [
    (step("s", estimate=7.0, complexity="high"), 7.0),
    (step("s", complexity="low"), 5.0),
    (step("s", complexity="medium"), 30.0),
    (step("s", complexity="high"), 120.0),
    (step("s"), 2.0),
    (step("s", "agent"), 10.0),
    (step("s", "task"), 30.0),
    (step("s", "validation"), 0.01),
    (step("s", "approval"), 0.01),
    (step("s", "plain"), 0.01),
    (step("s", "wait", value="1h 30m"), 5400.0),
    (step("s", "wait", value="{{ inputs.pause }}"), 10.0),
    (step("s", "registered"), 10.0),
]


@pytest.mark.parametrize(("of", "seconds"), EXPECTED)
def test_a_step_has_an_expected_duration(of, seconds):
    assert expected_seconds(of) == seconds


def test_a_plain_step_takes_as_long_as_the_agent_it_goes_to():
    assert expected_seconds(step("s", "plain"), ["critic"]) == 10.0


PHASE = Phase(name="P", slug="p", steps=(step("a", estimate=10.0), step("b", estimate=30.0)))


def test_a_phase_is_weighted_by_expected_durations():
    assert PhasePercent(PHASE).of({}) == 0.0
    assert PhasePercent(PHASE).of(state("a")) == pytest.approx(25, abs=0.1)
    assert PhasePercent(PHASE).of(state("a") | state("b", RUNNING)) == pytest.approx(25, abs=0.1)


def test_failed_and_skipped_steps_count_fully():
    assert PhasePercent(PHASE).of(state("a", FAILED) | state("b", StepStatus.SKIPPED)) == 100.0


def test_a_running_for_each_counts_its_items_but_never_to_the_end():
    assert PhasePercent(PHASE).of(state("b", RUNNING, items_total=4, items_done=2)) == pytest.approx(
        37.5, abs=0.1
    )
    items = state("b", RUNNING, items_total=4, items_done=4)
    assert PhasePercent(PHASE).of(state("a") | items) == 99.9


def test_a_literal_for_each_weighs_as_much_as_its_items():
    phase = Phase(name="P", slug="p", steps=(step("a"), step("b", for_each=[1, 2, 3])))
    assert PhasePercent(phase).of(state("b")) == pytest.approx(75, abs=0.2)


def test_a_final_phase_is_complete_and_an_empty_one_waits_for_that():
    assert PhasePercent(PHASE).of({}, StepStatus.SKIPPED) == 100.0
    empty = Phase(name="E", slug="e")
    assert PhasePercent(empty).of({}) == 0.0
    assert PhasePercent(empty).of({}, DONE) == 100.0


def test_steps_that_take_no_time_still_count():
    phase = Phase(name="P", slug="p", steps=(step("a", estimate=0.0), step("b", estimate=0.0)))
    assert 0 < PhasePercent(phase).of(state("a")) < 100


def test_plain_steps_go_to_the_default_agent():
    phase = Phase(name="P", slug="p", steps=(step("a", "plain"), step("b", estimate=10.0)))
    assert PhasePercent(phase, ("x", "y")).of(state("a")) == pytest.approx(50, abs=0.1)
    assert PhasePercent(phase).of(state("a")) < 1


def test_a_task_is_complete_only_when_every_phase_is_final():
    task = TaskDefinition(id="t", name="t", phases=(PHASE, PHASE.model_copy(update={"slug": "q"})))
    every = state("a") | state("b")
    assert TaskPercent(task).of({}) == 0.0
    assert TaskPercent(task).of({"p": (DONE, {})}) == pytest.approx(50, abs=0.1)
    assert TaskPercent(task).of({"p": (DONE, every), "q": (RUNNING, every)}) == 99.9
    assert TaskPercent(task).of({"p": (DONE, every), "q": (FAILED, {})}) == 100.0


def test_a_phase_that_may_begin_again_is_not_done_by_its_failure():
    """What failed and what was skipped because of it are done again, if it is."""
    of = Phase(name="P", slug="p", steps=(step("a"), step("b"), step("c")))
    one, two = state("a") | state("b", FAILED), state("a") | state("b", FAILED, critical=False)
    assert PhasePercent(of).of(one) == pytest.approx(33.3, abs=0.3)
    assert PhasePercent(of).of(two) == pytest.approx(66.7, abs=0.3)
    assert PhasePercent(of).of(state("b", FAILED) | state("c", StepStatus.SKIPPED)) == 0
