"""Rendering is the inverse of parsing."""

import random
from pathlib import Path

from hypothesis import HealthCheck, event, given, note, settings
from hypothesis import strategies as st
from task_definitions import LINE, catalog_of, definitions
from test_task_properties import mutated

from taskmark.task import check_text, parse_text, render
from taskmark.task.catalog import Catalog
from taskmark.task.model import TaskDefinition

ROOT = Path(__file__).parents[2]
TASKS = [path.read_text() for path in sorted((ROOT / "tasks").glob("*.md"))]
PACE = settings(
    deadline=None,
    print_blob=True,
    max_examples=50,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)


def read(text: str, catalog: Catalog, original: TaskDefinition) -> TaskDefinition:
    """What a text says, but for what does not stand in it."""
    update = {"sha256": original.sha256, "source_path": original.source_path}
    return parse_text(text, catalog=catalog, task_id=original.id).model_copy(update=update)


@PACE
@given(definitions())
def test_what_is_rendered_reads_back_as_the_same_definition(task: TaskDefinition) -> None:
    text = render(task)
    note(text)
    assert read(text, catalog_of(task), task) == task


@PACE
@given(definitions(sub_tasks=True))
def test_agents_and_tasks_that_the_catalog_gives_are_frozen_in_again(task: TaskDefinition) -> None:
    event(f"{len(task.tasks)} tasks, {len(task.agents)} agents")
    assert read(render(task), catalog_of(task), task) == task


@PACE
@given(definitions())
def test_rendering_what_was_rendered_changes_nothing(task: TaskDefinition) -> None:
    text = render(task)
    assert render(parse_text(text, catalog=catalog_of(task))) == text


@PACE
@given(st.sampled_from(TASKS), st.integers(0, 2**32 - 1), st.lists(LINE, max_size=3))
def test_every_definition_that_the_parser_gives_can_be_rendered(
    source: str, seed: int, lines: list[str]
) -> None:
    chance = random.Random(seed)
    text = mutated(source, chance).split("\n")
    for line in lines:
        text.insert(chance.randint(0, len(text)), line)
    task = check_text("\n".join(text)).definition
    event("valid" if task else "invalid")
    if task is not None:
        note("\n".join(text))
        assert read(render(task), Catalog.default(), task) == task
