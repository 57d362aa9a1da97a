"""What earlier runs of a task taught about its steps."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import fmean, median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from taskmark.task.model import Step, TaskDefinition


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
    by_agent: Mapping[tuple[str, str], Sequence[float]] = field(default_factory=dict)
    """The seconds again, by step and the agent that it asked."""

    def typical(self, step: str) -> float | None:
        """Returns the median of a step's seconds, or None if it never completed."""
        found = self.seconds.get(step)
        return median(found) if found else None

    def typical_of(self, step: str, agents: Sequence[str]) -> float | None:
        """Returns the mean of what each of these agents typically took for a step, or None if it never
        completed. An agent that the step has never asked counts as the typical one."""
        usual = self.typical(step)
        if usual is None or not agents:
            return usual
        known = {agent: self.by_agent.get((step, agent)) for agent in agents}
        return fmean(median(found) if (found := known[agent]) else usual for agent in agents)


def with_experience(
    definition: TaskDefinition, experience: Experience, chosen: Callable[[Step], Sequence[str]] = lambda _: ()
) -> TaskDefinition:
    """Returns the definition with what steps took before as their estimates, over what they declare.

    `chosen` tells the agents that a step chooses, one per item, as far as they are known.
    """
    if not experience.seconds:
        return definition
    phases = []
    for phase in definition.phases:
        steps = []
        for step in phase.steps:
            seconds = experience.typical_of(step.id, chosen(step))
            steps.append(step if seconds is None else step.model_copy(update={"estimate": seconds}))
        phases.append(phase.model_copy(update={"steps": tuple(steps)}))
    return definition.model_copy(update={"phases": tuple(phases)})
