"""Records for the tests of the store."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st
from sqlalchemy import Engine, select

from taskmark.contracts import ExecutionStatus, StepStatus
from taskmark.errors import Category, Failure
from taskmark.records import (
    AttemptRecord,
    DefinitionRecord,
    EstimateRecord,
    EventRecord,
    ExecutionRecord,
    PhaseRecord,
    Record,
)
from taskmark.store.engine import reading, writing
from taskmark.store.tables import Stored

START = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def execution(id: str = "exec-1-demo", status: str = "running", **fields: Any) -> ExecutionRecord:
    return ExecutionRecord(execution_id=id, status=ExecutionStatus(status), **fields)


def phase(slug: str = "measure", status: str = "running", **fields: Any) -> PhaseRecord:
    return PhaseRecord(execution_id="exec-1-demo", phase=slug, status=StepStatus(status), **fields)


def attempt(step: str = "count", status: str = "running", **fields: Any) -> AttemptRecord:
    return AttemptRecord(
        **{"execution_id": "exec-1-demo", "phase": "measure", "step": step, "status": status, **fields}
    )


def event(kind: str = "log", id: str = "exec-1-demo", **fields: Any) -> EventRecord:
    return EventRecord.model_validate({"execution_id": id, "kind": kind, "at": START, **fields})


def estimate(percent: int = 10, id: str = "exec-1-demo", **fields: Any) -> EstimateRecord:
    told = {"at": at(percent), "worked": float(percent), "remaining": 90.0, "low": 60.0, "high": 120.0}
    return EstimateRecord.model_validate({"execution_id": id, "percent": percent, **told, **fields})


def failure(message: str = "it broke") -> Failure:
    return Failure(type="step_failed", message=message, category=Category.TRANSIENT, affects=("a", "b"))


EVERY_KIND: tuple[Record, ...] = (
    DefinitionRecord(
        sha256="ab" * 32, task_id="demo", name="Demo", source_path="tasks/demo.md", definition={"id": "demo"}
    ),
    execution(
        task_id="demo",
        task_name="Demo",
        definition_sha256="ab" * 32,
        project="p",
        build_id="b1",
        inputs={"n": 1, "deep": {"list": [1, None, "ü"]}},
        started_at=at(0),
        trace_id="t" * 32,
        as_of=at(0),
    ),
    phase(name="Measure", started_at=at(0), as_of=at(0)),
    attempt(kind="tool", name="shell", input={"command": ["wc"]}, started_at=at(1), as_of=at(1)),
    attempt(
        status="completed",
        output={"stdout": "1"},
        finished_at=at(2),
        tokens=12,
        cost=0.25,
        files=("a.txt",),
        as_of=at(2),
    ),
    attempt(item=3, status="failed", error=failure(), finished_at=at(2), as_of=at(2)),
    phase(status="completed", outputs={"lines": 1}, finished_at=at(3), as_of=at(3)),
    event("execution_started"),
    event("step_started", phase="measure", step="count", attempt=1, payload={"worker": "w"}),
    event("step_started", phase="measure", step="count", item=3, attempt=1),
    estimate(basis="steps", confidence=0.8, samples=7),
    event("execution_completed", at=at(4)),
    execution(status="completed", outputs={"lines": 1}, finished_at=at(4), as_of=at(4)),
)


GIVEN = {("events", "seq"), ("texts", "id")}
"""Numbers that tell the order of arrival."""


def rows(engine: Engine) -> dict[str, list[tuple[Any, ...]]]:
    """Everything in the store except numbers that tell the order of arrival."""
    found = {}
    with reading(engine) as connection:
        for name, table in Stored.metadata.tables.items():
            columns = [column for column in table.columns if (name, column.name) not in GIVEN]
            answers = connection.execute(select(*columns))
            found[name] = sorted((tuple(answer) for answer in answers), key=repr)
    return found


def clear(engine: Engine) -> None:
    with writing(engine) as connection:
        for table in Stored.metadata.tables.values():
            connection.execute(table.delete())


# --- any records ----------------------------------------------------------------------------------

_ids = st.sampled_from(["exec-1", "exec-2"])
_names = st.sampled_from(["a", "b"])
_texts = st.none() | st.sampled_from(["", "x", "ü\x00", "quote'"])
_values = st.none() | st.dictionaries(st.sampled_from(["k", "l"]), st.integers(0, 2) | st.none(), max_size=2)
_moments = st.none() | st.integers(0, 3).map(at)
_provenances = st.sampled_from(["live", "backfilled"])
_errors = st.none() | st.builds(failure, st.sampled_from(["one", "two"]))
_ended: dict[str, Any] = {
    "error": _errors,
    "started_at": _moments,
    "finished_at": _moments,
    "provenance": _provenances,
    "as_of": _moments,
}

_executions = st.builds(
    ExecutionRecord,
    execution_id=_ids,
    status=st.sampled_from(ExecutionStatus),
    task_id=_texts,
    project=_texts,
    attempts=st.integers(1, 3),
    assigned_agent=st.none() | _names,
    inputs=_values,
    outputs=_values,
    **_ended,
)
_phases = st.builds(
    PhaseRecord,
    execution_id=_ids,
    phase=_names,
    name=_texts,
    status=st.sampled_from(StepStatus),
    attempt=st.integers(1, 3),
    outputs=_values,
    **_ended,
)
_attempts = st.builds(
    AttemptRecord,
    execution_id=_ids,
    phase=_names,
    step=_names,
    item=st.none() | st.integers(0, 1),
    attempt=st.integers(1, 2),
    status=st.sampled_from(StepStatus),
    description=_texts,
    output=_values,
    kind=st.sampled_from([None, "tool", "agent"]),
    name=_names,
    agent=st.none() | _names,
    tokens=st.none() | st.integers(0, 2**40),
    cost=st.none() | st.sampled_from([0.1, 0.2, 0.3, 1e9]),
    files=st.none() | st.tuples(_names),
    questions=st.none() | st.integers(0, 2),
    **_ended,
)
_definitions = st.builds(
    DefinitionRecord,
    sha256=_names,
    task_id=_names,
    name=_names,
    source_path=_names,
    definition=st.dictionaries(_names, st.integers(0, 2)),
)


@st.composite
def _events(draw: st.DrawFn) -> EventRecord:
    """What an event says follows from what it is: the same event never tells two stories."""
    occurrence = draw(st.integers(0, 3))
    return EventRecord(
        execution_id=draw(_ids),
        kind=draw(st.sampled_from(["log", "step_started", "waiting"])),
        phase=draw(_names),
        item=draw(st.none() | st.integers(0, 1)),
        occurrence=occurrence,
        at=at(occurrence),
        payload={"occurrence": occurrence},
    )


_estimates = st.builds(
    EstimateRecord,
    execution_id=_ids,
    percent=st.sampled_from([0, 100]),
    at=st.integers(0, 1).map(at),
    worked=st.sampled_from([0.0, 1.5]),
    remaining=st.sampled_from([0.0, 0.1]),
    low=st.just(0.0),
    high=st.sampled_from([1.0, 1e9]),
    confidence=st.none() | st.just(0.8),
    basis=st.sampled_from(["declared", "steps"]),
    samples=st.integers(0, 1),
)

any_record: st.SearchStrategy[Record] = st.one_of(
    _executions, _phases, _attempts, _definitions, _estimates, _events()
)
