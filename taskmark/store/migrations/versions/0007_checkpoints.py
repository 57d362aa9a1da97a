"""What later executions may reuse is kept, and attempts say from which execution their output comes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from taskmark.store.tables import BYTEWISE, UtcDateTime

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Adds the table and the column. Executions from before have no rows there; Temporal's history has it."""
    document = sa.JSON(none_as_null=True)
    op.create_table(
        "checkpoints",
        sa.Column("stamps", document, nullable=False),
        sa.Column("execution_id", BYTEWISE, nullable=False),
        sa.Column("phase", BYTEWISE, nullable=False),
        sa.Column("part", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("label", sa.Text()),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("inputs", document),
        sa.Column("trace_id", sa.Text()),
        sa.Column("output", document),
        sa.Column("definition", sa.Text()),
        sa.Column("withheld", sa.Integer(), nullable=False),
        sa.Column("steps", document, nullable=False),
        sa.PrimaryKeyConstraint("execution_id", "phase", "part", name="pk_checkpoints"),
    )
    op.add_column("attempts", sa.Column("reused_from", sa.Text()))


def downgrade() -> None:
    """Drops them."""
    op.drop_column("attempts", "reused_from")
    op.drop_table("checkpoints")
