"""When each phase can begin, and how much longer it may take before the whole takes longer.

It is the schedule without limits on concurrency: with them a task may take longer, never less.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from taskmark.plan.graph import followers, order

if TYPE_CHECKING:
    from collections.abc import Mapping

    from taskmark.task.model import TaskDefinition


@dataclass(frozen=True)
class Slot:
    """When a phase can begin at the earliest, and its slack. Seconds."""

    start: float
    slack: float
    """By so much it may grow alone without lengthening the whole; 0 on a critical path."""


@dataclass(frozen=True)
class Schedule:
    """The earliest schedule of a task."""

    seconds: float
    path: tuple[str, ...]
    """The critical path: of several equally long ones the first in the order of the file."""
    slots: Mapping[str, Slot]


def schedule(definition: TaskDefinition, seconds: Mapping[str, float]) -> Schedule:
    """Returns the earliest schedule; a phase without an entry takes no time.

    It counts in whole milliseconds, so that slack is exact. Raises `ValueError` if there is a cycle.
    """
    slugs = order(definition)
    took = {slug: round(1000 * seconds.get(slug, 0.0)) for slug in slugs}
    after = followers(definition)
    start, rest = _starts(slugs, after, took), _rests(slugs, after, took)
    whole = max(rest.values(), default=0)
    slack = {slug: whole - start[slug] - rest[slug] for slug in slugs}
    path = _path(slugs, after, took, start, slack)
    slots = {slug: Slot(start[slug] / 1000, slack[slug] / 1000) for slug in slugs}
    return Schedule(whole / 1000, path, slots)


def _starts(
    slugs: tuple[str, ...], after: Mapping[str, list[str]], took: Mapping[str, int]
) -> dict[str, int]:
    """Returns the earliest start of each phase."""
    start = dict.fromkeys(slugs, 0)
    for slug in slugs:
        for follower in after[slug]:
            start[follower] = max(start[follower], start[slug] + took[slug])
    return start


def _rests(slugs: tuple[str, ...], after: Mapping[str, list[str]], took: Mapping[str, int]) -> dict[str, int]:
    """Returns the longest way from the start of each phase to the end."""
    rest: dict[str, int] = {}
    for slug in reversed(slugs):
        rest[slug] = took[slug] + max((rest[follower] for follower in after[slug]), default=0)
    return rest


def _path(
    slugs: tuple[str, ...],
    after: Mapping[str, list[str]],
    took: Mapping[str, int],
    start: Mapping[str, int],
    slack: Mapping[str, int],
) -> tuple[str, ...]:
    """Returns phases without slack, each beginning when the one before it ends."""
    path: list[str] = []
    choices, now = list(slugs), 0
    while found := next((slug for slug in choices if not slack[slug] and start[slug] == now), None):
        path.append(found)
        choices, now = after[found], start[found] + took[found]
    return tuple(path)
