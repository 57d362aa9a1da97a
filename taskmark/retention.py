"""For how long the history keeps what has ended: `30d`, `failed=90d`, `off`, per status or for all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import TypeAlias

from taskmark.contracts import ExecutionStatus
from taskmark.task.durations import parse_duration

Ages: TypeAlias = Mapping[ExecutionStatus, timedelta]
"""How old what has ended so may be; a status that is absent is kept for good."""

USUAL = "30d"
EVER = "off"
ENDED = tuple(status for status in ExecutionStatus if status.is_final)


def ages(words: Iterable[str]) -> Ages:
    """Returns the ages that words such as `30d`, `failed=90d` and `cancelled=off` mean.

    A word without a status is for all that no other word names; of two for the same the last counts. Raises
    `ValueError`.
    """
    everything: timedelta | None = None
    by_status: dict[ExecutionStatus, timedelta | None] = {}
    for word in words:
        status, is_named, age = word.rpartition("=")
        if is_named:
            by_status[_status(status.strip())] = _age(age)
        else:
            everything = _age(age)
    found = {status: by_status.get(status, everything) for status in ENDED}
    return {status: age for status, age in found.items() if age is not None}


def _age(word: str) -> timedelta | None:
    return None if word.strip() == EVER else timedelta(seconds=parse_duration(word.strip()))


def _status(word: str) -> ExecutionStatus:
    if word not in ENDED:
        raise ValueError(f"{word!r} is no status of what has ended: {', '.join(ENDED)}")
    return ExecutionStatus(word)
