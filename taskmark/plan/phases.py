"""What the parent decides about phases: when one is ready, when it is skipped, what it is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from taskmark.contracts import (
    ExecutionStatus,
    PhaseOutcome,
    StepState,
    StepStatus,
    each_of,
    stands_for_items,
)
from taskmark.plan.graph import width
from taskmark.task.model import Json, Phase, Step, TaskDefinition

ANSWERING = frozenset({"plain", "tool", "agent", "task", "question"})
"""Kinds whose output is something said about the task; the built-in rest checks, combines or waits."""

SILENT = frozenset({"validation", "aggregate", "approval", "wait"})


LONGEST_TITLE = 200


def title(step: Step) -> str:
    """Returns what people call the step: the beginning of its description, else what it names.

    A validation is called by its condition: its description says what is wrong when that fails.
    """
    told = (step.value, step.description) if step.kind == "validation" else (step.description, step.value)
    text = next(filter(None, told), step.id)
    return text if len(text) <= LONGEST_TITLE else f"{text[: LONGEST_TITLE - 1]}…"


def unmet(phase: Phase, outcomes: Mapping[str, PhaseOutcome]) -> tuple[str, ...]:
    """Returns the dependencies that did not complete, in the order of the file."""
    return tuple(s for s in phase.depends_on if outcomes[s].status is not StepStatus.COMPLETED)


def window(definition: TaskDefinition, phase: Phase, default: int) -> int:
    """Returns how many steps of the phase may run at once."""
    return Windows(definition, default).of(phase)


class Windows:
    """How many steps or items of single phases may run at once; worth keeping for many of them.

    `maxConcurrentSteps` holds over the whole task, so each phase gets an equal share of it, counted over the
    phases that can run side by side.
    """

    def __init__(self, definition: TaskDefinition, default: int) -> None:
        self._most = default
        if definition.max_concurrent_steps:
            side_by_side = max(1, min(width(definition), phases_at_once(definition, default)))
            self._most = min(default, max(1, definition.max_concurrent_steps // side_by_side))

    def of(self, phase: Phase) -> int:
        """Returns the number for one phase."""
        return min(phase.max_concurrent or self._most, self._most)


def side_by_side(steps: Sequence[Step]) -> dict[str, tuple[str, ...]]:
    """Returns for each step of a parallel phase the steps of it that it comes after.

    Those it reads; and for an aggregate all others, except aggregates and what itself waits for one:
    with those in it, two aggregates could wait for each other for ever.
    """
    kinds = {step.id: step.kind for step in steps}
    reads = {step.id: tuple(name for name in step.reads_steps if name in kinds) for step in steps}
    late = _readers_of([name for name, kind in kinds.items() if kind == "aggregate"], reads)
    early = tuple(name for name in kinds if name not in late)
    return {
        name: tuple(dict.fromkeys((*found, *early))) if kinds[name] == "aggregate" else found
        for name, found in reads.items()
    }


def _readers_of(names: Sequence[str], reads: Mapping[str, Sequence[str]]) -> dict[str, None]:
    """Returns the steps of these names and all that read them, directly or through others."""
    readers: dict[str, list[str]] = {name: [] for name in reads}
    for name, found in reads.items():
        for read in found:
            readers[read].append(name)
    reached, todo = dict.fromkeys(names), list(names)
    while todo:
        fresh = [reader for reader in readers[todo.pop()] if reader not in reached]
        reached |= dict.fromkeys(fresh)
        todo.extend(fresh)
    return reached


def phases_at_once(definition: TaskDefinition, default: int) -> int:
    """Returns how many phases may run at once: never more than there may be steps."""
    given = (definition.max_concurrent_phases, definition.max_concurrent_steps, default)
    return min(limit for limit in given if limit)


def answers(phase: Phase, outputs: Mapping[str, Json], steps: Mapping[str, StepState]) -> tuple[Json, ...]:
    """Returns what an aggregate of a later phase reads of this one.

    The values of its `- name: expression` outputs if it declares any, else what its steps answered.
    """
    declared = [output.name for output in phase.outputs if output.expression is not None]
    if declared:
        return tuple(outputs[name] for name in declared if name in outputs)
    return tuple(value for step in phase.steps for value in said(step.kind, steps.get(step.id)))


def said(kind: str, state: StepState | None) -> tuple[Json, ...]:
    """Returns what one step answered: several values if it asked several agents or had several items."""
    if state is None or kind in SILENT or state.status is not StepStatus.COMPLETED:
        return ()
    if state.items_total is None:
        return () if state.output is None else (state.output,)
    return (state.output,) if stands_for_items(state.output) else each_of(state.output)


def final_status(outcomes: Mapping[str, PhaseOutcome], any_step_failed: bool) -> ExecutionStatus:
    """Returns the status of an execution that nothing stopped."""
    failed = any(outcome.status is StepStatus.FAILED for outcome in outcomes.values())
    if failed or any_step_failed:
        return ExecutionStatus.COMPLETED_WITH_ERRORS
    return ExecutionStatus.COMPLETED
