"""Pause, cancel and outside help, seen from a task that runs another one: C1, C3, C7, R15, T9."""

from __future__ import annotations

import asyncio
import time

import pytest
from engine import Engine
from inspecting import no_task_failed
from observing import (
    pause,
    scheduled_once,
    starts_between,
    temporal_status,
    unique,
    until_parent,
    until_temporal,
)

from taskmark.errors import Refused

QUIET = 0.25


def subtask(engine: Engine, steps: str) -> str:
    """Writes a task file with these steps and returns its name."""
    name = unique("sub-")
    engine.file(f"tasks/{name}.md", f"# Sub {name}\n\n## Phase: Inner\n### Steps\n{steps}\n")
    return name


def held_then(engine: Engine, name: str) -> str:
    """Returns a sub-task that holds and then has an effect."""
    steps = f"- tool: hold\n  with: {{name: {name}}}\n- tool: effect\n  with: {{name: inner-after}}"
    return subtask(engine, steps)


@pytest.mark.semantics("C1", "C3")
async def test_paused_is_reached_only_when_the_sub_task_stands_still(engine: Engine) -> None:
    name = unique()
    sub = held_then(engine, name)
    execution = await engine.start(
        f"## Phase: A\n### Steps\n- task: {sub}\n  id: sub\n- tool: effect\n  with: {{name: outer-after}}"
    )
    child = f"{execution}/a/sub"
    await engine.until_trace(child, "start", name)
    await pause(engine, execution, "a")
    await engine.until_status(child, "pausing")
    await asyncio.sleep(QUIET)
    progress = await engine.client.progress(execution)
    assert (progress.status, progress.in_flight) == ("pausing", 1)
    engine.release(name)
    await engine.until_status(child, "paused")
    await engine.until_status(execution, "paused")
    await asyncio.sleep(QUIET)
    assert engine.names(child) == [name]
    await engine.client.resume(execution)
    assert (await engine.wait(execution)).status == "completed"
    assert engine.names(child) == [name, "inner-after"]
    assert engine.names(execution) == ["outer-after"]


@pytest.mark.semantics("C1", "C3")
async def test_a_pause_while_a_sub_task_starts_reaches_it(engine: Engine) -> None:
    """Whenever it comes: nothing of the sub-task starts between the reached pause and the resume."""
    sub = subtask(
        engine, "\n".join(f"- tool: effect\n  with: {{name: s{n}, seconds: 0.01}}" for n in range(6))
    )

    async def run(delay: float) -> None:
        execution = await engine.start(f"## Phase: A\n### Steps\n- task: {sub}\n  id: sub")
        await asyncio.sleep(delay)
        await engine.client.pause(execution)
        if await until_parent(engine, execution, "paused", "completed") == "paused":
            begin = time.time()
            await asyncio.sleep(QUIET)
            assert starts_between(engine, f"{execution}/a/sub", begin, begin + QUIET) == []
            await engine.client.resume(execution)
        assert (await engine.wait(execution)).status == "completed"
        assert len(await scheduled_once(engine, f"{execution}/a/sub")) == 6

    for delays in ((0.02, 0.06, 0.1), (0.04, 0.08, 0.12)):
        await asyncio.gather(*(run(delay) for delay in delays))


@pytest.mark.semantics("C1", "C2", "C3")
async def test_fast_cycles_leave_a_sub_task_in_step_with_its_parent(engine: Engine) -> None:
    steps = "\n".join(f"- tool: effect\n  with: {{name: s{n}, seconds: 0.05}}" for n in range(30))
    execution = await engine.start(f"## Phase: A\n### Steps\n- task: {subtask(engine, steps)}\n  id: sub")
    child = f"{execution}/a/sub"
    await engine.until_trace(child, "start", "s0")
    for cycle in range(6):
        await engine.client.pause(execution)
        if cycle % 2:
            assert await until_parent(engine, execution, "paused", "completed") == "paused"
            begin = time.time()
            await asyncio.sleep(0.08)
            assert starts_between(engine, child, begin, time.time()) == []
        await engine.client.resume(execution)
    assert (await engine.wait(execution)).status == "completed"
    assert len(await scheduled_once(engine, child)) == 30


@pytest.mark.semantics("C1")
async def test_a_sub_task_with_an_open_gate_stands_still(engine: Engine) -> None:
    sub = subtask(engine, "- approval: go - Go?\n- tool: effect\n  with: {name: inner-after}")
    execution = await engine.start(f"## Phase: A\n### Steps\n- task: {sub}\n  id: sub")
    child = f"{execution}/a/sub"
    await until_temporal(engine, child, "RUNNING")
    await engine.until_status(child, "waiting")
    await engine.client.pause(execution)
    await engine.until_status(execution, "paused")
    await engine.client.approve(child, "go")
    await asyncio.sleep(QUIET)
    assert engine.names(child) == []
    await engine.client.resume(execution)
    assert (await engine.wait(execution)).status == "completed"


@pytest.mark.semantics("C1", "C2")
async def test_a_sub_task_that_somebody_paused_itself_goes_on_with_its_parent(engine: Engine) -> None:
    """The parent's pause holds it too, and the parent's resume is the newest wish."""
    name = unique()
    execution = await engine.start(f"## Phase: A\n### Steps\n- task: {held_then(engine, name)}\n  id: sub")
    child = f"{execution}/a/sub"
    await engine.until_trace(child, "start", name)
    await pause(engine, child, "inner")
    engine.release(name)
    await engine.until_status(child, "paused")
    assert (await engine.client.progress(execution)).status == "running"
    await engine.client.pause(execution)
    await engine.until_status(execution, "paused")
    await engine.client.resume(execution)
    assert (await engine.wait(execution)).status == "completed"


@pytest.mark.semantics("T9", "R15")
@pytest.mark.parametrize(("end", "word"), [("terminate", "terminated"), ("cancel", "cancelled")])
async def test_a_sub_task_ended_from_outside_fails_its_step(engine: Engine, end: str, word: str) -> None:
    name = unique()
    execution = await engine.start(f"## Phase: A\n### Steps\n- task: {held_then(engine, name)}\n  id: sub")
    await engine.until_trace(f"{execution}/a/sub", "start", name)
    await getattr(engine.client.client.get_workflow_handle(f"{execution}/a/sub"), end)()
    result = await engine.wait(execution)
    assert (result.status, result.steps["sub"].status) == ("failed", "failed")
    assert result.steps["sub"].error is not None
    assert f"{word} from outside" in result.steps["sub"].error.message
    await no_task_failed(engine.client.client.get_workflow_handle(execution))


@pytest.mark.semantics("C8", "T9")
async def test_an_aborted_sub_task_fails_its_step_and_not_more(engine: Engine) -> None:
    name = unique()
    text = f"""
        ## Phase: A
        onFailure: continue
        ### Steps
        - task: {held_then(engine, name)}
          id: sub

        ## Phase: B
        ### Steps
        - tool: effect
          with: {{name: b}}
        """
    execution = await engine.start(text)
    await engine.until_trace(f"{execution}/a/sub", "start", name)
    await engine.client.abort(f"{execution}/a/sub", reason="not this one")
    result = await engine.wait(execution)
    assert (result.status, result.steps["sub"].status) == ("completed_with_errors", "failed")
    assert await temporal_status(engine, f"{execution}/a/sub") == "CANCELED"
    assert engine.names(execution) == ["b"]


@pytest.mark.semantics("C1", "C3")
async def test_a_pause_reaches_a_sub_task_of_a_sub_task(engine: Engine) -> None:
    name = unique()
    inner = held_then(engine, name)
    middle = subtask(engine, f"- task: {inner}\n  id: deep")
    execution = await engine.start(f"## Phase: A\n### Steps\n- task: {middle}\n  id: sub")
    deepest = f"{execution}/a/sub/inner/deep"
    await engine.until_trace(deepest, "start", name)
    await engine.client.pause(execution)
    await engine.until_status(deepest, "pausing")
    await asyncio.sleep(QUIET)
    assert (await engine.client.progress(execution)).status == "pausing"
    engine.release(name)
    await engine.until_status(execution, "paused")
    await asyncio.sleep(QUIET)
    assert engine.names(deepest) == [name]
    await engine.client.resume(execution)
    assert (await engine.wait(execution)).status == "completed"


# --- G13: what waits in a sub-task ------------------------------------------------------------------


ASKS = "- approval: go - May it go on?\n- tool: effect\n  with: {name: inner}"


@pytest.mark.semantics("G13", "C5")
async def test_what_waits_in_a_sub_task_is_seen_above_and_decided_below(engine: Engine) -> None:
    """Nothing else can go on, so the execution waits as well, and its time limit stands."""
    sub = subtask(engine, ASKS)
    outer = f"```yaml\nmaxExecutionTime: 3s\n```\n\n## Phase: A\n### Steps\n- task: {sub}\n  id: sub"
    execution = await engine.start(outer)
    progress = await engine.until_status(execution, "waiting")
    (wait,) = progress.waiting
    child = f"{execution}/a/sub"
    waiting = [one for one in (await engine.client.waiting()).executions if execution in one.execution_id]
    assert [one.execution_id for one in waiting] == [child]
    assert (wait.kind, wait.name, wait.execution) == ("approval", "go", child)
    with pytest.raises(Refused, match=child):
        await engine.client.approve(execution, "go")
    await asyncio.sleep(3)
    assert (await engine.client.progress(execution)).status == "waiting"
    await engine.client.approve(child, "go")
    result = await engine.wait(execution)
    assert result.status == "completed"
    assert engine.names(child) == ["inner"]
    await no_task_failed(engine.client.client.get_workflow_handle(execution))


@pytest.mark.semantics("G13")
async def test_beside_what_waits_in_a_sub_task_others_go_on(engine: Engine) -> None:
    """And what waits two levels below is seen as well."""
    name = unique()
    inner = subtask(engine, ASKS)
    middle = subtask(engine, f"- task: {inner}\n  id: sub")
    steps = f"- task: {middle}\n  id: sub\n- tool: hold\n  with: {{name: {name}}}"
    execution = await engine.start(f"## Phase: A\nparallel: true\n### Steps\n{steps}")
    progress = await engine.until(execution, lambda p: p.waiting)
    assert (progress.status, progress.in_flight) == ("running", 1)
    assert progress.waiting[0].execution == f"{execution}/a/sub/inner/sub"
    engine.release(name)
    await engine.until_status(execution, "waiting")
    await engine.client.approve(progress.waiting[0].execution, "go")
    result = await engine.wait(execution)
    assert (result.status, (await engine.client.progress(execution)).waiting) == ("completed", ())


@pytest.mark.semantics("G13", "C1")
async def test_a_pause_reaches_a_sub_task_that_waits_for_a_person(engine: Engine) -> None:
    """What is decided meanwhile is kept, and nothing begins before it goes on."""
    sub = subtask(engine, ASKS)
    execution = await engine.start(f"## Phase: A\n### Steps\n- task: {sub}\n  id: sub")
    child = f"{execution}/a/sub"
    await engine.until_status(execution, "waiting")
    await engine.client.pause(execution)
    await engine.until_status(execution, "paused")
    assert (await engine.client.progress(child)).status == "paused"
    await engine.client.approve(child, "go")
    await asyncio.sleep(QUIET)
    assert engine.names(child) == []
    assert (await engine.client.progress(execution)).status == "paused"
    await engine.client.resume(execution)
    assert (await engine.wait(execution)).status == "completed"


@pytest.mark.semantics("G13", "B6")
async def test_a_held_sub_task_and_one_without_budget_are_seen_above(engine: Engine) -> None:
    fails = "- tool: flaky\n  with: {name: x, failures: 1, category: logic}"
    name = unique("sub-")
    engine.file(
        f"tasks/{name}.md", f"# Sub {name}\n\n## Phase: Inner\nonFailure: pause\n### Steps\n{fails}\n"
    )
    asks = subtask(engine, "- agent: ann - Ask\n  forEach: [1, 2]")
    steps = f"- task: {name}\n  id: one\n- task: {asks}\n  id: two"
    budget = "```yaml\nbudget: {agentCalls: 1}\n```\n\n"
    execution = await engine.start(f"{budget}## Phase: A\nparallel: true\n### Steps\n{steps}")
    progress = await engine.until_status(execution, "waiting")
    told = {(wait.kind, wait.name, wait.execution) for wait in progress.waiting}
    below = f"{execution}/a/one"
    assert told == {("retry", "inner", below), ("budget", "agentCalls", execution)}
    with pytest.raises(Refused, match=below):
        await engine.client.retry(execution, "inner")
    await engine.client.retry(below, "inner")
    await engine.client.raise_limit(execution, "agentCalls", 2)
    assert (await engine.wait(execution)).status == "completed"
