"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

BYTEWISE = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
DOCUMENT = sa.JSON(none_as_null=True)
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Makes every table and index."""
    _definitions()
    _executions()
    _phases()
    _attempts()
    _events()
    _artifacts()


def _definitions() -> None:
    op.create_table(
        "definitions",
        sa.Column("stamps", DOCUMENT, nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("task_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("source_path", sa.Text(), nullable=False),
        sa.Column("definition", DOCUMENT, nullable=False),
        sa.PrimaryKeyConstraint("sha256", name="pk_definitions"),
    )
    op.create_index("ix_definitions_task_id", "definitions", ["task_id"])


def _executions() -> None:
    op.create_table(
        "executions",
        sa.Column("stamps", DOCUMENT, nullable=False),
        sa.Column("execution_id", BYTEWISE, nullable=False),
        sa.Column("task_id", sa.Text()),
        sa.Column("task_name", sa.Text()),
        sa.Column("definition_sha256", sa.Text()),
        sa.Column("task_version", sa.Text()),
        sa.Column("source_path", sa.Text()),
        sa.Column("project", sa.Text()),
        sa.Column("build_id", sa.Text()),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("inputs", DOCUMENT),
        sa.Column("outputs", DOCUMENT),
        sa.Column("error", DOCUMENT),
        sa.Column("started_at", MOMENT),
        sa.Column("finished_at", MOMENT),
        sa.Column("trace_id", sa.Text()),
        sa.Column("parent_id", sa.Text()),
        sa.Column("cause", sa.Text()),
        sa.Column("provenance", sa.Text(), nullable=False),
        sa.Column("as_of", MOMENT),
        sa.PrimaryKeyConstraint("execution_id", name="pk_executions"),
    )
    for column in ("task_id", "status", "trace_id", "build_id", "source_path", "project"):
        op.create_index(f"ix_executions_{column}", "executions", [column])
    op.create_index("ix_executions_started_at_execution_id", "executions", ["started_at", "execution_id"])


def _phases() -> None:
    op.create_table(
        "phases",
        sa.Column("stamps", DOCUMENT, nullable=False),
        sa.Column("execution_id", BYTEWISE, nullable=False),
        sa.Column("phase", BYTEWISE, nullable=False),
        sa.Column("name", sa.Text()),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("outputs", DOCUMENT),
        sa.Column("error", DOCUMENT),
        sa.Column("started_at", MOMENT),
        sa.Column("finished_at", MOMENT),
        sa.Column("provenance", sa.Text(), nullable=False),
        sa.Column("as_of", MOMENT),
        sa.PrimaryKeyConstraint("execution_id", "phase", name="pk_phases"),
    )


def _attempts() -> None:
    op.create_table(
        "attempts",
        sa.Column("stamps", DOCUMENT, nullable=False),
        sa.Column("execution_id", BYTEWISE, nullable=False),
        sa.Column("phase", BYTEWISE, nullable=False),
        sa.Column("step", BYTEWISE, nullable=False),
        sa.Column("item", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.Text()),
        sa.Column("name", sa.Text()),
        sa.Column("agent", sa.Text()),
        sa.Column("description", sa.Text()),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("input", DOCUMENT),
        sa.Column("output", DOCUMENT),
        sa.Column("error", DOCUMENT),
        sa.Column("started_at", MOMENT),
        sa.Column("finished_at", MOMENT),
        sa.Column("idempotency_key", sa.Text()),
        sa.Column("trace_id", sa.Text()),
        sa.Column("worker", sa.Text()),
        sa.Column("tokens", sa.BigInteger()),
        sa.Column("cost", sa.Double()),
        sa.Column("files", DOCUMENT),
        sa.Column("provenance", sa.Text(), nullable=False),
        sa.Column("as_of", MOMENT),
        sa.PrimaryKeyConstraint("execution_id", "phase", "step", "item", "attempt", name="pk_attempts"),
    )
    op.create_index("ix_attempts_agent", "attempts", ["agent"])
    op.create_index("ix_attempts_trace_id", "attempts", ["trace_id"])


def _events() -> None:
    key = ("execution_id", "kind", "phase", "step", "item", "attempt", "occurrence")
    op.create_table(
        "events",
        sa.Column("execution_id", BYTEWISE, nullable=False),
        sa.Column("seq", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("phase", BYTEWISE, nullable=False),
        sa.Column("step", BYTEWISE, nullable=False),
        sa.Column("item", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("occurrence", sa.Integer(), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("payload", DOCUMENT, nullable=False),
        sa.PrimaryKeyConstraint("execution_id", "seq", name="pk_events"),
        sa.UniqueConstraint(*key, name="uq_events_key"),
    )


def _artifacts() -> None:
    op.create_table(
        "artifacts",
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("sha256", name="pk_artifacts"),
    )


def downgrade() -> None:
    """Drops every table."""
    for table in ("artifacts", "events", "attempts", "phases", "executions", "definitions"):
        op.drop_table(table)
