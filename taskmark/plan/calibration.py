"""How good estimates were: each is compared with what remained, which is known once its execution completed.

An interval that claims 80 % should hold the truth in about 80 of 100 cases: more often, and it is wider than
it has to be. What rests on the file's declarations claims nothing, so it is counted apart.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from statistics import fmean, median
from typing import TYPE_CHECKING, Any, TypeAlias

from taskmark.records import WHOLE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from taskmark.records import EstimateRecord

DECLARED = "declared"
LEAST = 1.0
"""Seconds: what took less counts as so much where something is divided by it."""
ENOUGH = 5
"""Executions of a task from which on its estimates can be called good or bad."""
WORST = 5
"""Tasks that are named."""


@dataclass(frozen=True)
class Judged:
    """An estimate, and what it should have been."""

    told: EstimateRecord
    truth: float
    """Seconds that remained."""

    @property
    def holds(self) -> bool:
        """Whether the truth was within the interval."""
        return self.told.low <= self.truth <= self.told.high

    @property
    def width(self) -> float:
        """How wide the interval was: 1 is as much as remained."""
        return (self.told.high - self.told.low) / max(self.truth, LEAST)

    @property
    def error(self) -> float:
        """How much too long it was: 1 is twice as long, -0.5 half as long."""
        return (self.told.remaining - self.truth) / max(self.truth, LEAST)


@dataclass(frozen=True)
class Run:
    """What was expected of an execution that completed."""

    task: str
    estimates: Sequence[EstimateRecord]


_Pair: TypeAlias = tuple[Run, Judged]


@dataclass(frozen=True)
class Quality:
    """How good some estimates were."""

    name: str
    """Which ones."""
    executions: int
    estimates: int
    coverage: float
    """The share of the intervals that held the truth."""
    confidence: float | None
    """The share that they claimed, on average; nothing where they rest on declarations."""
    width: float
    """Of the intervals, on average; 1 is as much as remained."""
    error: float
    """The median; 1 is twice as long as it was, -0.5 half as long."""

    @property
    def miss(self) -> float:
        """How far coverage is from what was claimed."""
        return 0.0 if self.confidence is None else abs(self.coverage - self.confidence)


@dataclass(frozen=True)
class Calibration:
    """How good estimates were, by how far the execution was, by what they rested on, and by task."""

    executions: int
    """How many it rests on."""
    whole: Quality | None = None
    """All that claim something."""
    declared: Quality | None = None
    """Those that claim nothing."""
    percents: tuple[Quality, ...] = ()
    bases: tuple[Quality, ...] = ()
    worst: tuple[Quality, ...] = ()
    """Tasks whose coverage is furthest from what was claimed."""


def judged(estimates: Iterable[EstimateRecord]) -> tuple[Judged, ...]:
    """Returns the estimates of an execution with what really remained; none if it did not complete."""
    by_percent = {one.percent: one for one in estimates}
    end = by_percent.pop(WHOLE, None)
    if end is None:
        return ()
    return tuple(Judged(one, max(end.worked - one.worked, 0.0)) for _, one in sorted(by_percent.items()))


def calibration(runs: Iterable[Run]) -> Calibration:
    """Returns how good the estimates of executions were."""
    found = [(run, one) for run in runs for one in judged(run.estimates)]
    claiming = [pair for pair in found if pair[1].told.basis != DECLARED]
    declared = [pair for pair in found if pair[1].told.basis == DECLARED]
    tasks = [one for one in _each(claiming, lambda run, _: run.task) if one.executions >= ENOUGH]
    return Calibration(
        executions=_executions(found),
        whole=_quality("all", claiming) if claiming else None,
        declared=_quality(DECLARED, declared) if declared else None,
        percents=_each(claiming, lambda _, one: one.told.percent),
        bases=_each(claiming, lambda _, one: one.told.basis),
        worst=tuple(sorted(tasks, key=lambda one: (-one.miss, one.name))[:WORST]),
    )


def _each(pairs: Sequence[_Pair], part: Callable[[Run, Judged], Any]) -> tuple[Quality, ...]:
    """Returns the quality of each part, in their order."""
    parts: dict[Any, list[_Pair]] = defaultdict(list)
    for pair in pairs:
        parts[part(*pair)].append(pair)
    return tuple(_quality(str(name), parts[name]) for name in sorted(parts))


def _quality(name: str, pairs: Sequence[_Pair]) -> Quality:
    ones = [one for _, one in pairs]
    claimed = [one.told.confidence for one in ones if one.told.confidence is not None]
    return Quality(
        name=name,
        executions=_executions(pairs),
        estimates=len(ones),
        coverage=fmean(one.holds for one in ones),
        confidence=fmean(claimed) if claimed else None,
        width=fmean(one.width for one in ones),
        error=median(one.error for one in ones),
    )


def _executions(pairs: Iterable[_Pair]) -> int:
    return len({one.told.execution_id for _, one in pairs})
