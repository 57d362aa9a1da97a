"""`list`, `show` and `logs` answer from the history store, without any server."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from starter.cli.entry import run
from starter.cli.naming import executions_beginning, person, tasks_beginning
from taskmark.errors import Failure
from taskmark.records import AttemptRecord, EventRecord, ExecutionRecord, PhaseRecord, Record
from taskmark.store.schema import open_store
from taskmark.store.writing import apply

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
FIRST, SECOND = "exec-1000-example", "exec-2000-other"


def records() -> list[Record]:
    later = START + timedelta(seconds=90)
    broken = Failure(type="step_failed", message="exit code 1\x1b[2J", hint="look")
    return [
        ExecutionRecord(
            execution_id=FIRST,
            task_id="example",
            task_name="Example",
            status="failed",
            inputs={"file": "a.txt", "count": 3},
            outputs={"lines": 2},
            error=broken,
            started_at=START,
            finished_at=later,
            trace_id="t" * 32,
        ),
        ExecutionRecord(execution_id=SECOND, task_id="other", status="running", started_at=later),
        PhaseRecord(
            execution_id=FIRST,
            phase="measure",
            name="Measure",
            status="failed",
            attempt=2,
            error=broken,
            started_at=START,
            finished_at=later,
        ),
        AttemptRecord(execution_id=FIRST, phase="measure", step="count", status="failed", error=broken),
        AttemptRecord(
            execution_id=FIRST,
            phase="measure",
            step="count",
            item=4,
            attempt=2,
            agent="ann",
            status="completed",
            description="Count",
            resources={"cpu_seconds": 2.34, "max_rss_bytes": 3e7, "received_bytes": 5e6, "sent_bytes": 100},
        ),
        EventRecord(execution_id=FIRST, kind="execution_started", at=START, payload={"cause": "user"}),
        EventRecord(
            execution_id=FIRST, kind="step_failed", phase="measure", step="count", item=4, attempt=2, at=later
        ),
        EventRecord(execution_id=FIRST, kind="execution_failed", at=later, payload={"error": "a\nb"}),
    ]


@pytest.fixture
def recorded(project: Path) -> Path:
    (project / ".taskmark").mkdir()
    apply(open_store(f"sqlite:///{project / '.taskmark' / 'taskmark.db'}"), records())
    return project


def test_in_a_new_project_there_is_nothing_and_nothing_is_made(project, capsys):
    assert run(["list"]) == 0
    assert "No executions yet" in capsys.readouterr().err
    assert run(["show", "exec"]) == 2
    assert "nothing was run here yet" in capsys.readouterr().err
    assert not (project / ".taskmark").exists()


def test_list_shows_the_latest_first_and_says_that_work_stands_still(recorded, capsys):
    assert run(["list"]) == 0
    shown = capsys.readouterr()
    lines = shown.out.splitlines()
    assert [line.split()[0] for line in lines] == ["EXECUTION", SECOND, FIRST]
    assert "1 min 30 s" in lines[2]
    assert "open executions stand still" in shown.err


def test_list_filters_and_limits(recorded, capsys):
    assert run(["list", "--status", "failed", "-o", "jsonl"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["execution_id"] for row in rows] == [FIRST]
    assert run(["list", "--task", "other", "-o", "json"]) == 0
    assert [row["status"] for row in json.loads(capsys.readouterr().out)] == ["running"]
    assert run(["list", "--limit", "1", "-o", "json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 1
    assert run(["list", "--task", "none"]) == 0
    assert capsys.readouterr().err == "No executions.\n"


def test_an_unknown_state_is_misuse_and_names_the_known_ones(recorded, capsys):
    assert run(["list", "--status", "done"]) == 2
    assert "completed_with_errors" in capsys.readouterr().err


def test_show_takes_the_beginning_of_an_id(recorded, capsys):
    assert run(["show", "exec-1"]) == 0
    shown = capsys.readouterr().out
    assert f"execution    {FIRST}" in shown
    assert "input count  3" in shown
    assert "count[4] (ann)" in shown
    assert "USED" in shown
    assert "2.3 s CPU, 28.6 MiB, received 4.8 MiB" in " ".join(shown.split())
    assert "hint: look" in shown
    assert "lines: 2" in shown
    assert "\x1b" not in shown


def test_a_beginning_that_fits_several_is_refused_with_the_candidates(recorded, capsys):
    assert run(["show", "exec-"]) == 2
    assert SECOND in capsys.readouterr().err


@pytest.mark.parametrize("format", ["json", "jsonl"])
def test_show_gives_programs_everything(recorded, capsys, format):
    assert run(["show", FIRST, "-o", format]) == 0
    whole = json.loads(capsys.readouterr().out)
    assert whole["execution"]["status"] == "failed"
    assert (len(whole["phases"]), len(whole["attempts"])) == (1, 2)


def test_show_says_who_paused_when_why_and_how(recorded, capsys):
    why = {"by": "ann", "reason": "lunch", "mode": "now"}
    store = open_store(f"sqlite:///{recorded / '.taskmark' / 'taskmark.db'}")
    row = ExecutionRecord(execution_id="held-1", task_id="other", status="paused", started_at=START)
    event = EventRecord(execution_id="held-1", kind="execution_paused", at=START, payload=why)
    apply(store, [row, event])
    assert run(["show", "held-1"]) == 0
    shown = capsys.readouterr().out
    assert f"now by ann since {START.astimezone():%Y-%m-%d %H:%M}: lunch" in shown
    assert run(["show", "held-1", "-o", "json"]) == 0
    told = json.loads(capsys.readouterr().out)["paused"]
    assert {name: told[name] for name in why} == why


def test_logs_are_one_line_per_event(recorded, capsys):
    assert run(["logs", FIRST]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert "execution started" in lines[0]
    assert "measure / count[4] attempt 2" in lines[1]
    assert lines[2].endswith("error=a b")


def test_logs_as_json(recorded, capsys):
    assert run(["logs", FIRST, "-o", "json"]) == 0
    assert [event["seq"] for event in json.loads(capsys.readouterr().out)] == [1, 2, 3]
    assert run(["logs", FIRST, "-o", "jsonl"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_following_ends_with_the_execution(recorded, capsys):
    assert run(["logs", FIRST, "--follow"]) == 0
    shown = capsys.readouterr()
    assert len(shown.out.splitlines()) == 3
    assert "nothing more happens" in shown.err


def test_the_shell_completes_tasks_and_executions(recorded, monkeypatch):
    assert tasks_beginning("ex") == ["example"]
    assert executions_beginning("exec-1") == [FIRST]
    monkeypatch.setenv("TASKMARK_WINDOW", "many")
    assert tasks_beginning("") == executions_beginning("") == []


def test_who_decides_is_the_user_unless_said(monkeypatch):
    assert person("ann") == "ann"
    monkeypatch.setenv("LOGNAME", "bob")
    assert person("") == "bob"

    def nobody() -> str:
        raise KeyError("uid")

    monkeypatch.setattr("getpass.getuser", nobody)
    assert person("") == ""


def test_the_store_is_checked_and_brought_up_to_date(project, capsys):
    (project / ".taskmark").mkdir()
    (project / ".taskmark" / "taskmark.db").touch()
    assert run(["db", "check"]) == 1
    assert "taskmark db upgrade" in capsys.readouterr().out
    assert run(["db", "upgrade"]) == 0
    assert run(["db", "upgrade"]) == 0
    assert "as it was" in capsys.readouterr().err
    assert run(["db", "check"]) == 0


def test_a_store_that_does_not_answer_is_code_3(project, capsys, monkeypatch):
    monkeypatch.setenv("TASKMARK_DATABASE_URL", "sqlite:////proc/nowhere/x.db")
    assert run(["db", "check"]) == 3


def test_tools_are_listed_with_their_parameters_and_broken_ones_with_the_reason(project, capsys, monkeypatch):
    monkeypatch.setenv("TASKMARK_PLUGINS", "no_such_plugin")
    assert run(["tools", "-o", "json"]) == 0
    rows = {(row["kind"], row["name"]): row for row in json.loads(capsys.readouterr().out)}
    assert rows["tool", "shell"]["required"] == ["command"]
    assert "properties" in rows["tool", "browser"]["schema"]
    assert rows["tool", "shell"]["health"]["healthy"]
    assert "no channel" in rows["tool", "chat"]["health"]["message"]
    assert "aggregate" in {kind for kind, _ in rows}
    assert "cannot be imported" in rows["broken", "no_such_plugin"]["reason"]
    assert run(["tools"]) == 0
    assert "command [" in capsys.readouterr().out


def test_the_limits_of_a_tool_are_told_and_who_says_so(project, capsys, monkeypatch):
    set_ = {"http": {"timeout": "30s", "retry": {"maxAttempts": 5, "backoffMs": 500}, "concurrency": 4}}
    monkeypatch.setenv("TASKMARK_TOOLS", json.dumps(set_))
    assert run(["tools", "http", "-o", "json"]) == 0
    limits = json.loads(capsys.readouterr().out)["limits"]
    sources = limits.pop("sources")
    assert limits == {
        "timeout": 30.0,
        "heartbeat": 6.0,
        "max_attempts": 5,
        "backoff_seconds": 0.5,
        "concurrency": 4,
    }
    assert (sources["timeout"], sources["heartbeat"]) == ("setting", "default")
    assert run(["tools"]) == 0
    assert "30 s, 5 tries, 4 at once" in capsys.readouterr().out


def test_a_page_about_a_tool_has_its_health_limits_and_parameters(project, capsys):
    assert run(["tools", "mail"]) == 0
    shown = capsys.readouterr().out
    for part in (
        "cannot be used: no mail server is configured",
        "TASKMARK_SMTP_URL",
        "10 min 00 s (by default)",
        "subject",
        "required",
        "list of string",
    ):
        assert part in shown


def test_a_tool_that_there_is_not_is_refused_with_those_that_there_are(project, capsys):
    assert run(["tools", "shel"]) == 2
    said = capsys.readouterr()
    assert 'did you mean "shell"' in " ".join(said.err.split())
    assert said.out == ""


def test_doctor_shows_every_check_and_how_to_repair(project, capsys, monkeypatch):
    assert run(["doctor"]) in (0, 2)
    assert "python" in capsys.readouterr().out
    monkeypatch.setenv("TASKMARK_WINDOW", "many")
    assert run(["doctor"]) == 2
    shown = capsys.readouterr()
    assert "fix: " in shown.out
    assert "to repair" in shown.err
