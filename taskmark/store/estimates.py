"""What was expected of executions that completed, to be compared with how they went."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from sqlalchemy import Engine, select

from taskmark.contracts import ExecutionStatus
from taskmark.plan.calibration import Run
from taskmark.records import EstimateRecord
from taskmark.store.engine import reading
from taskmark.store.filtering import EVERY, ExecutionFilter, statements
from taskmark.store.keys import AT_ONCE, batches
from taskmark.store.tables import Estimates, Executions, fields, table

EXECUTIONS = 5_000
"""So many of the latest ones are looked at."""


def expected(engine: Engine, wanted: ExecutionFilter = EVERY, limit: int = EXECUTIONS) -> Sequence[Run]:
    """Returns what was expected of the latest executions that completed. Raises `Unreachable`."""
    estimates, found = table(Estimates), defaultdict[str, list[EstimateRecord]](list)
    tasks = _latest(engine, wanted, limit)
    with reading(engine) as connection:
        for some in batches(tasks, AT_ONCE):
            query = select(estimates).where(estimates.c.execution_id.in_(some))
            for row in connection.execute(query):
                found[row.execution_id].append(EstimateRecord.model_validate(fields(estimates, row)))
    return [Run(tasks[name], told) for name, told in found.items()]


def _latest(engine: Engine, wanted: ExecutionFilter, limit: int) -> dict[str, str]:
    """Returns the task of each of the latest executions, by its id."""
    done = tuple(status for status in ExecutionStatus if status.is_success)
    columns = [table(Executions).c[name] for name in ("started_at", "execution_id", "task_id")]
    with reading(engine) as connection:
        rows = [
            row
            for queries in statements(wanted.model_copy(update={"status": done}), None)
            for query in queries
            for row in connection.execute(query.with_only_columns(*columns).limit(limit))
            if row.started_at is not None
        ]
    latest = sorted(rows, key=lambda row: (row.started_at, row.execution_id), reverse=True)
    return {row.execution_id: row.task_id or "" for row in latest[:limit]}
