"""A SQLite store as a file: opened past SQLAlchemy, for what concerns the file and not its rows."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sqlalchemy import URL, make_url

from taskmark.errors import Conflict, Unreachable

PATIENT_SECONDS = 60.0
"""How long what needs the whole file waits for its turn among writers."""


def path_of(url: str | URL) -> Path:
    """Returns the file of a SQLite store."""
    return Path(str(make_url(url).database))


@contextmanager
def opened(path: Path, wait: float = PATIENT_SECONDS) -> Iterator[sqlite3.Connection]:
    """Opens the file, making it if it is not there. Raises `Unreachable` for whatever SQLite refuses."""
    try:
        with closing(sqlite3.connect(path, timeout=wait, isolation_level=None)) as connection:
            yield connection
    except sqlite3.Error as error:
        raise Unreachable(f"The store {path} does not answer: {error}") from error


@contextmanager
def alone(path: Path) -> Iterator[sqlite3.Connection]:
    """Opens the file for this process only; who comes meanwhile waits. Raises `Conflict` if others use it.

    SQLite itself knows: a file is in write-ahead mode as long as anybody else has it open.
    """
    with opened(path, wait=1.0) as connection:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        try:
            connection.execute("PRAGMA journal_mode = DELETE")
            connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error):
                raise
            hint = "End what uses it (a worker, `taskmark dev`, a program that reads it), and try again"
            raise Conflict(f"The store {path} is in use", hint=hint) from error
        connection.execute("COMMIT")
        yield connection


def damage(path: Path) -> tuple[str, ...]:
    """Returns what SQLite finds damaged in the file. Raises `Unreachable`."""
    with opened(path) as connection:
        try:
            told = [str(row[0]) for row in connection.execute("PRAGMA integrity_check")]
        except sqlite3.OperationalError:
            raise  # locked, not damaged
        except sqlite3.DatabaseError as error:
            return (str(error),)
    return tuple(line for line in told if line != "ok")
