"""What the live view shows, as rows that fit the height of the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from starter.cli.printable import duration, one_line, rough
from starter.cli.terminal import command

if TYPE_CHECKING:
    from taskmark.contracts import Eta, PhaseView, Progress, StepView, Wait

PLAIN_MARKS = {
    "pending": ".",
    "running": ">",
    "waiting": "?",
    "completed": "+",
    "failed": "x",
    "skipped": "-",
    "cancelled": "o",
}
_URGENCY = ("waiting", "failed", "running", "cancelled", "pending", "skipped", "completed")
"""Which steps are shown first where not all have room."""


@dataclass(frozen=True)
class Row:
    """One line about a phase or a step."""

    status: str
    text: str
    level: int = 0
    share: float | None = None
    """Done, from 0 to 1; only phases that run have it."""
    count: str = ""
    note: str = ""
    seconds: float | None = None
    command: str = ""
    """What to type; it is never cut off."""


def rows(progress: Progress, now: datetime, height: int) -> list[Row]:
    """Returns the phases, and as many of their steps as there is room for; the most urgent ones first."""
    phases = [(phase, phase_row(phase, now)) for phase in progress.phases]
    waits = [row for wait in progress.waiting for row in wait_rows(progress.execution_id, wait, now)]
    room = height - len(phases) - len(waits)
    if room < 0:
        return [*_collapsed([row for _, row in phases], max(height - len(waits), 3)), *waits]
    chosen = _chosen(progress.phases, room)
    found: list[Row] = []
    for phase, row in phases:
        found.append(row)
        found += _steps(phase, chosen.get(phase.slug, frozenset()), now)
    return [*found, *waits]


def _chosen(phases: Sequence[PhaseView], room: int) -> dict[str, frozenset[str]]:
    """Returns the ids of the steps that have room, per phase. One line per phase counts the others."""
    shown = [phase for phase in phases if phase.status in ("running", "waiting", "failed", "cancelled")]
    candidates = [
        (_URGENCY.index(step.status), phase.slug, step.id) for phase in shown for step in phase.steps
    ]
    if len(candidates) > room:
        room -= len(shown)
    chosen: dict[str, frozenset[str]] = {phase.slug: frozenset() for phase in shown}
    for _, slug, step in sorted(candidates, key=lambda one: one[0])[: max(room, 0)]:
        chosen[slug] |= {step}
    return chosen if room > 0 else {}


def _steps(phase: PhaseView, chosen: frozenset[str], now: datetime) -> Iterator[Row]:
    yield from (step_row(step, now) for step in phase.steps if step.id in chosen)
    hidden = [step.status.value for step in phase.steps if step.id not in chosen]
    if chosen and hidden:
        counts = ", ".join(f"{hidden.count(status)} {status}" for status in _URGENCY if status in hidden)
        yield Row("", f"… {counts}", level=1)


def _collapsed(phases: list[Row], height: int) -> list[Row]:
    """Returns the phases that matter now, and how many come before and after."""
    ended = [row for row in phases if row.status in ("completed", "skipped")]
    active = [row for row in phases if row.status not in ("completed", "skipped", "pending")]
    coming = [row for row in phases if row.status == "pending"]
    found = [Row("completed", f"{len(ended)} phases ended")] if ended else []
    active = active[: max(height - 2, 1)]
    found += active
    room = max(height - len(found) - 1, 0)
    found += coming[:room]
    if len(coming) > room:
        found.append(Row("", f"… {len(coming) - room} more phases"))
    return found


def phase_row(phase: PhaseView, now: datetime) -> Row:
    """Returns the line about a phase."""
    total = sum(phase.counts.values())
    ended = sum(phase.counts.get(status, 0) for status in ("completed", "failed", "skipped", "cancelled"))
    notes = [f"attempt {phase.attempt}"] if phase.attempt > 1 else []
    if phase.status in ("skipped", "cancelled"):
        notes.append(phase.status.value)
    if failed := phase.counts.get("failed", 0):
        notes.append(f"{failed} failed")
    return Row(
        phase.status.value,
        one_line(phase.name),
        share=max(phase.percent / 100, ended / max(total, 1)) if phase.status == "running" else None,
        count=f"{ended}/{total}" if total else "",
        note=" · ".join(notes),
        seconds=_seconds(phase.started_at, phase.finished_at, now),
    )


def step_row(step: StepView, now: datetime) -> Row:
    """Returns the line about a step: what it is, at which attempt, and what went wrong last."""
    notes = [f"attempt {step.attempt}"] if step.attempt > 1 else []
    notes += [one_line(step.error)] if step.error else []
    kind = "" if step.kind == "plain" else f"{step.kind}: "
    return Row(
        step.status.value,
        f"{kind}{one_line(step.name)}",
        level=1,
        note=" · ".join(notes),
        seconds=_seconds(step.started_at, step.finished_at, now) if step.started_at else None,
    )


def wait_rows(execution: str, wait: Wait, now: datetime) -> Iterator[Row]:
    """Yields what waits for a person, and the exact command that decides it."""
    since = _seconds(wait.since, None, now)
    head = Row("waiting", f"{wait.kind} “{one_line(wait.name)}”: {one_line(wait.prompt)}", seconds=since)
    if wait.deadline is not None:
        left = (wait.deadline - now).total_seconds()
        head = replace(head, note=f"until {wait.deadline.astimezone():%H:%M:%S}" if left > 0 else "")
    yield head
    for words in decisions(execution, wait):
        yield Row("", "", level=1, command=words)


def decisions(execution: str, wait: Wait) -> list[str]:
    """Returns the commands that decide what waits."""
    by = ["--by", wait.approvers[0]] if wait.approvers else []
    match wait.kind:
        case "approval":
            return [
                command("approve", execution, wait.name, *by),
                command("reject", execution, wait.name, *by, "--comment", "why"),
            ]
        case "question":
            return [command("answer", execution, wait.name, _example(wait), *by)]
        case "retry":
            return [command("retry", execution, wait.name), command("skip", execution, wait.name)]
        case _:
            return [command("abort", execution)]


def _example(wait: Wait) -> str:
    choices = (wait.answer_schema or {}).get("enum")
    return str(choices[0]) if isinstance(choices, list) and choices else "VALUE"


def headline(progress: Progress, now: datetime) -> str:
    """Returns percent, elapsed time and what is known of the end."""
    parts = [f"{progress.percent:.0f} %"]
    if progress.started_at:
        end = progress.updated_at if progress.status.is_final else None
        parts.append(duration(_seconds(progress.started_at, end, now) or 0))
    if progress.status.value not in ("running", "completed"):
        parts.append(progress.status.value.replace("_", " "))
    if progress.paused is not None:
        parts[-1] += _why(progress)
    elif progress.eta is not None and progress.status.value == "running":
        parts.append(remaining(progress.eta))
    return " · ".join(parts)


def _why(progress: Progress) -> str:
    assert progress.paused is not None
    by = f" by {one_line(progress.paused.by)}" if progress.paused.by else ""
    reason = f": {one_line(progress.paused.reason)}" if progress.paused.reason else ""
    flight = f" ({progress.in_flight} in flight)" if progress.in_flight else ""
    return f"{by}{reason}{flight}"


def remaining(eta: Eta) -> str:
    """Returns the estimate in words, and no more certain than it is."""
    if eta.confidence is None:
        return f"≈ {rough(eta.remaining_seconds)} left (as declared)"
    samples = f"{eta.samples} run{'' if eta.samples == 1 else 's'}"
    between = f"{rough(eta.low)} to {rough(eta.high)}, {eta.confidence:.0%}, {samples}"
    return f"≈ {rough(eta.remaining_seconds)} left ({between})"


def _seconds(start: datetime | None, end: datetime | None, now: datetime) -> float | None:
    return ((end or now) - start).total_seconds() if start else None
