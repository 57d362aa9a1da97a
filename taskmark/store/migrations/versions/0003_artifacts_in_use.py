"""When an artifact was last put where it is, so that what nobody needs can be told from what is new."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Adds the moment; what is there counts as put there now."""
    op.add_column("artifacts", sa.Column("kept_at", sa.DateTime(timezone=True)))
    op.execute("UPDATE artifacts SET kept_at = CURRENT_TIMESTAMP")
    with op.batch_alter_table("artifacts") as batch:
        batch.alter_column("kept_at", nullable=False)


def downgrade() -> None:
    """Drops the moment."""
    op.drop_column("artifacts", "kept_at")
