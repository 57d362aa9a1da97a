"""The plan against brute force."""

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from taskmark.contracts import StepState, StepStatus
from taskmark.plan.aggregates import aggregate
from taskmark.plan.graph import critical_path, dependents, order, waves, width
from taskmark.plan.progress import PhasePercent, TaskPercent
from taskmark.task.model import Phase, Step, TaskDefinition

FINAL = [status for status in StepStatus if status.is_final]


@st.composite
def tasks(draw, most=7):
    """Tasks of a few phases in any order of the file, each depending on some that come before it."""
    count = draw(st.integers(0, most))
    slugs = draw(st.permutations([f"p{n}" for n in range(count)]))
    phases = []
    for place, slug in enumerate(slugs):
        needs = draw(st.lists(st.sampled_from(slugs[:place]), unique=True)) if place else []
        steps = [
            Step(id=f"{slug}_{n}", kind="tool", estimate=draw(st.floats(0, 1e6)))
            for n in range(draw(st.integers(0, 3)))
        ]
        phases.append(Phase(name=slug, slug=slug, depends_on=tuple(needs), steps=tuple(steps)))
    return TaskDefinition(id="t", name="t", phases=tuple(draw(st.permutations(phases))))


def independent(task, slugs):
    return all(
        b not in dependents(task, a) and a not in dependents(task, b) for a, b in combinations(slugs, 2)
    )


@given(tasks())
def test_the_width_is_the_largest_antichain(task):
    slugs = [phase.slug for phase in task.phases]
    sizes = [
        n for n in range(len(slugs) + 1) if any(independent(task, some) for some in combinations(slugs, n))
    ]
    assert width(task) == max(sizes)


def longest(task, seconds, slug):
    return seconds[slug] + max(
        (longest(task, seconds, need) for need in task.phase(slug).depends_on), default=0
    )


@given(tasks(), st.data())
def test_the_critical_path_is_the_longest_way(task, data):
    seconds = {phase.slug: data.draw(st.integers(0, 1000)) for phase in task.phases}
    assert critical_path(task, seconds) == max((longest(task, seconds, slug) for slug in seconds), default=0)


@given(tasks())
def test_the_order_respects_every_edge_and_waves_hold_every_phase_once(task):
    place = {slug: n for n, slug in enumerate(order(task))}
    wave = {slug: n for n, group in enumerate(waves(task)) for slug in group}
    assert set(place) == set(wave) == {phase.slug for phase in task.phases}
    for phase in task.phases:
        assert all(
            place[need] < place[phase.slug] and wave[need] < wave[phase.slug] for need in phase.depends_on
        )


@given(tasks(), st.data())
def test_percent_is_between_0_and_100_and_never_falls_when_a_step_ends(task, data):
    states = {one.slug: (StepStatus.RUNNING, {}) for one in task.phases}
    last = TaskPercent(task).of(states)
    for phase, step in data.draw(st.permutations([(one, step) for one in task.phases for step in one.steps])):
        _, known = states[phase.slug]
        before = PhasePercent(phase).of(known)
        done = data.draw(st.integers(0, 3))
        # not critical: a phase with a critical failure may begin again, and its percent with it
        state = StepState(
            id=step.id,
            kind="tool",
            status=StepStatus.RUNNING,
            critical=False,
            items_total=3,
            items_done=done,
        )
        for status in (StepStatus.RUNNING, data.draw(st.sampled_from(FINAL))):
            known = {**known, step.id: state.model_copy(update={"status": status})}
            states[phase.slug] = (StepStatus.RUNNING, known)
            assert 0 <= before <= PhasePercent(phase).of(known) <= 100
            assert 0 <= last <= TaskPercent(task).of(states) <= 100
            before, last = PhasePercent(phase).of(known), TaskPercent(task).of(states)


VALUES = st.dictionaries(
    st.sampled_from("abcd"), st.integers(-5, 5) | st.sampled_from(["x", "y"]), min_size=4
)


@given(
    st.lists(VALUES, min_size=1, max_size=6), st.sampled_from(["list", "merge", "count", "vote", "consensus"])
)
def test_aggregates_do_not_depend_on_the_order_of_keys(values, name):
    turned = [dict(reversed(value.items())) for value in values]
    arguments = {"by": "a"}
    assert aggregate(name, values, arguments) == aggregate(name, turned, arguments)


@given(st.lists(st.floats(-1e9, 1e9), min_size=1), st.randoms(use_true_random=False))
def test_sums_and_averages_do_not_depend_on_the_order_of_values(values, random):
    shuffled = values.copy()
    random.shuffle(shuffled)
    for name in ("sum", "average", "min", "max"):
        assert aggregate(name, values, {}) == aggregate(name, shuffled, {})


@given(st.lists(st.sampled_from(["a", "b", "c", None]), max_size=9))
def test_the_winner_of_a_vote_has_the_most_votes(values):
    result = aggregate("vote", values, {})
    assert sum(result["votes"].values()) == result["total"] == len([value for value in values if value])
    assert result["winner"] is None or result["votes"][result["winner"]] == max(result["votes"].values())
