"""Semantics P13: a phase with `rollback` leaves nothing behind unless it completes."""

from __future__ import annotations

import pytest
from engine import Engine
from observing import stored_events, unique

from taskmark.contracts import ResumeFrom


def build(name: str, then: str, options: str = "") -> str:
    """Returns a task whose phase changes a file, makes another, and then does something else."""
    return f"""
## Phase: Build
rollback: true
{options}
### Steps
- tool: write-file - Change what is there
  id: change
  with: {{path: {name}/kept.txt, content: changed}}
- tool: write-file - Make a new one
  id: make
  with: {{path: {name}/new/made.txt, content: made}}
{then}

## Phase: After
dependsOn: [Build]
if: true
### Steps
- tool: list-files - See what is there
  id: seen
  with: {{path: {name}}}
"""


FAILING = "- tool: flaky\n  id: end\n  retry: {maxAttempts: 1}\n"
HOLDING = "- tool: hold\n  id: end\n  with: {name: NAME}\n"


@pytest.fixture
def name(engine: Engine) -> str:
    """A folder with one file in it."""
    found = unique("folder")
    (engine.root / found).mkdir()
    (engine.root / found / "kept.txt").write_text("as it was")
    return found


def files(engine: Engine, name: str) -> dict[str, str]:
    """Returns what is in the folder."""
    folder = engine.root / name
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*")}
    return {name: path.read_text() if path.is_file() else "/" for name, path in found.items()}


BEFORE = {"kept.txt": "as it was"}
AFTER = {"kept.txt": "changed", "new": "/", "new/made.txt": "made"}


@pytest.mark.semantics("P13")
async def test_a_phase_that_fails_leaves_nothing_behind(engine: Engine, name: str) -> None:
    """It is undone before the next phase looks, and said with the failure and as an event."""
    result = await engine.run(build(name, FAILING, "onFailure: continue"))
    assert result.status == "completed_with_errors"
    assert files(engine, name) == BEFORE
    assert result.steps["seen"].output == {"files": [f"{name}/kept.txt"]}
    error = result.phases["build"].error
    assert error is not None
    assert "what it had changed was undone (2 files)" in (error.hint or "")
    [event] = await stored_events(engine, result.execution_id, "phase_rolled_back")
    assert event.payload == {"restored": [f"{name}/kept.txt"], "removed": [f"{name}/new/made.txt"]}


@pytest.mark.semantics("P13")
async def test_a_phase_that_completes_keeps_what_it_did(engine: Engine, name: str) -> None:
    result = await engine.run(build(name, ""))
    assert result.status == "completed"
    assert files(engine, name) == AFTER
    assert not list((engine.root / ".taskmark").glob("rollback/*"))


@pytest.mark.semantics("P13")
@pytest.mark.parametrize("end", ["abort", "time"])
async def test_a_task_that_is_stopped_leaves_nothing_behind_either(
    engine: Engine, name: str, end: str
) -> None:
    options = "timeout: 2s" if end == "time" else ""
    execution = await engine.start(build(name, HOLDING.replace("NAME", name), options))
    await engine.until_trace(execution, "start", name)
    assert files(engine, name) == AFTER
    if end == "abort":
        await engine.client.abort(execution)
    result = await engine.wait(execution)
    assert result.status == ("cancelled" if end == "abort" else "failed")
    assert files(engine, name) == BEFORE


@pytest.mark.semantics("P13")
async def test_a_held_phase_keeps_what_there_is_until_it_is_given_up(engine: Engine, name: str) -> None:
    text = build(name, FAILING.replace("\n  id", "\n  with: {failures: 1}\n  id"), "onFailure: pause")
    execution = await engine.start(text)
    await engine.until_status(execution, "waiting")
    assert files(engine, name) == AFTER
    await engine.client.retry(execution, "build")
    result = await engine.wait(execution)
    assert (result.status, files(engine, name)) == ("completed", AFTER)


@pytest.mark.semantics("P13")
async def test_no_step_of_what_was_undone_is_reused(engine: Engine, name: str) -> None:
    text = build(name, FAILING.replace("\n  id", "\n  with: {failures: 1}\n  idempotencyKey: NAME\n  id"))
    text = text.replace("NAME", name)
    first = await engine.run(text)
    assert (first.status, files(engine, name)) == ("failed", BEFORE)
    second = await engine.run(text, resume_from=ResumeFrom(execution=first.execution_id))
    assert (second.status, files(engine, name)) == ("completed", AFTER)
    assert [step.reused for step in second.steps.values()] == [None] * len(second.steps)


@pytest.mark.semantics("P13")
async def test_a_phase_whose_workflow_is_lost_leaves_nothing_behind(engine: Engine, name: str) -> None:
    execution = await engine.start(build(name, HOLDING.replace("NAME", name)))
    await engine.until_trace(execution, "start", name)
    await engine.client.client.get_workflow_handle(f"{execution}/build").terminate("by hand")
    result = await engine.wait(execution)
    engine.release(name)
    assert (result.status, files(engine, name)) == ("failed", BEFORE)
