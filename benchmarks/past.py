"""A past for the history store: records of executions that never ran, the same all day for a number.

They go through the real writer, so that rows, sums, numbers of events and indexes are those of a real store.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from sqlalchemy import Engine

from benchmarks import reporting
from taskmark.contracts import ExecutionStatus, StepStatus, idempotency_key
from taskmark.errors import Category, Failure
from taskmark.records import AttemptRecord, EventKind, EventRecord, ExecutionRecord, PhaseRecord, Record
from taskmark.store.cursors import Cursor
from taskmark.store.writing import apply

PHASES = STEPS = 3
ATTEMPTS = PHASES * STEPS
"""Of one execution."""
TASKS, BUILDS, DAYS = 50, 20, 90
TOOLS = ("shell", "http", "read-file", "write-file", "python", "search-files", "list-files", "read-csv")
FIRST = datetime.combine(datetime.now(UTC), datetime.min.time(), UTC) - timedelta(days=DAYS)
"""The past ends now: a trend goes on until today."""
_WORDS = """
    report market revenue quarter customer invoice delivery storage network backup release branch compile
    deploy measure sensor weather forecast summary decision committee portfolio balance transfer account
    ledger archive document chapter reader schedule calendar meeting translate review approve reject merge
"""
WORDS = _WORDS.split()
AT_ONCE = 100
"""Executions of one transaction."""


def fill(engine: Engine, attempts: int) -> float:
    """Writes executions with so many attempts in all, and returns the seconds it took."""
    count, begin = max(1, attempts // ATTEMPTS), time.perf_counter()
    for start in range(0, count, AT_ONCE):
        numbers = range(start, min(start + AT_ONCE, count))
        apply(engine, [record for number in numbers for record in execution(number, count)])
        if (start // AT_ONCE) % 100 == 99:
            reporting.say(f"{start + AT_ONCE} of {count} executions, {time.perf_counter() - begin:.0f} s")
    return time.perf_counter() - begin


def id_of(number: int) -> str:
    """Returns the id of an execution."""
    return f"exec-{1_760_000_000_000 + number * 60_000}-task-{number % TASKS}"


def cursor_of(number: int, of: int) -> str:
    """Returns the place of an execution in the list, as a page before would give it."""
    return str(Cursor(begun(number, of), id_of(number)))


def begun(number: int, of: int) -> datetime:
    """Returns when an execution began, of so many together."""
    return FIRST + timedelta(seconds=DAYS * 86_400 * number / of)


def trace_of(number: int) -> str:
    """Returns its trace."""
    return f"{Random(number).getrandbits(128):032x}"


def execution(number: int, of: int = 1) -> list[Record]:
    """Returns all records of one execution; `of` so many together, over `DAYS` days."""
    chance, name = Random(number), id_of(number)
    chance.getrandbits(128)  # the trace
    begin = begun(number, of)
    fails = chance.random() < 0.1
    steps = list(_steps(chance, name, begin, trace_of(number), fails=fails))
    end = max(one.finished_at for one in steps if one.finished_at)
    status = ExecutionStatus.FAILED if fails else ExecutionStatus.COMPLETED
    whole = ExecutionRecord(
        execution_id=name,
        task_id=f"task-{number % TASKS}",
        task_name=f"Task {number % TASKS}",
        definition_sha256=f"{number % TASKS:064x}",
        project=f"project-{number % 5}",
        build_id=f"build-{number * BUILDS // of}",
        status=status,
        inputs={"file": f"reports/{number}.csv", "limit": number % 100},
        outputs={"lines": number % 1000},
        error=steps[-1].error,
        started_at=begin,
        finished_at=end,
        trace_id=trace_of(number),
        cause="user",
        as_of=end,
    )
    phases = [_phase(whole, steps[n : n + STEPS]) for n in range(0, len(steps), STEPS)]
    return [whole, *phases, *steps, *_events(whole, phases, steps)]


def _steps(chance: Random, id: str, begin: datetime, trace: str, *, fails: bool) -> Iterator[AttemptRecord]:
    last = ATTEMPTS - 1
    for number in range(ATTEMPTS):
        end = begin + timedelta(milliseconds=round(chance.lognormvariate(6, 1.5)))
        failed = fails and number == last
        phase, step = f"part_{number // STEPS}", f"p{number // STEPS}s{number % STEPS}"
        yield AttemptRecord(
            execution_id=id,
            phase=phase,
            step=step,
            status=StepStatus.FAILED if failed else StepStatus.COMPLETED,
            **_work(chance, number),
            output=None if failed else {"exit_code": 0, "stdout": _text(chance)},
            error=_failure(chance, step) if failed else None,
            started_at=begin,
            finished_at=end,
            idempotency_key=idempotency_key(id, phase, step, None),
            trace_id=trace,
            worker=f"{chance.randrange(40)}@bench",
            cause="user",
            as_of=end,
        )
        begin = end + timedelta(milliseconds=20)


def _work(chance: Random, number: int) -> dict[str, Any]:
    if number % STEPS == 2:
        agent = f"agent-{chance.randrange(6)}"
        used = {"tokens": chance.randrange(200, 4_000), "cost": chance.randrange(1, 90) / 1000}
        return {"kind": "agent", "name": agent, "agent": agent, "input": {"question": _text(chance)}, **used}
    given = {"command": ["measure", "--limit", str(chance.randrange(1000)), chance.choice(WORDS)]}
    return {"kind": "tool", "name": chance.choice(TOOLS), "input": given}


def _text(chance: Random) -> str:
    return " ".join(chance.choices(WORDS, k=12)) + f" n{chance.randrange(100_000)}"


def _failure(chance: Random, step: str) -> Failure:
    return Failure(
        type="step_failed",
        message=f"{chance.choice(WORDS)} did not answer",
        category=Category.TRANSIENT,
        step=step,
        stack_hash=f"{chance.randrange(200):016x}",
    )


def _phase(whole: ExecutionRecord, steps: list[AttemptRecord]) -> PhaseRecord:
    return PhaseRecord(
        execution_id=whole.execution_id,
        phase=steps[0].phase,
        name=steps[0].phase.replace("_", " ").title(),
        status=steps[-1].status,
        outputs={"last": steps[-1].step},
        error=steps[-1].error,
        started_at=steps[0].started_at,
        finished_at=steps[-1].finished_at,
        trace_id=whole.trace_id,
        as_of=steps[-1].finished_at,
    )


def _events(
    whole: ExecutionRecord, phases: list[PhaseRecord], steps: list[AttemptRecord]
) -> Iterator[EventRecord]:
    yield from _both("execution", whole, {})
    for phase in phases:
        yield from _both("phase", phase, {"phase": phase.phase})
    for step in steps:
        yield from _both("step", step, {"phase": step.phase, "step": step.step, "attempt": 1})


def _both(
    what: str, row: ExecutionRecord | PhaseRecord | AttemptRecord, place: dict[str, Any]
) -> Iterator[EventRecord]:
    """The beginning and the end."""
    assert row.started_at is not None
    assert row.finished_at is not None
    kinds: dict[str, EventKind] = {
        "started": f"{what}_started",  # type: ignore[dict-item]  # each is a kind of event
        "ended": f"{what}_{row.status.value}",  # type: ignore[dict-item]  # the same
    }
    success = row.status.value == "completed"
    yield EventRecord(execution_id=row.execution_id, kind=kinds["started"], at=row.started_at, **place)
    yield EventRecord(
        execution_id=row.execution_id,
        kind=kinds["ended"],
        at=row.finished_at,
        payload={"success": success},
        **place,
    )
