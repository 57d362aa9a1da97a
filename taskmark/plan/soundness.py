"""Whether a definition that somebody hands over is one that the parser could have made.

The engine relies on what the parser promises: names that exist and are unique, no circles, bounded
sizes. A start may bring a definition of its own, made by anyone; what is wrong with it has to be known
before anything runs, because an engine that stumbles would be repeated by the server for ever.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskmark.contracts import ID_LIMIT, phase_workflow_id
from taskmark.plan.graph import order
from taskmark.task.durations import parse_duration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from taskmark.task.model import Phase, Step, TaskDefinition

LONGEST_ID = 128
"""Characters of a slug or an id."""
LONGEST_NAME = 1000
"""Characters of a name or a path: they stand in every record."""
_ITEM = "/99999"
"""What an item of a `forEach` adds to the id of its sub-task."""


def problems(definition: TaskDefinition) -> tuple[str, ...]:
    """Returns what the parser would never let pass, one line each; nothing if the definition is sound."""
    return tuple(_of_task(definition))


def too_long(definition: TaskDefinition, execution: str) -> tuple[str, ...]:
    """Returns the workflow ids of phases and sub-tasks that Temporal would not take."""
    ids = [phase_workflow_id(execution, phase.slug) for phase in definition.phases]
    ids += [
        f"{phase_workflow_id(execution, phase.slug)}/{step.id}{_ITEM}"
        for phase in definition.phases
        for step in phase.steps
        if step.kind == "task"
    ]
    return tuple(one for one in ids if len(one.encode()) > ID_LIMIT)


def _of_task(task: TaskDefinition) -> Iterator[str]:
    yield from _of_name("the task's id", task.id, LONGEST_ID)
    yield from _of_name("the task's name", task.name, LONGEST_NAME)
    for what, text in (("version", task.version), ("path", task.source_path), ("digest", task.sha256)):
        if len(text) > LONGEST_NAME:
            yield f"the task's {what} is too long"
    yield from _repeated("phases are called", [phase.slug for phase in task.phases])
    yield from _repeated("steps are called", [step.id for phase in task.phases for step in phase.steps])
    missing = list(_of_graph(task))
    yield from missing
    if not missing:
        try:
            order(task)
        except ValueError as error:
            yield str(error)
    for phase in task.phases:
        yield from _of_phase(phase, task)


def _of_graph(task: TaskDefinition) -> Iterator[str]:
    known = {phase.slug for phase in task.phases}
    for phase in task.phases:
        for slug in (*phase.depends_on, *phase.reads_phases):
            if slug not in known:
                yield f"the phase {_shown(phase.slug)} needs {_shown(slug)}, which is not there"


def _of_phase(phase: Phase, task: TaskDefinition) -> Iterator[str]:
    yield from _of_name("a phase's slug", phase.slug, LONGEST_ID)
    yield from _of_name("a phase's name", phase.name, LONGEST_NAME)
    for step in phase.steps:
        yield from _of_step(step, task)
        if step.agent_expression is not None and not (phase.agents or task.default_agents):
            yield f"the step {_shown(step.id)} chooses its agent, and no agents are listed that it may choose"
    if phase.parallel and not _ends(phase):
        yield f"steps of the phase {_shown(phase.slug)} wait for each other"


def _of_step(step: Step, task: TaskDefinition) -> Iterator[str]:
    yield from _of_name("a step's id", step.id, LONGEST_ID)
    yield from _of_name("a step's kind", step.kind, LONGEST_ID)
    names = step.kind not in ("plain", "validation") and step.agent_expression is None
    if names and len(step.value) > LONGEST_NAME:
        yield f"what the step {_shown(step.id)} names is too long"
    if step.kind == "task" and step.value not in task.tasks:
        yield f"the step {_shown(step.id)} runs the task {_shown(step.value)}, which is not there"
    if step.kind == "wait":
        try:
            parse_duration(step.value)
        except ValueError as error:
            yield f"the step {_shown(step.id)} cannot wait: {error}"


def _ends(phase: Phase) -> bool:
    """Whether the steps of a parallel phase, each after those it reads, can all have their turn."""
    ids = {step.id for step in phase.steps}
    left = {step.id: ids.intersection(step.reads_steps) for step in phase.steps}
    readers: dict[str, list[str]] = {name: [] for name in left}
    for name, reads in left.items():
        for read in sorted(reads):
            readers[read].append(name)
    ready = [name for name, reads in left.items() if not reads]
    done = 0
    while ready:
        done += 1
        for reader in readers[(name := ready.pop())]:
            left[reader].discard(name)
            if not left[reader]:
                ready.append(reader)
    return done == len(left)


def _of_name(what: str, text: str, longest: int) -> Iterator[str]:
    if not text:
        yield f"{what} is empty"
    elif len(text) > longest:
        yield f"{what} is too long: {_shown(text)}"


def _repeated(what: str, names: list[str]) -> Iterator[str]:
    seen: dict[str, int] = {}
    for name in names:
        seen[name] = seen.get(name, 0) + 1
    yield from (f"{count} {what} {_shown(name)}" for name, count in seen.items() if count > 1)


def _shown(text: str) -> str:
    return f"“{text}”" if len(text) <= 60 else f"“{text[:59]}…”"
