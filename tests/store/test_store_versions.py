"""Versions of a task stand side by side, and each can be had as it was."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from sqlalchemy import Engine
from store_records import at, execution

from taskmark.errors import Conflict
from taskmark.privacy.detectors import BUILT_IN
from taskmark.privacy.recording import scrubbed
from taskmark.privacy.scrubbing import chosen
from taskmark.projection import definition_record
from taskmark.records import DefinitionRecord
from taskmark.store.versions import Versions
from taskmark.store.writing import apply
from taskmark.task.model import Agent, TaskDefinition
from taskmark.task.packing import digest, unpacked


def task(version: str = "1.0", prompt: str = "Be brief.", **fields: Any) -> TaskDefinition:
    return TaskDefinition(
        id="demo",
        name="Demo",
        version=version,
        source_path="tasks/demo.md",
        agents={"ann": Agent(id="ann", prompt=prompt)},
        **fields,
    )


def ran(engine: Engine, definition: TaskDefinition, *seconds: float) -> str:
    """Says that a definition was run at these moments, and returns its hash."""
    record = definition_record(definition)
    runs = (
        execution(f"exec-{record.sha256[:8]}-{one}", "completed", task_id="demo", started_at=at(one),
                  definition_sha256=record.sha256, as_of=at(one + 1))
        for one in seconds
    )  # fmt: skip
    apply(engine, [record, *runs])
    return record.sha256


def test_they_are_listed_with_their_use_the_last_first(engine: Engine) -> None:
    old, new = ran(engine, task("1.0"), 1, 2, 3), ran(engine, task("1.1"), 9)
    never = ran(engine, task("0.9"))

    for name in ("demo", "tasks/demo.md", "demo.md"):
        first, second, third = Versions(engine).of(name)
        assert (first.sha256, first.version, first.executions) == (new, "1.1", 1)
        assert (second.sha256, second.first_used, second.last_used) == (old, at(1), at(3))
        assert (third.sha256, third.executions, third.last_used) == (never, 0, None)
        assert first.whole
        assert first.source_path == "tasks/demo.md"
    assert Versions(engine).of("other") == ()


def test_each_can_be_had_by_its_word_or_its_hash_with_its_agents_texts(engine: Engine) -> None:
    ran(engine, task("1.0", "Be brief."), 1)
    new = ran(engine, task("1.1", "Be long."), 2)
    versions = Versions(engine)

    assert versions.definition("demo", "1.0") == task("1.0", "Be brief.")
    assert versions.definition("demo", new[:6].upper()) == task("1.1", "Be long.")
    assert versions.definition("tasks/demo.md", new) == task("1.1", "Be long.")


def test_a_changed_agent_makes_another_version_of_the_same_file(engine: Engine) -> None:
    one, two = (ran(engine, task(sha256="ab" * 32, prompt=prompt), 1) for prompt in ("Be brief.", "Be long."))
    with pytest.raises(Conflict, match=r"Several versions of demo are called '1\.0'") as several:
        Versions(engine).definition("demo", "1.0")

    assert one[:12] in str(several.value.hint)
    assert two[:12] in str(several.value.hint)
    assert Versions(engine).definition("demo", one).agents["ann"].prompt == "Be brief."


@pytest.mark.parametrize("wanted", ["2.0", "", "0", "zzzz"])
def test_one_that_is_not_there_is_told_with_those_that_are(engine: Engine, wanted: str) -> None:
    known = ran(engine, task(), 1)
    with pytest.raises(Conflict, match="No version of demo") as unknown:
        Versions(engine).definition("demo", wanted)
    assert known[:12] in str(unknown.value.hint)
    with pytest.raises(Conflict, match="knows no version of 'other'"):
        Versions(engine).definition("other", wanted)


def test_one_that_was_scrubbed_is_never_taken_for_what_ran(engine: Engine) -> None:
    scrub = partial(scrubbed, scrubber=chosen(("all",), BUILT_IN))
    record = scrub(definition_record(task("1.0", "Write to ann@example.com.")))
    apply(engine, [record])

    assert [one.whole for one in Versions(engine).of("demo")] == [False]
    with pytest.raises(Conflict, match="TASKMARK_SCRUB") as refused:
        Versions(engine).definition("demo", "1.0")
    assert "version control" in str(refused.value.hint)


@pytest.mark.parametrize(
    ("change", "said"),
    [({"phases": 7}, "cannot read"), ({"format_version": 99}, "format 99")],
)
def test_one_that_this_version_cannot_read_is_refused(
    engine: Engine, change: dict[str, Any], said: str
) -> None:
    plain = unpacked(task()) | change
    record = DefinitionRecord(
        sha256=digest(plain), task_id="demo", name="Demo", version="1.0", definition=plain
    )
    apply(engine, [record])

    with pytest.raises(Conflict, match=said):
        Versions(engine).definition("demo", "1.0")
