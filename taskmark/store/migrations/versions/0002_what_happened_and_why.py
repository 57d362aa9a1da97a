"""What happened and why: spans, causes, errors, durations in columns of their own; sums; words to search for.

Columns get the names by which people ask for them. What follows from older rows is filled in afterwards, by
`taskmark.store.refilling`.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

BYTEWISE = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
DOCUMENT = sa.JSON(none_as_null=True)
NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

RENAMED = {
    "definitions": {"source_path": "task_list_path"},
    "executions": {"source_path": "task_list_path", "finished_at": "completed_at", "outputs": "output"},
    "phases": {"finished_at": "completed_at", "outputs": "output"},
    "attempts": {"finished_at": "completed_at", "tokens": "tokens_used", "files": "files_written"},
}
OLD_INDEXES = {
    "executions": ("task_id", "status", "trace_id", "build_id", "source_path", "project"),
    "attempts": ("agent", "trace_id"),
}
LISTED_BY = ("status", "task_id", "build_id", "project", "task_list_path", "assigned_agent", "trace_id")


def upgrade() -> None:
    """Renames and adds columns, and makes the tables of sums and words."""
    for table, columns in OLD_INDEXES.items():
        for column in columns:
            op.drop_index(f"ix_{table}_{column}", table)
    for table, names in RENAMED.items():
        for old, new in names.items():
            op.execute(f"ALTER TABLE {table} RENAME COLUMN {old} TO {new}")
    _executions()
    _phases()
    _attempts()
    _metrics()
    _texts()


def _add(table: str, **columns: sa.types.TypeEngine[Any]) -> None:
    for name, kind in columns.items():
        op.add_column(table, sa.Column(name, kind))


def _errors() -> dict[str, sa.types.TypeEngine[Any]]:
    names = ("error_category", "error_type", "error_message", "stack", "stack_hash")
    return {name: sa.Text() for name in names}


def _executions() -> None:
    _add("executions", assigned_agent=sa.Text(), retry_of=sa.Text())
    op.add_column("executions", sa.Column("attempts", sa.Integer(), nullable=False, server_default="1"))
    _add("executions", task_slug=sa.Text(), duration_ms=sa.BigInteger(), tokens_used=sa.BigInteger())
    _add("executions", cost=sa.Double(), questions_asked=sa.Integer(), files_modified=DOCUMENT)
    for column in LISTED_BY:
        name = f"ix_executions_{column}_started_at_execution_id"
        op.create_index(name, "executions", [column, "started_at", "execution_id"])
    for column in ("parent_id", "retry_of"):
        op.create_index(f"ix_executions_{column}", "executions", [column])


def _phases() -> None:
    _add("phases", trace_id=sa.Text(), span_id=sa.Text(), retry_of=sa.Text(), duration_ms=sa.BigInteger())
    _add("phases", **_errors())
    op.create_index("ix_phases_trace_id", "phases", ["trace_id"])


def _attempts() -> None:
    _add("attempts", questions_asked=sa.Integer(), resources=DOCUMENT, parents=DOCUMENT, cause=sa.Text())
    _add("attempts", span_id=sa.Text(), retry_of=sa.Text(), causes=DOCUMENT, tool=sa.Text())
    _add("attempts", duration_ms=sa.BigInteger(), retrieval=DOCUMENT, **_errors())
    op.create_index("ix_attempts_span_id", "attempts", ["span_id"])
    op.create_index("ix_attempts_started_at", "attempts", ["started_at"])
    for column in ("trace_id", "tool"):
        op.create_index(f"ix_attempts_{column}_started_at", "attempts", [column, "started_at"])
    for column in ("agent", "stack_hash"):
        known = sa.text(f"{column} IS NOT NULL")
        op.create_index(
            f"ix_attempts_{column}_started_at",
            "attempts",
            [column, "started_at"],
            sqlite_where=known,
            postgresql_where=known,
        )


def _metrics() -> None:
    key = ("dimension", "name", "day", "status", "bucket")
    sums = ("count", "retries", "duration_ms", "tokens_used", "cost_billionths", "questions_asked")
    op.create_table(
        "metrics",
        *(sa.Column(name, BYTEWISE, nullable=False) for name in key[:4]),
        sa.Column("bucket", sa.Integer(), autoincrement=False, nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in sums),
        sa.PrimaryKeyConstraint(*key, name="pk_metrics"),
        sqlite_with_rowid=False,
    )


def _texts() -> None:
    op.create_table(
        "texts",
        sa.Column("id", NUMBER, nullable=False),
        sa.Column("span_id", sa.Text(), nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_texts"),
        sa.UniqueConstraint("span_id", name="uq_texts_span_id"),
    )
    if op.get_bind().dialect.name == "postgresql":
        op.execute("CREATE INDEX ix_texts_words ON texts USING gin (to_tsvector('simple', words))")
        return
    op.execute("CREATE VIRTUAL TABLE texts_index USING fts5(words, content='texts', content_rowid='id')")
    added = "INSERT INTO texts_index(rowid, words) VALUES (new.id, new.words);"
    removed = "INSERT INTO texts_index(texts_index, rowid, words) VALUES ('delete', old.id, old.words);"
    for name, event, action in (
        ("added", "INSERT", added),
        ("removed", "DELETE", removed),
        ("changed", "UPDATE", f"{removed} {added}"),
    ):
        op.execute(f"CREATE TRIGGER texts_{name} AFTER {event} ON texts BEGIN {action} END")


def downgrade() -> None:
    """Drops what was added, and gives columns their older names."""
    op.drop_table("texts")
    if op.get_bind().dialect.name == "sqlite":
        op.execute("DROP TABLE texts_index")
    op.drop_table("metrics")
    for table, first in (
        ("executions", "assigned_agent"),
        ("phases", "trace_id"),
        ("attempts", "questions_asked"),
    ):
        _remove_added(table, first)
    for table, names in RENAMED.items():
        for old, new in names.items():
            op.execute(f"ALTER TABLE {table} RENAME COLUMN {new} TO {old}")
    for table, columns in OLD_INDEXES.items():
        for column in columns:
            op.create_index(f"ix_{table}_{column}", table, [column])


KEPT_INDEXES = ("ix_executions_started_at_execution_id",)


def _remove_added(table: str, first: str) -> None:
    found = sa.inspect(op.get_bind())
    for index in found.get_indexes(table):
        if index["name"] not in KEPT_INDEXES:
            op.drop_index(str(index["name"]), table)
    names = [column["name"] for column in found.get_columns(table)]
    for name in names[names.index(first) :]:
        op.execute(f"ALTER TABLE {table} DROP COLUMN {name}")
