"""`repo-health` and `release` as whole tasks, on a real server with a worker in another process."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import subprocess
from collections.abc import Callable

from acceptance_place import PATIENCE, Place, eventually, kill
from example_repository import GitRepository

from starter.gateway import TaskClient
from taskmark.contracts import Progress

Workers = list[subprocess.Popen[bytes]]

KEY = "AKIA" + "Q7ZP2LXVBK" + "R4TNWS"
PASSING = "import unittest\n\n\nclass One(unittest.TestCase):\n    def test_one(self):\n        pass\n"
EDITOR = """#!/bin/sh
touch "$GIT_DIR/../../editing"
while [ ! -e "$GIT_DIR/../../written" ]; do sleep 0.05; done
exit 1
"""


def project(place: Place, name: str, test: str = PASSING) -> GitRepository:
    """Makes a project to release."""
    made = GitRepository(place.root / name)
    made.commit("feat: begin", {"VERSION": "1.0.0\n", "tests/test_one.py": test})
    return made


async def until(client: TaskClient, execution: str, condition: Callable[[Progress], object]) -> Progress:
    """Returns the first progress that the condition holds for."""
    async with asyncio.timeout(PATIENCE):
        while not condition(progress := await client.progress(execution)):
            await asyncio.sleep(0.05)
    return progress


def asked(progress: Progress) -> bool:
    return any(wait.name == "release" for wait in progress.waiting)


def step(progress: Progress, name: str) -> str:
    """Returns status and number of attempts of a step, as `running 2`."""
    steps = [one for phase in progress.phases for one in phase.steps]
    return next((f"{one.status} {one.attempt}" for one in steps if one.id == name), "pending 0")


async def test_the_health_of_a_repository_is_reported_and_judged(
    place: Place, client: TaskClient, workers: Workers
):
    """A secret fails the task, after the report is written and without being in it. An area that breaks
    is missing in the report and takes nothing from the others, but a search for secrets that breaks is no
    clean bill."""
    healthy = GitRepository(place.root / "healthy")
    healthy.commit("one", {"README.md": "# Title\n\n[up](#title)\n", "a.py": "# TODO: soon\nx = 1\n"})
    leaking = GitRepository(place.root / "leaking")
    leaking.commit("one", {"config.py": f"key = '{KEY}'\n"})
    text = (place.root / "tasks" / "repo-health.md").read_text()
    broken = text.replace("tasks.repo_health.todos:examine", "tasks.repo_health.absent:examine")
    blind = text.replace("tasks.repo_health.secrets:examine", "tasks.repo_health.absent:examine")
    starts = (
        client.start("repo-health", {"repo": "healthy"}),
        client.start("repo-health", {"repo": "leaking"}),
        client.start(source=broken, inputs={"repo": "leaking", "ignore": ["*.py"]}),
        client.start(source=blind, inputs={"repo": "healthy"}),
    )
    executions = [await start for start in starts]
    good, bad, gap, unknown = [await client.wait(execution, timeout=PATIENCE) for execution in executions]
    assert good.status == "completed", good.error
    assert set(good.outputs["scores"]) == {
        "history", "tests", "dependencies", "size", "secrets", "todos", "links"
    }  # fmt: skip
    report = (place.root / "reports" / "repo-health-healthy.md").read_text()
    assert "| a.py:1 | less than a day | TODO: soon |" in report
    assert bad.status == "failed"
    assert bad.error is not None
    assert "more possible secrets" in bad.error.message
    report = (place.root / "reports" / "repo-health-leaking.md").read_text()
    assert KEY[4:] not in report + bad.model_dump_json()
    assert gap.status == "completed_with_errors"
    assert "todos" not in gap.outputs["scores"]
    assert unknown.error is not None
    assert "nothing is known" in unknown.error.message


async def test_a_release_goes_on_after_locks_and_a_killed_worker_and_is_made_once(
    place: Place, client: TaskClient, workers: Workers
):
    """First somebody writes a commit message and so holds git's index, then somebody else uploads, and
    meanwhile the worker is killed."""
    made = project(place, "app")
    execution = await client.start("release", {"repo": "app", "bump": "minor"})
    await until(client, execution, asked)
    editor = place.folder / "editor.sh"
    editor.write_text(EDITOR)
    editor.chmod(0o755)
    around = {"GIT_EDITOR": str(editor), "GIT_DIR": str(made.folder / ".git")}
    committing = subprocess.Popen(
        ["git", "-C", str(made.folder), "commit", "--all", "--allow-empty"],
        env=os.environ | around | {"GIT_WORK_TREE": str(made.folder)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    eventually((place.root / "editing").exists)
    (place.root / "registry").mkdir()
    with (place.root / "registry" / ".lock").open("w") as uploading:
        fcntl.flock(uploading, fcntl.LOCK_EX)
        await client.approve(execution, "release", by="ada")
        await until(client, execution, lambda now: step(now, "branch") == "running 2")
        (place.root / "written").touch()
        assert committing.wait(PATIENCE) == 1
        await until(client, execution, lambda now: step(now, "upload") == "running 2")
        kill(workers[-1])
        workers.append(place.worker())
    result = await client.wait(execution, timeout=PATIENCE)
    assert result.status == "completed", result.error
    assert result.steps["branch"].attempts >= 2
    assert result.steps["upload"].attempts >= 2
    assert made.state() == (result.outputs["commit"], "refs/heads/main", "v1.1.0", "")
    assert made.git("log", "--format=%s") == "Release 1.1.0\nfeat: begin"
    assert (made.folder / "VERSION").read_text() == "1.1.0\n"
    index = json.loads((place.root / "registry" / "index.json").read_text())
    assert list(index["app"]) == ["1.1.0"]
    assert [path.name for path in (place.root / "registry/app/1.1.0").iterdir()] == ["app-1.1.0.tar.gz"]
    assert left(made) == []


async def test_a_release_that_does_not_come_about_leaves_the_repository_as_it_was(
    place: Place, client: TaskClient, workers: Workers
):
    """Rejected, unanswered or with tests that fail, it fails with the reason and leaves nothing behind."""
    failing = PASSING.replace("pass", "self.fail('one is not two')")
    made = [project(place, "rejected"), project(place, "unanswered"), project(place, "untested", failing)]
    before = [one.state() for one in made]
    text = (place.root / "tasks" / "release.md").read_text()
    impatient = text.replace("timeout: 1 day", "timeout: 1s")
    rejected = await client.start("release", {"repo": "rejected", "bump": "major"})
    unanswered = await client.start(source=impatient, inputs={"repo": "unanswered", "bump": "patch"})
    untested = await client.start("release", {"repo": "untested", "bump": "patch"})
    await until(client, rejected, asked)
    await client.approve(rejected, "release", decision="rejected", by="ada", comment="not before Monday")
    ends = [await client.wait(one, timeout=PATIENCE) for one in (rejected, unanswered, untested)]
    assert [end.status for end in ends] == ["failed"] * 3
    reasons = ("Not approved", "Not approved", "Tests or build failed")
    for end, reason in zip(ends, reasons, strict=True):
        assert end.error is not None
        assert end.error.message.startswith(reason)
    assert "not before Monday" in ends[0].model_dump_json()
    assert "one is not two" in ends[2].model_dump_json()
    assert [one.state() for one in made] == before
    assert [left(one) for one in made] == [[], [], []]


def left(made: GitRepository) -> list[str]:
    """Returns the working trees and branches that a release could have left."""
    trees = made.git("worktree", "list", "--porcelain").split("\n\n")[1:]
    branches = made.git("branch", "--list", "--format=%(refname:short)").splitlines()
    return trees + [branch for branch in branches if branch != "main"]


def test_both_tasks_have_no_problems(place: Place):
    process = place.command("lint", "tasks/repo-health.md", "tasks/release.md")
    assert process.wait(PATIENCE) == 0, place.said(process)
    assert "no problems" in place.said(process)
