"""What a look at one area of a repository gives: a score, a sentence, a table, and what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

MOST_ROWS: Final = 30
"""In a table; what is left out is counted."""


@dataclass(frozen=True)
class Area:
    """One area of the report."""

    name: str
    score: int | None
    """0 (bad) to 100 (good); absent if there is nothing to judge."""
    summary: str
    advice: Sequence[str] = ()
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    left_out: int = 0
    """Rows that the table would have beyond those."""
    cut: bool = False
    """Whether time ran out before everything was seen."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """For programs, and for the task's conditions."""


def table(rows: Sequence[Sequence[str]]) -> dict[str, Any]:
    """Returns the first rows, and how many are left out, as `Area` takes them."""
    return {"rows": rows[:MOST_ROWS], "left_out": max(len(rows) - MOST_ROWS, 0)}


def points(value: float, *, none_at: float, all_at: float, most: int = 100) -> int:
    """Returns points for a value between the one that earns none and the one that earns all of them."""
    share = (value - none_at) / (all_at - none_at)
    return round(most * min(max(share, 0.0), 1.0))


def counted(number: int, one: str, many: str = "") -> str:
    """Returns `1 file`, `2 files`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
