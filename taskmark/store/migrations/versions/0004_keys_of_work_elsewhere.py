"""Work that is done elsewhere is found by its idempotency key: an index that costs other attempts nothing."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

NAME = "ix_attempts_idempotency_key"
ELSEWHERE = sa.text("provenance = 'elsewhere'")


def upgrade() -> None:
    """Adds the index."""
    op.create_index(NAME, "attempts", ["idempotency_key"], sqlite_where=ELSEWHERE, postgresql_where=ELSEWHERE)


def downgrade() -> None:
    """Drops the index."""
    op.drop_index(NAME, "attempts")
