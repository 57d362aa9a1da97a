"""What can be searched for: words of inputs, outputs and errors, indexed by the database itself.

An attempt or execution is taken up once, when it has ended, with its first few thousand characters: so it
costs little, and what is looked for is mostly at the beginning. SQLite indexes with FTS5, PostgreSQL with a
GIN index over `to_tsvector('simple', words)`; both know words, in upper and lower case alike. They are given
nothing but words, here and in questions, for each has ideas of its own about what stands between them, and a
syntax in which to ask for it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar
from unicodedata import combining, normalize

from sqlalchemy import (
    ColumnElement,
    Connection,
    Integer,
    Select,
    column,
    func,
    literal_column,
    or_,
    select,
    text,
    union,
)
from sqlalchemy import table as plain_table

from taskmark.contracts import ExecutionStatus, StepStatus
from taskmark.errors import InvalidQuery
from taskmark.records import beginning
from taskmark.store.inserting import insert_all
from taskmark.store.summing import Change
from taskmark.store.tables import Attempts, Executions, Texts, table

CHARACTERS = 2_000
"""Of each input, output and error so many are indexed."""
RARE = 5_000
"""What at most so many attempts hold is looked up; what more of them hold is met on the way."""

_FINAL = frozenset(status.value for status in StepStatus if status.is_final)
_FINAL_OF_EXECUTIONS = frozenset(status.value for status in ExecutionStatus if status.is_final)
_EXECUTION = "execution:"
Name = TypeVar("Name", str, ColumnElement[str])
_BETWEEN = re.compile(r"[\W_]+")
_BETWEEN_IN_JSON = re.compile(r"(?:\\u[0-9a-f]{4}|\\.|[\W_])+")
"""Between words of JSON there are also escapes: after a new line there is no `n`."""
_WORD_ALONE = re.compile("[\u2e80-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
"""Signs of Chinese and Japanese."""

SQLITE = (
    "CREATE VIRTUAL TABLE texts_index USING fts5(words, content='texts', content_rowid='id')",
    """CREATE TRIGGER texts_added AFTER INSERT ON texts BEGIN
        INSERT INTO texts_index(rowid, words) VALUES (new.id, new.words);
    END""",
    """CREATE TRIGGER texts_removed AFTER DELETE ON texts BEGIN
        INSERT INTO texts_index(texts_index, rowid, words) VALUES ('delete', old.id, old.words);
    END""",
    """CREATE TRIGGER texts_changed AFTER UPDATE ON texts BEGIN
        INSERT INTO texts_index(texts_index, rowid, words) VALUES ('delete', old.id, old.words);
        INSERT INTO texts_index(rowid, words) VALUES (new.id, new.words);
    END""",
)
"""What makes the index on SQLite, as the newest migration leaves it."""


def make_index(connection: Connection) -> None:
    """Makes the index of a new SQLite file."""
    for statement in SQLITE:
        connection.execute(text(statement))


def add(connection: Connection, executions: Iterable[Change], attempts: Iterable[Change]) -> None:
    """Indexes what has ended, and again if what is known of it changes. What is tried again has not ended."""
    told = {one.after["span_id"]: _change(one, words) for one in attempts}
    told |= {
        key_of_execution(one.after["execution_id"]): _change(one, words_of_execution) for one in executions
    }
    changed = {key: now for key, (before, now) in told.items() if before != now}
    rows = [{"span_id": key, "words": now} for key, now in changed.items() if now]
    insert_all(connection, table(Texts), rows, _replacing)
    if gone := [key for key, now in changed.items() if not now]:
        texts = table(Texts)
        connection.execute(texts.delete().where(texts.c.span_id.in_(gone)))


def _change(change: Change, words_of: Callable[[Mapping[str, Any]], str]) -> tuple[str, str]:
    """Returns the words before and after."""
    return words_of(change.before) if change.before is not None else "", words_of(change.after)


def _replacing(insertion: Any) -> Any:
    again = {"words": insertion.excluded["words"]}
    return insertion.on_conflict_do_update(index_elements=["span_id"], set_=again)


def rebuild(connection: Connection) -> None:
    """Makes SQLite's index anew from the texts."""
    connection.execute(text("INSERT INTO texts_index(texts_index) VALUES ('rebuild')"))


def verify(connection: Connection) -> None:
    """Compares SQLite's index with the texts. Raises `DatabaseError` if they differ."""
    connection.execute(text("INSERT INTO texts_index(texts_index, rank) VALUES ('integrity-check', 1)"))


def key_of_execution(name: Name) -> Name:
    """Returns what an execution's words stand under, where attempts have their span: no span looks so. The
    id may be a column."""
    return _EXECUTION + name


def words(row: Mapping[str, Any]) -> str:
    """Returns the words of an attempt; empty if it has not ended, or has none."""
    return _of_parts(row, "input", "output") if row["status"] in _FINAL else ""


def words_of_execution(row: Mapping[str, Any]) -> str:
    """Returns the words of an execution; empty if it has not ended, or has none."""
    return _of_parts(row, "inputs", "outputs") if row["status"] in _FINAL_OF_EXECUTIONS else ""


def _of_parts(row: Mapping[str, Any], given: str, came: str) -> str:
    error = row.get("error") or {}
    parts = (row.get(given), row.get(came), error.get("message"))
    return "\n".join(found for part in parts if part and (found := _words_of(part)))


def _words_of(value: Any) -> str:
    between = _BETWEEN if isinstance(value, str) else _BETWEEN_IN_JSON
    return between.sub(" ", folded(beginning(value, CHARACTERS))).strip()


def folded(text: str) -> str:
    """Returns letters without their accents, and signs that are words alone with blanks between them: one
    database folds accents, the other does not, and neither knows where a word of Chinese ends."""
    if text.isascii():
        return text
    plain = "".join(sign for sign in normalize("NFKD", text) if not combining(sign))
    return _WORD_ALONE.sub(r" \g<0> ", normalize("NFC", plain))


# --- questions ------------------------------------------------------------------------------------


def condition(connection: Connection, searched: str) -> ColumnElement[bool]:
    """Returns what is true of executions that have all these words, or an attempt that has.

    What stands together without a blank, such as `report.md`, must stand together there too. Raises
    `InvalidQuery` if there is no word.
    """
    phrases = [words for part in searched.split() if (words := _words_of(part))]
    if not phrases:
        raise InvalidQuery(f"There is no word in {searched!r}", hint="Search for letters or digits")
    texts, attempts, dialect = table(Texts), table(Attempts), connection.dialect.name
    few = connection.execute(_hits(dialect, phrases).limit(RARE + 1)).scalars().all()
    own = table(Executions).c.execution_id
    of_texts = select(attempts.c.execution_id).where(attempts.c.span_id == texts.c.span_id)
    if len(few) <= RARE:
        named = func.substr(texts.c.span_id, len(_EXECUTION) + 1)
        whole = select(named).where(texts.c.id.in_(few), texts.c.span_id.startswith(_EXECUTION))
        return own.in_(union(of_texts.where(texts.c.id.in_(few)), whole))
    held = _hits(dialect, phrases, texts.c.id).exists()
    in_attempts = of_texts.where(attempts.c.execution_id == own, held).correlate(table(Executions))
    in_itself = select(texts.c.id).where(texts.c.span_id == key_of_execution(own), held)
    return or_(in_itself.correlate(table(Executions)).exists(), in_attempts.exists())


def _hits(dialect: str, phrases: list[str], id: ColumnElement[int] | None = None) -> Select[Any]:
    """Returns the statement that finds texts with all phrases by the index over them, or looks into one."""
    if dialect == "postgresql":
        texts = table(Texts).alias("hits")
        simple: ColumnElement[Any] = literal_column("'simple'")
        held = func.to_tsvector(simple, texts.c.words)
        query = select(texts.c.id).where(
            *(held.op("@@")(func.phraseto_tsquery(simple, one)) for one in phrases)
        )
        return query if id is None else query.where(texts.c.id == id)
    index = plain_table("texts_index", column("rowid", Integer))
    asked = " ".join(f'"{one}"' for one in phrases)
    query = select(index.c.rowid).where(text("texts_index MATCH :asked").bindparams(asked=asked))
    return query if id is None else query.where(index.c.rowid == id)
