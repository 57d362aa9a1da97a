"""Durations are counted apart from the other sums, by day, month and year: a long time is read in few rows.

Both tables begin empty; `taskmark.store.refilling` fills them from the rows.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from taskmark.store.tables import BYTEWISE

revision = "0006"
down_revision = "0005"

OLD = ("count", "retries", "duration_ms", "tokens_used", "cost_billionths", "questions_asked")
NEW = ("count", "ended", *OLD[1:])


def upgrade() -> None:
    """Makes the tables."""
    op.drop_table("metrics")
    _make("metrics", ("dimension", "name", "day", "status"), NEW)
    _make("durations", ("dimension", "period", "name", "bucket"), ("count",))


def downgrade() -> None:
    """Goes back to one table, without what was in it."""
    op.drop_table("durations")
    op.drop_table("metrics")
    _make("metrics", ("dimension", "name", "day", "status", "bucket"), OLD)


def _make(name: str, key: tuple[str, ...], sums: tuple[str, ...]) -> None:
    kinds = {"bucket": sa.Integer()}
    op.create_table(
        name,
        *(sa.Column(one, kinds.get(one, BYTEWISE), autoincrement=False, nullable=False) for one in key),
        *(sa.Column(one, sa.BigInteger(), nullable=False) for one in sums),
        sa.PrimaryKeyConstraint(*key, name=f"pk_{name}"),
        sqlite_with_rowid=False,
    )
