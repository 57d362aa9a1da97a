"""Makes the plan of a run: from the definition, the inputs, and what is known of tools, agents, earlier runs.

Pure: who calls says what is healthy and what was measured. Nothing is claimed that only a run can know.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from statistics import median
from typing import TYPE_CHECKING

from taskmark.plan.expected import Expected
from taskmark.plan.experience import Experience
from taskmark.plan.foresight import Foresight
from taskmark.plan.graph import waves, width
from taskmark.plan.phases import title
from taskmark.plan.preview import (
    Basis,
    PlannedAgent,
    PlannedGate,
    PlannedPhase,
    PlannedStep,
    PlannedTool,
    Preview,
    Usage,
)
from taskmark.plan.reach import agents_for, everything, tools_of
from taskmark.plan.usability import unusable
from taskmark.plan.verdicts import Verdicts
from taskmark.task.model import BUILT_IN_KINDS, GATES, Json, Phase, Step, TaskDefinition

if TYPE_CHECKING:
    from taskmark.contracts import Eta

MANY_PHASES = 300
"""Above so many, how many can run side by side is not worked out."""
_BEGINNING = datetime(1970, 1, 1)


@dataclass(frozen=True)
class Knowledge:
    """What is known beside the file."""

    tools: Mapping[str, PlannedTool] = field(default_factory=dict)
    """By name, those the task reaches."""
    agents: Sequence[PlannedAgent] = ()
    """Those the task reaches."""
    experience: Experience = field(default_factory=Experience)
    secrets: Sequence[str] = ()
    """Why secrets cannot be used, of those that the task names and that cannot."""


def preview(
    definition: TaskDefinition,
    inputs: Mapping[str, Json],
    missing: Sequence[str] = (),
    knowledge: Knowledge | None = None,
    *,
    detailed: int | None = None,
) -> Preview:
    """Returns the plan of a run with these inputs; `missing` are those that a run would still need.

    With `detailed`, only so many steps of each phase have their texts filled in; those of ten thousand steps
    take seconds, and who shows a few need not wait for them.
    """
    return _Previewing(definition, inputs, missing, knowledge or Knowledge(), detailed).whole()


class _Previewing:
    """One task under one set of inputs."""

    def __init__(
        self,
        definition: TaskDefinition,
        inputs: Mapping[str, Json],
        missing: Sequence[str],
        knowledge: Knowledge,
        detailed: int | None,
    ) -> None:
        self.detailed = detailed
        self.task, self.inputs, self.missing, self.knowledge = definition, inputs, missing, knowledge
        self.foresight = Foresight(inputs, missing)
        self.experience = knowledge.experience
        self.verdicts = Verdicts(definition, self.foresight)
        self.expected = Expected(definition, self.foresight, self.verdicts, self.experience)

    def whole(self) -> Preview:
        """Returns the document."""
        groups, eta = waves(self.task), self.expected.eta()
        wave = {slug: number for number, group in enumerate(groups, 1) for slug in group}
        path = self.expected.schedule.path
        phases = tuple(self._phase(phase, wave[phase.slug]) for phase in self.task.phases)
        gates = tuple(self._gates(phases))
        return Preview(
            task=self.task.name,
            id=self.task.id,
            version=self.task.version,
            sha256=self.task.sha256,
            inputs=dict(self.inputs),
            missing_inputs=tuple(self.missing),
            waves=groups,
            phases=phases,
            critical_path=tuple(slug for slug in path if not self.verdicts.phases[slug].is_idle),
            expected_seconds=self.expected.whole(),
            eta=eta,
            at_least_because=tuple(self._reasons(phases, gates)),
            basis=_basis([step for phase in phases for step in phase.steps], eta),
            samples=self.experience.executions,
            gates=gates,
            tools=tuple(self.knowledge.tools.values()),
            agents=tuple(self.knowledge.agents),
            usage=self._usage(phases),
            problems=tuple(self._problems(phases)),
        )

    # --- phases and steps -------------------------------------------------------------------------

    def _phase(self, phase: Phase, wave: int) -> PlannedPhase:
        verdict, slot = self.verdicts.phases[phase.slug], self.expected.schedule.slots[phase.slug]
        items = self.expected.items(phase.for_each)
        return PlannedPhase(
            name=phase.name,
            slug=phase.slug,
            depends_on=phase.depends_on,
            parallel=phase.parallel,
            wave=wave,
            condition=phase.condition,
            decision=verdict.decision,
            reason=verdict.reason,
            items=items,
            for_each=phase.for_each if items is None else None,
            on_failure=phase.on_failure,
            expected_seconds=self.expected.seconds[phase.slug],
            starts_after_seconds=slot.start,
            slack_seconds=slot.slack,
            critical=not slot.slack and not verdict.is_idle,
            steps=tuple(self._step(step, phase, place) for place, step in enumerate(phase.steps)),
        )

    def _step(self, step: Step, phase: Phase, place: int) -> PlannedStep:
        filled = self.detailed is None or place < self.detailed
        verdict = self.verdicts.of_step(step, phase.slug)
        items = self.expected.items(step.for_each)
        return PlannedStep(
            id=step.id,
            kind=step.kind,
            value=step.value,
            name=self.foresight.text(title(step)) if filled else title(step),
            calls=self._calls(step, phase),
            arguments=self.foresight.filled(step.arguments) if filled else step.arguments,
            effects=self._effects_of(step, phase),
            condition=step.condition,
            decision=verdict.decision,
            reason=verdict.reason,
            items=items,
            for_each=step.for_each if items is None else None,
            expected_seconds=self.expected.of_step(step, phase),
            samples=len(self.experience.seconds.get(step.id, ())),
        )

    def _calls(self, step: Step, phase: Phase) -> tuple[str, ...]:
        if step.kind in ("validation", "wait", *GATES):
            return ()
        chosen = tuple(dict.fromkeys(self.foresight.agents(step)))
        asked = chosen or agents_for(step, phase, self.task)
        return asked or ((step.value,) if step.kind != "plain" else ())

    def _effects_of(self, step: Step, phase: Phase) -> bool | None:
        if step.kind == "task":
            return self._subtasks[step.value]
        return self._effects(step, phase, self.task)

    def _effects(self, step: Step, phase: Phase, task: TaskDefinition) -> bool | None:
        """Whether a step itself changes anything; what a sub-task does, its own steps say."""
        if agents_for(step, phase, task) or step.kind not in BUILT_IN_KINDS:
            return None
        return _any([self._changes(tool) for tool in tools_of(step)])

    def _changes(self, tool: str) -> bool | None:
        known = self.knowledge.tools.get(tool)
        return known.effects if known is not None else None

    @cached_property
    def _subtasks(self) -> dict[str, bool | None]:
        """Whether the tasks it runs change anything, with all below them."""
        return {
            name: _any([self._effects(step, phase, one) for one, phase, step in everything(below)])
            for name, below in self.task.tasks.items()
        }

    # --- what waits, what is used, what is wrong --------------------------------------------------

    def _reasons(self, phases: Sequence[PlannedPhase], gates: Sequence[PlannedGate]) -> Iterator[str]:
        most = self.task.max_concurrent_phases
        if most is not None and most < (could := self._side_by_side()):
            yield f"maxConcurrentPhases is {most}, and {could} phases could run side by side"
        if self.task.max_concurrent_steps is not None:
            yield f"maxConcurrentSteps is {self.task.max_concurrent_steps}"
        limited = [p.name for p in self.task.phases if p.max_concurrent is not None]
        if limited:
            yield f"maxConcurrent limits {_listed(limited)}"
        run = [phase for phase in phases if phase.decision != "skipped"]
        unknown = [phase.name for phase in run if phase.for_each is not None]
        unknown += [step.id for phase in run for step in phase.steps if step.for_each is not None]
        if unknown:
            yield f"how many items there are is known only then: {_listed(unknown)}"
        if gates:
            yield "people decide at gates, which is not counted"

    def _side_by_side(self) -> int:
        free = self.task.model_copy(update={"max_concurrent_phases": None})
        return len(free.phases) if len(free.phases) > MANY_PHASES else width(free)

    def _gates(self, phases: Sequence[PlannedPhase]) -> Iterator[PlannedGate]:
        """Yields the gates of the task, and those of tasks that it runs under the step that runs them."""
        for phase, planned in zip(self.task.phases, phases, strict=True):
            for step, about in zip(phase.steps, planned.steps, strict=True):
                if about.decision == "skipped":
                    continue
                if step.kind in GATES:
                    yield _gate(phase.slug, step.id, step, self.foresight.text(step.description))
                for inner in self._gates_below.get(step.value, ()) if step.kind == "task" else ():
                    yield _gate(phase.slug, f"{step.id}/{inner.id}", inner, inner.description)

    @cached_property
    def _gates_below(self) -> dict[str, list[Step]]:
        """The gates of the tasks it runs, with all below them."""
        return {
            name: [step for _, _, step in everything(below) if step.kind in GATES]
            for name, below in self.task.tasks.items()
        }

    def _usage(self, phases: Sequence[PlannedPhase]) -> Usage:
        calls, more = 0, False
        for phase, planned in zip(self.task.phases, phases, strict=True):
            for step, about in zip(phase.steps, planned.steps, strict=True):
                asks = 1 if step.kind == "agent" else len(agents_for(step, phase, self.task))
                if about.decision == "skipped" or not asks:
                    more = more or (about.decision != "skipped" and self._asks(step))
                    continue
                more = more or about.for_each is not None or planned.for_each is not None
                calls += asks * _or_one(about.items) * _or_one(planned.items)
        tokens, cost = self.experience.tokens, self.experience.cost
        return Usage(
            agent_calls=calls,
            agent_calls_at_least=more,
            tokens=median(tokens) if tokens else None,
            cost=median(cost) if cost else None,
            samples=max(len(tokens), len(cost)),
        )

    def _asks(self, step: Step) -> bool:
        """Whether a sub-task asks agents: how often is its own plan's to say."""
        below = everything(self.task.tasks[step.value]) if step.kind == "task" else ()
        return any(agents_for(inner, phase, one) for one, phase, inner in below)

    def _problems(self, phases: Sequence[PlannedPhase]) -> Iterator[str]:
        for phase in phases:
            if phase.decision == "fails":
                yield f"phase {phase.name} fails: {phase.reason}"
            yield from (
                f"step {step.id} of {phase.name} fails: {step.reason}"
                for step in phase.steps
                if step.decision == "fails"
            )
        for one in unusable(self.task, self.knowledge.tools.values(), ()):
            yield f"{one.title}; it is used by {one.used_by}" if one.uses else one.title
        yield from map(str, unusable(self.task, (), self.knowledge.agents))
        yield from self.knowledge.secrets
        yield from self._over_budget(phases)

    def _over_budget(self, phases: Sequence[PlannedPhase]) -> Iterator[str]:
        budget, used = self.task.budget, self._usage(phases)
        if budget is None:
            return
        for what, limit, known in (
            ("agentCalls", budget.agent_calls, used.agent_calls),
            ("tokens", budget.tokens, used.tokens),
            ("cost", budget.cost, used.cost),
        ):
            if limit is not None and known is not None and known > limit:
                yield f"the budget has {what}: {limit:g}, and a run uses about {known:g}"


def _gate(phase: str, id: str, step: Step, prompt: str) -> PlannedGate:
    return PlannedGate(
        phase=phase,
        step=id,
        kind=step.kind,
        name=step.value or step.id,
        prompt=prompt,
        timeout_seconds=step.timeout,
        on_timeout=step.on_timeout,
        on_reject=step.on_reject,
        approvers=step.approvers,
    )


def _any(changes: Sequence[bool | None]) -> bool | None:
    """Whether one of them is true; unknown if none is, and one is not known."""
    if any(changes):
        return True
    return None if None in changes else False


def _or_one(items: int | None) -> int:
    return 1 if items is None else items


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _basis(steps: Sequence[PlannedStep], eta: Eta | None) -> Basis:
    timed = [step.samples > 0 for step in steps if step.expected_seconds > 0]
    if not any(timed):
        return "declared" if eta is None or eta.basis != "tools" else "tools"
    return "history" if all(timed) else "mixed"
