"""A store says of itself what is wrong with it, and makes anew what follows from its rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from store_records import EVERY_KIND, at, attempt, event, execution, rows

from taskmark.contracts import artifact_reference
from taskmark.store.artifacts import FileArtifacts
from taskmark.store.checking import SHOWN, Checked, check, repair
from taskmark.store.engine import make_engine, writing
from taskmark.store.schema import open_store
from taskmark.store.writing import apply


@pytest.fixture
def artifacts(tmp_path: Path) -> FileArtifacts:
    return FileArtifacts(tmp_path / "artifacts")


@pytest.fixture
def found(engine: Engine, artifacts: FileArtifacts) -> Callable[[], dict[str, Checked]]:
    """Checks a store with a row of each kind, and returns what is wrong by the check's name."""
    apply(engine, EVERY_KIND)
    return lambda: {one.name: one for one in check(engine, artifacts) if one.count}


def change(engine: Engine, statement: str) -> None:
    with writing(engine) as connection:
        connection.execute(text(statement))


def test_a_store_that_was_only_written_to_is_sound(found: Callable[[], dict[str, Checked]]) -> None:
    assert found() == {}


DAMAGE = {
    "events": ("DELETE FROM events WHERE seq = 2", "exec-1-demo: 3 events with numbers from 1 to 4"),
    "sums": ("UPDATE executions SET tokens_used = 1", "exec-1-demo: tokens_used says 1, its attempts 12"),
    "metrics": (
        "DELETE FROM metrics WHERE dimension = 'agent' OR dimension = 'task'",
        "task demo 2026-01-02",
    ),
    "texts": ("DELETE FROM texts", "exec-1-demo: measure/count attempt 1 cannot be searched for"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_what_follows_from_rows_is_found_wrong_and_made_anew(
    name: str, engine: Engine, found: Callable[[], dict[str, Checked]]
) -> None:
    before = rows(engine)
    statement, said = DAMAGE[name]
    change(engine, statement)
    wrong = found()

    assert list(wrong) == ([name, "metrics"] if name == "sums" else [name])
    assert said in wrong[name].wrong[0]
    assert "db check --fix" in wrong[name].fix

    repair(engine)
    assert found() == {}
    if name != "events":
        assert rows(engine) == before


def test_texts_of_nothing_are_found_and_go(engine: Engine, found: Callable[[], dict[str, Checked]]) -> None:
    change(engine, "INSERT INTO texts (span_id, words) VALUES ('nobody', 'lost')")

    assert found()["texts"].wrong == ("nobody: a text without an attempt",)
    repair(engine)
    assert found() == {}


def test_an_execution_that_cannot_be_searched_for_is_found(
    engine: Engine, found: Callable[[], dict[str, Checked]]
) -> None:
    change(engine, "DELETE FROM texts WHERE span_id LIKE 'execution:%'")

    assert "exec-1-demo cannot be searched for" in found()["texts"].wrong
    repair(engine)
    assert found() == {}


def test_rows_without_their_execution_or_definition_are_found(
    engine: Engine, found: Callable[[], dict[str, Checked]]
) -> None:
    apply(
        engine,
        [event(id="exec-2"), attempt(execution_id="exec-2"), execution("exec-3", definition_sha256="cd")],
    )
    wrong = found()

    assert wrong["executions"].wrong == (
        "exec-2: attempts without an execution",
        "exec-2: events without an execution",
    )
    assert wrong["definitions"].wrong == ("exec-3: its definition cd is not there",)
    assert "taskmark backfill" in wrong["definitions"].fix


def test_an_artifact_that_a_row_refers_to_and_nobody_has_is_found(
    engine: Engine, artifacts: FileArtifacts, found: Callable[[], dict[str, Checked]]
) -> None:
    kept, lost = artifacts.save(b"kept"), "ab" * 32
    told = {"deep": [artifact_reference(kept, 4), {"er": artifact_reference(lost, 9)}], "text": '"$artifact"'}
    apply(engine, [attempt("big", "completed", output=told, finished_at=at(2), as_of=at(2))])

    assert found()["artifacts"].wrong == (f"exec-1-demo: its artifact {lost[:12]} is not there",)


def test_of_many_places_the_first_are_named_and_the_rest_counted(
    engine: Engine, found: Callable[[], dict[str, Checked]]
) -> None:
    apply(engine, [event(id=f"exec-{number}") for number in range(SHOWN + 5)])

    one = found()["executions"]
    assert (len(one.wrong), one.count) == (SHOWN, SHOWN + 5)


def test_a_store_of_another_version_is_told_to_be_upgraded_and_left_alone(
    store_url: str, artifacts: FileArtifacts
) -> None:
    engine = make_engine(store_url)
    [only] = check(engine, artifacts)

    assert (only.name, only.count, only.fix) == ("revision", 1, "taskmark db upgrade")
    engine.dispose()


def test_an_index_that_lost_words_is_found_on_sqlite(tmp_path: Path, artifacts: FileArtifacts) -> None:
    """PostgreSQL keeps its index itself."""
    engine = open_store(f"sqlite:///{tmp_path}/history.db")
    apply(engine, EVERY_KIND)
    change(engine, "INSERT INTO texts_index(texts_index) VALUES ('delete-all')")

    assert [one.name for one in check(engine, artifacts) if one.count] == ["index"]
    repair(engine)
    assert [one.name for one in check(engine, artifacts) if one.count] == []
    engine.dispose()


def test_a_damaged_file_is_found(tmp_path: Path, artifacts: FileArtifacts) -> None:
    file = tmp_path / "damaged.db"
    engine = open_store(f"sqlite:///{file}")
    apply(engine, [attempt(f"step-{number}", output="x" * 500) for number in range(200)])
    engine.dispose()
    content = bytearray(file.read_bytes())
    content[-8192:] = b"\xff" * 8192
    file.write_bytes(content)

    damaged = make_engine(f"sqlite:///{file}")
    last = list(check(damaged, artifacts))[-1]
    damaged.dispose()
    assert (last.name, last.fix) == ("file", "taskmark db restore FILE")
    assert last.count
