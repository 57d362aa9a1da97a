"""A backup is one moment of the store, and comes back whole or not at all."""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from zipfile import ZipFile

import pytest
from sqlalchemy import Engine, inspect, text
from store_records import EVERY_KIND, at, attempt, event, execution, rows
from test_store_migration import OLD

from taskmark.contracts import artifact_reference
from taskmark.errors import Conflict
from taskmark.store.artifacts import DatabaseArtifacts, FileArtifacts
from taskmark.store.backup import MANIFEST, back_up, copying
from taskmark.store.checking import check
from taskmark.store.engine import make_engine, reading, writing
from taskmark.store.reading import History
from taskmark.store.restoring import restore
from taskmark.store.schema import current, head, open_store
from taskmark.store.vacuuming import size, vacuum
from taskmark.store.writing import apply

LATER = execution("exec-2-later", "completed", started_at=at(9), finished_at=at(10), as_of=at(10))


@pytest.fixture
def artifacts(tmp_path: Path) -> FileArtifacts:
    return FileArtifacts(tmp_path / "artifacts")


@pytest.fixture
def saved(store_url: str, tmp_path: Path, artifacts: FileArtifacts) -> Path:
    """A backup of a store with a row of every kind and a file of an artifact; nobody has it open."""
    engine = open_store(store_url)
    apply(engine, EVERY_KIND)
    DatabaseArtifacts(engine).save(b"in the database \x00\xff")
    name = artifacts.save(b"a large output")
    reference = artifact_reference(name, 14)
    apply(engine, [attempt("big", "completed", output=reference, finished_at=at(2), as_of=at(2))])
    manifest = back_up(engine, tmp_path / "backup.zip", artifacts)
    assert (manifest.counts["executions"], manifest.artifacts) == (1, 1)
    engine.dispose()
    return tmp_path / "backup.zip"


def contents(url: str) -> dict[str, list[object]]:
    engine = open_store(url)
    try:
        return dict(rows(engine))
    finally:
        engine.dispose()


def test_what_was_backed_up_comes_back_over_what_was_written_since(
    store_url: str, saved: Path, artifacts: FileArtifacts
) -> None:
    before = contents(store_url)
    engine = open_store(store_url)
    apply(engine, [LATER])
    engine.dispose()
    shutil.rmtree(artifacts._folder)

    restore(store_url, saved, artifacts, force=True)

    assert contents(store_url) == before
    engine = open_store(store_url)
    assert [one.name for one in check(engine, artifacts) if one.count] == []
    apply(engine, [LATER, attempt("next", "completed", output="words", finished_at=at(3), as_of=at(3))])
    engine.dispose()


def test_it_comes_back_into_an_empty_store(
    saved: Path, store_url: str, tmp_path: Path, new_database: Callable[[str], str], artifacts: FileArtifacts
) -> None:
    sqlite = store_url.startswith("sqlite")
    url = f"sqlite:///{tmp_path}/other/history.db" if sqlite else new_database("postgresql")
    restore(url, saved, artifacts)

    assert contents(url) == contents(store_url)


def test_a_store_with_executions_is_replaced_only_if_said_so_and_kept_beside(
    store_url: str, saved: Path, artifacts: FileArtifacts, tmp_path: Path
) -> None:
    engine = open_store(store_url)
    apply(engine, [LATER])
    engine.dispose()
    with pytest.raises(Conflict, match="has executions") as refused:
        restore(store_url, saved, artifacts)
    assert "--force" in str(refused.value.hint)
    assert len(contents(store_url)["executions"]) == 2

    restore(store_url, saved, artifacts, force=True)
    if store_url.startswith("sqlite"):
        assert len(contents(f"sqlite:///{tmp_path}/history.db.bak")["executions"]) == 2


def test_a_store_that_somebody_uses_is_not_replaced(
    store_url: str, saved: Path, artifacts: FileArtifacts
) -> None:
    engine = open_store(store_url)
    before = rows(engine)

    with pytest.raises(Conflict, match="is in use"):
        restore(store_url, saved, artifacts, force=True)
    apply(engine, [LATER])  # nor is it disturbed
    assert rows(engine) != before
    engine.dispose()


def test_a_backup_is_one_moment_while_others_write(
    open_engine: Callable[[], Engine], store_url: str, tmp_path: Path, artifacts: FileArtifacts
) -> None:
    """Each execution is written with its only attempt; no backup has one without the other."""
    engine, writer, done = open_engine(), open_engine(), threading.Event()

    def write() -> None:
        number = 0
        while not done.is_set():
            name = f"exec-{number}"
            apply(writer, [execution(name), attempt(execution_id=name, output="x" * 2000), event(id=name)])
            number += 1

    thread = threading.Thread(target=write)
    thread.start()
    try:
        made = [back_up(engine, tmp_path / f"{number}.zip", artifacts).counts for number in range(5)]
    finally:
        done.set()
        thread.join()
    assert [counts["executions"] for counts in made] == [counts["attempts"] for counts in made]
    assert [counts["executions"] for counts in made] == [counts["events"] for counts in made]
    assert made[-1]["executions"] > 0


def test_a_file_that_is_there_is_not_replaced_unless_said_so(
    engine: Engine, tmp_path: Path, artifacts: FileArtifacts
) -> None:
    target = tmp_path / "backup.zip"
    target.write_text("precious")
    with pytest.raises(Conflict, match="is there already"):
        back_up(engine, target, artifacts)
    assert target.read_text() == "precious"

    back_up(engine, target, artifacts, force=True)
    assert ZipFile(target).namelist()[-1] == MANIFEST


def test_a_backup_that_fails_leaves_nothing(engine: Engine, tmp_path: Path) -> None:
    class Broken(FileArtifacts):
        def kept(self) -> Iterator[tuple[str, object]]:  # type: ignore[override]  # it never answers
            raise OSError("the disk is gone")

    before = set(tmp_path.iterdir())
    with pytest.raises(OSError, match="gone"):
        back_up(engine, tmp_path / "backup.zip", Broken(tmp_path))
    assert set(tmp_path.iterdir()) - before <= {tmp_path / "history.db-wal", tmp_path / "history.db-shm"}


def changed(saved: Path, **values: object) -> Path:
    """A copy of a backup with another manifest."""
    other = saved.with_name("changed.zip")
    with ZipFile(saved) as archive, ZipFile(other, "w") as copy:
        for name in archive.namelist():
            content = archive.read(name)
            if name == MANIFEST:
                content = json.dumps(json.loads(content) | values).encode()
            copy.writestr(name, content)
    return other


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"revision": "9999"}, "this version knows"),
        ({"format": 2}, "this version knows"),
        ({"database": "other"}, "no backup"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_changes(
    values: dict[str, object], said: str, store_url: str, saved: Path, artifacts: FileArtifacts
) -> None:
    before = contents(store_url)
    with pytest.raises(Conflict, match=said):
        restore(store_url, changed(saved, **values), artifacts, force=True)
    assert contents(store_url) == before


def test_a_damaged_archive_is_refused_and_nothing_changes(
    store_url: str, saved: Path, artifacts: FileArtifacts
) -> None:
    before = contents(store_url)
    manifest = json.loads(ZipFile(saved).read(MANIFEST))
    first = next(iter(manifest["members"]))
    manifest["members"][first]["sha256"] = "00" * 32
    for damaged in (changed(saved, members=manifest["members"]), saved.with_name("cut.zip")):
        if not damaged.exists():
            damaged.write_bytes(saved.read_bytes()[:-200])
        with pytest.raises(Conflict, match="no backup, or a damaged one"):
            restore(store_url, damaged, artifacts, force=True)
    assert contents(store_url) == before


def test_a_backup_of_the_other_database_is_refused_with_the_way_there(
    saved: Path, store_url: str, artifacts: FileArtifacts, tmp_path: Path
) -> None:
    sqlite = store_url.startswith("sqlite")
    other = "postgresql://nobody@/nowhere" if sqlite else f"sqlite:///{tmp_path}/other.db"
    with pytest.raises(Conflict, match="The backup is one of") as refused:
        restore(other, saved, artifacts)
    assert "db export" in str(refused.value.hint)
    assert not (tmp_path / "other.db").exists()


def old_backup(saved: Path, files: dict[str, tuple[bytes, list[str]]]) -> Path:
    """A backup as revision 0001 would have made it."""
    members = {
        name: {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content), "columns": columns}
        for name, (content, columns) in files.items()
    }
    told = json.loads(ZipFile(saved).read(MANIFEST)) | {"revision": "0001", "members": members}
    target = saved.with_name("old.zip")
    with ZipFile(target, "w") as archive:
        archive.writestr(MANIFEST, json.dumps(told))
        for name, (content, _) in files.items():
            archive.writestr(name, content)
    return target


def old_tables(url: str) -> Iterator[tuple[str, tuple[bytes, list[str]]]]:
    """Yields the tables of revision 0001 on PostgreSQL, as members of a backup."""
    engine = make_engine(url)
    with writing(engine) as connection:
        connection.exec_driver_sql((OLD / "history-0001.postgresql.sql").read_text())
    with reading(engine) as connection:
        for name in set(inspect(engine).get_table_names()) - {"alembic_version"}:
            columns = [column["name"] for column in inspect(engine).get_columns(name)]
            with copying(connection, f"COPY {name} TO STDOUT") as copy:
                yield f"tables/{name}", (b"".join(bytes(block) for block in copy), columns)
    engine.dispose()


def test_an_older_backup_is_brought_up_to_date(
    store_url: str, new_database: Callable[[str], str], saved: Path, artifacts: FileArtifacts
) -> None:
    if store_url.startswith("sqlite"):
        files = {"history.db": ((OLD / "history-0001.db").read_bytes(), [])}
    else:
        files = dict(old_tables(new_database("postgresql")))
    restore(store_url, old_backup(saved, files), artifacts, force=True)

    engine = make_engine(store_url)
    assert current(engine) == head()
    assert History(engine).execution("exec-1767323045678-demo").tokens_used == 1212
    assert {one.name for one in check(engine, artifacts) if one.count} <= {"executions", "definitions"}
    engine.dispose()


def test_a_vacuum_gives_room_back_beside_an_open_store(open_engine: Callable[[], Engine]) -> None:
    engine, other = open_engine(), open_engine()
    apply(other, [attempt(f"s{number}", output="x" * 5000) for number in range(300)])
    with writing(engine) as connection:
        connection.execute(text("DELETE FROM attempts"))
    before = size(engine)
    vacuum(engine)
    apply(other, [LATER])
    vacuum(engine)

    # PostgreSQL keeps the room for new rows
    assert engine.dialect.name == "postgresql" or size(engine) < before / 2
    assert History(other).execution(LATER.execution_id)
