"""What is known before a run, beside the file: the health of its tools, who answers for its agents, and what
earlier runs took. Nothing is started and nothing is written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from taskmark.plan.experience import Experience
from taskmark.plan.preview import PlannedAgent, PlannedTool
from taskmark.plan.previewing import Knowledge
from taskmark.plan.reach import family, reach

if TYPE_CHECKING:
    from starter.wiring import Wiring
    from taskmark.plan.reach import Reach
    from taskmark.plan.usability import Unusable
    from taskmark.ports import Health, Tool
    from taskmark.task.model import Agent, TaskDefinition


def foreknowledge(wiring: Wiring, definition: TaskDefinition, experience: Experience) -> Knowledge:
    """Returns what is known of everything the task reaches; it takes a few seconds at most."""
    from taskmark.tools.health import check_health

    found = reach(definition)
    tools = {tool.name: tool for tool in _tools(wiring, found, check_health)}
    agents = tuple(_agent(wiring, name, agent) for name, agent in found.agents.items())
    return Knowledge(tools, agents, experience, lacking_secrets(wiring, definition))


def lacking_secrets(wiring: Wiring, definition: TaskDefinition) -> list[str]:
    """Returns why secrets cannot be used here, of those that the task and the tasks below it name.

    Workers may be elsewhere, and have them.
    """
    project = definition.project or wiring.settings.project
    names = dict.fromkeys(name for one in family(definition) for name in one.secrets)
    lacking = wiring.vault.missing(names, project=project)
    return [f"{error.message}: {error.hint}" if error.hint else error.message for error in lacking]


def forewarned(wiring: Wiring, definition: TaskDefinition) -> tuple[Unusable, ...]:
    """Returns what a task needs and cannot use now, as this process sees it, within the seconds that the
    setting `health_seconds` allows; nothing if that is 0."""
    from taskmark.plan.usability import unusable

    if not wiring.settings.health_seconds:
        return ()
    found = reach(definition)
    agents = (_agent(wiring, name, agent) for name, agent in found.agents.items())
    return unusable(definition, _tools(wiring, found, wiring.checkup.ask), agents)


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


def _tools(
    wiring: Wiring, found: Reach, ask: Callable[[Mapping[str, Tool[Any]]], dict[str, Health]]
) -> Iterator[PlannedTool]:
    registry = wiring.registry
    known = {name: registry.tools[name] for name in found.tools if name in registry.tools}
    health = ask(known)
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


def _agent(wiring: Wiring, id: str, agent: Agent | None) -> PlannedAgent:
    if agent is None:
        return PlannedAgent(id=id, problem=f"agent {id} has no file")
    health = wiring.asking.health(agent)
    if health.healthy:
        return PlannedAgent(id=id, model=wiring.asking.who(agent)[0])
    return PlannedAgent(id=id, model=agent.model, problem=health.message, hint=health.hint)
