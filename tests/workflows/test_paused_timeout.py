"""Semantics C17 and C18: pauses that nobody ends."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta

import pytest
from engine import Engine
from observing import stored_events, temporal_status, unique

from taskmark.contracts import TASK_QUEUE, TASK_WORKFLOW


def task(name: str, after: str = "800ms", then: str = "resume") -> str:
    """Returns a task whose pauses end by themselves."""
    return (
        f"```yaml\npausedTimeout: {{after: {after}, then: {then}}}\n```\n## Phase: Work\n### Steps\n"
        f"- tool: hold\n  with: {{name: {name}}}\n- tool: effect\n  with: {{name: after}}\n"
    )


async def begun(engine: Engine, text: str, name: str) -> str:
    """Starts a task and returns its id once its first step runs."""
    execution = await engine.start(text)
    await engine.until_trace(execution, "start", name)
    return execution


@pytest.mark.semantics("C17", "C10")
async def test_a_forgotten_pause_resumes_by_itself_and_says_so(engine: Engine) -> None:
    name = unique()
    execution = await begun(engine, task(name, "1s"), name)
    await engine.client.pause(execution, by="ann", reason="lunch")
    paused = (await engine.until(execution, lambda p: p.paused and p.paused.until)).paused
    assert paused is not None
    assert paused.since is not None
    assert (paused.until, paused.then, paused.by) == (paused.since + timedelta(seconds=1), "resume", "ann")
    engine.release(name)
    assert (await engine.wait(execution)).status == "completed"
    (event,) = await stored_events(engine, execution, "execution_resumed")
    assert event.payload == {
        "by": "pausedTimeout",
        "reason": "nobody ended the pause within 1 second",
    }
    assert event.at >= paused.until


@pytest.mark.semantics("C17", "C8")
async def test_a_forgotten_pause_aborts_if_the_file_says_so(engine: Engine) -> None:
    """Also while it is still being reached: a running step is ended."""
    name = unique()
    execution = await begun(engine, task(name, then="abort"), name)
    await engine.client.pause(execution)
    result = await engine.wait(execution)
    assert result.status == "cancelled"
    assert result.error is not None
    assert result.error.message == "aborted by pausedTimeout: nobody ended the pause within 800ms"
    assert await temporal_status(engine, execution) == "CANCELED"
    assert engine.names(execution, "cancelled") == [name]
    (event,) = await stored_events(engine, execution, "execution_cancelled")
    assert event.payload["error"] == result.error.message


@pytest.mark.semantics("C17")
async def test_each_pause_counts_anew_and_what_changes_nothing_does_not(engine: Engine) -> None:
    name = unique()
    execution = await begun(engine, task(name, "3s", "abort"), name)
    for _ in range(2):
        await engine.client.pause(execution)
        await asyncio.sleep(1.6)
        await engine.client.pause(execution, mode="now")
        paused = (await engine.until_status(execution, "pausing")).paused
        assert paused is not None
        assert paused.since is not None
        assert paused.until == paused.since + timedelta(seconds=3)
        await engine.client.resume(execution)
        await engine.client.pause(execution)
        await engine.client.resume(execution)
    engine.release(name)
    assert (await engine.wait(execution)).status == "completed"


@pytest.mark.semantics("C17", "C1")
async def test_a_pause_from_before_the_definition_counts_too(engine: Engine) -> None:
    source = "# T\n\n" + task(unique(), "1s", "abort")
    handle = await engine.client.client.start_workflow(
        TASK_WORKFLOW,
        {"source": source},
        id=unique("exec-"),
        task_queue=TASK_QUEUE,
        start_signal="pause",
    )
    begin = time.monotonic()
    assert (await engine.wait(handle.id)).status == "cancelled"
    assert time.monotonic() - begin < 15
    assert engine.names(handle.id) == []


@pytest.mark.semantics("C18")
async def test_a_sub_task_that_its_parent_holds_waits_for_its_parent(engine: Engine) -> None:
    """The root's pause rules: below it nothing begins again or ends by itself."""
    name, sub = unique(), unique("sub-")
    engine.file(f"tasks/{sub}.md", f"# Sub\n\n{task(name, '500ms', 'abort')}")
    execution = await engine.start(f"## Phase: A\n### Steps\n- task: {sub}\n  id: sub")
    child = f"{execution}/a/sub"
    await engine.until_trace(child, "start", name)
    await engine.client.pause(execution)
    await engine.until_status(child, "pausing")
    engine.release(name)
    await engine.until_status(execution, "paused")
    await asyncio.sleep(1)
    assert (await engine.client.progress(child)).status == "paused"
    assert engine.names(child) == [name]
    await engine.client.resume(execution)
    assert (await engine.wait(execution)).status == "completed"


@pytest.mark.semantics("C18", "C17")
async def test_a_sub_task_that_somebody_holds_alone_goes_on_by_itself(engine: Engine) -> None:
    """Unless its parent is paused meanwhile: then that counts."""
    name, sub = unique(), unique("sub-")
    engine.file(f"tasks/{sub}.md", f"# Sub\n\n{task(name, '2s')}")
    execution = await engine.start(f"## Phase: A\n### Steps\n- task: {sub}\n  id: sub")
    child = f"{execution}/a/sub"
    await engine.until_trace(child, "start", name)
    await engine.client.pause(child)
    await engine.until_status(child, "running")
    await engine.client.pause(child)
    await engine.client.pause(execution)
    await engine.until(child, lambda p: p.paused and p.paused.until is None)
    engine.release(name)
    await engine.until_status(execution, "paused")
    await asyncio.sleep(2.5)
    assert (await engine.client.progress(child)).status == "paused"
    assert (await engine.client.progress(execution)).status == "paused"
    await engine.client.resume(execution)
    assert (await engine.wait(execution)).status == "completed"


@pytest.mark.semantics("C18", "C17")
async def test_a_pause_of_the_root_that_ends_by_itself_ends_below_it_too(engine: Engine) -> None:
    name, sub = unique(), unique("sub-")
    engine.file(f"tasks/{sub}.md", f"# Sub\n\n{task(name, '1h')}")
    top = "```yaml\npausedTimeout: {after: 1s}\n```\n"
    execution = await engine.start(f"{top}## Phase: A\n### Steps\n- task: {sub}\n  id: sub")
    await engine.until_trace(f"{execution}/a/sub", "start", name)
    await engine.client.pause(execution)
    engine.release(name)
    assert (await engine.wait(execution)).status == "completed"
