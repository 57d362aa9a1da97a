"""Steps with side effects in a phase that is run again after a failure."""

from __future__ import annotations

from collections.abc import Set

from taskmark.task.codes import Code
from taskmark.task.drafts import PhaseDraft
from taskmark.task.source_text import Findings


def check_effects(phase: PhaseDraft, effects: Set[str], findings: Findings) -> None:
    """Notes each step of a phase with a `retry` of its own whose tool may do harm when called again, and
    that has no `idempotencyKey`. The retry of a single step is left alone: its author looked at that step."""
    retry = phase.fields.get("retry")
    if retry is None or retry.max_attempts < 2:
        return
    for step in phase.steps:
        if step.kind != "tool" or step.value.value not in effects or "idempotencyKey" in step.places:
            continue
        message = f"`{step.value.value}` has side effects, and the phase's `retry` calls it again"
        hint = "give the step an `idempotencyKey` that the tool uses, or declare the tool `repeatable`"
        findings.add(Code.REPEATED_EFFECT, step.value.place(), message, hint)
