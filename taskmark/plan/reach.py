"""What a task reaches: the tools and agents its steps name, its sub-tasks' among them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from taskmark.task.model import Fallback

if TYPE_CHECKING:
    from collections.abc import Iterator

    from taskmark.task.model import Agent, Phase, Step, TaskDefinition


@dataclass
class Reach:
    """Names, each once, in the order of the file."""

    tools: dict[str, None] = field(default_factory=dict)
    agents: dict[str, Agent | None] = field(default_factory=dict)
    """By id, with what the definition knows of it."""


def reach(definition: TaskDefinition) -> Reach:
    """Returns what any step of the task, or of a task it runs, may call; fallbacks and notifications
    included."""
    found = Reach()
    for one, phase, step in everything(definition):
        found.tools |= dict.fromkeys(tools_of(step))
        for agent in asked(step, phase, one):
            if found.agents.get(agent) is None:
                found.agents[agent] = one.agents.get(agent)
    for one in family(definition):
        found.tools |= dict.fromkeys(notice.tool for notice in one.notify or ())
    return found


def everything(definition: TaskDefinition) -> Iterator[tuple[TaskDefinition, Phase, Step]]:
    """Yields every step of the task and of every task below it, with its phase and task."""
    for one in family(definition):
        for phase in one.phases:
            for step in phase.steps:
                yield one, phase, step


def family(definition: TaskDefinition) -> Iterator[TaskDefinition]:
    """Yields the task and every task below it, each file once."""
    seen: set[tuple[str, str]] = set()
    todo = [definition]
    while todo:
        one = todo.pop(0)
        if (one.source_path, one.sha256) in seen and one is not definition:
            continue
        seen.add((one.source_path, one.sha256))
        yield one
        todo.extend(one.tasks.values())


def tools_of(step: Step) -> tuple[str, ...]:
    """Returns the tool of a step and that of its fallback."""
    own = (step.value,) if step.kind == "tool" else ()
    instead = (step.fallback.name,) if step.fallback and step.fallback.kind == "tool" else ()
    return own + instead


def asked(step: Step, phase: Phase, definition: TaskDefinition) -> tuple[str, ...]:
    """Returns the agents that a step may ask."""
    fallbacks = fallbacks_of(step, phase, definition)
    return (
        *agents_for(step, phase, definition),
        *(fallback.name for fallback in fallbacks if fallback.kind == "agent"),
    )


def fallbacks_of(step: Step, phase: Phase, definition: TaskDefinition) -> tuple[Fallback, ...]:
    """Returns what a step may fall back on: what it says itself, else what the files of its agents say."""
    if step.fallback is not None:
        return (step.fallback,)
    found = (fallback_of(agent, definition) for agent in agents_for(step, phase, definition))
    return tuple(fallback for fallback in found if fallback is not None)


def fallback_of(agent: str, definition: TaskDefinition) -> Fallback | None:
    """Returns the fallback that an agent's file names; a step's own comes before it."""
    asked = definition.agents.get(agent)
    return Fallback(kind="agent", name=asked.fallback) if asked and asked.fallback else None


def agents_for(step: Step, phase: Phase, definition: TaskDefinition) -> tuple[str, ...]:
    """Returns the agents that a step asks when nothing fails; for one that chooses, all that it may."""
    if step.kind == "agent" and step.agent_expression is None:
        return (step.value,)
    return (phase.agents or definition.default_agents) if step.kind in ("agent", "plain") else ()
