"""How long people will take at the gates to come, as they took before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskmark.contracts import PeopleTime, StepStatus
from taskmark.plan.eta.draws import DRAWS, added, quantiles
from taskmark.plan.eta.law import learned, logarithm
from taskmark.task.model import GATES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from taskmark.contracts import StepState, Wait
    from taskmark.task.model import TaskDefinition

_USUAL = 1.2
"""People's times deviate by a factor of three."""


def people_time(
    definition: TaskDefinition,
    phase_states: Mapping[str, tuple[StepStatus, Mapping[str, StepState]]],
    waiting: Sequence[Wait],
    people: Mapping[str, Sequence[float]],
    now: datetime,
) -> PeopleTime | None:
    """Returns it for all gates to come one after another, or None if nothing is known of any."""
    since = {wait.step or wait.phase: wait.since for wait in waiting}
    whole, samples, likely = [0.0] * DRAWS, 0, [1.0] * DRAWS
    for number, gate in enumerate(_gates(definition, phase_states), 1):
        seconds = people.get(gate)
        if not seconds:
            continue
        samples += len(seconds)
        law = learned([logarithm(one) for one in seconds], _USUAL)
        waited = max(0.0, (now - since[gate]).total_seconds()) if gate in since else 0.0
        left, weights = law.left(7919 * number, [1.0] * DRAWS, waited)
        whole = added(whole, left)
        likely = [a * b for a, b in zip(likely, weights, strict=True)]
    if not samples:
        return None
    low, middle, high = quantiles(whole, likely, (0.1, 0.5, 0.9))
    return PeopleTime(seconds=round(middle, 3), low=round(low, 3), high=round(high, 3), samples=samples)


def _gates(
    definition: TaskDefinition, phase_states: Mapping[str, tuple[StepStatus, Mapping[str, StepState]]]
) -> Iterator[str]:
    for phase in definition.phases:
        status, states = phase_states.get(phase.slug, (StepStatus.PENDING, {}))
        if status.is_final:
            continue
        yield phase.slug
        for step in phase.steps:
            state = states.get(step.id)
            if step.kind in GATES and not (state is not None and state.status.is_final):
                yield step.id
