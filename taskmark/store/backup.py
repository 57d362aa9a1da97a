"""The whole store in one file: a zip of the database, of artifacts that are files, and of a manifest.

SQLite copies its file by itself, PostgreSQL its tables in one snapshot, as pg_dump does: by the driver that
is there anyway, not by a program that has to be of the server's version. Either is one moment of the store,
whoever writes meanwhile.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any, Literal
from zipfile import ZIP_DEFLATED, ZipFile

from pydantic import BaseModel
from sqlalchemy import Connection, Engine, Table, func, select

from taskmark.errors import Unreachable
from taskmark.store.artifacts import FileArtifacts
from taskmark.store.engine import reason, snapshot
from taskmark.store.schema import current_only, head
from taskmark.store.sqlite_file import opened, path_of
from taskmark.store.tables import Stored
from taskmark.store.whole_file import whole_file

FORMAT = 1
MANIFEST = "manifest.json"
DATABASE = "history.db"
TABLES = "tables/"
ARTIFACTS = "artifacts/"


class Member(BaseModel):
    """A file in the archive."""

    sha256: str
    bytes: int
    columns: tuple[str, ...] = ()
    """Of a table: in the order of its rows' values."""


class Manifest(BaseModel):
    """What an archive holds."""

    format: int = FORMAT
    taskmark: str
    made_at: datetime
    database: Literal["sqlite", "postgresql"]
    revision: str
    counts: dict[str, int]
    """Rows, by table."""
    members: dict[str, Member]
    """Everything but artifacts: those have their SHA-256 for a name."""
    artifacts: int = 0


def back_up(
    engine: Engine, target: Path, artifacts: FileArtifacts | None, *, force: bool = False
) -> Manifest:
    """Writes an archive; `artifacts` is None where they are in the database.

    Raises `Conflict` if the file is there and is not to be replaced, or if the store is of another version,
    and `Unreachable`.
    """
    current_only(engine)
    with (
        whole_file(target, force=force) as file,
        ZipFile(file, "w", ZIP_DEFLATED, compresslevel=3) as archive,
    ):
        manifest = _database(engine, archive, target.parent)
        # after the database: what its rows refer to was there before them
        manifest.artifacts = _artifacts(archive, artifacts) if artifacts else 0
        archive.writestr(MANIFEST, manifest.model_dump_json(indent=2))
    return manifest


def _database(engine: Engine, archive: ZipFile, folder: Path) -> Manifest:
    sqlite = engine.dialect.name == "sqlite"
    counts, members = _file(engine, archive, folder) if sqlite else _tables(engine, archive)
    return Manifest(
        taskmark=version("taskmark"),
        made_at=datetime.now(UTC),
        database="sqlite" if sqlite else "postgresql",
        revision=head(),
        counts=counts,
        members=members,
    )


def _artifacts(archive: ZipFile, artifacts: FileArtifacts) -> int:
    count = 0
    for name, _ in artifacts.kept():
        try:
            content = artifacts.load(name)
        except KeyError:
            continue  # damaged, or tidied up just now: either way nothing to come back to
        archive.writestr(ARTIFACTS + name, content)
        count += 1
    return count


# --- SQLite ---------------------------------------------------------------------------------------


def _file(engine: Engine, archive: ZipFile, folder: Path) -> tuple[dict[str, int], dict[str, Member]]:
    with tempfile.TemporaryDirectory(dir=folder, prefix=".backup-") as place:
        copy = Path(place) / DATABASE
        with opened(path_of(engine.url)) as source, opened(copy) as target:
            source.backup(target)
            target.execute("PRAGMA journal_mode = DELETE")  # one file, without a log beside it
            counts = {
                name: target.execute(f"SELECT count(*) FROM {name}").fetchone()[0]  # noqa: S608  # names of ours
                for name in Stored.metadata.tables
            }
        with copy.open("rb") as content, hashed(archive, DATABASE) as member:
            shutil.copyfileobj(content, member, 2**20)
    return counts, {DATABASE: member.told()}


# --- PostgreSQL -----------------------------------------------------------------------------------


def _tables(engine: Engine, archive: ZipFile) -> tuple[dict[str, int], dict[str, Member]]:
    counts, members = {}, {}
    with snapshot(engine) as connection:
        for name, target in Stored.metadata.tables.items():
            counts[name] = int(connection.execute(select(func.count()).select_from(target)).scalar_one())
            columns = tuple(column.name for column in target.columns)
            with hashed(archive, TABLES + name) as member:
                for block in _rows(connection, target):
                    member.write(block)
            members[TABLES + name] = member.told(columns)
    return counts, members


def _rows(connection: Connection, target: Table) -> Iterator[Any]:
    columns = ", ".join(f'"{column.name}"' for column in target.columns)
    with copying(connection, f"COPY {target.name} ({columns}) TO STDOUT") as copy:
        yield from copy


@contextmanager
def copying(connection: Connection, statement: str) -> Iterator[Any]:
    """Carries out a COPY of PostgreSQL's, in the connection's transaction. Raises `Unreachable`."""
    driver: Any = connection.connection.driver_connection
    try:
        with driver.cursor() as cursor, cursor.copy(statement) as copy:
            yield copy
    except connection.dialect.loaded_dbapi.Error as error:
        raise Unreachable(f"The store does not copy a table: {reason(error)}") from error


# --- members --------------------------------------------------------------------------------------


class HashedMember:
    """A member of an archive that is being written, and what is to be told of it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self._bytes = 0

    def write(self, block: Any) -> int:
        """Adds bytes."""
        self._digest.update(block)
        self._bytes += len(block)
        return self._file.write(block)

    def told(self, columns: tuple[str, ...] = ()) -> Member:
        """Returns the member's line in the manifest."""
        return Member(sha256=self._digest.hexdigest(), bytes=self._bytes, columns=columns)


@contextmanager
def hashed(archive: ZipFile, name: str) -> Iterator[HashedMember]:
    """Opens a member for writing, however long it gets."""
    with archive.open(name, "w", force_zip64=True) as file:
        yield HashedMember(file)
