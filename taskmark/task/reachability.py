"""Phases and steps that no run can reach: behind conditions that are false whatever the inputs."""

from __future__ import annotations

import re
from collections.abc import Sequence

from taskmark.errors import InvalidExpression
from taskmark.task.codes import Code
from taskmark.task.drafts import PhaseDraft, StepDraft
from taskmark.task.expressions import evaluate, references
from taskmark.task.slugs import slug as slug_of
from taskmark.task.source_text import Findings, shown

_READS = re.compile(r"\b(?:inputs|phases|steps|execution|project|item|index)\b")
"""What nearly every condition names: most need not be parsed to know that they may turn out either way."""


def check_reachability(phases: Sequence[PhaseDraft], findings: Findings) -> None:
    """Notes what never runs, with the reason, once: where it begins, and each phase that waits for it."""
    blocked: dict[str, str] = {}
    for phase in phases:
        if _is_false(phase.fields.get("condition")):
            message = f"phase “{shown(phase.name.value)}” never runs: its `if` is always false"
            findings.add(Code.UNREACHABLE, phase.places["if"], message)
            blocked.setdefault(phase.slug, f"phase “{shown(phase.name.value)}” never runs")
        else:
            end = _check_steps(phase, findings)
            if end is not None:
                blocked.setdefault(phase.slug, f"phase “{shown(phase.name.value)}” always fails")
    _check_dependents(phases, blocked, findings)


def _check_steps(phase: PhaseDraft, findings: Findings) -> StepDraft | None:
    """Notes steps that never run; returns the validation at which the phase always ends."""
    end: StepDraft | None = None
    for number, step in enumerate(phase.steps):
        if _is_false(step.fields.get("condition")):
            message = f"this {_named(step)} never runs: its `if` is always false"
            findings.add(Code.UNREACHABLE, step.places["if"], message)
        elif end is None and _always_fails(step):
            end = step
            rest = [] if phase.parallel else phase.steps[number + 1 :]
            behind = f", and the {len(rest)} after it never run" if len(rest) > 1 else ""
            behind = ", and the step after it never runs" if len(rest) == 1 else behind
            message = f"this validation always fails{behind}"
            findings.add(Code.UNREACHABLE, step.value.place(), message, "it is false whatever the inputs")
    return end


def _named(step: StepDraft) -> str:
    return "step" if step.kind == "plain" else f"{step.kind} step"


def _always_fails(step: StepDraft) -> bool:
    critical = step.fields.get("critical", True)
    return bool(
        step.kind == "validation" and critical and "if" not in step.places and _is_false(step.value.value)
    )


def _check_dependents(phases: Sequence[PhaseDraft], blocked: dict[str, str], findings: Findings) -> None:
    """Notes phases that depend on one that never completes; one with an `if` of its own decides itself."""
    waiting = [phase for phase in phases if phase.slug not in blocked and "if" not in phase.places]
    readers: dict[str, list[PhaseDraft]] = {}
    for phase in waiting:
        for other in phase.resolved:
            readers.setdefault(other, []).append(phase)
    reasons = list(blocked.items())
    for slug, reason in reasons:  # grows while it is read: what a phase blocks, blocks others
        for phase in readers.get(slug, ()):
            if phase.slug in blocked:
                continue
            name = shown(phase.name.value)
            blocked[phase.slug] = f"phase “{name}” never runs"
            reasons.append((phase.slug, blocked[phase.slug]))
            node = next(node for node in phase.depends_on if slug_of(node.text) == slug)
            findings.add(Code.UNREACHABLE, node.place(), f"phase “{name}” never runs, because {reason}")


def _is_false(condition: object) -> bool:
    """Whether a condition that reads nothing is false. One that reads something may turn out either way."""
    if not isinstance(condition, str) or not condition or _READS.search(condition):
        return False
    try:
        return not references(condition) and not evaluate(condition, {})
    except InvalidExpression:
        return False
