"""`schedule`: what people type to let tasks start by themselves, on a real embedded server."""

import json
import signal
import time
from pathlib import Path

import pytest
from cli_project import begun, taskmark

NIGHTLY = """# Nightly
```yaml
requirements:
  word: {type: string, default: none}
  many: {type: integer, default: 1}
schedule: {cron: 0 6 * * 1-5, timezone: Europe/Berlin, overlap: bufferOne, catchUp: 10 minutes}
```
## Phase: Only
### Steps
- validation: inputs.many > 0 - There is nothing to do
### Outputs
- word: inputs.word
"""


@pytest.fixture
def nightly(project: Path) -> Path:
    """A project with a task that says when it is to start."""
    (project / "tasks" / "nightly.md").write_text(NIGHTLY)
    return project


def shown(project: Path, *words: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(taskmark(project, "schedule", "show", *words, "-o", "json").stdout)
    return found


@pytest.mark.semantics("S10", "S15")
def test_a_schedule_is_made_of_the_file_and_of_what_is_typed(nightly: Path) -> None:
    assert "no problems" in taskmark(nightly, "lint", "nightly").stderr
    made = taskmark(nightly, "schedule", "set", "nightly", "-i", "many=3", "--timezone", "Asia/Tokyo")
    assert made.returncode == 0, made.stderr
    assert "0 6 * * 1-5 (Asia/Tokyo)" in made.stdout
    assert "06:00:00+0900" in made.stdout
    assert "keep `taskmark dev` running" in made.stderr
    assert "not older than 10 minutes" in made.stderr
    view = shown(nightly, "nightly")
    assert (view["inputs"], view["overlap"], view["catch_up_seconds"]) == ({"many": 3}, "bufferOne", 600)
    rows = taskmark(nightly, "schedule", "list", "-o", "jsonl").stdout.splitlines()
    assert [json.loads(row)["name"] for row in rows] == ["taskmark-nightly"]
    assert json.loads(taskmark(nightly, "schedule", "list", "-o", "json").stdout)[0]["task"] == "nightly"

    for words, reason in (
        (("nightly", "--cron", "61 * * * *"), "Minute is not in range"),
        (("nightly", "--timezone", "Mars/Base", "--overlap", "both"), "no time zone `Mars/Base`"),
        (("nightly", "--catch-up", "soon"), "--catch-up"),
        (("example", "-i", "file=notes.txt"), "write `schedule: {cron:"),
        (("example", "--cron", "0 6 * * *"), "`file`"),
    ):
        refused = taskmark(nightly, "schedule", "set", *words)
        assert refused.returncode == 2, words
        assert reason in refused.stderr
    assert shown(nightly, "nightly") == view


@pytest.mark.semantics("S12", "S13", "S14")
def test_a_schedule_is_triggered_paused_caught_up_and_deleted(nightly: Path) -> None:
    assert taskmark(nightly, "schedule", "set", "nightly", "-i", "word=hi").returncode == 0
    triggered = taskmark(nightly, "schedule", "trigger", "nightly")
    execution = triggered.stdout.strip()
    assert execution.startswith("exec-nightly-20")
    watched = taskmark(nightly, "watch", execution[:-2], "-o", "jsonl")
    assert json.loads(watched.stdout)["outputs"] == {"only": {"word": "hi"}}, watched.stderr
    stored = json.loads(taskmark(nightly, "show", execution[:-2], "-o", "json").stdout)["execution"]
    assert (stored["execution_id"], stored["cause"]) == (execution, "schedule")

    paused = taskmark(nightly, "schedule", "pause", "taskmark-nightly", "--note", "holidays")
    assert paused.returncode == 0
    assert "paused" in taskmark(nightly, "schedule", "list").stdout
    assert shown(nightly, "nightly")["note"] == "holidays"
    assert taskmark(nightly, "schedule", "resume", "nightly").returncode == 0

    every = ("schedule", "set", "nightly", "--cron", "* * * * * * *", "--overlap", "bufferAll")
    assert taskmark(nightly, *every).returncode == 0
    time.sleep(2)  # nobody runs the server
    dev = begun(nightly, "dev")
    deadline = time.monotonic() + 40
    while len(done := _completed(nightly)) < 4:
        assert time.monotonic() < deadline, done
        time.sleep(0.3)
    assert taskmark(nightly, "schedule", "delete", "nightly").returncode == 0
    assert taskmark(nightly, "schedule", "show", "nightly").returncode == 2
    dev.send_signal(signal.SIGINT)
    dev.communicate(timeout=40)
    assert "No task starts by itself" in taskmark(nightly, "schedule", "list").stderr


def _completed(project: Path) -> list[str]:
    rows = taskmark(project, "list", "--status", "completed", "-o", "jsonl").stdout.splitlines()
    return [json.loads(row)["execution_id"] for row in rows]
