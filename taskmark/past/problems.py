"""What is wrong with a past result."""

from __future__ import annotations


class Misfit(Exception):
    """A document cannot be understood: at which keys, and why."""

    def __init__(self, reason: str, *place: str | int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.place = place
