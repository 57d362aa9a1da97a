"""`replay`: a change of the engine is told from none, by the executions that it would stop."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cli_project import environment

from starter.gateway import TaskClient
from taskmark.settings import Settings

WORKFLOWS = Path(__file__).parents[2] / "workflows"
BEFORE = "(partial(run, step) for step in lane.steps)"
AFTER = "(partial(run, step) for step in reversed(lane.steps))"
TWO = """## Phase: Two
parallel: true
### Steps
- tool: shell
  with: {command: [echo, a]}
- tool: shell
  with: {command: [echo, b]}
"""
GO = """- approval: go - Go on?
  timeout: 1 hour
"""


def replay(project: Path, *words: str, changed: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Types the command, with another copy of the workflows in front of ours."""
    around = environment() | ({"PYTHONPATH": f"{changed}{os.pathsep}{WORKFLOWS.parent}"} if changed else {})
    line = [sys.executable, "-m", "starter.cli.entry", "replay", *words]
    return subprocess.run(
        line, cwd=project, env=around, capture_output=True, text=True, timeout=90, check=False
    )


@pytest.fixture
def changed(tmp_path: Path) -> Path:
    """A folder with workflows that start parallel steps in the opposite order."""
    copy = shutil.copytree(WORKFLOWS, tmp_path / "changed" / "workflows")
    text = (copy / "phase.py").read_text()
    assert text.count(BEFORE) == 1, "the place to plant the change has moved"
    (copy / "phase.py").write_text(text.replace(BEFORE, AFTER))
    return copy.parent


@pytest.mark.semantics("S16")
async def test_a_change_affects_exactly_the_open_executions_that_depend_on_it(
    project: Path, changed: Path
) -> None:
    """Each has two parallel steps that the change would turn round, before, after or without its gate."""
    tasks = {
        "within": f"# Within\n{TWO}{GO}",
        "after": f"# After\n{TWO}\n## Phase: Ask\ndependsOn: [Two]\n### Steps\n{GO}",
        "without": f"# Without\n## Phase: Ask\n### Steps\n{GO}",
        "ended": f"# Ended\n{TWO}",
    }
    async with TaskClient.open(Settings(), worker=True) as client:
        for name, text in tasks.items():
            await client.start(source=text, id=f"{name}-1")
        for name in ("within", "after", "without"):
            while (await client.progress(f"{name}-1")).status != "waiting":
                await asyncio.sleep(0.1)
        await client.wait("ended-1")

        same = await asyncio.to_thread(replay, project, "-o", "json", "--all")
        other = await asyncio.to_thread(replay, project, "-o", "jsonl", changed=changed)
        table = await asyncio.to_thread(replay, project, "within", "without-1", changed=changed)
        part = await asyncio.to_thread(replay, project, "--open", "--limit", "1")

    assert same.returncode == 0, same.stderr
    told = {one["execution_id"]: one for one in json.loads(same.stdout)}
    expected = {f"{name}-1": name != "ended" for name in tasks}
    assert {name: one["open"] for name, one in told.items()} == expected
    assert not any(one["affected"] for one in told.values())

    assert "1 running and 0 ended" in part.stderr
    assert "Not all were looked at: there are more than --limit 1." in part.stderr

    assert other.returncode == 1
    rows = {one["execution_id"]: one for one in map(json.loads, other.stdout.splitlines())}
    assert {name: one["open"] for name, one in rows.items()} == {"within-1": True, "ended-1": False}
    assert rows["within-1"]["workflow_id"] == "within-1/two"
    assert rows["within-1"]["reason"].startswith("NondeterminismError: [TMPRL1100]")
    assert "1 running could not go on" in other.stderr
    assert "Let workers of the code before finish" in other.stderr
    assert (table.returncode, [line.split()[0] for line in table.stdout.splitlines()[1:]]) == (
        1,
        ["within-1"],
    )


@pytest.mark.semantics("S16")
def test_histories_in_files_are_replayed_without_a_server(project: Path, changed: Path) -> None:
    folder = project / "histories"
    folder.mkdir()
    recorded = Path(__file__).parents[1] / "replay" / "histories"
    for name in ("completed", "parallel", "parallel--a"):
        if (recorded / f"{name}.json").exists():
            shutil.copy(recorded / f"{name}.json", folder)
    assert replay(project, "--folder", "histories").returncode == 0
    (folder / "bad.json").write_text("[]")
    bad = replay(project, "--folder", "histories")
    assert bad.returncode == 2
    assert "bad.json holds no history" in bad.stderr
    assert not (project / ".taskmark" / "temporal.db").exists()
