"""What a drawing of a task shows, whatever it is drawn as: phases, what they wait for, and their states."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from taskmark.plan.graph import waves
from taskmark.task.model import GATES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from taskmark.task.model import Phase, TaskDefinition

MARKS = {
    "pending": "·",
    "running": "▶",
    "waiting": "⏸",
    "completed": "✓",
    "failed": "✗",
    "skipped": "–",
    "cancelled": "⊘",
}
"""A symbol per state, because not everybody sees colours."""


@dataclass(frozen=True)
class Box:
    """One phase."""

    slug: str
    name: str
    needs: tuple[str, ...] = ()
    """Slugs of what it depends on."""
    note: str = ""
    status: str = ""
    """Empty where nothing runs."""


@dataclass(frozen=True)
class Picture:
    """A task: its phases in waves."""

    title: str
    waves: tuple[tuple[Box, ...], ...]
    status: str = ""
    """Of the execution; empty for a file."""

    @property
    def boxes(self) -> tuple[Box, ...]:
        """All phases, wave by wave."""
        return tuple(box for wave in self.waves for box in wave)

    def with_states(self, status: str, states: Mapping[str, tuple[str, str]]) -> Picture:
        """Returns the picture of an execution: `states` has the state of each phase that has one by slug, and
        what is to be noted instead, if anything. What has none is pending."""
        nothing = ("pending", "")

        def stated(box: Box) -> Box:
            state, note = states.get(box.slug, nothing)
            return replace(box, status=state, note=note or box.note)

        waves = tuple(tuple(stated(box) for box in wave) for wave in self.waves)
        return replace(self, waves=waves, status=status)


def picture_of(definition: TaskDefinition) -> Picture:
    """Returns the picture of a task that does not run."""
    known = {phase.slug: phase for phase in definition.phases}
    groups = tuple(tuple(_box(known[slug]) for slug in wave) for wave in waves(definition))
    return Picture(definition.name, groups)


def picture_of_plan(plan: Mapping[str, Any]) -> Picture:
    """Returns the picture of a running execution from its answer to the query `plan`."""
    boxes = {
        one["slug"]: Box(
            one["slug"],
            one["name"],
            tuple(dict.fromkeys(one["dependsOn"])),
            _counted(len(one["steps"]), "step"),
        )
        for one in plan["phases"]
    }
    return Picture(plan["task"] or "", tuple(tuple(boxes[slug] for slug in wave) for wave in plan["waves"]))


def _box(phase: Phase) -> Box:
    parts = [_counted(len(phase.steps), "step")]
    parts += ["side by side"] if phase.parallel and len(phase.steps) > 1 else []
    parts += ["for each item"] if phase.for_each is not None else []
    parts += ["conditional"] if phase.condition is not None else []
    gates = sum(step.kind in GATES for step in phase.steps)
    parts += [_counted(gates, "gate")] if gates else []
    return Box(phase.slug, phase.name, tuple(dict.fromkeys(phase.depends_on)), ", ".join(parts))


def _counted(count: int, word: str) -> str:
    return f"{count:,} {word}{'' if count == 1 else 's'}"
