"""Where a page of executions ended: a place in their order, not a number, so new ones move nothing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from taskmark.errors import InvalidQuery
from taskmark.store.moments import utc


@dataclass(frozen=True)
class Cursor:
    """A place in the order from the latest start on, in which those without a start come first."""

    started_at: datetime | None
    execution_id: str

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """Reads what `str` gave. Raises `InvalidQuery`."""
        moment, comma, execution = text.partition(",")
        try:
            started = utc(datetime.fromisoformat(moment)) if moment else None
        except (ValueError, OverflowError):
            comma = ""
        if not (comma and execution):
            hint = "Give what the page before ended with, such as 2026-01-31T12:00:00+00:00,exec-1-demo"
            raise InvalidQuery(f"{text!r} is no cursor", hint=hint)
        return cls(started, execution)

    def __str__(self) -> str:
        started = utc(self.started_at).isoformat() if self.started_at else ""
        return f"{started},{self.execution_id}"
