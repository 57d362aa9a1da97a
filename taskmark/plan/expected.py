"""How long the phases and steps of a run are expected to take, before anything of it has begun."""

from __future__ import annotations

import math
from datetime import datetime
from typing import TYPE_CHECKING

from taskmark.plan.estimate import WINDOW, declared_eta
from taskmark.plan.eta.estimator import estimate
from taskmark.plan.eta.known import learn
from taskmark.plan.experience import with_experience
from taskmark.plan.phases import Windows, phases_at_once
from taskmark.plan.progress import agents_of, expected_seconds
from taskmark.plan.schedule import schedule

if TYPE_CHECKING:
    from taskmark.contracts import Eta
    from taskmark.plan.experience import Experience
    from taskmark.plan.foresight import Foresight
    from taskmark.plan.verdicts import Verdicts
    from taskmark.task.model import Json, Phase, Step, TaskDefinition

_BEGINNING = datetime(1970, 1, 1)


class Expected:
    """Times of one task under one set of inputs; what is skipped takes none."""

    def __init__(
        self, definition: TaskDefinition, foresight: Foresight, verdicts: Verdicts, experience: Experience
    ) -> None:
        self._task, self._foresight, self._verdicts = definition, foresight, verdicts
        self._experience = experience
        self._windows = Windows(definition, WINDOW)
        self._timed = with_experience(definition, experience, foresight.agents)
        self._known = {step.id: step for phase in self._timed.phases for step in phase.steps}
        self.seconds = {phase.slug: self._of_phase(phase) for phase in self._timed.phases}
        """Of phases, by slug."""
        self.schedule = schedule(definition, self.seconds)

    def whole(self) -> float:
        """Returns the seconds of the task: of its critical path, or of all its work if few phases may run
        at once."""
        work = math.fsum(self.seconds.values()) / phases_at_once(self._task, WINDOW)
        return round(max(self.schedule.seconds, work), 3)

    def eta(self) -> Eta | None:
        """Returns what the estimator says of all of it, or None if no earlier run teaches anything."""
        phases = tuple(self._to_come(phase) for phase in self._task.phases)
        definition = self._task.model_copy(update={"phases": phases})
        found = estimate(definition, {}, learn(definition, self._experience), _BEGINNING)
        return None if found.confidence is None else found.model_copy(update={"finish_at": None})

    def _to_come(self, phase: Phase) -> Phase:
        """Returns a phase without the steps that are skipped, and with the items that are known."""
        if self._verdicts.phases[phase.slug].is_idle:
            return phase.model_copy(update={"steps": ()})
        of_step = self._verdicts.of_step
        steps = (step for step in phase.steps if not of_step(step, phase.slug).is_idle)
        listed = tuple(step.model_copy(update={"for_each": self._listed(step.for_each)}) for step in steps)
        return phase.model_copy(update={"steps": listed, "for_each": self._listed(phase.for_each)})

    def _listed(self, for_each: Json) -> Json:
        items = None if for_each is None else self._foresight.items(for_each)
        return for_each if items is None else list(items)

    def of_step(self, step: Step, phase: Phase) -> float:
        """Returns the seconds of a step with all its items."""
        if self._verdicts.of_step(step, phase.slug).is_idle:
            return 0.0
        return round(self._work(self._known[step.id], phase), 3)

    def items(self, for_each: Json) -> int | None:
        """Returns how many items a `forEach` has, or None if it is none or that is not known."""
        items = None if for_each is None else self._foresight.items(for_each)
        return None if items is None else len(items)

    def _of_phase(self, phase: Phase) -> float:
        if self._verdicts.phases[phase.slug].is_idle:
            return 0.0
        idle = self._verdicts.of_step
        steps = tuple(self._measured(step) for step in phase.steps if not idle(step, phase.slug).is_idle)
        alone = phase.model_copy(update={"depends_on": (), "steps": steps})
        part = self._timed.model_copy(update={"phases": (alone,)})
        once = declared_eta(part, {}, {}, _BEGINNING, self._windows).remaining_seconds
        return round(self._per_item(once, alone), 3)

    def _measured(self, step: Step) -> Step:
        """Returns the step with the items of its `forEach` in place of the expression, if they are known."""
        if not isinstance(step.for_each, str):
            return step
        items = self._foresight.items(step.for_each)
        return step.model_copy(update={"for_each": None if items is None else list(items)})

    def _per_item(self, once: float, phase: Phase) -> float:
        """Returns the seconds of a phase with `forEach`, whose items run side by side within the limits."""
        lanes = self.items(phase.for_each)
        if lanes is None:
            return once
        work = math.fsum(self._work(step, phase) for step in phase.steps)
        return max(once, lanes * work / self._windows.of(phase)) if lanes else 0.0

    def _work(self, step: Step, phase: Phase) -> float:
        items = self.items(step.for_each)
        seconds = expected_seconds(step, agents_of(phase, self._task.default_agents))
        return seconds if items is None else seconds * items
