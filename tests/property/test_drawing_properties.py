"""Layouts of random graphs: boxes apart, edges past them."""

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from taskmark.plan.drawing.layout import ROW_GAP, layout
from taskmark.plan.drawing.lettering import shortened, width, wrapped
from taskmark.plan.drawing.picture import picture_of
from taskmark.task.model import Phase, TaskDefinition

CLOSE = 1e-6


@st.composite
def waves(draw):
    count = draw(st.integers(0, 12))
    phases = []
    for n in range(count):
        needs = draw(st.lists(st.sampled_from(range(n)), unique=True, max_size=4)) if n else []
        phases.append(Phase(name=f"p{n}", slug=f"p{n}", depends_on=tuple(f"p{m}" for m in needs)))
    return picture_of(TaskDefinition(id="t", name="t", phases=tuple(phases))).waves


@given(waves())
def test_what_shares_a_column_never_overlaps(found):
    plan = layout(found)
    for column in plan.columns:
        for one, other in combinations(column, 2):
            distance = abs(plan.middles[one] - plan.middles[other])
            assert distance >= (one.height + other.height) / 2 + ROW_GAP - CLOSE


@given(waves())
def test_every_dependency_is_a_way_from_column_to_column_that_ends_at_its_box(found):
    plan = layout(found)
    assert all(end.column == start.column + 1 for start, end in plan.edges)
    assert all(end.slug == start.slug for start, end in plan.edges if end.is_lane)
    reached = {(end.slug, start.slug) for start, end in plan.edges if not end.is_lane}
    assert reached == {(box.slug, need) for wave in found for box in wave for need in box.needs}


@given(waves())
def test_everything_is_inside_the_picture_and_every_box_is_there_once(found):
    plan = layout(found)
    cells = [cell for column in plan.columns for cell in column]
    assert sorted(cell.slug for cell in cells if not cell.is_lane) == sorted(
        box.slug for wave in found for box in wave
    )
    for cell in cells:
        assert plan.middles[cell] - cell.height / 2 >= -CLOSE
        assert plan.middles[cell] + cell.height / 2 <= plan.height + CLOSE


@given(st.text(), st.floats(2, 40), st.integers(1, 4))
def test_text_never_gets_wider_than_its_room(text, room, lines):
    assert width(shortened(text, room)) <= room + CLOSE
    found = wrapped(text, room, lines)
    assert len(found) <= lines
    assert all(width(line) <= room + CLOSE for line in found)
