"""What earlier runs of a task taught about its steps."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from taskmark.task.model import TaskDefinition


@dataclass(frozen=True)
class Experience:
    """Durations of completed steps, and what completed executions used."""

    executions: int = 0
    """How many were looked at."""
    seconds: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """By step; of a step with `forEach`, of single items."""
    tokens: Sequence[int] = ()
    """Of each execution that knows them."""
    cost: Sequence[float] = ()
    """The same for what it cost."""

    def typical(self, step: str) -> float | None:
        """Returns the median of a step's seconds, or None if it never completed."""
        found = self.seconds.get(step)
        return median(found) if found else None


def with_experience(definition: TaskDefinition, experience: Experience) -> TaskDefinition:
    """Returns the definition with what steps took before as their estimates, over what they declare."""
    if not experience.seconds:
        return definition
    phases = []
    for phase in definition.phases:
        steps = []
        for step in phase.steps:
            seconds = experience.typical(step.id)
            steps.append(step if seconds is None else step.model_copy(update={"estimate": seconds}))
        phases.append(phase.model_copy(update={"steps": tuple(steps)}))
    return definition.model_copy(update={"phases": tuple(phases)})
