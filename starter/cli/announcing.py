"""Says when the end moves out of the interval that was told before, and at the end how the estimate did."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from starter.cli.outlook import Worth, remaining
from starter.cli.printable import duration, interval, rough

if TYPE_CHECKING:
    from taskmark.contracts import Eta, Progress

LEAST_SECONDS, LEAST_SHARE = 5.0, 0.1
"""How far beyond the interval the end must have moved: so much, and so much of all the time expected."""
BETWEEN_SECONDS = 15.0
"""Work between two announcements, however often the estimate changes its mind."""
_WORKING = ("running", "pausing")


@dataclass(frozen=True)
class Expectation:
    """An estimate of all the work, in seconds since it began, as it was when `at` of them had passed."""

    at: float
    low: float
    expected: float
    high: float

    @classmethod
    def of(cls, eta: Eta, worked: float) -> Expectation:
        """Returns what an estimate of the rest means for the whole."""
        return cls(worked, worked + eta.low, worked + eta.remaining_seconds, worked + eta.high)

    def __str__(self) -> str:
        between = interval(self.low, self.high)
        return f"about {rough(self.expected)}" + (f" ({between})" if between else "")


class Announcer:
    """Hears the progress of one execution and says what is worth an announcement.

    It counts work alone: a pause, or waiting for people, moves the end and is no slip. What is declared
    claims nothing, so nothing is measured by it.
    """

    def __init__(self) -> None:
        self._first: Expectation | None = None
        self._told: Expectation | None = None
        """What the next estimates are compared with."""
        self._worked = self._stood = 0.0
        self._before: tuple[datetime, bool] | None = None

    def hear(self, progress: Progress, now: datetime) -> str:
        """Returns what is to be said now, mostly nothing."""
        self._count(progress, now)
        if progress.status.is_success:
            return self._at_the_end()
        eta = progress.eta
        if progress.status.value != "running" or eta is None or eta.confidence is None:
            return ""
        new = Expectation.of(eta, self._worked)
        self._first = self._first or new
        # While a gate is open beside running steps, some of the time is a person's: nobody can tell which.
        if self._told is None or progress.waiting:
            self._told = new
        moved = self._moved(self._told, new)
        return f"{moved}: {remaining(eta, Worth.CONFIDENCE)}" if moved else ""

    def _count(self, progress: Progress, now: datetime) -> None:
        """Adds the time since it was heard last; before the first time, all since it began."""
        since, works = self._before or (progress.started_at or now, True)
        passed = max((now - since).total_seconds(), 0.0)
        if works:
            self._worked += passed
        else:
            self._stood += passed
        self._before = (now, progress.status.value in _WORKING)

    def _moved(self, told: Expectation, new: Expectation) -> str:
        """Returns how far the end has moved, if it is outside of the interval told before."""
        slack = max(LEAST_SECONDS, LEAST_SHARE * told.expected)
        is_later = new.expected > told.high + slack
        is_earlier = new.expected < told.low - slack
        if self._worked - told.at < BETWEEN_SECONDS or not (is_later or is_earlier):
            return ""
        self._told = new
        by = rough(abs(new.expected - told.expected))
        return f"{'later' if is_later else 'earlier'} than expected by about {by}"

    def _at_the_end(self) -> str:
        """Returns how the run compares with its first estimate, once."""
        first, self._first = self._first, None
        if first is None:
            return ""
        how = " early," if self._worked < first.low else " late," if self._worked > first.high else ""
        work = " of work" if self._stood >= 1 else ""
        verb = "was" if rough(first.expected).startswith("1 ") else "were"
        return f"done{how} in {duration(self._worked)}{work}; {first} {verb} expected"
