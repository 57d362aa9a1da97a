"""The history goes out as lines and comes in again, on either database, and is the same."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine
from store_records import EVERY_KIND, START, any_record, at, attempt, clear, event, execution, rows

from taskmark.errors import Conflict
from taskmark.records import Record
from taskmark.store.checking import check
from taskmark.store.lines import Chosen, exported, imported
from taskmark.store.schema import open_store
from taskmark.store.writing import apply

EVERYTHING = Chosen()


@pytest.fixture
def other(request: pytest.FixtureRequest, engine: Engine, tmp_path: Path) -> Iterator[Engine]:
    """An empty store of the other kind."""
    if engine.dialect.name == "sqlite":
        found = open_store(request.getfixturevalue("postgresql").new_schema())
    else:
        found = open_store(f"sqlite:///{tmp_path}/other.db")
    yield found
    found.dispose()


def as_it_is(record: Record) -> Record:
    return record


def never(line: int, reason: str) -> None:
    raise AssertionError(f"line {line}: {reason}")


def take(engine: Engine, lines: list[str]) -> int:
    return imported(engine, lines, as_it_is, never).records


def numbered(engine: Engine) -> list[object]:
    """Everything, the numbers of events too."""
    lines = list(exported(engine, EVERYTHING))
    return [json.loads(line) for line in lines[1:]]


def test_a_round_trip_is_the_same_also_across_databases(engine: Engine, other: Engine) -> None:
    apply(engine, EVERY_KIND)
    lines = list(exported(engine, EVERYTHING))
    assert take(other, lines) == len(lines) - 1

    assert rows(other) == rows(engine)
    assert numbered(other) == numbered(engine)


@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    print_blob=True,
)
@given(told=st.lists(any_record, max_size=25), later=st.lists(any_record, max_size=10))
def test_what_came_in_goes_on_merging_like_what_it_came_from(
    told: list[Record], later: list[Record], open_engine: Callable[[], Engine], other: Engine
) -> None:
    """Also late records find the same row: how late each column was set travels along."""
    engine = open_engine()
    clear(engine)
    clear(other)
    apply(engine, told)
    take(other, list(exported(engine, EVERYTHING)))
    assert rows(other) == rows(engine)

    apply(engine, later)
    apply(other, later)
    assert rows(other) == rows(engine)
    engine.dispose()


def test_doing_it_again_or_over_what_is_there_changes_nothing(engine: Engine) -> None:
    apply(engine, EVERY_KIND)
    before = rows(engine)
    lines = list(exported(engine, EVERYTHING))
    take(engine, lines)
    take(engine, [lines[0], *reversed(lines[1:])])

    assert rows(engine) == before


def test_a_broken_line_is_told_with_its_number_and_the_others_are_merged(
    engine: Engine, other: Engine
) -> None:
    apply(engine, EVERY_KIND)
    first, *rest = exported(engine, EVERYTHING)
    broken = [
        "{",
        "[]",
        '{"type": "secret"}',
        '{"type": "execution", "execution_id": "x"}',
        '{"type": "execution", "execution_id": "x", "status": "completed", "stamps": [[["a"], ["status"]]]}',
        '{"type": "execution", "execution_id": "x", "status": "failed", "inputs": {"n": NaN}}',
        '{"type": "event", "execution_id": "\\ud800", "kind": "log", "at": "2026-01-02T03:04:05Z"}',
    ]
    told: dict[int, str] = {}
    done = imported(other, [first, *broken, "\n", *rest], as_it_is, told.__setitem__)

    assert sorted(told) == list(range(2, 2 + len(broken)))
    assert (done.broken, done.records) == (len(broken), len(rest))
    assert "status" in told[5]
    assert rows(other) == rows(engine)


def test_records_without_stamps_are_records_like_any(engine: Engine) -> None:
    lines = ['{"format": "taskmark-history", "version": 1}']
    lines += [one.model_dump_json() for one in EVERY_KIND]
    take(engine, lines)
    before = rows(engine)
    clear(engine)
    apply(engine, EVERY_KIND)

    assert rows(engine) == before


@pytest.mark.parametrize(
    ("first", "said"),
    [
        ("", "no JSON"),
        ("# Example", "no JSON"),
        ('{"type": "execution"}', "does not say so"),
        ('{"format": "taskmark-history", "version": 2}', "this version knows 1"),
    ],
)
def test_what_is_no_history_is_refused_before_anything(first: str, said: str, engine: Engine) -> None:
    with pytest.raises(Conflict, match=said):
        take(engine, [first])


def test_what_comes_in_is_scrubbed(engine: Engine) -> None:
    from functools import partial

    from taskmark.privacy.detectors import BUILT_IN
    from taskmark.privacy.recording import scrubbed
    from taskmark.privacy.scrubbing import chosen

    apply(engine, [attempt("mail", "completed", output="to ann@example.com", as_of=at(1))])
    lines = list(exported(engine, EVERYTHING))
    clear(engine)
    imported(engine, lines, partial(scrubbed, scrubber=chosen(("all",), BUILT_IN)), never)

    assert "ann@" not in str(rows(engine))


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (Chosen(since=START + timedelta(days=1)), {"exec-3"}),
        (Chosen(task="demo"), {"exec-1", "exec-3"}),
        (Chosen(task="demo", since=START), {"exec-1", "exec-3"}),
        (Chosen(executions=("exec-2", "exec-3")), {"exec-2", "exec-3"}),
        (Chosen(task="none"), set()),
    ],
)
def test_some_can_be_chosen_and_come_with_all_they_have(
    wanted: Chosen, found: set[str], engine: Engine
) -> None:
    apply(engine, EVERY_KIND)
    clear(engine)
    for name, task, days in (("exec-1", "demo", 0), ("exec-2", "other", 0), ("exec-3", "demo", 2)):
        began = START + timedelta(days=days)
        used = {"definition_sha256": "ab" * 32} if name == "exec-3" else {}
        apply(
            engine,
            [
                execution(name, task_id=task, started_at=began, **used),
                attempt(execution_id=name),
                event(id=name),
            ],
        )
    apply(engine, EVERY_KIND[:1])
    lines = [json.loads(line) for line in list(exported(engine, wanted))[1:]]

    assert {line["execution_id"] for line in lines if "execution_id" in line} == found
    assert len(lines) == 3 * len(found) + ("exec-3" in found)


def test_memory_does_not_grow_with_the_history(engine: Engine, other: Engine) -> None:
    for part in range(10):
        apply(
            engine,
            [attempt(f"s{part}-{one}", execution_id=f"e{one % 7}", output="x" * 500) for one in range(600)],
        )
    tracemalloc.start()
    try:
        take_all = imported(other, exported(engine, EVERYTHING), as_it_is, never)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert take_all.records == 6_000
    assert peak < 16 * 2**20


def test_what_was_merged_is_sound(engine: Engine, other: Engine, tmp_path: Path) -> None:
    from taskmark.store.artifacts import FileArtifacts

    apply(engine, EVERY_KIND)
    take(other, list(exported(engine, EVERYTHING)))
    assert [one.name for one in check(other, FileArtifacts(tmp_path / "none")) if one.count] == []
