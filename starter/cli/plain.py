"""Progress as lines, for pipes and logs: one line per change, and never a flood."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING

from starter.cli.picture import decisions
from starter.cli.printable import duration, one_line
from starter.cli.terminal import say

if TYPE_CHECKING:
    from taskmark.contracts import PhaseView, Progress, StepView, Wait

FEW_STEPS = 20
"""Each step of a phase with so many is told; of larger ones only failures, and every tenth part."""
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
    waited = {(wait.kind, wait.name, wait.since) for wait in before.waiting} if before else set()
    for wait in after.waiting:
        if (wait.kind, wait.name, wait.since) not in waited:
            yield from _of_wait(after.execution_id, wait)


def _of_execution(before: Progress | None, after: Progress) -> Iterator[str]:
    if before is None or before.status != after.status:
        status = after.status.value.replace("_", " ")
        reason = f": {one_line(after.paused.reason)}" if after.paused and after.paused.reason else ""
        yield f"task {one_line(after.task or after.execution_id)} {status}{reason}"


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
    few = sum(after.counts.values()) <= FEW_STEPS
    for step in after.steps:
        yield from _of_step(known.get(step.id), step, one_line(after.name), few=few)
    if not few and (tenth := _tenth(after)) > (_tenth(before) if before else 0):
        yield f"phase {one_line(after.name)} {tenth * 10} %"


def _of_step(before: StepView | None, after: StepView, phase: str, *, few: bool) -> Iterator[str]:
    was, now = (before.status.value if before else "pending"), after.status.value
    name = f"{phase}: {one_line(after.name)}"
    if after.attempt > max(before.attempt if before else 0, 1):
        yield f"step {name}, attempt {after.attempt}{_because(after.error)}"
    if was == now:
        return
    if now == "failed":
        yield f"step {name} failed{_took(after)}: {one_line(after.error or 'no reason given')}"
    elif few and now in ("completed", "cancelled"):
        yield f"step {name} {now}{_took(after)}"
    elif few and now == "skipped":
        yield f"step {name} skipped{_because(after.reason)}"


def _because(reason: str | None) -> str:
    return f": {one_line(reason)}" if reason else ""


def _of_wait(execution: str, wait: Wait) -> Iterator[str]:
    yield f"waiting for {wait.kind} “{one_line(wait.name)}”: {one_line(wait.prompt)}"
    for words in decisions(execution, wait):
        yield f"    {words}"


def _took(view: PhaseView | StepView) -> str:
    if view.started_at is None or view.finished_at is None:
        return ""
    return f" after {duration((view.finished_at - view.started_at).total_seconds())}"


def _tenth(phase: PhaseView) -> int:
    total = sum(phase.counts.values())
    return sum(phase.counts.get(status, 0) for status in _ENDED) * 10 // total if total else 0
