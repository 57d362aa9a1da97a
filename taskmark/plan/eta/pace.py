"""How fast an execution is compared with earlier ones: a busy machine, a slow model or larger data make all
of its steps slow together, so what has completed says something about what has not."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from taskmark.plan.eta.drift import Forecast, forecast
from taskmark.plan.eta.law import logarithm
from taskmark.plan.eta.variance import variance

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from taskmark.plan.experience import Timed

_LEAST = 0.02
"""A step's logarithm deviates by that at least: nobody's clock is better."""
_UNKNOWN = 0.25
"""The variance of a step of which there is only one execution."""
_BETWEEN = 0.2
"""How far executions differ from each other as a whole as long as few are known, and how many of them that
weighs."""
_WEIGHT = 2.0
_ROUNDS = 3
_OUTLIER = 2.0
"""Beyond so many deviations a step says no more about the pace: something else happened to it."""

Table = dict[str, dict[int, float]]
"""By step, and by execution (0 is the latest): the mean logarithm of its seconds."""


@dataclass(frozen=True)
class Pace:
    """The logarithm of how much longer everything takes than usual: where it is expected, and how sure that
    is."""

    expected: float = 0.0
    variance: float = 0.0

    def seen(self, steps: Iterable[tuple[float, float]]) -> Pace:
        """Returns what is known once steps have completed: by how much the logarithm of each was above what
        was expected of it at a usual pace, and the variance of that (Bayes' rule for normal quantities)."""
        if not self.variance:
            return self
        precision, total = 1 / self.variance, self.expected / self.variance
        for above, chance in steps:
            bound = _OUTLIER * math.sqrt(chance + self.variance)
            surprise = min(max(above - self.expected, -bound), bound)
            precision += 1 / chance
            total += (self.expected + surprise) / chance
        return Pace(total / precision, 1 / precision)


def by_execution(steps: Mapping[str, Timed]) -> Table:
    """Returns the mean logarithms."""
    table: Table = {}
    for step, timed in steps.items():
        logs: dict[int, list[float]] = {}
        for execution, seconds in timed.took:
            logs.setdefault(execution, []).append(logarithm(seconds))
        if logs:
            table[step] = {execution: fmean(found) for execution, found in logs.items()}
    return table


def paces(table: Table) -> tuple[dict[int, float], Pace]:
    """Returns the pace of each earlier execution, and what is expected of the next one."""
    weights = {step: 1 / max(_variance(logs.values()), _LEAST**2) for step, logs in table.items()}
    found, noise = _fitted(table, weights)
    if len(found) < 2:
        return dict.fromkeys(found, 0.0), Pace(0.0, _BETWEEN**2)
    ahead = forecast([found[execution] for execution in sorted(found, reverse=True)])
    usual = fmean(noise.values())
    seen = max(ahead.variance - usual, 0.0)
    between = (len(found) * seen + _WEIGHT * _BETWEEN**2) / (len(found) + _WEIGHT)
    kept = seen / (seen + usual)  # what of a difference is not chance
    return {execution: kept * pace for execution, pace in found.items()}, _expected(ahead, between, kept)


def _expected(ahead: Forecast, between: float, kept: float) -> Pace:
    return Pace(kept * ahead.value, between)


def _fitted(table: Table, weights: Mapping[str, float]) -> tuple[dict[int, float], dict[int, float]]:
    """Returns the pace of each execution that makes its steps differ least from their usual values, and the
    variance that this has by chance alone."""
    executions = sorted({execution for logs in table.values() for execution in logs})
    found = dict.fromkeys(executions, 0.0)
    noise = {
        execution: 1 / math.fsum(weights[step] for step, logs in table.items() if execution in logs)
        for execution in executions
    }
    for _ in range(_ROUNDS):
        usual = {step: fmean(log - found[e] for e, log in logs.items()) for step, logs in table.items()}
        for execution in executions:
            above = math.fsum(
                weights[step] * (logs[execution] - usual[step])
                for step, logs in table.items()
                if execution in logs
            )
            found[execution] = noise[execution] * above
    return found, noise


def _variance(values: Iterable[float]) -> float:
    found = list(values)
    return variance(found) if len(found) > 1 else _UNKNOWN
