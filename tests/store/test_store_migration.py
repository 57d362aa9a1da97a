"""Stores that an older version made go on, with everything in them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, inspect, text
from store_records import at, clear, estimate, execution, rows
from test_store_schema import described

from taskmark.contracts import span_id
from taskmark.store.engine import make_engine, reading, writing
from taskmark.store.reading import History
from taskmark.store.schema import current, head, open_store
from taskmark.store.writing import apply

OLD = Path(__file__).parent / "old"
"""Kept as revision 0001 wrote them: a SQLite file, and what pg_dump says of the same rows."""
ID = "exec-1767323045678-demo"


@pytest.fixture
def old_url(store_url: str, tmp_path: Path) -> str:
    """The URL of a store as an older version left it."""
    if store_url.startswith("sqlite"):
        shutil.copy(OLD / "history-0001.db", tmp_path / "history.db")
        return store_url
    engine = make_engine(store_url)
    with writing(engine) as connection:
        connection.exec_driver_sql((OLD / "history-0001.postgresql.sql").read_text())
    engine.dispose()
    return store_url


@pytest.fixture
def migrated(old_url: str) -> Iterator[Engine]:
    before = make_engine(old_url)
    assert current(before) == "0001"
    before.dispose()
    engine = open_store(old_url)
    yield engine
    engine.dispose()


def test_an_old_store_gets_the_schema_of_a_new_one(
    migrated: Engine, new_database: Callable[[str], str], tmp_path: Path
) -> None:
    kind = migrated.dialect.name
    url = f"sqlite:///{tmp_path / 'new.db'}" if kind == "sqlite" else new_database(kind)
    new = open_store(url)

    assert current(migrated) == head()
    assert described(migrated) == described(new)
    new.dispose()


def test_what_an_old_store_knew_is_all_there(migrated: Engine) -> None:
    history = History(migrated)
    found = history.execution(ID)

    assert (found.status, found.source_path, found.finished_at) == ("completed", None, at(4))
    assert found.inputs == {"n": 1, "deep": {"list": [1, None, "ü"]}}
    assert {one.execution_id for one in history.executions()} == {
        ID,
        "exec-1767323050000-other",
        "exec-1767323051000-other",
        "exec-1767323052000-lost",
    }
    assert history.definition("ab" * 32).source_path == "tasks/demo.md"
    assert [one.seq for one in history.events(ID)] == [1, 2, 3, 4]
    assert [one.outputs for one in history.phases(ID)] == [{"lines": 1}]
    assert len(history.attempts(ID)) == 7
    assert history.estimates(ID) == ()


def test_what_follows_from_old_rows_is_filled_in(migrated: Engine) -> None:
    history = History(migrated)
    found = history.execution(ID)
    first, second = history.attempts(ID, step="rows")
    [searched] = history.attempts(ID, step="found")

    assert (found.task_slug, found.duration_ms, found.attempts) == ("demo", 4000, 1)
    assert (found.tokens_used, found.cost, found.questions_asked) == (1212, 0.35, None)
    assert found.files_modified == ("a.txt", "notes.md", "report.md")
    assert (first.span_id, first.retry_of) == (span_id(ID, "measure", "rows"), None)
    assert (second.retry_of, second.causes, second.tool) == (first.span_id, ("retry",), "python")
    assert (first.duration_ms, first.error_category, first.error_type) == (250, "transient", "step_failed")
    assert first.error_message == "ValueError: row 17 is broken"
    assert first.stack_hash
    assert searched.retrieval == {"sources": ["a.py"], "count": 1, "results": 1, "query": "TODO"}


def test_a_final_status_of_an_old_store_stays(migrated: Engine) -> None:
    apply(migrated, [execution(ID, status="running", as_of=at(99))])
    assert History(migrated).execution(ID).status == "completed"


def test_what_is_expected_from_now_on_is_kept_in_an_old_store(migrated: Engine) -> None:
    told = estimate(id=ID, basis="steps", confidence=0.8)
    apply(migrated, [told])
    assert History(migrated).estimates(ID) == (told,)


def test_metrics_and_words_are_those_of_the_same_rows_written_today(migrated: Engine) -> None:
    from taskmark.store.refilling import refill

    before = rows(migrated)
    assert before["metrics"]
    assert before["texts"]
    with writing(migrated) as connection:
        refill(connection)
    assert rows(migrated) == before


def test_words_of_old_attempts_are_found(migrated: Engine) -> None:
    match = (
        "id IN (SELECT rowid FROM texts_index WHERE texts_index MATCH 'broken')"
        if migrated.dialect.name == "sqlite"
        else "to_tsvector('simple', words) @@ plainto_tsquery('simple', 'broken')"
    )
    query = f"SELECT a.step FROM texts JOIN attempts a ON a.span_id = texts.span_id WHERE {match}"
    with reading(migrated) as connection:
        assert list(connection.execute(text(query)).scalars()) == ["rows"]


def test_a_migrated_store_can_go_back(migrated: Engine) -> None:
    from alembic import command

    from taskmark.store.schema import migration_config

    with writing(migrated) as connection:
        command.downgrade(migration_config(connection), "0001")
        columns = [one["name"] for one in inspect(connection).get_columns("attempts")]
        assert columns[-4:] == ["cost", "files", "provenance", "as_of"]
        query = text("SELECT finished_at FROM executions WHERE execution_id = :id")
        assert connection.execute(query, {"id": ID}).scalar()


def test_clearing_a_store_clears_its_index(migrated: Engine) -> None:
    clear(migrated)
    assert not any(name for name, found in rows(migrated).items() if found)
