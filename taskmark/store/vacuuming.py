"""Gives back room that deleted rows took, and tells the database what it holds."""

from __future__ import annotations

from sqlalchemy import Engine, text

from taskmark.store.engine import reaching, reading
from taskmark.store.sqlite_file import opened, path_of
from taskmark.store.tables import Stored


def vacuum(engine: Engine) -> None:
    """Tidies up the store, and waits for its turn among writers; who writes waits in turn on SQLite only.

    Raises `Unreachable`, also if writers gave it no turn.
    """
    if engine.dialect.name == "sqlite":
        _vacuum_file(engine)
    else:
        _vacuum_tables(engine)


def _vacuum_file(engine: Engine) -> None:
    with opened(path_of(engine.url)) as connection:
        connection.execute("INSERT INTO texts_index(texts_index) VALUES ('optimize')")
        connection.execute("VACUUM")
        connection.execute("ANALYZE")
        # what VACUUM wrote is in the log beside the file until then
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _vacuum_tables(engine: Engine) -> None:
    with reaching(engine), engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        for name in Stored.metadata.tables:
            connection.execute(text(f"VACUUM (ANALYZE) {name}"))


def size(engine: Engine) -> int:
    """Returns how many bytes the store takes. Raises `Unreachable`."""
    if engine.dialect.name == "sqlite":
        path = path_of(engine.url)
        parts = (path, path.with_name(f"{path.name}-wal"))
        return sum(part.stat().st_size for part in parts if part.exists())
    sizes = " + ".join(f"pg_total_relation_size('{name}')" for name in Stored.metadata.tables)
    with reading(engine) as connection:
        return int(connection.execute(text(f"SELECT {sizes}")).scalar_one())
