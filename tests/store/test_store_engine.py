"""The store is found by its URL, and its absence is one kind of error."""

from __future__ import annotations

import builtins
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from sqlalchemy import Engine, inspect, text
from store_records import event

from taskmark.errors import InvalidSettings, Unreachable
from taskmark.store import engine as engines
from taskmark.store.engine import make_engine, reading, snapshot, writing
from taskmark.store.writing import apply


@pytest.mark.parametrize(
    "url",
    ["", "not a url", "mysql://host/db", "sqlite://", "sqlite:///:memory:", "sqlite:///", "postgresql+none"],
)
def test_other_urls_are_refused_with_one_that_works(url: str) -> None:
    with pytest.raises(InvalidSettings) as refused:
        make_engine(url)
    assert "TASKMARK_DATABASE_URL" in str(refused.value.hint)


def test_a_refused_url_does_not_give_away_its_password() -> None:
    with pytest.raises(InvalidSettings) as refused:
        make_engine("mysql://user:hunter2@host/db")
    assert "hunter2" not in str(refused.value)


def test_a_missing_driver_is_named_with_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without_psycopg(name: str, *rest: object, **options: object) -> object:
        if name.partition(".")[0] == "psycopg":
            raise ImportError(name)
        return real(name, *rest, **options)  # type: ignore[arg-type]  # passed on as they came

    monkeypatch.setattr(builtins, "__import__", without_psycopg)
    with pytest.raises(InvalidSettings) as refused:
        make_engine("postgresql://host/db")
    assert "taskmark[postgres]" in str(refused.value.hint)


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_every_spelling_of_postgresql_is_understood(scheme: str) -> None:
    engine = make_engine(f"{scheme}://user@host/db?connect_timeout=3")

    assert engine.url.drivername == "postgresql+psycopg"
    assert engine.url.query["connect_timeout"] == "3"


def test_a_server_that_does_not_answer_is_unreachable_without_giving_away_the_password() -> None:
    with pytest.raises(Unreachable) as away, reading(make_engine("postgresql://u:hunter2@127.0.0.1:1/none")):
        pass
    assert "127.0.0.1:1/none does not answer" in str(away.value)
    assert "hunter2" not in str(away.value)


def test_the_folder_of_a_file_is_made(tmp_path: Path) -> None:
    with writing(make_engine(f"sqlite:///{tmp_path}/new/folder/history.db")) as connection:
        connection.execute(text("CREATE TABLE t (n INTEGER)"))
    assert (tmp_path / "new" / "folder" / "history.db").is_file()


def test_a_folder_that_cannot_be_made_is_unreachable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Unreachable, match="folder"):
        make_engine(f"sqlite:///{tmp_path}/file/history.db")


def test_a_sqlite_file_is_read_while_it_is_written(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/history.db"
    engine, other = make_engine(url), make_engine(url)
    with writing(engine) as connection:
        connection.execute(text("CREATE TABLE t (n INTEGER)"))
    with writing(engine) as connection:
        connection.execute(text("INSERT INTO t VALUES (1)"))
        with reading(other) as reader:
            assert reader.execute(text("SELECT count(*) FROM t")).scalar() == 0
            modes = [
                reader.execute(text(f"PRAGMA {name}")).scalar() for name in ("journal_mode", "foreign_keys")
            ]
    assert modes == ["wal", 1]


def test_a_transaction_that_fails_leaves_nothing(engine: Engine) -> None:
    def make_twice() -> None:
        with writing(engine) as connection:
            for _ in range(2):
                connection.execute(text("CREATE TABLE t (n INTEGER)"))

    with pytest.raises(Unreachable, match="already exists"):
        make_twice()
    assert not inspect(engine).has_table("t")


def test_wrong_data_is_told_apart_from_an_absent_store(open_engine: Callable[[], Engine]) -> None:
    with writing(open_engine()) as connection:
        connection.execute(text("CREATE TABLE t (n INTEGER PRIMARY KEY)"))
        connection.execute(text("INSERT INTO t VALUES (1)"))
    with pytest.raises(Exception, match=r"UNIQUE|unique") as wrong, writing(open_engine()) as connection:
        connection.execute(text("INSERT INTO t VALUES (1)"))
    assert engines.is_about_data(wrong.value)
    assert "INSERT" not in engines.reason(wrong.value)


@pytest.fixture
def held_file(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that keeps others from changing how the file is written."""
    holder = sqlite3.connect(tmp_path / "history.db", isolation_level=None, check_same_thread=False)
    holder.execute("CREATE TABLE t (n INTEGER)")
    holder.execute("BEGIN")
    holder.execute("SELECT * FROM t")
    yield holder
    holder.close()


@pytest.mark.usefixtures("held_file")
def test_a_file_that_stays_held_is_unreachable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "BUSY_SECONDS", 0.1)
    with pytest.raises(Unreachable, match="locked"), reading(make_engine(f"sqlite:///{tmp_path}/history.db")):
        pass


def test_the_switch_to_write_ahead_waits_though_sqlite_does_not(
    tmp_path: Path, held_file: sqlite3.Connection
) -> None:
    connection = sqlite3.connect(tmp_path / "history.db", isolation_level=None, timeout=0)
    release = threading.Timer(0.2, held_file.execute, ["ROLLBACK"])
    release.start()
    # SQLite refuses at once where waiting could be for ever; without a timeout it always does.
    engines._enter_write_ahead(connection)

    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    release.join()
    connection.close()


def test_a_process_has_few_connections_and_who_finds_none_is_told(
    open_engine: Callable[[], Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server has 100 for all workers together."""
    engine = open_engine()
    monkeypatch.setattr(engine.pool, "_timeout", 0.05)
    with ExitStack() as stack:
        for _ in range(engines.AT_MOST):
            stack.enter_context(reading(engine))
        with pytest.raises(Unreachable, match="limit"), reading(engine):
            pass
    with reading(engine) as connection:
        assert connection.execute(text("SELECT 1")).scalar() == 1


def test_a_snapshot_does_not_see_what_is_written_meanwhile(open_engine: Callable[[], Engine]) -> None:
    engine = open_engine()
    with snapshot(engine) as connection:
        count = text("SELECT count(*) FROM events")
        before = connection.execute(count).scalar()
        apply(open_engine(), [event(occurrence=1)])
        assert connection.execute(count).scalar() == before == 0
