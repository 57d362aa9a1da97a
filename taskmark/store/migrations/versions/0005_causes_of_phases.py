"""Phases say what they read and what started them, as attempts do. Executions can be searched for, which
`taskmark.store.refilling` sees to.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

COLUMNS = ("parents", "cause", "causes")


def upgrade() -> None:
    """Adds the columns."""
    for name in COLUMNS:
        kind = sa.Text() if name == "cause" else sa.JSON(none_as_null=True)
        op.add_column("phases", sa.Column(name, kind))


def downgrade() -> None:
    """Drops the columns, and what can be searched for of executions."""
    op.execute("DELETE FROM texts WHERE span_id LIKE 'execution:%'")
    for name in COLUMNS:
        op.drop_column("phases", name)
