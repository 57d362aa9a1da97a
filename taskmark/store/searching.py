"""What can be searched for: words of inputs, outputs and errors, indexed by the database itself.

An attempt is taken up once, when it has ended, with its first few thousand characters: so it costs a step
little, and what is looked for is mostly at the beginning. SQLite indexes with FTS5, PostgreSQL with a GIN
index over `to_tsvector('simple', words)`; both know words, in upper and lower case alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, text

from taskmark.contracts import StepStatus
from taskmark.records import beginning
from taskmark.store.engine import inserting
from taskmark.store.summing import Change
from taskmark.store.tables import Texts, table

CHARACTERS = 2_000
"""Of each input, output and error so many are indexed."""

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


def add(connection: Connection, attempts: Iterable[Change]) -> None:
    """Indexes attempts that have ended, and again if what is known of them changes."""
    rows = []
    for change in attempts:
        words = _words(change.after)
        if words and (change.before is None or words != _words(change.before)):
            rows.append({"span_id": change.after["span_id"], "words": words})
    if rows:
        insert = inserting(connection.dialect.name, table(Texts))
        again = {"words": insert.excluded["words"]}
        connection.execute(insert.on_conflict_do_update(index_elements=["span_id"], set_=again), rows)


def _words(row: Mapping[str, Any]) -> str:
    """Returns the text of an attempt; empty if it has not ended, or has none."""
    if not StepStatus(row["status"]).is_final:
        return ""
    error = row.get("error") or {}
    parts = (row.get("input"), row.get("output"), error.get("message"))
    return "\n".join(beginning(part, CHARACTERS).replace("\x00", " ") for part in parts if part)
