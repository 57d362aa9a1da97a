"""`backfill --from FOLDER` as people type it."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from pathlib import Path

import pytest
from cli_project import begun, taskmark

from starter.cli.entry import run

RESULT = {"task": "tidy", "status": "ok", "completed_at": 1767323045, "output": "mail ann@example.com"}


def folder_of(project: Path, count: int) -> Path:
    folder = project / "past"
    folder.mkdir()
    for number in range(count):
        (folder / f"{number}.json").write_text(json.dumps({**RESULT, "tokens": number}))
    return folder


def test_results_are_listed_afterwards_and_a_second_time_changes_nothing(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Scrubbed, as everything else that is kept; and no server is needed for it."""
    folder_of(project, 3)
    assert run(["backfill", "--from", "past"]) == 0
    assert "12 records of 3 results in 3 files written" in capsys.readouterr().err
    assert run(["list", "-o", "json"]) == 0
    first = capsys.readouterr().out
    assert [one["task_id"] for one in json.loads(first)] == ["tidy"] * 3
    assert run(["backfill", "--from", "past"]) == 0
    capsys.readouterr()
    run(["list", "-o", "json"])
    assert capsys.readouterr().out == first
    run(["show", json.loads(first)[0]["execution_id"], "-o", "json"])
    assert "mail [email]" in capsys.readouterr().out


def test_a_bad_file_is_told_and_the_others_are_taken(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exit code says that something could not be read."""
    folder = folder_of(project, 2)
    (folder / "bad.json").write_text('{\n"task": "a",\n"status": "half"\n}')
    assert run(["backfill", "--from", "past"]) == 1
    told = capsys.readouterr().err
    assert re.search(r"not read: past/bad\.json:3: `status` is 'half', which is no word", told)
    assert "8 records of 2 results in 3 files written" in told


def test_a_dry_run_writes_nothing(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Not even an empty store."""
    folder_of(project, 2)
    assert run(["backfill", "--from", "past", "--dry-run"]) == 0
    assert "8 records of 2 results in 2 files would be written" in capsys.readouterr().err
    assert not (project / ".taskmark" / "taskmark.db").exists()


@pytest.mark.parametrize("words", [["--from", "nowhere"], ["exec-1-a", "--from", "."]])
def test_wrong_words_are_a_usage_error(project: Path, words: list[str]) -> None:
    assert run(["backfill", *words]) == 2


def test_a_store_that_does_not_answer_ends_it_with_its_own_code(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder_of(project, 1)
    (project / "db").mkdir()
    monkeypatch.setenv("TASKMARK_DATABASE_URL", f"sqlite:///{project}/db")
    assert run(["backfill", "--from", "past"]) == 3
    assert "does not answer" in capsys.readouterr().err


def test_ctrl_c_stops_it_and_the_same_command_goes_on(project: Path) -> None:
    folder_of(project, 3_000)
    process = begun(project, "backfill", "--from", "past")
    end = time.monotonic() + 30
    while not (project / ".taskmark" / "taskmark.db").exists():
        assert time.monotonic() < end
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode in (130, 0), told
    assert process.returncode == 0 or "the same command goes on" in told
    again = taskmark(project, "backfill", "--from", "past")
    assert again.returncode == 0, again.stderr
    assert "of 3000 results" in again.stderr
    listed = taskmark(project, "list", "-n", "10000", "-o", "jsonl")
    assert len(listed.stdout.splitlines()) == 3_000
