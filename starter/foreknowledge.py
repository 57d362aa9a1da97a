"""What is known before a run, beside the file: the health of its tools, who answers for its agents, and what
earlier runs took. Nothing is started and nothing is written."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from taskmark.plan.experience import Experience
from taskmark.plan.preview import PlannedAgent, PlannedTool
from taskmark.plan.previewing import Knowledge
from taskmark.plan.reach import reach

if TYPE_CHECKING:
    from starter.wiring import Wiring
    from taskmark.plan.reach import Reach
    from taskmark.task.model import Agent, TaskDefinition


def foreknowledge(wiring: Wiring, definition: TaskDefinition, experience: Experience) -> Knowledge:
    """Returns what is known of everything the task reaches; it takes a few seconds at most."""
    found = reach(definition)
    tools = {tool.name: tool for tool in _tools(wiring, found)}
    agents = tuple(_agent(wiring, name, agent) for name, agent in found.agents.items())
    return Knowledge(tools, agents, experience)


def experience(wiring: Wiring, definition: TaskDefinition) -> Experience:
    """Returns what earlier runs of a task took, and what it uses took in others; nothing without a store.

    Raises `Unreachable`.
    """
    from taskmark.plan.experience import others_of
    from taskmark.store.experience import experience as read
    from taskmark.store.schema import existing

    engine = existing(wiring.settings.database_url)
    if engine is None:
        return Experience()
    try:
        return read(engine, definition.id, others_of(definition))
    finally:
        engine.dispose()  # SQLite keeps files beside its own while it is open


def _tools(wiring: Wiring, found: Reach) -> Iterator[PlannedTool]:
    from taskmark.tools.health import check_health

    registry = wiring.registry
    known = {name: registry.tools[name] for name in found.tools if name in registry.tools}
    health = check_health(known)
    for name in found.tools:
        if name in known:
            said = health[name]
            yield PlannedTool(
                name=name,
                effects=known[name].effects,
                healthy=said.healthy,
                message=said.message,
                hint=said.hint,
            )
        else:
            yield PlannedTool(
                name=name, healthy=False, message=registry.broken.get(name, "it is not registered")
            )


def unanswering(wiring: Wiring, definition: TaskDefinition) -> list[str]:
    """Returns why agents of the task cannot be asked on this machine, and what to do; nothing for others."""
    agents = reach(definition).agents.items()
    planned = (_agent(wiring, name, agent) for name, agent in agents if agent is not None)
    return [agent.problem for agent in planned if agent.problem]


def _agent(wiring: Wiring, id: str, agent: Agent | None) -> PlannedAgent:
    from taskmark.agents.asking import Asking
    from taskmark.errors import StepFailed

    if agent is None:
        return PlannedAgent(id=id, problem=f"agent {id} has no file")
    asking = Asking(wiring.registry.provider, wiring.settings.default_model)
    try:
        model, _ = asking.who(agent)
    except StepFailed as error:
        return PlannedAgent(id=id, model=agent.model, problem=error.message)
    found = asking.health(agent)
    problem = "" if found.healthy else "; ".join(filter(None, (found.message, found.hint)))
    return PlannedAgent(id=id, model=model, problem=problem)
