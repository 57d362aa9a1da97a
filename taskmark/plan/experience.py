"""What earlier runs of a task taught about its steps."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import fmean, median
from typing import TYPE_CHECKING

from taskmark.plan.reach import agents_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from taskmark.task.model import Phase, Step, TaskDefinition


@dataclass(frozen=True)
class Timed:
    """What one step took before, or one tool or agent."""

    took: tuple[tuple[int, float], ...] = ()
    """Seconds of tries that completed, each after the number of its execution: 0 is the latest one. Latest
    first. Of a step with `forEach`, of single items; of an instruction, of all the agents together."""
    failed: tuple[float, ...] = ()
    """Seconds of tries that failed and were followed by another one."""
    asked: int = 0
    """How many steps or items were tried at all, to which the failures are compared."""


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
    steps: Mapping[str, Timed] = field(default_factory=dict)
    """By step, with failures and in which execution; without what only waits or asks people."""
    others: Mapping[tuple[str, str], Timed] = field(default_factory=dict)
    """The same of tools and agents that steps without a past use, in whatever task: by `("tool", name)` or
    `("agent", id)`."""
    people: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """Seconds that people took to decide, by the step of a gate; by phase, of its approval."""
    items: Mapping[str, Sequence[int]] = field(default_factory=dict)
    """How many items a step with `forEach` had in each execution, latest first; by phase, of its own."""
    off: Mapping[int, Sequence[float]] = field(default_factory=dict)
    """How far estimates of executions were off (`taskmark.plan.eta.stretch`), by number."""
    worked: Mapping[int, float] = field(default_factory=dict)
    """Seconds that whole executions took, without pauses and people, as far as they are known; by number, 0
    is the latest."""

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

    def elsewhere(self, used: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], Timed] | None:
        """Returns the first of these tools and agents that ever completed anything, in whatever task, with
        what it took."""
        known = ((one, self.others.get(one)) for one in used)
        return next(((one, timed) for one, timed in known if timed is not None and timed.took), None)


def with_experience(
    definition: TaskDefinition, experience: Experience, chosen: Callable[[Step], Sequence[str]] = lambda _: ()
) -> TaskDefinition:
    """Returns the definition with what steps took before as their estimates, else what their tools and
    agents took in other tasks, over what they declare.

    `chosen` tells the agents that a step chooses, one per item, as far as they are known.
    """
    if not (experience.seconds or experience.others):
        return definition
    phases = []
    for phase in definition.phases:
        steps = []
        for step in phase.steps:
            seconds = experience.typical_of(step.id, chosen(step))
            if seconds is None and (other := experience.elsewhere(used_by(step, phase, definition))):
                seconds = median(took for _, took in other[1].took)
            steps.append(step if seconds is None else step.model_copy(update={"estimate": seconds}))
        phases.append(phase.model_copy(update={"steps": tuple(steps)}))
    return definition.model_copy(update={"phases": tuple(phases)})


def others_of(definition: TaskDefinition) -> tuple[tuple[str, str], ...]:
    """Returns the tools and agents that the task's own steps use, each once: `Experience.others` has their
    past. Of a step that chooses its agent these are all that it may choose."""
    found: dict[tuple[str, str], None] = {}
    for phase in definition.phases:
        for step in phase.steps:
            found |= dict.fromkeys(used_by(step, phase, definition))
    return tuple(found)


def used_by(step: Step, phase: Phase, definition: TaskDefinition) -> list[tuple[str, str]]:
    """Returns the tool or the agents that a step uses, or may."""
    if step.kind == "tool":
        return [("tool", step.value)]
    return [("agent", agent) for agent in agents_for(step, phase, definition)]
