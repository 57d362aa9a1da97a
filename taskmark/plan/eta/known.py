"""What is known of each step of a task before it runs, or while it does: its law, how often its tries fail,
and where that comes from."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import cached_property
from statistics import fmean, median
from typing import TYPE_CHECKING

from taskmark.plan.eta.drift import forecast
from taskmark.plan.eta.law import Law, assumed, learned, logarithm
from taskmark.plan.eta.overhead import overhead
from taskmark.plan.eta.pace import Pace, by_execution, paces
from taskmark.plan.eta.tries import trouble
from taskmark.plan.eta.variance import variance
from taskmark.plan.experience import used_by
from taskmark.plan.progress import INSTANT, agents_of, expected_seconds

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from taskmark.contracts import EtaBasis
    from taskmark.plan.experience import Experience, Timed
    from taskmark.task.model import Phase, Retry, Step, TaskDefinition


_USUAL = 0.4
"""How far the logarithm of a duration deviates as long as nothing is known of it."""
_ELSEWHERE = 0.7
"""The same for a tool's durations in other tasks, which it does other things in."""
_DECLARED = 1.0
"""The same for what a file declares: people are wrong by a factor of three one time of four."""
_RECENT = 6
"""So many executions are looked at where a step does not take what it used to."""
_PRIOR = 5.0
"""So many tries weigh what is usual in the task against a step's own failures."""


@dataclass(frozen=True)
class Known:
    """What is known of one step, or of one item of it."""

    law: Law
    basis: EtaBasis
    fails: float = 0.0
    """The share of tries that fail and are followed by another one."""
    failing: float = 0.0
    """Seconds that such a try takes."""
    trouble: tuple[float, ...] = ()
    """Seconds that failures cost from the first try on, in rising order; nothing if they are rare."""
    runs: float = 1.0
    """The share of executions in which it ran, of those in which its phase did."""
    items: tuple[int, ...] = ()
    """How many it had in single executions."""

    @cached_property
    def whole(self) -> Law:
        """What it takes from the first try on, with those that fail."""
        return self.law.with_costs(self.trouble)


@dataclass(frozen=True)
class Past:
    """What is known of a task."""

    steps: Mapping[str, Known]
    phases: Mapping[str, float]
    """The share of executions in which a phase ran, of those phases that run only on a condition."""
    pace: Pace
    executions: int
    overhead: float
    """Seconds that each place takes beyond its steps (`taskmark.plan.eta.overhead`)."""
    people: Mapping[str, Sequence[float]]
    """Seconds that people took at gates."""
    off: Mapping[int, Sequence[float]] = field(default_factory=dict)
    """How far estimates were off (`taskmark.plan.eta.stretch`), by execution."""
    held: Mapping[tuple[str, str], datetime] = field(default_factory=dict)
    """Until when a tool or an agent is not asked, because its circuit breaker is open: by `("tool", name)` or
    `("agent", id)`."""

    def of(self, step: Step) -> Known:
        """Returns what is known of a step; of one that was not learned of, what its file says."""
        return self.steps.get(step.id) or _declared(step, ())

    @property
    def teaches(self) -> bool:
        """Whether it knows more of any step than the file says."""
        return any(known.basis != "declared" for known in self.steps.values())


def learn(definition: TaskDefinition, experience: Experience) -> Past:
    """Returns what is known of a task; worth keeping, because it takes a millisecond per step."""
    pace_of, pace = paces(by_execution(experience.steps))
    teacher = _Teacher(definition, experience, pace_of)
    steps = {step.id: teacher.of(step, phase) for phase in definition.phases for step in phase.steps}
    return Past(
        steps=steps,
        phases=teacher.phases(),
        pace=pace,
        executions=experience.executions,
        overhead=overhead(definition, experience),
        people=experience.people,
        off=experience.off,
    )


class _Teacher:
    """Turns the past of single steps into what is known of them."""

    def __init__(
        self, definition: TaskDefinition, experience: Experience, pace_of: Mapping[int, float]
    ) -> None:
        self._task, self._experience, self._pace_of = definition, experience, pace_of
        timed = experience.steps.values()
        tried, failed = sum(t.asked for t in timed), sum(len(t.failed) for t in timed)
        self._failing = failed / (tried + failed) if tried else 0.0
        self._usual = self._usual_deviation()
        self._sometimes = self.phases()
        self._elsewhere: dict[tuple[tuple[str, str], Retry], Known] = {}
        """What is known of tools and agents, each worked out once for all steps that use it."""

    def of(self, step: Step, phase: Phase) -> Known:
        """Returns what is known of a step: of its own, else of what it uses, else what the file says."""
        timed = self._experience.steps.get(step.id)
        if timed is not None and timed.took:
            return self._of_its_own(step, phase, timed)
        return replace(self._of_nothing(step, phase), runs=self._runs(step, phase))

    def phases(self) -> dict[str, float]:
        """Returns how often phases ran that have a condition, or depend on one that has: one that never did
        may do so yet."""
        share, found = 1 / (self._experience.executions + 1), dict[str, float]()
        for phase in self._task.phases:
            if phase.condition is not None or any(need in found for need in phase.depends_on):
                found[phase.slug] = min(1.0, (self._ran(phase) + 0.5) * share)
        return found

    def _ran(self, phase: Phase) -> int:
        """Returns in how many executions a phase did anything."""
        steps = (self._experience.steps.get(step.id) for step in phase.steps)
        return len({execution for timed in steps if timed is not None for execution, _ in timed.took})

    def _of_nothing(self, step: Step, phase: Phase) -> Known:
        other = self._experience.elsewhere(used_by(step, phase, self._task))
        if other is None:
            return _declared(step, agents_of(phase, self._task.default_agents))
        key = other[0], self._retry(step)
        if key not in self._elsewhere:
            self._elsewhere[key] = _of_others(other[1], key[1])
        return self._elsewhere[key]

    def _of_its_own(self, step: Step, phase: Phase, timed: Timed) -> Known:
        logs = self._at_usual_pace(timed)
        means = {execution: fmean(found) for execution, found in logs.items()}
        ahead = forecast([means[execution] for execution in sorted(means, reverse=True)])
        if abs(ahead.value - fmean(means.values())) > 1e-9:  # it does not take what it used to
            logs = {execution: logs[execution] for execution in sorted(logs)[:_RECENT]}
            center: float | None = ahead.value
        else:
            center = None
        law = learned([log for found in logs.values() for log in found], self._usual, center)
        items = self._experience.items.get(step.id) or self._experience.items.get(phase.slug, ())
        fails, failing = self._fails(timed), _failing(timed, law)
        return Known(
            law,
            "steps",
            fails=fails,
            failing=failing,
            trouble=trouble(fails, failing, self._retry(step)),
            runs=self._runs(step, phase, len(means)),
            items=tuple(items),
        )

    def _retry(self, step: Step) -> Retry:
        return step.retry or self._task.retry

    def _at_usual_pace(self, timed: Timed) -> dict[int, list[float]]:
        logs: dict[int, list[float]] = {}
        for execution, seconds in timed.took:
            log = logarithm(seconds) - self._pace_of.get(execution, 0.0)
            logs.setdefault(execution, []).append(log)
        return logs

    def _usual_deviation(self) -> float:
        """Returns how far durations of the task's steps deviate in general."""
        found = []
        for timed in self._experience.steps.values():
            logs = [log for run in self._at_usual_pace(timed).values() for log in run]
            if len(logs) > 1:
                found.append(variance(logs))
        return math.sqrt((math.fsum(found) + _USUAL**2) / (len(found) + 1))

    def _fails(self, timed: Timed) -> float:
        failed = len(timed.failed)
        return (failed + _PRIOR * self._failing) / (timed.asked + failed + _PRIOR)

    def _runs(self, step: Step, phase: Phase, ran: int = 0) -> float:
        whole = self._ran(phase) if phase.slug in self._sometimes else self._experience.executions
        if step.condition is None or not whole:
            return 1.0
        return min(1.0, (ran + 0.5) / (whole + 1))


def _of_others(timed: Timed, retry: Retry) -> Known:
    law = learned([logarithm(seconds) for _, seconds in timed.took], _ELSEWHERE)
    fails = len(timed.failed) / max(timed.asked + len(timed.failed), 1)
    failing = _failing(timed, law)
    return Known(law, "tools", fails, failing, trouble(fails, failing, retry))


def _declared(step: Step, agents: Sequence[str]) -> Known:
    seconds = expected_seconds(step, agents)
    deviation = 0.1 if seconds <= INSTANT or step.kind == "wait" else _DECLARED
    return Known(assumed(seconds, deviation), "declared")


def _failing(timed: Timed, law: Law) -> float:
    return median(timed.failed) if timed.failed else law.mean / 2
