"""What workers share, without secrets: answers of services, and what was confirmed, may repeat them."""

from __future__ import annotations

from taskmark.secrets.masks import Masks
from taskmark.shared import Change, Shared
from taskmark.task.model import Json


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
        self._shared.put(kind, key, self._masks.value(value), ttl)

    def add(self, kind: str, key: str, value: Json, ttl: float) -> bool:
        """As `Shared.add`."""
        return self._shared.add(kind, key, self._masks.value(value), ttl)

    def change(self, kind: str, key: str, change: Change, ttl: float) -> Json | None:
        """As `Shared.change`."""
        return self._shared.change(kind, key, lambda present: self._masks.value(change(present)), ttl)
