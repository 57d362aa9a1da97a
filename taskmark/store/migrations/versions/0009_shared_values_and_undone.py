"""What workers share beyond one call, such as circuit breakers; and phases whose changes were undone."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from taskmark.store.tables import BYTEWISE, UtcDateTime

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Adds the table, which is empty until a worker has something to share. Nothing was undone before."""
    op.add_column("checkpoints", sa.Column("undone", sa.Boolean()))
    op.create_table(
        "shared_values",
        sa.Column("kind", BYTEWISE, nullable=False),
        sa.Column("key", BYTEWISE, nullable=False),
        sa.Column("value", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "key", name="pk_shared_values"),
    )
    op.create_index("ix_shared_values_expires_at", "shared_values", ["expires_at"])


def downgrade() -> None:
    """Drops both."""
    op.drop_column("checkpoints", "undone")
    op.drop_table("shared_values")
