"""How far a task is: percent of what it is expected to take.

The weights come from the definition alone, so a percentage only moves by what happens; the engine
keeps the largest, so that a repeated phase does not make it fall.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from taskmark.contracts import StepStatus
from taskmark.task.durations import parse_duration

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from taskmark.contracts import StepState
    from taskmark.task.model import Phase, Step, TaskDefinition

INSTANT = 0.01
"""Seconds of what costs no activity, and of a gate: people's time is not the task's work."""
_COMPLEXITY = {"low": 5.0, "medium": 30.0, "high": 120.0}
_KIND = {
    "tool": 2.0,
    "agent": 10.0,
    "task": 30.0,
    "validation": INSTANT,
    "aggregate": INSTANT,
    "approval": INSTANT,
    "question": INSTANT,
}
_REGISTERED = 10.0
_UNFINISHED = 99.9
"""Percent that nothing unfinished passes."""


def expected_seconds(step: Step, agents: Sequence[str] = ()) -> float:
    """Returns the seconds that a step, or one item of its `forEach`, is expected to take.

    `agents` are those that a plain step goes to; with none it is a note.
    """
    if step.estimate is not None:
        return step.estimate
    if step.complexity is not None:
        return _COMPLEXITY[step.complexity]
    if step.kind == "wait":
        return _waiting(step.value)
    if step.kind == "plain":
        return _KIND["agent"] if agents else INSTANT
    return _KIND.get(step.kind, _REGISTERED)


def _waiting(duration: str) -> float:
    try:
        return parse_duration(duration)
    except ValueError:
        return _REGISTERED  # a template: known only once it is rendered


def agents_of(phase: Phase, default_agents: Sequence[str] = ()) -> Sequence[str]:
    """Returns the agents that plain steps of a phase go to: its own, or else the task's first."""
    return phase.agents or default_agents[:1]


class PhasePercent:
    """How far a phase is. What its steps weigh is computed once: it is asked at each change of a step."""

    def __init__(self, phase: Phase, default_agents: Sequence[str] = ()) -> None:
        agents = agents_of(phase, default_agents)
        self._phase = phase
        self._weights = [_weight(step, agents) for step in phase.steps]
        self.weight = INSTANT + math.fsum(self._weights)
        """Seconds that all of it is expected to take."""

    def of(self, states: Mapping[str, StepState], status: StepStatus = StepStatus.PENDING) -> float:
        """Returns it as 0 to 100, by the states of its steps; one without a state is pending.

        A phase whose `status` is final is at 100 whatever its steps say.
        """
        final = status.is_final or (bool(self._phase.steps) and _all_final(self._phase, states))
        return _percent(self.done(states, status), self.weight, final)

    def done(self, states: Mapping[str, StepState], status: StepStatus) -> float:
        """Returns the expected seconds that are done."""
        if status.is_final:
            return self.weight
        broken = _is_broken(states)
        shares = (_share(states.get(step.id), broken=broken) for step in self._phase.steps)
        return math.fsum(part * share for part, share in zip(self._weights, shares, strict=True))


class TaskPercent:
    """How far a task is, and each of its phases."""

    def __init__(self, definition: TaskDefinition) -> None:
        self.phases = {p.slug: PhasePercent(p, definition.default_agents) for p in definition.phases}
        self._weight = math.fsum(phase.weight for phase in self.phases.values())

    def of(self, phase_states: Mapping[str, tuple[StepStatus, Mapping[str, StepState]]]) -> float:
        """Returns it as 0 to 100, by its phases' states; a phase without one is pending.

        It is 100 only when every phase is final.
        """
        nothing: tuple[StepStatus, Mapping[str, StepState]] = (StepStatus.PENDING, {})
        found = [(phase, *phase_states.get(slug, nothing)) for slug, phase in self.phases.items()]
        done = math.fsum(phase.done(states, status) for phase, status, states in found)
        return _percent(done, self._weight, all(status.is_final for _, status, _ in found))


def _weight(step: Step, agents: Sequence[str]) -> float:
    items = len(step.for_each) if isinstance(step.for_each, list) else 1
    return max(INSTANT, expected_seconds(step, agents) * items)


def _is_broken(states: Mapping[str, StepState]) -> bool:
    """Whether a critical step has failed: if the phase goes on all the same, it begins again."""
    return any(state.critical and state.status is StepStatus.FAILED for state in states.values())


def _share(state: StepState | None, *, broken: bool) -> float:
    """Returns how much of a step is done, 0 to 1.

    A failed or skipped one is done as well, except in a phase that may begin again because of it.
    """
    if state is None or (broken and state.status in (StepStatus.FAILED, StepStatus.SKIPPED)):
        return 0.0
    if state.status.is_final:
        return 1.0
    return min(1.0, state.items_done / state.items_total) if state.items_total else 0.0


def _all_final(phase: Phase, states: Mapping[str, StepState]) -> bool:
    return all(step.id in states and states[step.id].status.is_final for step in phase.steps)


def _percent(done: float, weight: float, final: bool) -> float:
    return 100.0 if final else min(_UNFINISHED, round(100.0 * done / weight, 2))
