"""What the parent decides about phases."""

import pytest

from taskmark.contracts import ExecutionStatus, PhaseOutcome, StepState, StepStatus
from taskmark.plan.phases import (
    LONGEST_TITLE,
    answers,
    final_status,
    phases_at_once,
    said,
    side_by_side,
    title,
    unmet,
    window,
)
from taskmark.task.model import Output, Phase, Step, TaskDefinition


def task(*phases, **options):
    return TaskDefinition(id="t", name="t", phases=phases, **options)


def phase(slug="a", **options):
    return Phase(name=slug, slug=slug, **options)


def outcomes(**statuses):
    return {slug: PhaseOutcome(status=StepStatus(status)) for slug, status in statuses.items()}


def state(output=None, kind="tool", status="completed", **fields):
    return StepState(id="s", kind=kind, status=StepStatus(status), output=output, **fields)


# --- dependencies -----------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["failed", "skipped", "cancelled"])
def test_a_dependency_that_did_not_complete_is_unmet(status):
    found = unmet(phase(depends_on=("x", "y")), outcomes(x="completed", y=status))
    assert found == ("y",)


def test_completed_dependencies_are_met():
    assert unmet(phase(depends_on=("x", "y")), outcomes(x="completed", y="completed")) == ()


# --- limits -----------------------------------------------------------------------------------------


def test_the_window_is_the_smallest_limit():
    only = phase(max_concurrent=5)
    assert window(task(only), only, 80) == 5
    assert window(task(phase()), phase(), 80) == 80
    assert window(task(only, max_concurrent_steps=3), only, 80) == 3


def test_phases_that_can_run_side_by_side_share_the_steps_of_the_task():
    side = (phase("a"), phase("b"), phase("c", depends_on=("a", "b")))
    assert window(task(*side, max_concurrent_steps=10), side[0], 80) == 5
    assert window(task(*side, max_concurrent_steps=10, max_concurrent_phases=1), side[0], 80) == 10


def test_every_phase_that_runs_has_room_for_a_step():
    many = tuple(phase(f"p{n}") for n in range(10))
    definition = task(*many, max_concurrent_steps=4)
    assert phases_at_once(definition, 50) == 4
    assert window(definition, many[0], 80) == 1


def test_no_more_phases_run_than_allowed():
    assert phases_at_once(task(), 50) == 50
    assert phases_at_once(task(max_concurrent_phases=3), 50) == 3
    assert phases_at_once(task(max_concurrent_phases=3, max_concurrent_steps=2), 50) == 2


# --- side by side -----------------------------------------------------------------------------------


def steps(**reads):
    """Steps by id; one whose id begins with `agg` is an aggregate, and the value is what it reads."""
    return [
        Step(
            id=name,
            kind="aggregate" if name.startswith("agg") else "tool",
            reads_steps=tuple(read.split()),
        )
        for name, read in reads.items()
    ]


def test_a_step_comes_after_those_of_its_phase_that_it_reads():
    assert side_by_side(steps(a="", b="a elsewhere", c="a b")) == {"a": (), "b": ("a",), "c": ("a", "b")}


def test_an_aggregate_comes_after_all_others():
    assert side_by_side(steps(agg="", a="", b="a")) == {"agg": ("a", "b"), "a": (), "b": ("a",)}


def test_an_aggregate_does_not_wait_for_what_waits_for_one():
    """Directly, through others, or for another aggregate: nobody waits for ever."""
    found = side_by_side(steps(agg1="", agg2="x", x="agg1", y="x agg2", z=""))
    assert found == {
        "agg1": ("z",),
        "agg2": ("x", "z"),
        "x": ("agg1",),
        "y": ("x", "agg2"),
        "z": (),
    }


def test_steps_that_wait_for_each_other_are_no_endless_loop():
    assert side_by_side(steps(a="b", b="a")) == {"a": ("b",), "b": ("a",)}


# --- answers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["validation", "aggregate", "approval", "wait"])
def test_what_only_checks_or_combines_has_not_said_anything(kind):
    assert said(kind, state("x")) == ()


@pytest.mark.parametrize("kind", ["plain", "tool", "agent", "task", "question", "shout"])
def test_everything_else_has_said_its_output(kind):
    assert said(kind, state("x")) == ("x",)
    assert said(kind, state(0)) == (0,)


def test_what_has_no_output_has_not_said_anything():
    assert said("tool", None) == said("tool", state(None)) == said("tool", state("x", status="failed")) == ()


def test_agents_and_items_answer_one_by_one_without_those_that_failed():
    assert said("plain", state({"ann": "yes", "bob": "no"}, items_total=3)) == ("yes", "no")
    assert said("tool", state([1, None, 3], items_total=3)) == (1, 3)
    assert said("tool", state(None, items_total=0)) == ()


def test_a_list_that_one_call_returned_is_one_answer():
    assert said("tool", state([1, 2])) == ([1, 2],)


def test_a_phase_answers_with_its_declared_outputs_or_else_its_steps():
    told = {"s": state("x")}
    declared = phase(
        outputs=(Output(name="o", expression="1"), Output(name="gone", expression="2"), Output(name="s"))
    )
    assert answers(declared, {"o": 1, "s": "x"}, told) == (1,)
    assert answers(phase(steps=(Step(id="s", kind="tool"),), outputs=(Output(name="s"),)), {}, told) == ("x",)
    assert answers(phase(steps=(Step(id="other", kind="tool"),)), {}, told) == ()


# --- the end ----------------------------------------------------------------------------------------


def test_the_final_status_tells_whether_something_failed():
    assert final_status(outcomes(a="completed", b="skipped"), False) is ExecutionStatus.COMPLETED
    assert final_status(outcomes(a="completed"), True) is ExecutionStatus.COMPLETED_WITH_ERRORS
    assert final_status(outcomes(a="failed"), False) is ExecutionStatus.COMPLETED_WITH_ERRORS
    assert final_status({}, False) is ExecutionStatus.COMPLETED


def test_a_title_is_short_whatever_the_description():
    assert title(Step(id="i", kind="tool", value="v", description="d")) == "d"
    assert title(Step(id="i", kind="tool", value="v")) == "v"
    assert title(Step(id="i", kind="plain")) == "i"
    assert title(Step(id="i", kind="plain", description="x" * 999)) == "x" * (LONGEST_TITLE - 1) + "…"
