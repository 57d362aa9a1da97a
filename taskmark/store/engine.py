"""The way to the store: an engine by URL, transactions that write, and one error when it does not answer."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, IntegrityError, NoSuchModuleError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from taskmark.errors import InvalidSettings, Unreachable
from taskmark.store.dialects import insertion_of
from taskmark.store.texts import document

BUSY_SECONDS = 5.0
"""How long a connection waits for another's lock, or for an answer to its call."""
SILENT_SECONDS = 30.0
"""How long a PostgreSQL server may leave what was sent unacknowledged before it counts as gone."""

POOLED, AT_MOST = 2, 5
"""Connections that an engine keeps, and has at once: a worker has two engines, and a server's are counted."""
FRESH_SECONDS = 1800
"""No connection is older when it is used: firewalls forget those that were silent for long."""
APPLICATION = "taskmark"
"""By this name PostgreSQL lists our connections, unless the URL gives an `application_name`."""
ROWS_AT_ONCE = 1000
"""So many rows of a long answer are in memory."""

_WRITES = "taskmark_writes"
_HINT = "Set TASKMARK_DATABASE_URL to sqlite:///path/to/history.db or postgresql://user@host/database"


def make_engine(url: str) -> Engine:
    """Returns an engine for a SQLite file or a PostgreSQL database; nothing is connected yet.

    Raises `InvalidSettings` for any other URL or a missing driver, `Unreachable` if the folder of
    the file can't be made.
    """
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise InvalidSettings("The store's URL cannot be read", hint=_HINT) from error
    backend = parsed.drivername.partition("+")[0]
    if backend == "sqlite":
        engine = _sqlite(parsed)
    elif backend in ("postgresql", "postgres"):
        engine = _postgresql(parsed)
    else:
        raise InvalidSettings(f"The store cannot be kept in {backend!r}", hint=_HINT)
    insertion_of(engine.dialect.name)
    return engine


def _sqlite(url: URL) -> Engine:
    if url.database in (None, "", ":memory:"):
        raise InvalidSettings("The store must be a file: several processes share it", hint=_HINT)
    folder = Path(str(url.database)).parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Unreachable(f"The store's folder {folder} cannot be made: {error.strerror}") from error
    engine = create_engine(
        url.set(drivername="sqlite"), hide_parameters=True, json_serializer=document, **_pool()
    )
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    # The driver's own idea of when a transaction begins leaves reads outside of it.
    connection.isolation_level = None
    connection.execute(f"PRAGMA busy_timeout = {int(BUSY_SECONDS * 1000)}")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA synchronous = NORMAL")
    _enter_write_ahead(connection)


def _enter_write_ahead(connection: sqlite3.Connection) -> None:
    """Changing the mode does not wait for other connections, so it is tried again by hand."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
        time.sleep(0.02)


def _begin_sqlite(connection: Connection) -> None:
    # A writer that begins as a reader can't wait for the lock later: it would fail at once.
    writes = connection.get_execution_options().get(_WRITES)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _postgresql(url: URL) -> Engine:
    query: dict[str, Any] = {
        "connect_timeout": str(int(BUSY_SECONDS)),
        "tcp_user_timeout": str(int(SILENT_SECONDS * 1000)),
        "fallback_application_name": APPLICATION,
        **url.query,
    }
    try:
        return create_engine(
            url.set(drivername="postgresql+psycopg", query=query),
            hide_parameters=True,
            json_serializer=document,
            isolation_level="READ COMMITTED",
            pool_pre_ping=True,
            pool_recycle=FRESH_SECONDS,
            **_pool(),
        )
    except (ImportError, NoSuchModuleError) as error:
        hint = "Install the driver: pip install 'taskmark[postgres]'"
        raise InvalidSettings("PostgreSQL needs a driver that is not installed", hint=hint) from error


def _pool() -> dict[str, Any]:
    """Who finds all connections in use waits for one; the least used are so the ones that grow old."""
    return {"pool_size": POOLED, "max_overflow": AT_MOST - POOLED, "pool_use_lifo": True}


@contextmanager
def reaching(engine: Engine) -> Iterator[None]:
    """Turns every sign that the store does not answer into `Unreachable`; wrong data stays what it is."""
    try:
        yield
    except (DBAPIError, PoolTimeout) as error:
        if is_about_data(error):
            raise
        # The query may hold a password too, in a form that is not known as one.
        place = engine.url.set(query={}).render_as_string(hide_password=True)
        raise Unreachable(f"The store {place} does not answer: {reason(error)}", hint=_HINT) from error


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A connection for reading. Raises `Unreachable`."""
    with reaching(engine), engine.connect() as connection:
        yield connection


@contextmanager
def snapshot(engine: Engine) -> Iterator[Connection]:
    """A connection for reading one moment of the store, however long that takes and whoever writes
    meanwhile. Answers come row by row. Raises `Unreachable`."""
    with reaching(engine), engine.connect() as connection:
        if connection.dialect.name == "postgresql":
            connection.execution_options(isolation_level="REPEATABLE READ")
        connection.execution_options(yield_per=ROWS_AT_ONCE)
        with connection.begin():
            yield connection


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """One transaction that writes: committed at the end, or nothing of it stays. Raises `Unreachable`."""
    with reaching(engine), engine.connect() as connection:
        connection.execution_options(**{_WRITES: True})
        with connection.begin():
            yield connection


def is_about_data(error: Exception) -> bool:
    """Whether trying again is of no use, because the values and not the store are what is wrong."""
    if not isinstance(error, DBAPIError):
        return not isinstance(error, (PoolTimeout, Unreachable, OSError, MemoryError))
    state = getattr(error.orig, "sqlstate", None)
    if state is not None:
        # Data exceptions, broken constraints and values too large for an index or a row.
        return str(state)[:2] in ("22", "23", "54")
    return isinstance(error, (DataError, IntegrityError))


def reason(error: Exception) -> str:
    """Returns what the database said, on one line and without the statement and its values."""
    told = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    return " ".join(str(told).split()) or type(told).__name__
