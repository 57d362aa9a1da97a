"""Runs migrations on the connection that `taskmark.store.schema` hands over, in its transaction."""

from __future__ import annotations

from alembic import context

from taskmark.store.tables import Stored

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Stored.metadata,
    # SQLite can't alter a column: a batch builds the table anew.
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
