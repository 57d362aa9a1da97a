"""What is left of the phases of an execution, as it stands."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from taskmark.contracts import StepStatus
from taskmark.plan.eta import course
from taskmark.plan.eta.draws import DRAWS, MIDDLES, Draws, added, order
from taskmark.plan.eta.overhead import starts
from taskmark.plan.eta.tries import spent, trouble
from taskmark.plan.experience import used_by
from taskmark.task.model import GATES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from taskmark.contracts import StepState
    from taskmark.plan.eta.known import Known, Past
    from taskmark.plan.phases import Windows
    from taskmark.task.model import Json, Phase, Retry, Step, TaskDefinition

DETAILED = 2_000
"""After so many quantities further steps are only added up: an estimate has to take
milliseconds."""


class Remaining:
    """What is left of single phases. `likely` tells afterwards how likely each draw is, given how long the
    steps that run have run."""

    def __init__(
        self, definition: TaskDefinition, windows: Windows, past: Past, pace: Draws, now: datetime
    ) -> None:
        self._task, self._windows, self._past, self._pace, self._now = definition, windows, past, pace, now
        self.likely: Draws = [1.0] * DRAWS
        self.by_basis: dict[str, float] = {}
        """Seconds that are left, by what they rest on."""
        self._awaited: set[tuple[str, str]] = set()
        self._number = 0
        """Counts quantities, each of which is independent of the others."""

    def phase(self, phase: Phase, states: Mapping[str, StepState], began: datetime | None = None) -> Draws:
        """Returns the seconds that are left of a phase that has not ended; `began` says when it began, if it
        has."""
        if began is not None and not phase.for_each:
            states = _caught_up(phase, states, began, self._windows.of(phase))
        beyond = self._past.overhead * starts(phase, states)
        left = [seconds + beyond for seconds in self._steps(phase, states)]
        share = 1.0 if _has_begun(states) else self._past.phases.get(phase.slug, 1.0)
        return self._sometimes(left, share)

    def _steps(self, phase: Phase, states: Mapping[str, StepState]) -> Draws:
        window = self._windows.of(phase)
        if phase.for_each is not None:
            return self._lanes(phase, states, window)
        if phase.parallel:
            return self._parallel(phase, states, window)
        line, whole = course.Load(window=1), course.NOTHING
        for step in phase.steps:
            state = states.get(step.id)
            if _has_items(step, state):
                items = course.Load(window=window)
                self._load(items, step, state, phase)
                whole = added(whole, self._done(items))
            else:
                self._load(line, step, state, phase)
        return added(whole, self._done(line))

    def _parallel(self, phase: Phase, states: Mapping[str, StepState], window: int) -> Draws:
        """Returns what is left of steps side by side; aggregates come after the others."""
        load, last = course.Load(window=window), course.Load(window=1)
        for step in phase.steps:
            chosen = last if step.kind == "aggregate" else load
            self._load(chosen, step, states.get(step.id), phase)
        return added(self._done(load), self._done(last))

    def _lanes(self, phase: Phase, states: Mapping[str, StepState], window: int) -> Draws:
        """Returns what is left of a phase that runs once per item: of each step its items, within the
        places."""
        whole = course.NOTHING
        for step in phase.steps:
            load = course.Load(window=window)
            self._add_items(load, phase.for_each, states.get(step.id), self._past.of(step))
            whole = added(whole, self._done(load))
        return whole

    def _done(self, load: course.Load) -> Draws:
        return load.done(self._next(), self._pace)

    def _load(self, load: course.Load, step: Step, state: StepState | None, phase: Phase) -> None:
        """Adds what is left of a step."""
        if (state is not None and state.status.is_final) or step.kind in GATES:
            return
        known = self._past.of(step)
        if _has_items(step, state):
            self._add_items(load, step.for_each, state, known)
        elif state is not None and state.status is StepStatus.RUNNING and state.started_at is not None:
            load.begun.append(self._begun(known, step.retry or self._task.retry, state))
        elif len(load.waiting) < load.exact and self._number < DETAILED:
            load.waiting.append(self._whole(known, self._held(step, phase)))
        else:
            load.add_one(known.whole)
            self._count(known, known.whole.mean)

    def _add_items(self, load: course.Load, listed: Json, state: StepState | None, known: Known) -> None:
        """Adds the items that are left of a step. Of those that run nobody here knows since when: each is
        taken to be somewhere in its midst, and long ones are met there more often than short ones."""
        done = state.items_done if state is not None else 0
        left = [max(count - done, 0.0) for count in self._counts(listed, state, known)]
        begun = int(min(*left, load.window)) if state is not None and state.started_at is not None else 0
        longer = 1 + known.law.variation if begun else 1.0
        for _ in range(begun):
            drawn, shares = known.law.drawn(self._next(), self._pace), order(self._next())
            load.begun.append(
                [value * longer * MIDDLES[share] for value, share in zip(drawn, shares, strict=True)]
            )
        load.add_many(known.law, [count - begun for count in left], self._next(), self._pace)
        self._count(known, math.fsum(left) / DRAWS * known.law.mean / load.window)

    def _counts(self, listed: Json, state: StepState | None, known: Known) -> Draws:
        """Returns how many items there are: as far as it is known now, else as in the file, else as
        before."""
        if state is not None and state.items_total is not None:
            return [float(state.items_total)] * DRAWS
        if isinstance(listed, list | tuple):
            return [float(len(listed))] * DRAWS
        before = sorted(known.items) or [1]
        return [float(before[place * len(before) // DRAWS]) for place in order(self._next())]

    def _next(self) -> int:
        self._number += 1
        return self._number

    def _held(self, step: Step, phase: Phase) -> float:
        """Returns the seconds until what a step uses may be asked again. Who waits for it first waits
        alone, for those after it find it open."""
        for used in used_by(step, phase, self._task) if self._past.held else ():
            until = self._past.held.get(used)
            if until is not None and used not in self._awaited:
                self._awaited.add(used)
                return max(0.0, (until - self._now).total_seconds())
        return 0.0

    def _whole(self, known: Known, held: float = 0.0) -> Draws:
        drawn = known.whole.drawn(self._next(), self._pace)
        if held:
            drawn = [seconds + held for seconds in drawn]
        return self._counted(known, self._sometimes(drawn, known.runs))

    def _sometimes(self, drawn: Draws, share: float) -> Draws:
        """Returns a quantity that is there only in such a share of all cases."""
        if share >= 1.0:
            return drawn
        bound, places = share * DRAWS, order(self._next())
        return [value if place < bound else 0.0 for value, place in zip(drawn, places, strict=True)]

    def _begun(self, known: Known, retry: Retry, state: StepState) -> Draws:
        """Returns what is left of a step that runs: of the attempt at hand, and of further ones if it
        fails."""
        assert state.started_at is not None
        attempt = max(state.attempt, 1)
        since = (self._now - state.started_at).total_seconds()
        ran = max(0.0, since - spent(known.failing, retry, attempt))
        left, likely = known.law.left(self._next(), self._pace, ran)
        self.likely = [a * b for a, b in zip(self.likely, likely, strict=True)]
        to_come = known.trouble if attempt == 1 else trouble(known.fails, known.failing, retry, attempt - 1)
        return self._counted(known, self._with_trouble(left, to_come))

    def _with_trouble(self, drawn: Draws, costs: Sequence[float]) -> Draws:
        if not costs:
            return drawn
        return [value + costs[place] for value, place in zip(drawn, order(self._next()), strict=True)]

    def _counted(self, known: Known, drawn: Draws) -> Draws:
        self._count(known, math.fsum(drawn) / DRAWS)
        return drawn

    def _count(self, known: Known, seconds: float) -> None:
        self.by_basis[known.basis] = self.by_basis.get(known.basis, 0.0) + seconds


def _has_items(step: Step, state: StepState | None) -> bool:
    """Whether it is many of one kind. An instruction is not, however many agents it goes to: what it took
    is known of all of them together."""
    if step.kind == "plain" and step.for_each is None:
        return False
    return step.for_each is not None or (state is not None and state.items_total is not None)


def _has_begun(states: Mapping[str, StepState]) -> bool:
    return any(state.status is not StepStatus.PENDING for state in states.values())


def _caught_up(
    phase: Phase, states: Mapping[str, StepState], began: datetime, window: int
) -> Mapping[str, StepState]:
    """Returns the states of a phase in which something must run by now, though nobody has told it yet: what
    is next began when the last one ended."""
    if any(state.status in (StepStatus.RUNNING, StepStatus.WAITING) for state in states.values()):
        return states
    since = max([began, *(state.finished_at for state in states.values() if state.finished_at)])
    waiting = [step for step in phase.steps if step.id in states and not states[step.id].status.is_final]
    found = dict(states)
    for step in waiting[: window if phase.parallel else 1]:
        if step.kind not in GATES and step.kind != "aggregate":
            begun = {"status": StepStatus.RUNNING, "started_at": since, "attempt": 1}
            found[step.id] = states[step.id].model_copy(update=begun)
    return found
