"""`sql` and `sql-write`: one statement on a database that the settings name.

Who writes a statement may be a model, or somebody whose words a model read. So what may be done is not up to
the statement's text: `sql` works in a transaction that the database itself keeps from writing, and neither
tool takes a second statement, ends its transaction, or opens another file.
"""

from __future__ import annotations

import asyncio
import base64
import math
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import date, timedelta
from datetime import time as clock
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic import Field

from taskmark.errors import Category, StepFailed
from taskmark.ports import Health, StepContext, Tool
from taskmark.task.model import Json
from taskmark.tools.sizes import capped
from taskmark.tools.validation import Arguments, Timeout, did_you_mean

if TYPE_CHECKING:
    import sqlite3

    from sqlalchemy import URL

READING: Final = frozenset({"select", "with", "values", "table", "explain", "show"})
WRITING: Final = READING | frozenset(
    {"insert", "update", "delete", "merge", "replace", "create", "alter", "drop", "truncate"}
)
KEY: Final = "idempotency_key"
"""A parameter that every statement has, if it uses it: the same for each attempt of a step."""
_BLANK: Final = re.compile(r"(?:\s+|--[^\n]*(?:\n|$)|/\*.*?\*/|\()*", re.DOTALL)
_WORD: Final = re.compile(r"[a-z]+", re.IGNORECASE)
_STEPS: Final = 10_000
"""Of SQLite's machine, after which it asks whether to go on."""
LAST_WORDS: Final = 1.0
"""Seconds that a database has beyond the call's own, to say that it is late or has ended something."""
_SETTING: Final = 'set TASKMARK_SQL_DATABASES, such as {"shop": "postgresql://reader@db.example.com/shop"}'
_TOO_MUCH: Final = "ask for fewer rows or columns, or add them up in the statement"


class SqlParameters(Arguments):
    """What to ask, and of which database."""

    query: str = Field(min_length=1, description="One statement; values are in `parameters`, as `:name` here")
    database: str | None = Field(
        default=None, description="A name in the setting sql_databases; not needed if there is only one"
    )
    parameters: dict[str, bool | int | float | str | None] = Field(
        default_factory=dict, description="Values by name; never put them into the statement"
    )
    max_rows: int = Field(default=1_000, ge=1, le=100_000, description="Further rows are left out")
    timeout: Timeout = Field(default=30.0, description="A duration such as 30s")


@dataclass
class _Call:
    """One statement on its way, and what ends it early."""

    statement: str
    values: dict[str, Any]
    max_rows: int
    writes: bool
    ends_at: float
    """By the monotonic clock."""
    stopped: threading.Event = field(default_factory=threading.Event)
    stop: Callable[[], object] = lambda: None
    """Tells the database to give up."""

    @property
    def is_over(self) -> bool:
        """Whether nobody waits for it any more."""
        return self.stopped.is_set() or time.monotonic() >= self.ends_at

    @property
    def seconds(self) -> float:
        """How long it may take yet."""
        return max(self.ends_at - time.monotonic(), 0.001)

    def give_up(self) -> None:
        """Ends it, in a thread of its own: to tell a database so takes as long as its network likes."""
        self.stopped.set()
        threading.Thread(target=self.stop, name="ending a statement", daemon=True).start()


class Sql(Tool[SqlParameters]):
    """Asks a database. It cannot change anything."""

    name = "sql"
    effects = False
    parameters = SqlParameters
    writes = False

    def __init__(self, databases: Mapping[str, str] | None = None) -> None:
        self._databases = dict(databases or {})

    async def execute(self, parameters: SqlParameters, context: StepContext) -> Json:
        """Returns `columns`, `rows` as objects, and whether they are `truncated`; of a statement without rows
        how many were `changed`. Raises `StepFailed`."""
        seconds = min(parameters.timeout, context.timeout)
        url = self._url(parameters.database, context.root)
        call = self._call(parameters, context, url, seconds)
        run = _on_sqlite if url.get_backend_name() == "sqlite" else _on_postgresql
        try:
            async with asyncio.timeout(seconds + LAST_WORDS):
                output = await asyncio.to_thread(run, url, call)
        except TimeoutError:
            call.give_up()
            raise _late() from None
        except asyncio.CancelledError:
            call.give_up()
            raise
        return capped(output, source="the database", advice=_TOO_MUCH)

    def _call(self, parameters: SqlParameters, context: StepContext, url: URL, seconds: float) -> _Call:
        _check_kind(parameters.query, WRITING if self.writes else READING, self.name)
        statement, values = _bound(parameters, context, url)
        return _Call(statement, values, parameters.max_rows, self.writes, time.monotonic() + seconds)

    def _url(self, name: str | None, root: Path) -> URL:
        """Returns which database is meant; this may hold a password. Raises `StepFailed` (configuration)."""
        from sqlalchemy import make_url

        url = make_url(self._databases[self._chosen(name)])
        if url.get_backend_name() == "sqlite":
            url = url.set(database=str(root / (url.database or "")))
        return url

    def _chosen(self, name: str | None) -> str:
        if not self._databases:
            raise StepFailed("no database is configured", Category.CONFIGURATION, hint=_SETTING)
        hint = f"the setting sql_databases names them: {', '.join(sorted(self._databases))}"
        if name is None and len(self._databases) == 1:
            return next(iter(self._databases))
        if name is None:
            raise StepFailed("which database is not said", Category.CONFIGURATION, hint=hint)
        if name not in self._databases:
            meant = did_you_mean(name, self._databases)
            raise StepFailed(f"there is no database {name!r}{meant}", Category.CONFIGURATION, hint=hint)
        return name

    def target(self, parameters: SqlParameters) -> str | None:
        """The database."""
        return parameters.database or (next(iter(self._databases)) if len(self._databases) == 1 else None)

    def estimate_duration(self, parameters: SqlParameters) -> float:
        """Seconds: most questions are answered at once."""
        return 0.5

    async def health_check(self) -> Health:
        """Whether any database is configured; none is asked."""
        if self._databases:
            return Health(healthy=True, message=f"knows {', '.join(sorted(self._databases))}")
        return Health(healthy=False, message="no database is configured", hint=_SETTING)


class SqlWrite(Sql):
    """Changes a database: one statement, in a transaction of its own."""

    name = "sql-write"
    effects = True
    writes = True


# --- the statement --------------------------------------------------------------------------------


def _check_kind(query: str, allowed: frozenset[str], tool: str) -> None:
    """Raises `StepFailed` (configuration) unless the statement begins with a word that the tool takes."""
    blank = _BLANK.match(query)
    word = _WORD.match(query, blank.end() if blank else 0)
    kind = word[0].lower() if word else ""
    if kind in allowed:
        return
    hint = "use `sql-write`" if kind in WRITING else f"it takes {', '.join(sorted(allowed))}"
    said = kind.upper() or "this"
    raise StepFailed(f"tool {tool} does not take {said}", Category.CONFIGURATION, hint=hint)


def _bound(parameters: SqlParameters, context: StepContext, url: URL) -> tuple[str, dict[str, Any]]:
    """Returns the statement as the driver reads it, and its values. Raises `StepFailed` (configuration)."""
    from sqlalchemy import text
    from sqlalchemy.dialects import postgresql, sqlite

    of_sqlite = url.get_backend_name() == "sqlite"
    dialect: Any = sqlite if of_sqlite else postgresql
    style = "named" if of_sqlite else "pyformat"
    compiled = text(parameters.query).compile(dialect=dialect.dialect(paramstyle=style))
    used, given = set(compiled.params), {KEY: context.idempotency_key, **parameters.parameters}
    for names, problem in (
        (used - set(given), "is not given"),
        (set(parameters.parameters) - used, "is not used"),
    ):
        if names:
            hint = "a name in the statement is written `:name`, and a colon that begins none `\\:`"
            raise StepFailed(f"parameter {min(names)} {problem}", Category.CONFIGURATION, hint=hint)
    return str(compiled), {name: given[name] for name in used}


# --- the databases --------------------------------------------------------------------------------


def _on_sqlite(url: URL, call: _Call) -> Json:
    """Raises `StepFailed`."""
    import sqlite3

    try:
        with closing(_opened(url, call)) as connection:
            cursor = connection.execute(call.statement, call.values)
            output = _output(cursor, call)
            connection.set_authorizer(None)
            connection.execute("COMMIT" if call.writes else "ROLLBACK")
            return output
    except sqlite3.Error as error:
        raise _of_sqlite(error, call) from error


def _opened(url: URL, call: _Call) -> sqlite3.Connection:
    """Returns a connection within a transaction, which takes nothing but what the call may do."""
    import sqlite3

    place = f"{Path(url.database or '').as_uri()}?mode={'rw' if call.writes else 'ro'}"
    connection = sqlite3.connect(
        place, uri=True, timeout=call.seconds, isolation_level=None, check_same_thread=False
    )
    connection.execute(f"PRAGMA query_only = {'OFF' if call.writes else 'ON'}")
    connection.execute("BEGIN IMMEDIATE" if call.writes else "BEGIN")
    connection.set_progress_handler(lambda: call.is_over, _STEPS)
    connection.set_authorizer(_authorizer(writes=call.writes))
    return connection


def _authorizer(*, writes: bool) -> Callable[..., int]:
    """Returns what SQLite asks about each thing that a statement would do, before it does anything."""
    import sqlite3

    never = {sqlite3.SQLITE_ATTACH, sqlite3.SQLITE_DETACH, sqlite3.SQLITE_PRAGMA, sqlite3.SQLITE_TRANSACTION}
    reads = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_RECURSIVE, sqlite3.SQLITE_FUNCTION}

    def authorize(action: int, _first: Any, second: Any, *_: Any) -> int:
        if action == sqlite3.SQLITE_FUNCTION and str(second).lower() in ("load_extension", "fts3_tokenizer"):
            return sqlite3.SQLITE_DENY
        allowed = action not in never if writes else action in reads
        return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY

    return authorize


def _of_sqlite(error: sqlite3.Error, call: _Call) -> StepFailed:
    name, said = getattr(error, "sqlite_errorname", "") or "", str(error)
    if name == "SQLITE_INTERRUPT" or call.is_over:
        return _late()
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_IOERR")):
        return StepFailed(f"the database: {said}")
    if name.startswith(("SQLITE_CANTOPEN", "SQLITE_NOTADB")):
        return StepFailed(
            f"the database: {said}", Category.CONFIGURATION, hint="check the setting sql_databases"
        )
    if name.startswith(("SQLITE_PERM", "SQLITE_READONLY")):
        return StepFailed(f"the database: {said}", Category.PERMISSION)
    if name == "SQLITE_FULL":
        return StepFailed(f"the database: {said}", Category.RESOURCE)
    hint = (
        "one statement that neither begins nor ends a transaction nor opens a file"
        if name == "SQLITE_AUTH"
        else None
    )
    return StepFailed(f"the database: {said}", Category.LOGIC, hint=hint)


def _on_postgresql(url: URL, call: _Call) -> Json:
    """Raises `StepFailed`."""
    try:
        import psycopg
    except ImportError as error:
        hint = "pip install 'taskmark[postgres]'"
        raise StepFailed("psycopg is not installed", Category.CONFIGURATION, hint=hint) from error
    try:
        place = url.set(drivername="postgresql").render_as_string(hide_password=False)
        wait = math.ceil(call.seconds)
        with (
            psycopg.connect(place, connect_timeout=wait, options=_options(call)) as connection,
            socket.socket(fileno=os.dup(connection.fileno())) as line,
        ):
            connection.read_only = not call.writes
            call.stop = partial(_hang_up, connection, line)
            # What a transaction may do cannot be changed any more once something was asked in it.
            connection.execute("SELECT 1")
            # Prepared, because the protocol takes several statements at once else: one could end the
            # transaction, and the next one would write.
            cursor = connection.execute(call.statement, call.values, prepare=True)
            return _output(cursor, call)
    except psycopg.Error as error:
        raise _of_postgresql(error) from error


def _hang_up(connection: Any, line: socket.socket) -> None:
    """Asks the database to end the statement, then ends the connection.

    It may be the network that is silent, and the thread that waits for an answer would wait for hours.
    """
    import psycopg

    with suppress(psycopg.Error, OSError):
        try:
            connection.cancel_safe(timeout=LAST_WORDS)
        finally:
            line.shutdown(socket.SHUT_RDWR)


def _options(call: _Call) -> str:
    only = "off" if call.writes else "on"
    return f"-c statement_timeout={math.ceil(call.seconds * 1000)} -c default_transaction_read_only={only}"


def _of_postgresql(error: Any) -> StepFailed:
    """Returns the error by its SQLSTATE: https://www.postgresql.org/docs/current/errcodes-appendix.html."""
    state = error.sqlstate or ""
    said = f"the database: {(error.diag.message_primary or str(error)).strip()}"
    if state == "57014":
        return _late()
    if state in ("28000", "28P01", "42501", "25006"):
        return StepFailed(said, Category.PERMISSION)
    if state.startswith("53"):
        return StepFailed(said, Category.RESOURCE)
    if state.startswith("3D"):
        return StepFailed(said, Category.CONFIGURATION, hint="check the setting sql_databases")
    if not state or state.startswith(("08", "40", "55", "57")):
        return StepFailed(said)
    return StepFailed(said, Category.LOGIC)


def _late() -> StepFailed:
    return StepFailed("the database did not answer in time", hint="give it more `timeout`, or ask for less")


# --- what comes back ------------------------------------------------------------------------------


def _output(cursor: Any, call: _Call) -> Json:
    """Returns the rows, or how many were changed. Raises `StepFailed`."""
    if cursor.description is None:
        return {"changed": max(cursor.rowcount, 0)}
    columns = [str(column[0]) for column in cursor.description]
    twice = next((name for name in columns if columns.count(name) > 1), None)
    if twice is not None:
        raise StepFailed(f"two columns are named {twice!r}", Category.LOGIC, hint="name them with AS")
    found = cursor.fetchmany(call.max_rows + 1)
    rows = [dict(zip(columns, map(_plain, row), strict=True)) for row in found[: call.max_rows]]
    return {"columns": columns, "rows": rows, "truncated": len(found) > call.max_rows}


def _plain(value: Any) -> Json:
    """Returns a value as JSON has it: times in ISO 8601, bytes in Base64, numbers as numbers where that is
    exact."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    read = next((read for kinds, read in _READ if isinstance(value, kinds)), str)
    return read(value)


def _number(value: Decimal) -> Json:
    if not value.is_finite():
        return None
    if value == value.to_integral_value() and value.adjusted() < 15:
        return int(value)
    return float(value) if Decimal(str(float(value))) == value else str(value)


_READ: Final[tuple[tuple[tuple[type, ...], Callable[[Any], Json]], ...]] = (
    ((Decimal,), _number),
    ((date, clock), lambda value: value.isoformat()),
    ((timedelta,), timedelta.total_seconds),
    ((bytes, bytearray, memoryview), lambda value: base64.b64encode(bytes(value)).decode()),
)
