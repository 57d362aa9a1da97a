"""What people and programs see of an execution: `progress`, `plan`, `checkpoint` and the Web UI's table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from taskmark.contracts import (
    Eta,
    PhaseOutcome,
    PhaseView,
    Progress,
    StepState,
    StepStatus,
    StepView,
    plain_id,
)
from taskmark.plan import graph
from taskmark.plan.estimate import declared_eta
from taskmark.plan.phases import title
from taskmark.plan.progress import agents_of, expected_seconds
from taskmark.task.model import Json, Phase, TaskDefinition
from workflows.state import TaskState

DETAILS_LIMIT = 20_000
"""Bytes that the Web UI shows."""
MANY_WAITS = 10
MANY_STEPS = 500
"""Above so many steps `progress` counts them, and lists those of the phase asked for."""

_MARKS = {
    StepStatus.PENDING: "·",
    StepStatus.RUNNING: "▶",
    StepStatus.WAITING: "⏸",
    StepStatus.COMPLETED: "✓",
    StepStatus.FAILED: "✗",
    StepStatus.SKIPPED: "–",
    StepStatus.CANCELLED: "⊘",
}


def progress(state: TaskState, execution: str, eta: Eta | None, phase: str | None = None) -> Progress:
    """Returns the answer of the query `progress`."""
    definition = state.definition
    if definition is None:
        return Progress(
            execution_id=execution,
            task="",
            status=state.status,
            paused=state.paused,
            updated_at=state.updated_at,
            error=state.error,
        )
    many = sum(len(steps) for steps in state.steps.values()) > MANY_STEPS
    views = [_phase(p, state, listed=not many or phase == p.slug) for p in definition.phases]
    return Progress(
        execution_id=execution,
        task=definition.name,
        status=state.status,
        percent=100.0 if state.status.is_success else round(state.percent, 1),
        phases=tuple(views),
        waiting=state.waiting,
        eta=eta,
        paused=None if state.status.is_final else state.paused,
        in_flight=state.in_flight,
        started_at=state.started_at,
        updated_at=state.updated_at,
        error=state.error,
        budget=state.spendings.view if state.spendings else {},
    )


def _phase(phase: Phase, state: TaskState, *, listed: bool) -> PhaseView:
    outcome, steps = state.outcomes[phase.slug], state.steps[phase.slug]
    most = _most_attempts(phase, state) if listed else {}
    return PhaseView(
        name=phase.name,
        slug=phase.slug,
        status=outcome.status,
        percent=round(state.phase_percent(phase.slug), 1),
        counts=dict(Counter(s.status.value for s in steps.values())),
        steps=tuple(StepView.of(s, most.get(plain_id(s.id))) for s in steps.values()) if listed else (),
        started_at=outcome.started_at,
        finished_at=outcome.finished_at,
        attempt=outcome.attempts,
    )


def _most_attempts(phase: Phase, state: TaskState) -> dict[str, int]:
    assert state.definition is not None
    usual = state.definition.retry
    return {step.id: (step.retry or usual).max_attempts for step in phase.steps}


def plan(state: TaskState) -> dict[str, Json]:
    """Returns the answer of the query `plan`: what will run, in which waves, and how long it should take."""
    definition = state.definition
    if definition is None:
        return {"task": None, "waves": [], "phases": []}
    return {
        "task": definition.name,
        "id": definition.id,
        "version": definition.version,
        "sha256": definition.sha256,
        "inputs": state.inputs,
        "waves": [list(wave) for wave in graph.waves(definition)],
        "phases": [_planned(definition, phase) for phase in definition.phases],
        "expected_seconds": _expected(definition, definition.phases),
    }


def _planned(definition: TaskDefinition, phase: Phase) -> dict[str, Json]:
    agents = agents_of(phase, definition.default_agents)
    return {
        "name": phase.name,
        "slug": phase.slug,
        "dependsOn": list(phase.depends_on),
        "parallel": phase.parallel,
        "steps": [
            {
                "id": s.id,
                "kind": s.kind,
                "value": s.value,
                "name": title(s),
                "expected_seconds": expected_seconds(s, agents),
            }
            for s in phase.steps
        ],
        "expected_seconds": _expected(definition, [phase.model_copy(update={"depends_on": ()})]),
    }


def _expected(definition: TaskDefinition, phases: Sequence[Phase]) -> float:
    """Returns the seconds that phases are expected to take before anything of them has begun."""
    part = definition.model_copy(update={"phases": tuple(phases)})
    return declared_eta(part, {}, {}, datetime(1970, 1, 1)).remaining_seconds


def checkpoint(state: TaskState) -> dict[str, Json]:
    """Returns the answer of the query `checkpoint`: what has completed, with its outputs."""
    done = {s: o for s, o in state.outcomes.items() if o.status is StepStatus.COMPLETED}
    sha256 = state.definition.sha256 if state.definition else ""
    return {"sha256": sha256, "phases": {slug: outcome.outputs for slug, outcome in done.items()}}


def details(state: TaskState, eta: Eta | None = None) -> str:
    """Returns the table that the Temporal Web UI shows as current details, in markdown."""
    if state.definition is None:
        return f"**{state.status}**"
    lines = [" · ".join([f"**{state.status}**", f"{state.percent:.0f} %", *_expected_end(eta)]), ""]
    lines += ["| | phase | status | steps | |", "|---|---|---|---|---|"]
    waits = [f"\n⏸ **{w.kind} {_escaped(w.name)}**: {_escaped(w.prompt)[:200]}" for w in state.waiting]
    room = DETAILS_LIMIT - sum(len(line.encode()) + 1 for line in (*lines, *waits[:MANY_WAITS])) - 100
    rows: list[str] = []
    for phase in state.definition.phases:
        rows.append(_row(phase.name, state.outcomes[phase.slug], state.steps[phase.slug]))
        room -= len(rows[-1].encode()) + 1
        if room < 0:
            rows[-1] = f"\n{len(state.definition.phases) - len(rows) + 1} more phases"
            break
    return "\n".join([*lines, *rows, *waits[:MANY_WAITS]])


def _expected_end(eta: Eta | None) -> Iterator[str]:
    """Yields what is expected, with moments rather than spans: the page may be read long after it was
    made."""
    if eta is None or eta.finish_at is None:
        return
    began = eta.finish_at - timedelta(seconds=eta.remaining_seconds)
    about = f"ends about {_clock(eta.finish_at)} UTC"
    if eta.confidence is None:
        yield f"{about} as declared"
    else:
        ends = (_clock(began + timedelta(seconds=end), eta.finish_at) for end in (eta.low, eta.high))
        yield f"{about} ({' to '.join(ends)} in {100 * eta.confidence:.0f} % of such cases)"
    yield f"as of {_clock(began, eta.finish_at)}"


def _clock(moment: datetime, beside: datetime | None = None) -> str:
    """Returns a moment, beside one of the same day its time alone."""
    same = beside is not None and beside.date() == moment.date()
    return f"{moment:%H:%M:%S}" if same else f"{moment:%Y-%m-%d %H:%M:%S}"


def _row(name: str, outcome: PhaseOutcome, steps: dict[str, StepState]) -> str:
    ended = sum(s.status.is_final for s in steps.values())
    note = outcome.error.message if outcome.error else outcome.reason or ""
    mark = _MARKS[outcome.status]
    return (
        f"| {mark} | {_escaped(name)} | {outcome.status} | {ended} of {len(steps)} | {_escaped(note)[:120]} |"
    )


def _escaped(text: str) -> str:
    """Returns text that cannot break out of its cell of the table."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
