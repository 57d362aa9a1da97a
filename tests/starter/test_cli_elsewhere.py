"""`record` and `wait`: work that Temporal does not run, told and waited for without any server."""

import io
import json
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from starter.cli.entry import run
from taskmark.records import ExecutionRecord
from taskmark.store.reading import History
from taskmark.store.schema import open_store
from taskmark.store.writing import apply

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs/operations.md").read_text().partition("## Work that Temporal does not run")[2]
EVERY_TEMPORAL_COMMAND = (
    ["watch", "{}"],
    ["pause", "{}"],
    ["resume", "{}"],
    ["abort", "{}"],
    ["approve", "{}", "gate"],
    ["reject", "{}", "gate"],
    ["answer", "{}", "question", "1"],
    ["retry", "{}", "phase"],
    ["skip", "{}", "phase"],
    ["ui", "{}"],
    ["graph", "{}"],
)


def block(language: str) -> str:
    [found] = re.findall(rf"^```{language}\n(.*?)^```", DOCUMENT, re.MULTILINE | re.DOTALL)
    return found


def history(project: Path) -> History:
    return History(open_store(f"sqlite:///{project / '.taskmark' / 'taskmark.db'}"))


@pytest.fixture
def begun(project, capsys) -> str:
    assert run(["record", "start", "nightly", "-i", "day=1", "--key", "k", "--agent", "ann"]) == 0
    return capsys.readouterr().out.strip()


@pytest.mark.semantics("W1", "W3", "W4", "W5", "W7")
def test_the_shell_example_in_the_docs_does_what_it_says(project):
    (project / "taskmark").write_text(f'#!/bin/sh\nexec {sys.executable} -m starter.cli.entry "$@"\n')
    (project / "taskmark").chmod(0o755)
    around = {**os.environ, "PATH": f"{project}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(
        ["bash", "-eu", "-c", block("sh")], env=around, capture_output=True, text=True, check=True
    )
    [found] = history(project).executions()
    assert ended.stdout.split() == [found.execution_id, "rows:", "1200"]
    assert (found.status, found.attempts, found.assigned_agent) == ("completed", 2, "cron")
    assert found.inputs == {"day": "2026-01-31", "limit": 500}
    assert (found.tokens_used, found.files_modified) == (900, ("out/rows.csv",))


@pytest.mark.semantics("W1", "W7")
def test_the_python_example_in_the_docs_does_what_it_says(project):
    """And it brings no Temporal along."""
    script = block("python") + '\nimport sys\nassert "temporalio" not in sys.modules\n'
    around = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(
        [sys.executable, "-c", script], env=around, capture_output=True, text=True, check=True
    )
    assert ended.stdout == "completed {'rows': 1200} 900\n"
    assert not (project / ".taskmark" / "temporal.db").exists()


@pytest.mark.semantics("W1")
def test_it_is_listed_and_shown_with_its_tries_and_events(project, begun, capsys):
    run(["record", "progress", begun, "load", "12 of 40"])
    run(["record", "fail", begun, "the disk is full", "--will-retry"])
    capsys.readouterr()
    assert run(["list"]) == 0
    told = capsys.readouterr()
    assert "pending" in told.out
    assert told.err == ""  # no server has to run for it
    assert run(["show", begun]) == 0
    shown = capsys.readouterr().out
    assert "done       elsewhere, not by Temporal" in shown
    assert re.search(r"nightly \(ann\) +failed +1 .*the disk is full", shown)
    assert run(["logs", begun]) == 0
    assert "will_retry=true" in capsys.readouterr().out


def test_values_and_failures_come_as_json_too(project, begun, capsys, monkeypatch):
    failure = {"message": "too slow", "type": "timed_out", "category": "resource"}
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(failure)))
    assert run(["record", "fail", begun, "-", "--will-retry", "--questions", "2"]) == 0
    assert run(["record", "start", "nightly", "--id", begun, "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"execution_id": begun}
    (project / "results.json").write_text('{"rows": 1, "kept": true}')
    assert (
        run(["record", "complete", begun, "--results", "results.json", "-r", "rows:=[2]", "-r", "a=:=b"]) == 0
    )
    found = history(project)
    assert found.execution(begun).outputs == {"rows": [2], "kept": True, "a": ":=b"}
    assert found.execution(begun).questions_asked == 2
    assert found.attempts(begun)[0].error_type == "timed_out"


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["complete", "{}", "-r", "rows:=x"], "not JSON"),
        (["complete", "{}", "-r", "rows"], "not name=value"),
        (["complete", "{}", "--cost", "inf"], "cannot be a number of cost"),
        (["fail", "{}", "-"], "message"),
        (["complete", "nobody"], "No execution has the id"),
        (["start", "weekly", "--id", "{}"], "of nightly, not of weekly"),
        (["start", "weekly", "--trace", "x"], "no trace"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_words_are_misuse_and_change_nothing(begun, capsys, monkeypatch, project, words, reason):
    monkeypatch.setattr(sys, "stdin", io.StringIO("{}"))
    assert run(["record", *(word.format(begun) for word in words)]) == 2
    assert reason in capsys.readouterr().err
    assert [one.status for one in history(project).executions()] == ["running"]


@pytest.mark.semantics("W5")
def test_a_second_end_is_refused(begun, capsys):
    assert run(["record", "cancel", begun, "--reason", "not needed"]) == 0
    assert run(["record", "cancel", begun, "--reason", "not needed"]) == 0
    assert run(["record", "complete", begun]) == 2
    assert "has ended already: it is cancelled" in capsys.readouterr().err


@pytest.mark.semantics("W6")
@pytest.mark.parametrize("words", EVERY_TEMPORAL_COMMAND, ids=lambda words: words[0])
def test_what_temporal_does_is_not_asked_of_it(begun, capsys, project, words):
    """And no server is started to find that out."""
    assert run([word.format(begun[:8]) for word in words]) == 2
    told = capsys.readouterr().err
    assert f"{begun} is done elsewhere, not by Temporal" in told
    assert "taskmark record cancel" in told
    assert not (project / ".taskmark" / "temporal.db").exists()


def test_a_store_that_does_not_answer_is_said(project, capsys, monkeypatch):
    monkeypatch.setenv("TASKMARK_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    assert run(["record", "start", "nightly"]) == 3
    assert "does not answer" in capsys.readouterr().err


# --- wait -----------------------------------------------------------------------------------------


@pytest.mark.semantics("W7")
@pytest.mark.parametrize(("end", "code"), [("complete", 0), ("fail", 1), ("cancel", 1)])
def test_wait_ends_as_the_execution_does(begun, capsys, end, code):
    words = {"complete": ["-r", "rows:=3"], "fail": ["it broke"], "cancel": []}[end]
    late = threading.Timer(0.5, run, [["record", end, begun, *words]])
    late.start()
    assert run(["wait", begun[:9], "-o", "json"]) == code
    late.join()
    shown = json.loads(capsys.readouterr().out)
    assert shown["execution_id"] == begun
    assert shown["outputs"] == ({"rows": 3} if end == "complete" else None)


@pytest.mark.semantics("W7")
def test_wait_gives_up_after_its_timeout_and_says_how_it_stands(begun, project, capsys):
    started = time.monotonic()
    assert run(["wait", begun, "--timeout", "100ms"]) == 6
    assert time.monotonic() - started < 30
    assert f"{begun} has not ended: it is running" in capsys.readouterr().err
    assert history(project).execution(begun).status == "running"


@pytest.mark.semantics("W7")
@pytest.mark.parametrize("timeout", ["0s", "1ms"])
def test_wait_sees_what_is_over_however_short_it_looks(begun, capsys, timeout):
    assert run(["record", "complete", begun, "--result", "rows:=3"]) == 0
    assert run(["wait", begun, "--timeout", timeout]) == 0
    shown = capsys.readouterr()
    assert "rows: 3" in shown.out
    assert "has not ended" not in shown.err


@pytest.mark.parametrize(
    ("status", "code"), [("waiting", 5), ("paused", 5), ("running", 6), ("timed_out", 6)]
)
def test_wait_tells_what_a_person_has_to_do_from_what_takes_long(project, begun, capsys, status, code):
    apply(
        open_store(f"sqlite:///{project / '.taskmark' / 'taskmark.db'}"),
        [ExecutionRecord(execution_id="temporals", status=status)],
    )
    assert run(["wait", "temporals", "--timeout", "50ms"]) == code
    said = capsys.readouterr().err
    assert ("The embedded server does not run" in said) == (status != "timed_out")


@pytest.mark.semantics("W10")
def test_wait_for_what_nobody_has_told_of_is_misuse(project, capsys):
    assert run(["wait", "nobody"]) == 2
    assert "No execution has the id" in capsys.readouterr().err
    assert not (project / ".taskmark").exists()
    assert run(["wait", "nobody", "--timeout", "soon"]) == 2
