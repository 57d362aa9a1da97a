"""A folder of past results in the real store: once, again, interrupted, and beside what is there."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine
from store_records import at, execution, rows

from taskmark.past import importing
from taskmark.past.files import Unread
from taskmark.past.importing import take
from taskmark.records import Record
from taskmark.store.filtering import ExecutionFilter
from taskmark.store.merging import Columns
from taskmark.store.reading import History
from taskmark.store.writing import Rejected, apply, apply_each


def written(folder: Path, count: int) -> Path:
    """Writes so many results of other programs, and one of our own."""
    for number in range(count):
        document: dict[str, Any] = {
            "task": "tidy",
            "status": "ok",
            "agent": "ann",
            "cost": 0.5,
            "tokens": number,
        }
        document |= {"end": 1767323045 + number, "duration": 3, "output": f"{number} files"}
        (folder / f"{number}.json").write_text(json.dumps(document))
    steps = {"a": {"status": "completed", "output": 1, "attempts": 1, "kind": "tool", "phase": "only"}}
    own = {
        "execution_id": "exec-1-demo",
        "status": "completed",
        "outputs": {"n": 1},
        "phases": {"only": {"status": "completed", "attempts": 1}},
        "steps": steps,
        "finished_at": at(9).isoformat(),
    }
    (folder / "own.json").write_text(json.dumps(own))
    return folder


def test_results_are_executions_with_sums_and_events(
    engine: Engine, history: History, tmp_path: Path
) -> None:
    problems: list[Unread] = []
    done = take(written(tmp_path, 20), lambda records: apply_each(engine, records), problems.append)
    assert (done.results, problems) == (21, [])
    found = history.executions(ExecutionFilter(task="tidy"))
    assert len(found) == 20
    latest = found[0]
    assert (latest.provenance, latest.duration_ms, latest.cost, latest.tokens_used) == (
        "backfilled",
        3000,
        0.5,
        19,
    )
    assert [one.kind for one in history.events(latest.execution_id)] == [
        "execution_started",
        "execution_completed",
    ]
    assert [one.seq for one in history.events(latest.execution_id)] == [1, 2]
    assert history.attempts("exec-1-demo")[0].output == 1


def test_a_second_time_changes_nothing(engine: Engine, tmp_path: Path) -> None:
    """However the files are called then."""
    written(tmp_path, 20)
    take(tmp_path, lambda records: apply_each(engine, records), print)
    before = rows(engine)
    (tmp_path / "3.json").rename(tmp_path / "moved.json")
    take(tmp_path, lambda records: apply_each(engine, records), print)
    assert rows(engine) == before


def test_what_was_interrupted_goes_on(
    engine: Engine, history: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole batches are there, and the same command again brings the rest."""
    monkeypatch.setattr(importing, "AT_ONCE", 4)
    left = iter([True, True, False])

    def write(records: Sequence[Columns | Record]) -> list[Rejected[Columns | Record]]:
        if not next(left, True):
            apply(engine, records[:1])  # Ctrl-C in the middle of it: a transaction is undone, none is not
            raise KeyboardInterrupt
        return apply_each(engine, records)

    written(tmp_path, 20)
    with pytest.raises(KeyboardInterrupt):
        take(tmp_path, write, print)
    assert len(history.executions()) == 9
    take(tmp_path, write, print)
    assert len(history.executions()) == 21
    for one in history.executions(ExecutionFilter(task="tidy")):
        assert [event.seq for event in history.events(one.execution_id)] == [1, 2]


def test_what_was_seen_live_stays(engine: Engine, history: History, tmp_path: Path) -> None:
    """A result fills in what is missing, and replaces nothing."""
    live = execution(
        "exec-1-demo", "completed", outputs={"n": 2}, inputs={"a": 1}, finished_at=at(8), as_of=at(8)
    )
    apply(engine, [live])
    take(written(tmp_path, 0), lambda records: apply_each(engine, records), print)
    found = history.execution("exec-1-demo")
    assert (found.outputs, found.inputs, found.finished_at) == ({"n": 2}, {"a": 1}, at(8))
    assert found.provenance == "live"
    assert [one.step for one in history.attempts("exec-1-demo")] == ["a"]


def test_what_the_store_refuses_is_told_with_its_file(
    engine: Engine, history: History, tmp_path: Path
) -> None:
    """Half a character is no text for a database."""
    (tmp_path / "a.json").write_text('{"task": "a", "status": "ok", "output": "x", "project": "\\ud800"}')
    (tmp_path / "b.json").write_text('{"task": "b", "status": "ok"}')
    problems: list[Unread] = []
    take(tmp_path, lambda records: apply_each(engine, records), problems.append)
    assert {one.file.name for one in problems} == {"a.json"}
    assert [one.task_id for one in history.executions()] == ["b"]
