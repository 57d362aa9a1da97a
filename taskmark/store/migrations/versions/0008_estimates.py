"""What was expected to remain of executions is kept, so that it can be compared with how they went."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from taskmark.store.tables import BYTEWISE, UtcDateTime

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Adds the table. Nobody wrote down what was expected of executions from before."""
    op.create_table(
        "estimates",
        sa.Column("stamps", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("execution_id", BYTEWISE, nullable=False),
        sa.Column("percent", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        *(sa.Column(name, sa.Double(), nullable=False) for name in ("worked", "remaining", "low", "high")),
        sa.Column("confidence", sa.Double()),
        sa.Column("basis", sa.Text(), nullable=False),
        sa.Column("samples", sa.Integer(), nullable=False),
        sa.Column("stretch", sa.Double(), nullable=False, server_default="1"),
        sa.PrimaryKeyConstraint("execution_id", "percent", name="pk_estimates"),
    )


def downgrade() -> None:
    """Drops it."""
    op.drop_table("estimates")
