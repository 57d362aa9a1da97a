"""The graph of phases."""

import pytest

from taskmark.plan.graph import critical_path, dependents, order, waves, width
from taskmark.task.model import Phase, TaskDefinition


def task(graph, **options):
    """A task of phases `{slug: "dependency dependency"}`."""
    phases = tuple(
        Phase(name=slug, slug=slug, depends_on=tuple(needs.split())) for slug, needs in graph.items()
    )
    return TaskDefinition(id="t", name="t", phases=phases, **options)


DIAMOND = {"d": "b c", "b": "a", "c": "a", "a": "", "z": ""}


def test_the_order_respects_dependencies_and_otherwise_the_file():
    assert order(task(DIAMOND)) == ("a", "b", "c", "d", "z")
    assert order(task({"z": "", "y": "", "x": "z"})) == ("z", "y", "x")


def test_a_dependency_named_twice_counts_once():
    assert order(task({"b": "a a", "a": ""})) == ("a", "b")


def test_a_cycle_is_an_error_that_names_it():
    with pytest.raises(ValueError, match="circle: a, b"):
        order(task({"a": "b", "b": "a", "c": ""}))


def test_waves_are_what_can_start_together():
    assert waves(task(DIAMOND)) == (("a", "z"), ("b", "c"), ("d",))
    assert waves(task({})) == ()


def test_dependents_are_transitive_and_in_file_order():
    assert dependents(task(DIAMOND), "a") == ("d", "b", "c")
    assert dependents(task(DIAMOND), "d") == ()


def test_the_width_is_the_largest_number_of_independent_phases():
    assert width(task(DIAMOND)) == 3
    assert width(task({})) == 0
    assert width(task({"a": "", "b": "a", "c": "b"})) == 1


def test_the_width_stays_within_the_limit_of_the_task():
    assert width(task(DIAMOND, max_concurrent_phases=2)) == 2
    assert width(task(DIAMOND, max_concurrent_phases=9)) == 3


def test_the_width_needs_partners_to_move():
    assert width(task({"a": "", "b": "", "c": "a b", "d": "a", "e": "c", "f": "d b"})) == 2


def test_the_critical_path_is_the_longest():
    assert critical_path(task(DIAMOND), {"a": 1, "b": 5, "c": 2, "d": 1, "z": 6}) == 7
    assert critical_path(task(DIAMOND), {}) == 0.0
    assert critical_path(task({}), {}) == 0.0
