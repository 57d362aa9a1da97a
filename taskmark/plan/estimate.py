"""When a task will be done, as far as its own declarations tell.

The remaining time is the longest way through what is left. It knows nothing of earlier runs: the
basis is `declared`, the interval is wide, and no confidence is claimed. How long people take at gates
is not in it.
"""

from __future__ import annotations

import math
from datetime import timedelta
from typing import TYPE_CHECKING

from taskmark.contracts import Eta, StepStatus
from taskmark.plan.graph import critical_path
from taskmark.plan.phases import Windows, phases_at_once
from taskmark.plan.progress import agents_of, expected_seconds

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from taskmark.contracts import StepState
    from taskmark.task.model import Phase, Step, TaskDefinition

WINDOW = 80
"""Steps side by side when nothing else limits them."""
_LOW, _HIGH = 1 / 3, 4.0
"""Declarations are often wrong by that much; the interval says so."""
_OVERDUE = 0.25
"""Of its time so far, what a step that is overdue is expected to take yet: the later, the longer."""

_CENTURY = 100 * 366 * 86_400.0
"""Seconds beyond which a date says nothing."""


def declared_eta(
    definition: TaskDefinition,
    phase_states: Mapping[str, tuple[StepStatus, Mapping[str, StepState]]],
    started: Mapping[str, datetime],
    now: datetime,
    windows: Windows | None = None,
) -> Eta:
    """Returns the remaining time of a task from declared and expected durations.

    `started` says when running steps began, by id, moved by the time they stood still in a pause; a
    step that is not in it began when its state says. `windows` are those of a whole that this is a part of.
    """
    windows = windows or Windows(definition, WINDOW)
    left: dict[str, float] = {}
    for phase in definition.phases:
        status, states = phase_states.get(phase.slug, (StepStatus.PENDING, {}))
        if not status.is_final:
            left[phase.slug] = _Remaining(
                definition, phase, states, started, now, window=windows.of(phase)
            ).seconds()
    seconds = critical_path(definition, left)
    seconds = max(seconds, math.fsum(left.values()) / phases_at_once(definition, WINDOW))
    return Eta(
        remaining_seconds=round(seconds, 3),
        low=round(seconds * _LOW, 3),
        high=round(seconds * _HIGH, 3),
        finish_at=finish(now, seconds),
        basis="declared",
        samples=0,
    )


def finish(now: datetime, seconds: float) -> datetime | None:
    """Returns the moment so many seconds ahead, or None where a date would say nothing."""
    return now + timedelta(seconds=seconds) if seconds < _CENTURY else None


class _Remaining:
    """What is left of one phase."""

    def __init__(
        self,
        definition: TaskDefinition,
        phase: Phase,
        states: Mapping[str, StepState],
        started: Mapping[str, datetime],
        now: datetime,
        *,
        window: int,
    ) -> None:
        self.phase, self.states, self.started, self.now = phase, states, started, now
        self.agents = agents_of(phase, definition.default_agents)
        self.window = window

    def seconds(self) -> float:
        """Returns the seconds: in a parallel phase steps run at once, and aggregates after the others."""
        pairs = [(step, self._step(step)) for step in self.phase.steps]
        if not self.phase.parallel:
            return math.fsum(left for _, left in pairs)
        others = [left for step, left in pairs if step.kind != "aggregate"]
        aggregates = math.fsum(left for step, left in pairs if step.kind == "aggregate")
        return max(max(others, default=0.0), math.fsum(others) / self.window) + aggregates

    def _step(self, step: Step) -> float:
        state = self.states.get(step.id)
        if state is not None and state.status.is_final:
            return 0.0
        expected = expected_seconds(step, self.agents)
        ran = self._ran(step.id, state)
        items = _items(step, state)
        if items is None:
            return expected if ran is None else max(expected - ran, _OVERDUE * max(expected, ran))
        done = state.items_done if state is not None else 0
        if done and ran is not None:
            return max(0, items - done) * ran / done
        return math.ceil(max(0, items - done) / self.window) * expected

    def _ran(self, step: str, state: StepState | None) -> float | None:
        """Returns how long a running step has run, or nothing if it does not."""
        if state is None or state.status is not StepStatus.RUNNING:
            return None
        began = self.started.get(step, state.started_at)
        return None if began is None else max(0.0, (self.now - began).total_seconds())


def _items(step: Step, state: StepState | None) -> int | None:
    """Returns how many items a `forEach` has, as far as that is known."""
    if state is not None and state.items_total is not None:
        return state.items_total
    return len(step.for_each) if isinstance(step.for_each, list) else None
