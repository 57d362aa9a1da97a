"""The schema's revision: made, read and brought up to date.

Alembic takes most of a second to import, so it is imported only where there is something to migrate:
a new SQLite file gets the tables as they are now and is marked as being up to date.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, inspect, text

from taskmark.errors import Conflict, InvalidSettings
from taskmark.store.engine import make_engine, reading, writing
from taskmark.store.searching import make_index
from taskmark.store.tables import Stored

if TYPE_CHECKING:
    from alembic.config import Config

HEAD = "0009"
"""The newest revision in `migrations/versions`."""

MIGRATIONS = Path(__file__).parent / "migrations"

_VERSIONS = "alembic_version"
_LOCK = 0x7461736B
"""Advisory lock on PostgreSQL: one process at a time changes the schema."""


def open_store(url: str) -> Engine:
    """Returns an engine for the store at the URL, with its schema up to date.

    Raises `InvalidSettings` for a URL or a revision that this version does not know, `Unreachable`.
    """
    engine = make_engine(url)
    upgrade(engine)
    return engine


def existing(url: str) -> Engine | None:
    """Returns an engine for the store at the URL if there is one that this version can read as it is.

    Nothing is made or changed: no folder, no file, no table. Raises `InvalidSettings`, `Unreachable`.
    """
    if url.startswith("sqlite") and not Path(url.partition("///")[2].partition("?")[0]).is_file():
        return None
    engine = make_engine(url)
    return engine if current(engine) == HEAD else None


def head() -> str:
    """Returns the newest revision that this version knows."""
    return HEAD


def current(engine: Engine) -> str | None:
    """Returns the store's revision, or None if it has none yet. Raises `Unreachable`."""
    with reading(engine) as connection:
        return _revision(connection)


def current_only(engine: Engine) -> None:
    """Raises `Conflict` unless the store is of this version, and `Unreachable`."""
    if (revision := current(engine)) != HEAD:
        message = f"The store has revision {revision or 'none'}, this version uses {HEAD}"
        raise Conflict(message, hint="bring it up to date: taskmark db upgrade")


def upgrade(engine: Engine) -> None:
    """Brings the schema to `head()`; processes that start at the same time wait for the first.

    Raises `InvalidSettings` for a revision that this version does not know, `Unreachable`.
    """
    if current(engine) == HEAD:
        return
    with writing(engine) as connection:
        only_one(connection)
        _bring_up(connection)


def only_one(connection: Connection) -> None:
    """Until the transaction ends nobody else changes the schema; who wants to waits."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})


def _bring_up(connection: Connection) -> None:
    if _revision(connection) == HEAD:
        return
    if connection.dialect.name == "sqlite" and not inspect(connection).get_table_names():
        _create(connection)
    else:
        _migrate(connection)


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table(_VERSIONS):
        return None
    found = connection.execute(text(f"SELECT version_num FROM {_VERSIONS}")).scalar()  # noqa: S608  # a constant
    return None if found is None else str(found)


def _create(connection: Connection) -> None:
    Stored.metadata.create_all(connection)
    make_index(connection)
    columns = "version_num VARCHAR(32) NOT NULL, CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)"
    connection.execute(text(f"CREATE TABLE {_VERSIONS} ({columns})"))
    insert = text(f"INSERT INTO {_VERSIONS} VALUES (:head)")  # noqa: S608  # a constant
    connection.execute(insert, {"head": HEAD})


def _migrate(connection: Connection) -> None:
    from alembic.util import CommandError

    try:
        migrate(connection, HEAD)
    except CommandError as error:
        raise InvalidSettings(
            f"The store has revision {_revision(connection)}, and this version knows up to {HEAD}: {error}",
            hint="Upgrade Taskmark, or set TASKMARK_DATABASE_URL to another database",
        ) from error


def migrate(connection: Connection, revision: str) -> None:
    """Brings the tables from an older revision, or from none, to this one."""
    from alembic import command

    from taskmark.store.refilling import refill

    command.upgrade(migration_config(connection), revision)
    if revision == HEAD:
        refill(connection)


def migration_config(connection: Connection) -> Config:
    """Returns alembic's configuration for migrations that run on this connection."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
