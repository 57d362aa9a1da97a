"""Progress as lines, for pipes and logs: one line per change, and never a flood."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING

from starter.cli.outlook import Part, Worth, afterwards, fitted, remaining, time_for_people
from starter.cli.picture import attempt, decisions, paused
from starter.cli.printable import duration, one_line
from starter.cli.terminal import say

if TYPE_CHECKING:
    from starter.beats import Beats
    from taskmark.contracts import PhaseView, Progress, StepView, Wait

FEW_STEPS = 20
"""Each step of a phase with so many is told; of larger ones only failures, and every tenth part."""
SAID_SECONDS = 10.0
"""Between two messages of one step, however much it says."""
_ENDED = ("completed", "failed", "skipped", "cancelled")


class PlainView:
    """Tells what changed since it was shown last."""

    def __init__(
        self, tell: Callable[[str], None] = say, clock: Callable[[], datetime] | None = None
    ) -> None:
        self._tell = tell
        self._clock = clock or datetime.now
        self._before: Progress | None = None
        self._trouble = ""
        self._said: dict[tuple[str, str], tuple[str, datetime]] = {}
        """What each step said when it was told last."""

    def __enter__(self) -> PlainView:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, progress: Progress) -> None:
        """Tells the changes."""
        self._trouble = ""
        for line in changes(self._before, progress):
            self._line(line)
        self._before = progress

    def hear(self, beats: Beats) -> None:
        """Tells what running steps say, if it is new, and of each at most every ten seconds."""
        for phase in self._before.phases if self._before else ():
            for step in phase.steps if _has_few(phase) else ():
                beat = beats.get((phase.slug, step.id))
                if beat and beat.said and step.status == "running":
                    self._tell_said((phase.slug, step.id), one_line(beat.said), phase, step)

    def _tell_said(self, key: tuple[str, str], said: str, phase: PhaseView, step: StepView) -> None:
        now, (told, at) = self._clock(), self._said.get(key, ("", None))
        if said != told and (at is None or (now - at).total_seconds() >= SAID_SECONDS):
            self._said[key] = (said, now)
            self._line(f"step {one_line(phase.name)}: {one_line(step.name)} says: {said}")

    def announce(self, message: str) -> None:
        """Tells it."""
        self._line(message)

    def trouble(self, message: str) -> None:
        """Tells why there is no newer progress, once."""
        if message != self._trouble:
            self._line(message)
        self._trouble = message

    def draw(self) -> None:
        """Does nothing: what is told is told."""

    def close(self) -> None:
        """Does nothing."""

    def _line(self, text: str) -> None:
        self._tell(f"{self._clock():%H:%M:%S} {text}")


def changes(before: Progress | None, after: Progress) -> Iterator[str]:
    """Yields one line per change of the execution, a phase, a step or what waits."""
    if before is None and not after.status.is_final:
        yield from _of_execution(before, after)
    known = {phase.slug: phase for phase in before.phases} if before else {}
    for phase in after.phases:
        yield from _of_phase(known.get(phase.slug), phase)
    if before is not None or after.status.is_final:
        yield from _of_execution(before, after)
    yield from _of_estimate(before, after)
    yield from _of_budget(before, after)
    waited = {(wait.kind, wait.key, wait.since) for wait in before.waiting} if before else set()
    for wait in after.waiting:
        if (wait.kind, wait.key, wait.since) not in waited:
            yield from _of_wait(after, wait)


def _of_estimate(before: Progress | None, after: Progress) -> Iterator[str]:
    """Yields the first estimate, and the first that was measured; how it moves is announced."""
    if after.eta is None or after.status.value != "running":
        return
    known = before.eta if before and before.status.value == "running" else None
    if known is None or (known.confidence is None and after.eta.confidence is not None):
        people = fitted([*time_for_people(after)])
        yield f"{remaining(after.eta)} {people}".rstrip()


def _of_budget(before: Progress | None, after: Progress) -> Iterator[str]:
    """Yields the limits of the budget of which 75 % or 90 % have come to be used."""
    for name, view in after.budget.items():
        past = before.budget.get(name) if before else None
        for share in (0.9, 0.75):
            least = share * view.limit
            if view.used >= least and (past is None or past.used < share * past.limit):
                yield f"budget {name}: {view.used:g} of {view.limit:g} used ({view.used / view.limit:.0%})"
                break


def _of_execution(before: Progress | None, after: Progress) -> Iterator[str]:
    if before is None or before.status != after.status:
        status = after.status.value.replace("_", " ")
        why = paused(after.paused) if after.paused else ""
        told = Part(f"task {one_line(after.task or after.execution_id)} {status}{why}", Worth.KEPT)
        yield fitted([told, *afterwards(after)])


def _of_phase(before: PhaseView | None, after: PhaseView) -> Iterator[str]:
    name = one_line(after.name)
    was, now = (before.status.value if before else "pending"), after.status.value
    if was == "pending" and now not in ("pending", "skipped"):
        yield f"phase {name} started"
    if before and after.attempt > max(before.attempt, 1):
        yield f"phase {name} starts again, attempt {after.attempt}"
    if now != "skipped":  # else none of its steps had a chance
        yield from _of_steps(before, after)
    if was != now and now in _ENDED:
        yield f"phase {name} {now}{_took(after)}"


def _of_steps(before: PhaseView | None, after: PhaseView) -> Iterator[str]:
    known = {step.id: step for step in before.steps} if before else {}
    few = _has_few(after)
    for step in after.steps:
        yield from _of_step(known.get(step.id), step, one_line(after.name), few=few)
    if not few and (tenth := _tenth(after)) > (_tenth(before) if before else 0):
        yield f"phase {one_line(after.name)} {tenth * 10} %"


def _of_step(before: StepView | None, after: StepView, phase: str, *, few: bool) -> Iterator[str]:
    was, now = (before.status.value if before else "pending"), after.status.value
    name = f"{phase}: {one_line(after.name)}"
    if after.attempt > max(before.attempt if before else 0, 1):
        yield f"step {name}, attempt {attempt(after)}{_because(after.error)}"
    if was == now:
        return
    if now == "failed":
        yield f"step {name} failed{_took(after)}: {one_line(after.error or 'no reason given')}"
    elif after.fallback and now == "completed":
        yield f"step {name} completed with its fallback{_took(after)}{_because(after.fallback_for)}"
    elif few and now in ("completed", "cancelled"):
        yield f"step {name} {now}{_took(after)}"
    elif few and now == "skipped":
        yield f"step {name} skipped{_because(after.reason)}"


def _has_few(phase: PhaseView) -> bool:
    return sum(phase.counts.values()) <= FEW_STEPS


def _because(reason: str | None) -> str:
    return f": {one_line(reason)}" if reason else ""


def _of_wait(progress: Progress, wait: Wait) -> Iterator[str]:
    yield f"waiting for {wait.kind} “{one_line(wait.name)}”: {one_line(wait.prompt)}"
    for words in decisions(progress.execution_id, wait, progress.waiting):
        yield f"    {words}"


def _took(view: PhaseView | StepView) -> str:
    if view.started_at is None or view.finished_at is None:
        return ""
    return f" after {duration((view.finished_at - view.started_at).total_seconds())}"


def _tenth(phase: PhaseView) -> int:
    total = sum(phase.counts.values())
    return sum(phase.counts.get(status, 0) for status in _ENDED) * 10 // total if total else 0
