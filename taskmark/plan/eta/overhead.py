"""What an execution takes beyond its steps: starting phases, handing results on, waiting for a worker."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from taskmark.contracts import StepStatus
from taskmark.plan.estimate import WINDOW
from taskmark.plan.graph import critical_path
from taskmark.plan.phases import Windows

if TYPE_CHECKING:
    from collections.abc import Mapping

    from taskmark.contracts import StepState
    from taskmark.plan.experience import Experience
    from taskmark.task.model import Phase, TaskDefinition

MOST = 1.0
"""Seconds per place: more is no overhead, but something else that the past does not tell."""


def starts(phase: Phase, states: Mapping[str, StepState]) -> int:
    """Returns how often a phase still has to start something before it can go on."""
    waiting = (step.id not in states or states[step.id].status is StepStatus.PENDING for step in phase.steps)
    pending = sum(waiting)
    begun = pending < len(phase.steps)
    return (0 if begun else 1) + (min(pending, 1) if phase.parallel else pending)


def overhead(definition: TaskDefinition, experience: Experience) -> float:
    """Returns the seconds that each place takes: the least of what executions took that their steps do not
    explain, and less what failures cost as a rule, because they and waits are in it too."""
    whole = sum(starts(phase, {}) for phase in definition.phases)
    windows = Windows(definition, WINDOW)
    rests = [
        worked - _explained(definition, windows, experience, execution)
        for execution, worked in sorted(experience.worked.items())
    ]
    if not rests or not whole:
        return 0.0
    failures = math.fsum(_failures(definition, phase, experience) for phase in definition.phases)
    return min(max((min(rests) - failures) / whole, 0.0), MOST)


def _failures(definition: TaskDefinition, phase: Phase, experience: Experience) -> float:
    """Returns the seconds that tries of a phase's steps that failed, and the waits after them, cost on
    average."""
    whole = 0.0
    for step in phase.steps:
        timed = experience.steps.get(step.id)
        if timed is not None and timed.failed:
            retry = step.retry or definition.retry
            whole += math.fsum(timed.failed) + len(timed.failed) * retry.backoff_ms / 1000
    return whole / max(experience.executions, 1)


def _explained(definition: TaskDefinition, windows: Windows, experience: Experience, execution: int) -> float:
    """Returns how long the steps of one execution would have taken without a gap."""
    seconds = {
        phase.slug: _phase(phase, windows.of(phase), experience, execution) for phase in definition.phases
    }
    return critical_path(definition, seconds)


def _phase(phase: Phase, window: int, experience: Experience, execution: int) -> float:
    taken = []
    for step in phase.steps:
        timed = experience.steps.get(step.id)
        found = [seconds for number, seconds in timed.took if number == execution] if timed else []
        taken.append(found)
    if not phase.parallel:
        return math.fsum(max(*found, math.fsum(found) / window) for found in taken if found)
    everything = [seconds for found in taken for seconds in found]
    return max(*everything, math.fsum(everything) / window) if everything else 0.0
