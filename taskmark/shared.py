"""What workers share beyond one call: who may send, what was sent, what a call answered last time.

Values are JSON documents under a kind and a key, and each has a time to live. They are memory, not history:
losing one costs a call that could have been spared.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol, TypeAlias

from taskmark.task.model import Json

Change: TypeAlias = Callable[[Json | None], Json | None]
"""Makes the next value of the present one; None is no value, before and after. May be called again."""


class Shared(Protocol):
    """Where shared values are. Called in threads; safe to call at once from many, and from many workers.

    Every method raises `Unreachable` if the store does not answer.
    """

    def get(self, kind: str, key: str) -> Json | None:
        """Returns a value, or None if there is none or its time is over."""
        ...

    def put(self, kind: str, key: str, value: Json, ttl: float) -> None:
        """Keeps a value for so many seconds, in place of the one before."""
        ...

    def add(self, kind: str, key: str, value: Json, ttl: float) -> bool:
        """Keeps a value if there is none; returns whether it did. Of many callers one is told True."""
        ...

    def change(self, kind: str, key: str, change: Change, ttl: float) -> Json | None:
        """Replaces a value by what is made of it, and returns that. Nobody else changes it meanwhile. Its
        time begins anew, also if it stays as it is."""
        ...


class MemoryShared:
    """A `Shared` of one process, for tests and for where there is no store."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._values: dict[tuple[str, str], tuple[Json, float]] = {}

    def get(self, kind: str, key: str) -> Json | None:
        """As `Shared.get`."""
        with self._lock:
            return self._present(kind, key)

    def put(self, kind: str, key: str, value: Json, ttl: float) -> None:
        """As `Shared.put`."""
        self.change(kind, key, lambda _: value, ttl)

    def add(self, kind: str, key: str, value: Json, ttl: float) -> bool:
        """As `Shared.add`."""
        with self._lock:
            if self._present(kind, key) is not None:
                return False
            self._values[kind, key] = (value, self._clock() + ttl)
            return True

    def change(self, kind: str, key: str, change: Change, ttl: float) -> Json | None:
        """As `Shared.change`."""
        with self._lock:
            value = change(self._present(kind, key))
            if value is None:
                self._values.pop((kind, key), None)
            else:
                self._values[kind, key] = (value, self._clock() + ttl)
            return value

    def _present(self, kind: str, key: str) -> Json | None:
        value, until = self._values.get((kind, key), (None, 0.0))
        return value if self._clock() < until else None
