"""The SQLite database: one row per station and moment, however often it is loaded."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

VALUES = ("temperature", "humidity", "dew_point")
PATIENCE_SECONDS = 10.0
"""How long another writer is waited for."""
SCHEMA = (
    """CREATE TABLE IF NOT EXISTS readings (
        station TEXT NOT NULL, time TEXT NOT NULL,
        temperature REAL NOT NULL, humidity REAL NOT NULL, dew_point REAL NOT NULL,
        PRIMARY KEY (station, time)) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS loads (
        key TEXT PRIMARY KEY,
        added INTEGER NOT NULL, changed INTEGER NOT NULL, unchanged INTEGER NOT NULL)""",
)
UPSERT = """INSERT INTO readings (station, time, temperature, humidity, dew_point)
    VALUES (:station, :time, :temperature, :humidity, :dew_point)
    ON CONFLICT (station, time) DO UPDATE SET
    temperature = excluded.temperature, humidity = excluded.humidity, dew_point = excluded.dew_point"""


class UnusableDatabase(ValueError):
    """The path leads outside of the root, or to something that is no database of readings."""

    category = "configuration"
    """Tells the engine that somebody has to correct something before it can work."""


def load(database: str, readings: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Stores a batch in one transaction; returns how many rows it added, changed and left `unchanged`.

    A second attempt of the same step, whose first one was cut off after the commit, finds its idempotency
    key and returns what the first one did. Raises `UnusableDatabase`.
    """
    key = os.environ["TASKMARK_IDEMPOTENCY_KEY"]
    with opened(database) as connection, connection:
        connection.execute("BEGIN IMMEDIATE")
        for statement in SCHEMA:
            connection.execute(statement)
        return _loaded(connection, key) or _store(connection, key, readings)


@contextmanager
def opened(database: str) -> Iterator[sqlite3.Connection]:
    """Opens the database under the current directory, which is the root. Raises `UnusableDatabase`."""
    root = Path.cwd().resolve()
    path = (root / database).resolve()
    if not path.is_relative_to(root):
        raise UnusableDatabase(f"{database} is outside of the root, where no task may write")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(path, PATIENCE_SECONDS, isolation_level=None)) as connection:
            yield connection
    except OSError as error:
        raise UnusableDatabase(f"{database}: {error.strerror}") from error
    except sqlite3.DatabaseError as error:
        if getattr(error, "sqlite_errorcode", None) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_FULL):
            raise
        raise UnusableDatabase(f"{database} cannot be used as a database of readings: {error}") from error


def _loaded(connection: sqlite3.Connection, key: str) -> dict[str, int] | None:
    row = connection.execute("SELECT added, changed, unchanged FROM loads WHERE key = ?", (key,)).fetchone()
    return None if row is None else dict(zip(("added", "changed", "unchanged"), row, strict=True))


def _store(connection: sqlite3.Connection, key: str, readings: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    counts = {"added": 0, "changed": 0, "unchanged": 0}
    for reading in readings:
        counts[_effect(connection, reading)] += 1
        connection.execute(UPSERT, reading)
    connection.execute(
        "INSERT INTO loads VALUES (:key, :added, :changed, :unchanged)", {"key": key, **counts}
    )
    return counts


def _effect(connection: sqlite3.Connection, reading: Mapping[str, Any]) -> str:
    before = connection.execute(
        "SELECT temperature, humidity, dew_point FROM readings WHERE station = :station AND time = :time",
        reading,
    ).fetchone()
    if before is None:
        return "added"
    return "unchanged" if before == tuple(reading[name] for name in VALUES) else "changed"
