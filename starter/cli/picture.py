"""What the live view shows, as rows that fit the height of the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from starter.cli.outlook import Part, Worth, fitted, outlook, time_for_people
from starter.cli.printable import duration, one_line, rough
from starter.cli.terminal import command

if TYPE_CHECKING:
    from starter.beats import Beat, Beats
    from taskmark.contracts import Paused, PhaseView, Progress, StepView, Wait

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


SILENT_SECONDS = 10.0
"""Steps give a sign of life every two seconds, unless their `heartbeat` says otherwise."""


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
    said: str = ""
    """What it says itself: the first to go where there is no room."""
    seconds: float | None = None
    command: str = ""
    """What to type; it is never cut off."""


def rows(progress: Progress, now: datetime, height: int, beats: Beats | None = None) -> list[Row]:
    """Returns the phases, and as many of their steps as there is room for; the most urgent ones first.

    `beats` is what running steps say.
    """
    phases = [(phase, phase_row(phase, now)) for phase in progress.phases]
    waits = [row for wait in progress.waiting for row in wait_rows(progress, wait, now)]
    room = height - len(phases) - len(waits)
    if room < 0:
        return [*_collapsed([row for _, row in phases], max(height - len(waits), 3)), *waits]
    chosen = _chosen(progress.phases, room)
    found: list[Row] = []
    for phase, row in phases:
        found.append(row)
        found += _steps(phase, chosen.get(phase.slug, frozenset()), now, beats or {})
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


def _steps(phase: PhaseView, chosen: frozenset[str], now: datetime, beats: Beats) -> Iterator[Row]:
    shown = (step for step in phase.steps if step.id in chosen)
    yield from (step_row(step, now, beats.get((phase.slug, step.id))) for step in shown)
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


def attempt(step: StepView) -> str:
    """Returns which attempt of how many it is."""
    most = step.max_attempts
    return f"{step.attempt}/{most}" if most is not None and step.attempt <= most else str(step.attempt)


def step_row(step: StepView, now: datetime, beat: Beat | None = None) -> Row:
    """Returns the line about a step: what it is, how many of its items are done, at which attempt, what went
    wrong last, and while it runs whether it lives and what it says."""
    beat = beat if step.status == "running" else None
    notes = [f"attempt {attempt(step)}"] if step.attempt > 1 else []
    notes += signs_of_life(beat, now) if beat else []
    instead = f"with its fallback: {step.fallback_for}" if step.fallback_for else ""
    said, error = one_line(beat.said) if beat else "", one_line(step.error or instead)
    if said and error:
        said = f"{said} · before: {error}"  # what it does now is worth more than why it does it again
    elif error:
        notes.append(error)
    kind = "" if step.kind == "plain" else f"{step.kind}: "
    return Row(
        step.status.value,
        f"{kind}{one_line(step.name)}",
        level=1,
        count=f"{step.items_done}/{step.items_total}" if step.items_total else "",
        note=" · ".join(notes),
        said=said,
        seconds=_seconds(step.started_at, step.finished_at, now) if step.started_at else None,
    )


def signs_of_life(beat: Beat, now: datetime) -> list[str]:
    """Returns what is odd about the calls of a step; mostly nothing is."""
    silent = _seconds(beat.since, None, now) or 0
    odd = [f"{beat.lost} worker{'' if beat.lost == 1 else 's'} lost"] if beat.lost else []
    if not beat.taken and silent > SILENT_SECONDS:
        odd.append(f"no worker for {rough(silent)}")
    elif silent > SILENT_SECONDS:
        odd.append(f"silent for {rough(silent)}")
    return odd


def wait_rows(progress: Progress, wait: Wait, now: datetime) -> Iterator[Row]:
    """Yields what waits for a person, and the exact command that decides it."""
    since = _seconds(wait.since, None, now)
    head = Row("waiting", f"{wait.kind} “{one_line(wait.name)}”: {one_line(wait.prompt)}", seconds=since)
    if wait.deadline is not None:
        left = (wait.deadline - now).total_seconds()
        head = replace(head, note=f"until {wait.deadline.astimezone():%H:%M:%S}" if left > 0 else "")
    yield head
    for words in decisions(progress.execution_id, wait, progress.waiting):
        yield Row("", "", level=1, command=words)


def decisions(execution: str, wait: Wait, among: Sequence[Wait] = ()) -> list[str]:
    """Returns the commands that decide what waits, `among` all that does in the execution or below it."""
    execution, name = wait.execution or execution, _called(wait, among)
    by = ["--by", wait.approvers[0]] if wait.approvers else []
    match wait.kind:
        case "approval":
            return [
                command("approve", execution, name, *by),
                command("reject", execution, name, *by, "--comment", "why"),
            ]
        case "question":
            return [command("answer", execution, name, _example(wait), *by)]
        case "retry":
            alone = [command("skip", execution, "--step", step) for step in wait.failed[:1]]
            return [command("retry", execution, wait.name), command("skip", execution, wait.name), *alone]
        case _:
            return [command("raise", execution, wait.name, "LIMIT")]


def _called(wait: Wait, among: Sequence[Wait]) -> str:
    """Returns the name that means this gate alone: that of its step, if others are called the same.

    Each item of a phase has a gate, of which some may open only later. What an agent asks has its own name.
    """
    here = [one for one in among if (one.kind, one.execution) == (wait.kind, wait.execution)]
    same = [one for one in here if wait.name in (one.name, one.step)]
    is_shared = len(same) > 1 or "[" in wait.step
    return wait.step if wait.step and is_shared and not wait.asker else wait.name


def _example(wait: Wait) -> str:
    choices = (wait.answer_schema or {}).get("enum")
    return str(choices[0]) if isinstance(choices, list) and choices else "VALUE"


def budget_words(progress: Progress) -> list[str]:
    """Returns what is used of each limit of the budget."""
    return [
        f"{name} {view.used:g} of {view.limit:g} ({100 * view.used / view.limit:.0f} %)"
        for name, view in progress.budget.items()
    ]


def headline(progress: Progress, now: datetime, width: int | None = None) -> str:
    """Returns percent, elapsed time and what is known of the end, in at most so many columns."""
    parts = [Part(f"{progress.percent:.0f} %", Worth.KEPT)]
    if progress.started_at:
        end = progress.updated_at if progress.status.is_final else None
        parts.append(Part(duration(_seconds(progress.started_at, end, now) or 0), Worth.ELAPSED))
    if progress.status.value not in ("running", "completed"):
        flight = f" ({progress.in_flight} in flight)" if progress.paused and progress.in_flight else ""
        parts.append(Part(progress.status.value.replace("_", " ") + flight, Worth.KEPT))
    return fitted([*parts, *outlook(progress, now)], width)


def aside(progress: Progress, width: int | None = None) -> str:
    """Returns what is apart from the work, in at most so many columns: time for people, and the budget."""
    budget = (Part(words, Worth.BUDGET) for words in budget_words(progress))
    return fitted([*time_for_people(progress), *budget], width)


def paused(pause: Paused) -> str:
    """Returns by whom, since when and why something is paused, and when that ends by itself."""
    mode = ", now" if pause.mode else ""
    by = f" by {one_line(pause.by)}" if pause.by else ""
    since = f" since {pause.since.astimezone():%Y-%m-%d %H:%M}" if pause.since else ""
    ends = "ends the task" if pause.then == "abort" else "goes on by itself"
    until = f" ({ends} at {pause.until.astimezone():%Y-%m-%d %H:%M})" if pause.until else ""
    reason = f": {one_line(pause.reason)}" if pause.reason else ""
    return f"{mode}{by}{since}{reason}{until}"


def _seconds(start: datetime | None, end: datetime | None, now: datetime) -> float | None:
    return ((end or now) - start).total_seconds() if start else None
