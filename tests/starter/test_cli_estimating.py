"""`eta calibrate` and `show` say how good estimates were."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from starter.cli.entry import run
from taskmark.records import EstimateRecord, ExecutionRecord, Record
from taskmark.store.schema import open_store
from taskmark.store.writing import apply

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def ran(name: str, task: str, seconds: float, basis: str = "steps") -> list[Record]:
    """An execution of which 200 s were expected at its beginning, 100 s in its middle."""
    confidence = 0.8 if basis != "declared" else None
    told = [(0, 0.0, 200.0), (50, seconds / 2, 100.0), (100, seconds, 0.0)]
    return [
        ExecutionRecord(execution_id=name, task_id=task, status="completed", started_at=START, project="p"),
        *(
            EstimateRecord(
                execution_id=name,
                percent=percent,
                at=START + timedelta(seconds=worked),
                worked=worked,
                remaining=left,
                low=0.75 * left,
                high=1.5 * left,
                confidence=confidence,
                basis=basis,
                samples=9,
            )
            for percent, worked, left in told
        ),
    ]


@pytest.fixture
def recorded(project: Path) -> Path:
    (project / ".taskmark").mkdir()
    runs = [ran(f"exec-{n}-good", "a-task-with-quite-a-long-name-indeed", 240.0) for n in range(6)]
    runs += [ran("exec-7-late", "late", 9000.0), ran("exec-8-new", "new", 300.0, "declared")]
    runs += [
        [ExecutionRecord(execution_id="exec-9-open", task_id="late", status="running", started_at=START)]
    ]
    apply(
        open_store(f"sqlite:///{project / '.taskmark' / 'taskmark.db'}"), [one for run in runs for one in run]
    )
    return project


def test_without_executions_it_says_how_to_get_some_and_makes_no_store(project, capsys):
    assert run(["eta", "calibrate"]) == 0
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "run a task, and ask again" in shown.err
    assert run(["eta", "calibrate", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["executions"] == 0
    assert not (project / ".taskmark").exists()


def test_calibrate_tells_how_often_intervals_held_in_a_table_of_eighty_columns(recorded, capsys):
    assert run(["eta", "calibrate"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "8 executions that completed, with estimates on the way"
    assert [line.split() for line in lines[2:]] == [
        ["RUNS", "ESTIMATES", "CLAIMED", "HELD", "WIDTH", "ERROR"],
        ["all", "7", "14", "80%", "86%", "54%", "-17%"],
        ["at", "0", "%", "7", "7", "80%", "86%", "54%", "-17%"],
        ["at", "50", "%", "7", "7", "80%", "86%", "54%", "-17%"],
        ["from", "steps", "7", "14", "80%", "86%", "54%", "-17%"],
        ["as", "declared", "1", "2", "100%", "50%", "-33%"],
        ["task", "a-task-with-quite-a-lon…", "6", "12", "80%", "100%", "62%", "-17%"],
    ]
    assert max(map(len, lines)) <= 80


def test_calibrate_looks_at_some_executions_only(recorded, capsys):
    assert run(["eta", "calibrate", "--task", "late", "-o", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["executions"], found["whole"]["coverage"], found["worst"]) == (1, 0.0, [])
    assert [one["name"] for one in found["percents"]] == ["0", "50"]
    assert run(["eta", "calibrate", "--project", "q"]) == 0
    assert "None of these executions" in capsys.readouterr().err
    assert run(["eta", "calibrate", "--since", "2026-02-01", "-o", "jsonl"]) == 0
    assert json.loads(capsys.readouterr().out)["executions"] == 0


def test_show_says_how_good_the_estimates_of_an_execution_were(recorded, capsys):
    assert run(["show", "exec-1-good"]) == 0
    line = "estimates  at 0 % about 3 min (2 min to 5 min), took 4 min; 2 of 2 intervals held"
    assert line in capsys.readouterr().out
    assert run(["show", "exec-8-new"]) == 0
    assert "estimates  at 0 % about 3 min (as declared), took 5 min\n" in capsys.readouterr().out
    assert run(["show", "exec-9-open"]) == 0
    assert "estimates" not in capsys.readouterr().out
    assert run(["show", "exec-7-late", "-o", "json"]) == 0
    assert [one["percent"] for one in json.loads(capsys.readouterr().out)["estimates"]] == [0, 50, 100]
