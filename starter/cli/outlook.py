"""The estimate in words: no more certain than it is, and with the least important left out first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from enum import IntEnum, auto
from typing import TYPE_CHECKING, NamedTuple

from starter.cli.printable import interval, rough

if TYPE_CHECKING:
    from taskmark.contracts import Eta, Progress

SOON = 0.5
"""Seconds below which there is nothing left to name."""
WORTH_A_CLOCK = 60.0
"""Seconds below which a time of day says less than the time that is left."""


class Worth(IntEnum):
    """What a part of a line is worth. Where not all of them have room, the last of these go first."""

    KEPT = auto()
    REMAINING = auto()
    ELAPSED = auto()
    INTERVAL = auto()
    CONFIDENCE = auto()
    BASIS = auto()
    FINISH = auto()
    PEOPLE = auto()
    BUDGET = auto()
    PEOPLE_INTERVAL = auto()


class Part(NamedTuple):
    """A part of a line."""

    text: str
    worth: Worth
    glue: str = " · "
    """What stands between it and what comes before."""


def fitted(parts: Sequence[Part], width: int | None = None) -> str:
    """Returns the parts as one line of at most so many columns, as far as what is kept allows it."""
    kept = list(parts)
    while width is not None and len(_joined(kept)) > width:
        least = max(kept, key=lambda part: part.worth)
        if least.worth is Worth.KEPT:
            break
        kept.remove(least)
    return _joined(kept)


def _joined(parts: Sequence[Part]) -> str:
    return "".join(part.text if number == 0 else part.glue + part.text for number, part in enumerate(parts))


def outlook(progress: Progress, now: datetime) -> Iterator[Part]:
    """Yields what is known of the end of the work, and the time of day."""
    eta = progress.eta
    if progress.status.value != "running" or eta is None:
        yield from afterwards(progress)
        return
    yield from _of_work(eta, "left")
    if eta.people is None and not progress.waiting and eta.finish_at is not None:
        yield from _of_the_clock(eta, eta.finish_at, now)


def afterwards(progress: Progress) -> Iterator[Part]:
    """Yields, of an execution that stands still, the work that comes once somebody lets it go on."""
    eta, stands_still = progress.eta, progress.status.value in ("waiting", "pausing", "paused")
    if eta is not None and stands_still and eta.remaining_seconds >= SOON:
        yield from _of_work(eta, "then")


def time_for_people(progress: Progress) -> Iterator[Part]:
    """Yields what people are expected to take besides."""
    people = progress.eta.people if progress.eta and not progress.status.is_final else None
    if people is not None and people.seconds >= SOON:
        yield Part(f"+ about {rough(people.seconds)} for people", Worth.PEOPLE)
        if between := interval(people.low, people.high):
            yield Part(f"({between})", Worth.PEOPLE_INTERVAL, " ")


def remaining(eta: Eta, least: Worth = Worth.BASIS) -> str:
    """Returns the time that is left in words, with what is claimed of it and is worth at least so much."""
    return fitted([part for part in _of_work(eta, "left") if part.worth <= least])


def _of_work(eta: Eta, when: str) -> Iterator[Part]:
    if eta.remaining_seconds < SOON:
        yield Part("should end any moment", Worth.REMAINING)
        return
    about = f"about {rough(eta.remaining_seconds)}"
    yield Part(f"then {about}" if when == "then" else f"{about} left", Worth.REMAINING)
    if eta.confidence is None:
        yield Part("as declared", Worth.INTERVAL, ", ")
        return
    if between := interval(eta.low, eta.high):
        yield Part(f"({between})", Worth.INTERVAL, " ")
    yield Part(f"{100 * eta.confidence:.0f} %", Worth.CONFIDENCE, ", ")
    if eta.samples:
        word = "run" if eta.basis == "steps" else "use"
        yield Part(f"{eta.samples:,} {word}{'' if eta.samples == 1 else 's'}", Worth.BASIS, ", ")


def _of_the_clock(eta: Eta, finish: datetime, now: datetime) -> Iterator[Part]:
    if finish <= now - timedelta(seconds=WORTH_A_CLOCK):
        yield Part(f"was to end at {_clock(finish, now)}", Worth.FINISH)
    elif eta.remaining_seconds >= WORTH_A_CLOCK:
        yield Part(f"ends about {_clock(finish, now)}", Worth.FINISH)


def _clock(at: datetime, now: datetime) -> str:
    here, today = at.astimezone(), now.astimezone().date()
    if here.date() == today:
        return f"{here:%H:%M}"
    return f"{here:%a %H:%M}" if abs((here.date() - today).days) < 7 else f"{here:%Y-%m-%d}"
