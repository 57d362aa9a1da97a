"""What steps need and cannot have now: which steps these are, and what each does instead.

Pure: who calls says what is healthy. It refuses nothing: what is down now may be up when its step comes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Literal

from taskmark.plan.reach import agents_for, everything, fallback_of, fallbacks_of, family
from taskmark.task.model import Frozen

if TYPE_CHECKING:
    from taskmark.plan.preview import PlannedAgent, PlannedTool
    from taskmark.task.model import Fallback, Phase, Step, TaskDefinition

LISTED = 5
"""Uses that a sentence names."""


class Use(Frozen):
    """Something in a task that depends on a tool or an agent."""

    step: str = ""
    """Empty: a notification does, which is no step."""
    phase: str = ""
    task: str = ""
    """The sub-task that it is in, by its id."""
    fallback: str = ""
    """What the step falls back on; empty: on nothing."""
    is_fallback: bool = False
    """Whether the step only falls back on it."""

    def __str__(self) -> str:
        """Says where it is, and what happens there."""
        below = f" in the sub-task {self.task}" if self.task else ""
        if not self.step:
            return f"a notification{below}"
        place = f"step {self.step} of {self.phase}{below}"
        if self.is_fallback:
            return f"{place}, as its fallback"
        return f"{place}, which {f'falls back on {self.fallback}' if self.fallback else 'has no fallback'}"


class Unusable(Frozen):
    """A tool or an agent that cannot be used now, as far as can be told from here."""

    kind: Literal["tool", "agent"]
    name: str
    reason: str
    hint: str | None = None
    uses: tuple[Use, ...] = ()

    def __str__(self) -> str:
        """Says all of it in one line."""
        hint = f"; {self.hint}" if self.hint else ""
        used = f"; it is used by {self.used_by}" if self.uses else ""
        return f"{self.title}{hint}{used}"

    @property
    def title(self) -> str:
        """What is wrong."""
        verb = "used" if self.kind == "tool" else "asked"
        return f"{self.kind} {self.name} cannot be {verb}: {self.reason or 'it gives no reason'}"

    @property
    def used_by(self) -> str:
        """The first of its uses, and how many more there are."""
        more = len(self.uses) - LISTED
        return "; ".join([*map(str, self.uses[:LISTED]), *([f"{more} more"] if more > 0 else [])])


def unusable(
    definition: TaskDefinition, tools: Iterable[PlannedTool], agents: Iterable[PlannedAgent]
) -> tuple[Unusable, ...]:
    """Returns what of a task's tools and agents cannot be used, with the steps that would."""
    wrong = [
        *(Unusable(kind="tool", name=t.name, reason=t.message, hint=t.hint) for t in tools if not t.healthy),
        *(Unusable(kind="agent", name=a.id, reason=_reason(a), hint=a.hint) for a in agents if a.problem),
    ]
    if not wrong:
        return ()
    uses: dict[tuple[str, str], dict[Use, None]] = {}
    for kind, name, use in _uses(definition):
        uses.setdefault((kind, name), {})[use] = None
    found = ((one, uses.get((one.kind, one.name), {})) for one in wrong)
    return tuple(one.model_copy(update={"uses": tuple(some)}) for one, some in found)


def _reason(agent: PlannedAgent) -> str:
    """Returns what is wrong with an agent, in a sentence that has named it already."""
    own = f"agent {agent.id}"
    if agent.problem.startswith(f"{own} "):
        return f"it{agent.problem.removeprefix(own)}"
    return agent.problem.removeprefix(f"{own}: ")


def _uses(definition: TaskDefinition) -> Iterator[tuple[str, str, Use]]:
    def below(one: TaskDefinition) -> str:
        return "" if one is definition else one.id

    for one, phase, step in everything(definition):
        use = Use(step=step.id, phase=phase.name, task=below(one))
        for kind, name in _needs(step, phase, one):
            fallback = step.fallback or (fallback_of(name, one) if kind == "agent" else None)
            yield kind, name, use.model_copy(update={"fallback": _named(fallback)})
        for fallback in fallbacks_of(step, phase, one):
            yield fallback.kind, fallback.name, use.model_copy(update={"is_fallback": True})
    for one in family(definition):
        yield from (("tool", notice.tool, Use(task=below(one))) for notice in one.notify or ())


def _needs(step: Step, phase: Phase, definition: TaskDefinition) -> Iterator[tuple[str, str]]:
    if step.kind == "tool":
        yield "tool", step.value
    yield from (("agent", name) for name in agents_for(step, phase, definition))


def _named(fallback: Fallback | None) -> str:
    if fallback is None:
        return ""
    return "a value" if fallback.kind == "value" else f"{fallback.kind} {fallback.name}"
