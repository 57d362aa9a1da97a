"""Which phases and steps run, as far as the inputs alone decide it; decided as the engine does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from taskmark.plan.graph import order

if TYPE_CHECKING:
    from collections.abc import Sequence

    from taskmark.plan.foresight import Foresight
    from taskmark.plan.preview import Decision
    from taskmark.task.model import Phase, Step, TaskDefinition


@dataclass(frozen=True)
class Verdict:
    """Whether a phase or step runs, and why not."""

    decision: Decision = "runs"
    reason: str = ""

    @property
    def is_idle(self) -> bool:
        """Whether nothing of it is called."""
        return self.decision == "skipped"


RUNS = Verdict()


class Verdicts:
    """The verdicts on one task."""

    def __init__(self, definition: TaskDefinition, foresight: Foresight) -> None:
        self._foresight = foresight
        self.phases: dict[str, Verdict] = {}
        """By slug."""
        known = {phase.slug: phase for phase in definition.phases}
        for slug in order(definition):
            self.phases[slug] = self._of_phase(known[slug])

    def of_step(self, step: Step, phase: str) -> Verdict:
        """Returns the verdict on a step of the phase; a validation is also checked."""
        if self.phases[phase].decision in ("skipped", "fails"):
            return Verdict("skipped", "its phase does not run")
        verdict = RUNS if step.condition is None else self._of_condition(step.condition)
        if step.kind != "validation" or verdict.decision != "runs":
            return verdict
        held = self._foresight.value(step.value)
        if not held.known or (held.value and held.problem is None):
            return verdict
        said = self._foresight.text(step.description) or f"not true: {step.value}"
        return Verdict("fails", held.problem or said)

    def _of_phase(self, phase: Phase) -> Verdict:
        """Decides by the `if` of the phase if it has one, else by the phases it depends on."""
        lost = self._among(phase, "skipped", "fails")
        if phase.condition is not None:
            return self._of_condition(phase.condition, lost)
        if lost:
            return Verdict("skipped", f"it depends on {', '.join(lost)}")
        unsure = self._among(phase, "open")
        return Verdict("open", f"it depends on {', '.join(unsure)}") if unsure else RUNS

    def _among(self, phase: Phase, *decisions: Decision) -> list[str]:
        return [slug for slug in phase.depends_on if self.phases[slug].decision in decisions]

    def _of_condition(self, condition: str, lost: Sequence[str] = ()) -> Verdict:
        found = self._foresight.value(condition)
        if not found.known:
            return Verdict("open", "its condition is known only then")
        if found.problem is None:
            return RUNS if found.value else Verdict("skipped", "its condition is false with these inputs")
        if lost:
            return Verdict("skipped", f"it depends on {', '.join(lost)}")
        return Verdict("fails", found.problem)
