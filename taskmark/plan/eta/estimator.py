"""The remaining time of an execution, with an interval: a pure function of what is to run, how far it is,
what is known of earlier ones, and the time."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from taskmark.contracts import Eta, StepStatus
from taskmark.plan.estimate import WINDOW, declared_eta, finish
from taskmark.plan.eta.course import along_the_graph
from taskmark.plan.eta.draws import NORMAL, Draws, order, quantiles
from taskmark.plan.eta.law import SHORTEST, logarithm
from taskmark.plan.eta.people import people_time
from taskmark.plan.eta.remaining import Remaining
from taskmark.plan.eta.stretch import stretch, stretched
from taskmark.plan.phases import Windows, phases_at_once

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from taskmark.contracts import StepState, Wait
    from taskmark.plan.eta.known import Known, Past
    from taskmark.task.model import TaskDefinition

CONFIDENCE = 0.8
_ROUGH = 0.1
"""What a rate of items is off by, on a logarithmic scale: some places are idle at the end."""
_OFF = 0.04
"""What everything together is off by at least, on the same scale: no model is exact."""


def estimate(
    definition: TaskDefinition,
    phase_states: Mapping[str, tuple[StepStatus, Mapping[str, StepState]]],
    past: Past | None,
    now: datetime,
    *,
    waiting: Sequence[Wait] = (),
    began: Mapping[str, datetime] | None = None,
) -> Eta:
    """Returns the remaining time of a task whose phases and steps stand so.

    `waiting` is what waits for people, `began` when the phases that run began. A phase without a state has
    not begun; while a task is paused, `now` is when that began. Without a past the estimate is the file's
    own, and claims nothing."""
    if past is None or not past.teaches:
        return declared_eta(definition, phase_states, {}, now)
    windows = Windows(definition, WINDOW)
    pace = past.pace.seen(_seen(definition, windows, past, phase_states, now))
    factors = _factors(pace.expected, pace.variance)
    remaining = Remaining(definition, windows, past, factors, now)
    left = {}
    for phase in definition.phases:
        status, states = phase_states.get(phase.slug, (StepStatus.PENDING, {}))
        if not status.is_final:
            left[phase.slug] = remaining.phase(phase, states, (began or {}).get(phase.slug))
    at_once = phases_at_once(definition, WINDOW)
    whole = along_the_graph(definition, left, at_once if at_once < WINDOW else None)
    ends = quantiles(whole, remaining.likely, ((1 - CONFIDENCE) / 2, 0.5, (1 + CONFIDENCE) / 2))
    factor = stretch(past.off, CONFIDENCE)
    outer = (stretched(ends[1], end, factor) for end in (ends[0], ends[2]))
    low, high, middle = (round(seconds, 3) for seconds in (*outer, ends[1]))
    basis = max(remaining.by_basis, key=remaining.by_basis.__getitem__, default="steps")
    return Eta(
        remaining_seconds=middle,
        low=low,
        high=high,
        confidence=None if basis == "declared" else CONFIDENCE,
        finish_at=finish(now, middle),
        basis=basis,
        samples=_samples(past, basis),
        stretch=round(factor, 3),
        people=people_time(definition, phase_states, waiting, past.people, now),
    )


def _seen(
    definition: TaskDefinition,
    windows: Windows,
    past: Past,
    phase_states: Mapping[str, tuple[StepStatus, Mapping[str, StepState]]],
    now: datetime,
) -> Iterator[tuple[float, float]]:
    """Yields by how much longer steps took than was expected, and how much of that is chance."""
    for phase in definition.phases:
        _, states = phase_states.get(phase.slug, (StepStatus.PENDING, {}))
        for state in states.values():
            known = past.steps.get(state.id)
            if known is None or known.basis != "steps" or state.started_at is None or state.attempt > 1:
                continue
            if state.items_done and not phase.parallel:
                yield _items_seen(known, state, windows.of(phase), now)
            elif state.status is StepStatus.COMPLETED and state.finished_at and not state.items_total:
                took = (state.finished_at - state.started_at).total_seconds()
                yield logarithm(took) - known.law.center, known.law.deviation**2


def _items_seen(known: Known, state: StepState, window: int, now: datetime) -> tuple[float, float]:
    """Returns the same of items: so many have ended meanwhile, and as many as have places run for a while."""
    assert state.started_at is not None
    took = ((state.finished_at or now) - state.started_at).total_seconds()
    total = state.items_total or state.items_done
    places = min(window, total)
    done = state.items_done + min(total - state.items_done, places) / 2
    ratio = max(took, SHORTEST) * places / (done * known.law.mean)
    return math.log(ratio), known.law.variation / done + _ROUGH**2


def _factors(expected: float, variance: float) -> Draws:
    """Returns how much longer than usual everything takes, in an order of its own."""
    deviation = math.sqrt(variance + _OFF**2)
    return [math.exp(expected + deviation * NORMAL[place]) for place in order(0)]


def _samples(past: Past, basis: str) -> int:
    if basis == "steps":
        return past.executions
    laws = {id(known.law): known.law for known in past.steps.values() if known.basis == basis}
    return sum(law.samples for law in laws.values())  # steps that use the same tool share one
