"""What workers share, without secrets: answers of services, and what was confirmed, may repeat them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from taskmark.secrets.masks import Masks
from taskmark.shared import Change, Shared
from taskmark.task.model import Json

COUNTED: Final[Mapping[str, frozenset[str]]] = {
    "circuit": frozenset({"failures", "opened_at", "seconds", "probe_until"}),
    "pace": frozenset({"due", "held", "at"}),
    "cli-session": frozenset({"total", "used", "unpriced"}),
    "cli-answer": frozenset({"usage"}),
    "conversation": frozenset({"turns", "calls", "corrections", "used"}),
    "web-search": frozenset({"at"}),
}
"""By kind, the fields whose numbers our own code counts. One that is replaced by a text, because a secret has
the same digits by chance, would be read as none: a circuit would close, a rate be forgotten."""


class MaskedShared:
    """A `taskmark.shared.Shared` that keeps no known secret."""

    def __init__(self, shared: Shared, masks: Masks) -> None:
        self._shared = shared
        self._masks = masks

    def get(self, kind: str, key: str) -> Json | None:
        """As `Shared.get`."""
        return self._shared.get(kind, key)

    def put(self, kind: str, key: str, value: Json, ttl: float) -> None:
        """As `Shared.put`."""
        self._shared.put(kind, key, self._masked(kind, value), ttl)

    def add(self, kind: str, key: str, value: Json, ttl: float) -> bool:
        """As `Shared.add`."""
        return self._shared.add(kind, key, self._masked(kind, value), ttl)

    def change(self, kind: str, key: str, change: Change, ttl: float) -> Json | None:
        """As `Shared.change`."""
        return self._shared.change(kind, key, lambda present: self._masked(kind, change(present)), ttl)

    def _masked(self, kind: str, value: Json) -> Any:
        """Returns a value without secrets; its numbers stay where we have counted them."""
        ours = COUNTED.get(kind)
        if not ours or not isinstance(value, Mapping):
            return self._masks.value(value)
        others = {name: inner for name, inner in value.items() if name not in ours}
        counted = {name: self._masks.value(value[name], numbers=False) for name in ours & value.keys()}
        return self._masks.value(others) | counted
