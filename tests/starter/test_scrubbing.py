"""What a real run leaves on the disk holds nothing personal; what it gives back is as it was."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_project import taskmark

from starter.wiring import Wiring
from taskmark.errors import InvalidSettings
from taskmark.settings import Settings

ADDRESS, TOKEN, BADGE = "marker@example.com", "ghp_0123456789abcdefABCDEF0123456789abcd", "BADGE-7741"
TASK = """\
---
name: Letter
requirements:
  to: string
---
## Phase: Write
### Steps
- tool: shell - Write a letter to the address
  id: letter
  with:
    command: [echo, "{{ inputs.to }}"]
- tool: shell - Fail with the address
  id: fails
  critical: false
  retry: {maxAttempts: 1}
  with:
    command: [sh, -c, "echo refused: {{ inputs.to }} >&2; exit 3"]
### Outputs
- said: steps.letter.output.stdout
"""
PLUGIN = """\
from taskmark.registry import detector


@detector("badge", hints=("badge-",))
def badge(text):
    start = text.find("BADGE-")
    return [(start, start + 10)]
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with a plugin."""
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "letter.md").write_text(TASK)
    (tmp_path / "badges.py").write_text(PLUGIN)
    (tmp_path / "taskmark.toml").write_text('plugins = ["badges"]\nlog_level = "debug"\n')
    return tmp_path


@pytest.mark.semantics("Q10")
def test_a_run_leaves_nothing_personal_in_store_spool_and_log(project: Path) -> None:
    """The result is what the workflow made; the history, also when it is read again, is scrubbed."""
    given = f"{ADDRESS} {TOKEN} {BADGE}"
    done = taskmark(project, "run", "letter", "-i", f"to={given}", "-o", "json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert given in json.dumps(result)
    again = taskmark(project, "backfill")
    assert again.returncode == 0, again.stderr
    shown = taskmark(project, "show", result["execution_id"], "-o", "json").stdout
    assert "[email] [secret] [badge]" in shown
    ours = [path for path in (project / ".taskmark").rglob("*") if path.is_file() and is_ours(path)]
    assert {"taskmark.db", "taskmark.log"} <= {path.name for path in ours}
    for path in ours:
        content = path.read_bytes()
        assert [marker for marker in (ADDRESS, TOKEN, BADGE) if marker.encode() in content] == [], path
    assert "[email]" in (project / ".taskmark" / "taskmark.log").read_text()


def is_ours(path: Path) -> bool:
    """Temporal's own history holds what the work needs; the rest is ours."""
    return not path.name.startswith("temporal.db") and path.name != "server.log"


def test_an_unknown_detector_stops_what_would_record(tmp_path: Path) -> None:
    settings = Settings(state_dir=tmp_path, root=tmp_path, scrub=("email", "emial"))
    with pytest.raises(InvalidSettings, match="emial"):
        _ = Wiring(settings).recorder


def test_all_and_none_stand_alone(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match="TASKMARK_SCRUB"):
        Settings(state_dir=tmp_path, scrub=("all", "email"))
