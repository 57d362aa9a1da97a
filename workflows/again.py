"""What of a phase runs again, when a person has changed its inputs or names a step that had completed.

What has completed is kept unless it read, as far as that is written down, what is another now. Agents and
registered kinds are given every input. A gate is no part of it: whether it stands is seen when its turn
comes.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence

from taskmark.errors import InvalidExpression
from taskmark.task.model import BUILT_IN_KINDS, GATES, Phase, Step
from workflows.artifacts import Sources
from workflows.effort import Effort
from workflows.lanes import Lane
from workflows.steps import sources_of


async def affected(
    phase: Phase, lane: Lane, effort: Effort, named: Container[str], changed: Container[str]
) -> list[Step]:
    """Returns the steps of a lane that run again also if they have completed: those named, those that read
    an input that changed, and those that read one of these."""
    first: list[Step] = []
    for step in lane.steps:
        await effort.turn()
        if step.id in named or (step.kind not in GATES and reads_input(step, changed)):
            first.append(step)
    return [*first, *readers(phase, lane, first)]


def reads_input(step: Step, changed: Container[str]) -> bool:
    """Whether a step reads one of the inputs."""
    if not changed:
        return False
    if step.kind in ("agent", "plain") or step.kind not in BUILT_IN_KINDS:
        return True
    return reads_any(sources_of(step), changed)


def reads_any(sources: Sources, changed: Container[str]) -> bool:
    """Whether something that is evaluated reads one of the inputs; what cannot be read may."""
    if not changed:
        return False
    try:
        paths = [path for path in sources.read() if path[0] == "inputs"]
    except InvalidExpression:
        return True
    return any(len(path) == 1 or path[1] in changed for path in paths)


def readers(phase: Phase, lane: Lane, steps: Iterable[Step]) -> list[Step]:
    """Returns the steps of a lane that read these, directly or through others, but not through a gate."""
    direct: dict[str, list[Step]] = {}
    for step in lane.steps:
        for name in _read_by(phase, lane, step):
            direct.setdefault(name, []).append(step)
    todo, found = list(steps), dict[str, Step]()
    known = {step.id for step in todo}
    while todo:
        for reader in direct.get(lane.plain_id(todo.pop().id), ()):
            if reader.id not in known and reader.kind not in GATES:
                known.add(reader.id)
                found[reader.id] = reader
                todo.append(reader)
    return list(found.values())


def _read_by(phase: Phase, lane: Lane, step: Step) -> Iterator[str]:
    yield from step.reads_steps
    if step.kind == "aggregate" and "over" not in step.arguments:
        others: Sequence[Step] = lane.steps
        if not phase.parallel:
            others = lane.steps[: [other.id for other in lane.steps].index(step.id)]
        yield from (lane.plain_id(other.id) for other in others if other.kind != "aggregate")
