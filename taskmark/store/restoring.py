"""Puts a backup in the place of the store: all of it, or nothing.

Everything in the archive is compared with its manifest before anything is touched. On SQLite the file is
made, and migrated, beside the store; then SQLite itself copies it over, in one transaction. On PostgreSQL
all of it is one transaction.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

from pydantic import ValidationError
from sqlalchemy import Connection, inspect, select, text

from taskmark.errors import Conflict
from taskmark.store.artifacts import DatabaseArtifacts, FileArtifacts
from taskmark.store.backup import ARTIFACTS, DATABASE, FORMAT, MANIFEST, TABLES, Manifest, Member, copying
from taskmark.store.engine import make_engine, writing
from taskmark.store.schema import head, migrate, only_one, open_store, upgrade
from taskmark.store.sqlite_file import alone, damage, opened, path_of
from taskmark.store.tables import Executions, Stored, table

_BLOCK = 2**20
_NAME = re.compile(r"[a-z_0-9]+", re.ASCII)


def restore(url: str, source: Path, artifacts: FileArtifacts | None, *, force: bool = False) -> Manifest:
    """Restores the store at the URL from an archive; `artifacts` is None where they are in the database.

    With `force` it replaces a store that has executions; on SQLite what was there is kept beside it, as
    `….bak`. Raises `Conflict` if the archive is damaged, or made by a newer version, or for the other kind
    of database, or if the store is in use or has executions; and `Unreachable`.
    """
    with _opened(source) as archive:
        manifest = _manifest(archive, url)
        for name, member in manifest.members.items():
            _compare(archive, name, member)
        if artifacts:
            _save_artifacts(archive, artifacts)
        if manifest.database == "sqlite":
            _restore_file(path_of(url), archive, force=force)
        else:
            _restore_tables(url, archive, manifest, force=force)
        if artifacts is None and manifest.artifacts:
            engine = open_store(url)
            _save_artifacts(archive, DatabaseArtifacts(engine))
            engine.dispose()
    return manifest


# --- the archive ----------------------------------------------------------------------------------


@contextmanager
def _opened(source: Path) -> Iterator[ZipFile]:
    try:
        with ZipFile(source) as archive:
            yield archive
    except OSError as error:
        raise Conflict(f"{source} cannot be read: {error.strerror or error}") from error
    except (BadZipFile, KeyError, ValidationError) as error:
        hint = "it has to be a file that `taskmark db backup` wrote"
        raise Conflict(f"{source} is no backup, or a damaged one: {error}", hint=hint) from error


def _manifest(archive: ZipFile, url: str) -> Manifest:
    manifest = Manifest.model_validate_json(archive.read(MANIFEST))
    if manifest.format > FORMAT or manifest.revision > head():
        made = f"Taskmark {manifest.taskmark}, revision {manifest.revision}"
        raise Conflict(
            f"The backup was made by {made}, and this version knows {head()}", hint="upgrade Taskmark"
        )
    if manifest.database != make_engine(url).dialect.name:
        hint = "`taskmark db export` and `import` go from one kind of database to the other"
        raise Conflict(f"The backup is one of {manifest.database}, and the store is not", hint=hint)
    return manifest


def _compare(archive: ZipFile, name: str, member: Member) -> None:
    digest = hashlib.sha256()
    with archive.open(name) as content:
        while block := content.read(_BLOCK):
            digest.update(block)
    if digest.hexdigest() != member.sha256:
        raise BadZipFile(f"{name} is not what the manifest says")


def _save_artifacts(archive: ZipFile, artifacts: FileArtifacts | DatabaseArtifacts) -> None:
    for name in archive.namelist():
        if name.startswith(ARTIFACTS) and artifacts.save(archive.read(name)) != name.removeprefix(ARTIFACTS):
            raise BadZipFile(f"{name} is not what its name says")


# --- SQLite ---------------------------------------------------------------------------------------


def _restore_file(path: Path, archive: ZipFile, *, force: bool) -> None:
    new = not path.exists()
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with alone(path) as store:
            _refuse_to_replace(_has_executions(store), force=force)
            with tempfile.TemporaryDirectory(dir=path.parent, prefix=".restore-") as folder:
                staged = Path(folder) / DATABASE
                _stage(archive, staged)
                if not new:
                    _keep_old(store, path)
                with opened(staged) as source:
                    source.backup(store)
    except BaseException:
        if new:
            path.unlink(missing_ok=True)
        raise


def _has_executions(store: Any) -> bool:
    named = store.execute("SELECT count(*) FROM sqlite_master WHERE name = 'executions'").fetchone()[0]
    return bool(named and store.execute("SELECT count(*) FROM executions").fetchone()[0])


def _refuse_to_replace(full: bool, *, force: bool) -> None:
    if full and not force:
        raise Conflict("The store has executions", hint="replace it with --force, or set another database")


def _stage(archive: ZipFile, staged: Path) -> None:
    """Makes the file as it will be: whole, sound, and up to date."""
    with archive.open(DATABASE) as content, staged.open("wb") as file:
        shutil.copyfileobj(content, file, _BLOCK)
    for problem in damage(staged):
        raise BadZipFile(f"{DATABASE}: {problem}")
    engine = make_engine(f"sqlite:///{staged}")
    upgrade(engine)
    engine.dispose()


def _keep_old(store: Any, path: Path) -> None:
    beside = path.with_name(f"{path.name}.bak")
    unfinished = beside.with_name(f"{beside.name}.new")
    unfinished.unlink(missing_ok=True)
    with opened(unfinished) as old:
        store.backup(old)
    unfinished.replace(beside)


# --- PostgreSQL -----------------------------------------------------------------------------------

_OTHERS = """SELECT count(*) FROM pg_stat_activity WHERE pid <> pg_backend_pid()
    AND datname = current_database() AND application_name = current_setting('application_name')"""


def _restore_tables(url: str, archive: ZipFile, manifest: Manifest, *, force: bool) -> None:
    engine = make_engine(url)
    try:
        with writing(engine) as connection:
            only_one(connection)
            _refuse_if_used(connection)
            full = inspect(connection).has_table("executions") and bool(
                connection.execute(select(table(Executions).c.execution_id).limit(1)).first()
            )
            _refuse_to_replace(full, force=force)
            for name in (*Stored.metadata.tables, "alembic_version"):
                connection.execute(text(f"DROP TABLE IF EXISTS {name}"))
            migrate(connection, manifest.revision)
            _fill(connection, archive, manifest)
            if manifest.revision != head():
                migrate(connection, head())
    finally:
        engine.dispose()


def _refuse_if_used(connection: Connection) -> None:
    others = connection.execute(text(_OTHERS)).scalar_one()
    if others:
        hint = "End the workers and whatever else reads it, and try again"
        raise Conflict(f"The store is in use: {others} other connections of Taskmark", hint=hint)


def _fill(connection: Connection, archive: ZipFile, manifest: Manifest) -> None:
    for name, member in manifest.members.items():
        target = name.removeprefix(TABLES)
        if not all(_NAME.fullmatch(word) for word in (target, *member.columns)):
            raise BadZipFile(f"{name} is no table of ours")
        columns = ", ".join(f'"{column}"' for column in member.columns)
        statement = f"COPY {target} ({columns}) FROM STDIN"
        with archive.open(name) as content, copying(connection, statement) as copy:
            while block := content.read(_BLOCK):
                copy.write(block)
    if inspect(connection).has_table("texts"):
        last = "SELECT setval(pg_get_serial_sequence('texts', 'id'), (SELECT max(id) FROM texts))"
        connection.execute(text(last))
