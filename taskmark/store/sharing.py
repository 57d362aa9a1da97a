"""Values that all workers share, in the store (`taskmark.shared.Shared`)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, and_, select

from taskmark.shared import Change
from taskmark.store.engine import reading, writing
from taskmark.store.inserting import inserting
from taskmark.store.tables import SharedValues, table
from taskmark.store.texts import without_nul
from taskmark.store.writing import exclude_writers_of
from taskmark.task.model import Json

_LOCK_CLASS = 0x736861
"""Of its own: who changes a value here holds up nobody who writes history."""


class StoredShared:
    """Every method is as in `taskmark.shared.Shared`. The store is opened by the first of them."""

    def __init__(self, store: Callable[[], Engine]) -> None:
        self._store = store

    def get(self, kind: str, key: str) -> Json | None:
        """Asks only for what is still valid."""
        with reading(self._store()) as connection:
            return _present(connection, kind, without_nul(key))

    def put(self, kind: str, key: str, value: Json, ttl: float) -> None:
        """Needs no look at what was there."""
        with writing(self._store()) as connection:
            _keep(connection, kind, without_nul(key), value, ttl)

    def add(self, kind: str, key: str, value: Json, ttl: float) -> bool:
        """Who comes later finds it there."""
        added = False

        def unless_there(found: Json | None) -> Json:
            nonlocal added
            added = found is None
            return value if found is None else found

        self._replace(kind, without_nul(key), unless_there, lambda: added, ttl)
        return added

    def change(self, kind: str, key: str, change: Change, ttl: float) -> Json | None:
        """Locks the one key until it is written."""
        return self._replace(kind, without_nul(key), change, lambda: True, ttl)

    def _replace(
        self, kind: str, key: str, change: Change, is_wanted: Callable[[], bool], ttl: float
    ) -> Json | None:
        with writing(self._store()) as connection:
            exclude_writers_of(connection, [f"{kind}/{key}"], lock_class=_LOCK_CLASS)
            value = change(_present(connection, kind, key))
            if value is None:
                connection.execute(_values().delete().where(_is(kind, key)))
            elif is_wanted():
                _keep(connection, kind, key, value, ttl)
            return value


def forget_old(connection: Connection) -> None:
    """Deletes what nobody gets any more."""
    connection.execute(_values().delete().where(_values().c.expires_at < datetime.now(UTC)))


def _values() -> Any:
    return table(SharedValues)


def _is(kind: str, key: str) -> ColumnElement[bool]:
    return and_(_values().c.kind == kind, _values().c.key == key)


def _present(connection: Connection, kind: str, key: str) -> Json | None:
    valid = _values().c.expires_at > datetime.now(UTC)
    return connection.execute(select(_values().c.value).where(_is(kind, key), valid)).scalar()


def _keep(connection: Connection, kind: str, key: str, value: Json, ttl: float) -> None:
    fresh = {"value": value, "expires_at": datetime.now(UTC) + timedelta(seconds=ttl)}
    insertion = inserting(connection.dialect.name, _values()).values(kind=kind, key=key, **fresh)
    connection.execute(insertion.on_conflict_do_update(index_elements=["kind", "key"], set_=fresh))
