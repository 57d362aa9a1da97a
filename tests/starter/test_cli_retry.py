"""`retry` and `checkpoints` as people type them."""

import json
import os
import signal
from pathlib import Path

import pytest
from cli_project import begun, taskmark
from test_cli_end_to_end import eventually, executions

TASK = """# Demo

```yaml
name: Demo
requirements:
  factor: number
```

## Phase: First
checkpoint: gathered

### Steps
- tool: shell - Make it
  id: made
  with:
    command: [sh, -c, "echo {{ inputs.factor }} | tee -a made.txt"]

### Outputs
- made: steps.made.output.stdout

## Phase: Second
dependsOn: [First]

### Steps
- tool: shell - It fails
  id: fails
  retry: {maxAttempts: 1}
  with:
    command: ["false"]
- tool: shell - Last
  id: last
  with:
    command: [sh, -c, "echo last >> last.txt"]
"""
HOLDS = TASK.replace('["false"]', '[sh, -c, "test -e go || sleep 60"]')


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "demo.md").write_text(TASK)
    return tmp_path


@pytest.mark.semantics("K13")
def test_an_edited_file_goes_on_where_the_first_one_failed(project: Path) -> None:
    assert taskmark(project, "run", "demo", "-i", "factor=2").returncode == 1
    first = str(executions(project)[0]["execution_id"])
    left = json.loads(taskmark(project, "checkpoints", first, "-o", "json").stdout)
    assert [(one["phase"], one["label"], one["completed"]) for one in left] == [
        ("first", "gathered", 1),
        ("second", None, 0),
    ]
    (project / "tasks" / "demo.md").write_text(TASK.replace('["false"]', '["true"]'))

    foreseen = taskmark(project, "retry", first, "--file", "demo", "--dry-run")
    assert foreseen.returncode == 0, foreseen.stderr
    assert "its definition has changed" in foreseen.stdout
    assert "1 steps are reused, 2 run. Nothing was started." in foreseen.stderr
    assert len(executions(project)) == 1

    done = taskmark(project, "retry", first, "--file", "demo", "-o", "json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert {name: step.get("reused") for name, step in result["steps"].items()} == {
        "made": first,
        "fails": None,
        "last": None,
    }
    assert (project / "made.txt").read_text() == "2\n"
    assert (project / "last.txt").read_text() == "last\n"

    anew = taskmark(project, "retry", result["execution_id"], "--from", "first", "-i", "factor=3")
    assert anew.returncode == 0, anew.stderr
    assert (project / "made.txt").read_text() == "2\n3\n"


def test_what_makes_no_sense_is_refused_with_the_reason(project: Path) -> None:
    taskmark(project, "run", "demo", "-i", "factor=2")
    first = str(executions(project)[0]["execution_id"])
    for words, says in (
        (("--checkpoint", "never"), "no checkpoint 'never'; there are gathered"),
        (("--from", "nowhere"), "there is no phase “nowhere”"),
        (("-i", "factor=many"), "factor"),
    ):
        refused = taskmark(project, "retry", first, "--dry-run", *words)
        assert (refused.returncode, says in refused.stderr) == (2, True), refused.stderr


@pytest.mark.semantics("K11")
def test_it_goes_on_from_one_whose_worker_was_killed(project: Path) -> None:
    """Its first phase had ended; then the process was killed, and the execution aborted."""
    (project / "tasks" / "demo.md").write_text(HOLDS)
    running = begun(project, "run", "demo", "-i", "factor=2")
    assert eventually((project / "made.txt").exists, 60)
    assert eventually(lambda: any("fails" in str(one) for one in _begun(project)), 60)
    os.kill(running.pid, signal.SIGKILL)
    running.communicate()
    first = str(executions(project)[0]["execution_id"])
    assert taskmark(project, "abort", first).returncode == 0
    (project / "go").touch()
    done = taskmark(project, "retry", first, "-o", "json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["steps"]["made"]["reused"] == first
    assert (project / "made.txt").read_text() == "2\n"


def _begun(project: Path) -> list[str]:
    """Returns what the store has told, once there is an execution."""
    found = executions(project)
    return taskmark(project, "logs", str(found[0]["execution_id"])).stdout.splitlines() if found else []
