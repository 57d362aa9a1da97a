"""Workflows that went straight on are told from their events, just as a replay tells them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import recorded
from sqlalchemy import select
from temporalio.client import WorkflowHistory

from starter import straight
from starter.backfill import records_of_all
from starter.histories import ExecutionHistory, understood
from taskmark.contracts import TASK_WORKFLOW
from taskmark.records import Record
from taskmark.store.schema import open_store
from taskmark.store.tables import Attempts, Checkpoints, Definitions, Events, Executions, Phases, table
from taskmark.store.writing import apply_each


def executions() -> list[ExecutionHistory]:
    """Returns what is recorded, each execution with its phases, and each phase with its runs."""
    histories: dict[str, list[WorkflowHistory]] = {}
    for one in sorted(recorded.load(), key=lambda history: history.events[0].event_time.ToNanoseconds()):
        histories.setdefault(one.workflow_id, []).append(one)
    return [
        understood(name, one, [run for child in _children(one) for run in histories[child]])
        for name, (one, *_) in histories.items()
        if _type(one) == TASK_WORKFLOW
    ]


def _type(history: Any) -> str:
    return str(history.events[0].workflow_execution_started_event_attributes.workflow_type.name)


def _children(history: Any) -> list[str]:
    started = (event.child_workflow_execution_started_event_attributes for event in history.events)
    return list(
        dict.fromkeys(one.workflow_execution.workflow_id for one in started if one.workflow_type.name)
    )


def stored(place: Path, records: list[list[Record]]) -> dict[str, list[dict[str, Any]]]:
    """Returns every row of a store that was told the records, but for when each column was set.

    Events of one moment may have any order: of two steps that were told to have ended at once none was first.
    """
    engine = open_store(f"sqlite:///{place}")
    for some in records:
        assert not apply_each(engine, some)
    with engine.connect() as connection:
        found = {}
        for kind in (Definitions, Executions, Phases, Attempts, Checkpoints, Events):
            target = table(kind)
            rows = connection.execute(select(target).order_by(*target.primary_key.columns)).mappings()
            found[target.name] = [
                {k: v for k, v in row.items() if k not in ("stamps", "seq")} for row in rows
            ]
    engine.dispose()
    found["events"].sort(key=lambda row: (row["execution_id"], row["at"], json.dumps(row, default=str)))
    return found


async def test_what_is_told_from_events_is_what_a_replay_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every row and every event of every recorded execution."""
    found = executions()
    told, problems = await records_of_all(found)
    assert not problems
    directly = [
        straight.of_phase(one.events, history.attempts) for history in found for one in history.workflows[1:]
    ]
    assert len([one for one in directly if one is not None]) >= 10
    assert [name for name in found if straight.of_task(name.workflows[0].events, name.final)]
    monkeypatch.setattr(straight, "of_phase", lambda events, attempts: None)
    monkeypatch.setattr(straight, "of_task", lambda events, final: None)
    replayed, problems = await records_of_all(found)
    assert not problems
    assert stored(tmp_path / "told.db", told) == stored(tmp_path / "replayed.db", replayed)
