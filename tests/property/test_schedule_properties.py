"""The schedule against brute force: every way through the graph, walked."""

from hypothesis import given
from hypothesis import strategies as st

from taskmark.plan.graph import critical_path
from taskmark.plan.schedule import schedule
from taskmark.task.model import Phase, TaskDefinition

MOMENT = 0.001
"""Seconds: the least that counts."""


@st.composite
def timed_tasks(draw):
    """Up to eight phases in any order of the file with whole milliseconds each, some with none."""
    count = draw(st.integers(0, 8))
    slugs = draw(st.permutations([f"p{n}" for n in range(count)]))
    phases = []
    for place, slug in enumerate(slugs):
        needs = draw(st.lists(st.sampled_from(slugs[:place]), unique=True)) if place else []
        phases.append(Phase(name=slug, slug=slug, depends_on=tuple(needs)))
    task = TaskDefinition(id="t", name="t", phases=tuple(draw(st.permutations(phases))))
    took = {slug: draw(st.integers(0, 20)) for slug in slugs}
    return task, took


def ways(task, slug):
    """Every chain of phases that ends with this one and begins at one without dependencies."""
    needs = task.phase(slug).depends_on
    if not needs:
        return [(slug,)]
    return [(*way, slug) for need in needs for way in ways(task, need)]


def longest(task, took):
    return max(
        (sum(took[slug] for slug in way) for p in task.phases for way in ways(task, p.slug)), default=0
    )


def in_seconds(took):
    return {slug: milliseconds / 1000 for slug, milliseconds in took.items()}


@given(timed_tasks())
def test_the_whole_takes_as_long_as_the_longest_way_through_the_graph(case):
    task, took = case
    found = schedule(task, in_seconds(took))
    assert round(found.seconds * 1000) == longest(task, took)
    assert abs(found.seconds - critical_path(task, in_seconds(took))) < MOMENT


@given(timed_tasks())
def test_the_critical_path_is_a_way_through_the_graph_that_takes_as_long_as_the_whole(case):
    task, took = case
    found = schedule(task, in_seconds(took))
    assert not task.phases or found.path in [way for p in task.phases for way in ways(task, p.slug)]
    assert sum(took[slug] for slug in found.path) == longest(task, took)
    assert all(found.slots[slug].slack == 0 for slug in found.path)


@given(timed_tasks())
def test_a_phase_may_grow_by_its_slack_alone_and_by_nothing_more(case):
    task, took = case
    found = schedule(task, in_seconds(took))
    whole = longest(task, took)
    for slug, slot in found.slots.items():
        slack = round(slot.slack * 1000)
        assert longest(task, {**took, slug: took[slug] + slack}) == whole
        assert longest(task, {**took, slug: took[slug] + slack + 1}) == whole + 1


@given(timed_tasks())
def test_a_phase_starts_when_the_last_that_it_depends_on_can_have_ended(case):
    task, took = case
    found = schedule(task, in_seconds(took))
    for phase in task.phases:
        before = max(sum(took[slug] for slug in way[:-1]) for way in ways(task, phase.slug))
        assert round(found.slots[phase.slug].start * 1000) == before
