"""Semantics, S16: which histories are replayed of an execution, and what they say."""

from __future__ import annotations

import pytest
from engine import Engine
from observing import unique

from starter.replaying import executions_in, of_executions, replayed
from taskmark.contracts import TASK_WORKFLOW

SUB = """
# Sub
## Phase: Inner
### Steps
- tool: hold
  with: {name: NAME}
"""
OUTER = """
# Outer
## Phase: Before
### Steps
- A note
## Phase: Main
dependsOn: [Before]
### Steps
- task: NAME
"""


@pytest.mark.semantics("S16")
async def test_of_an_execution_that_runs_what_runs_is_replayed_with_sub_tasks_and_nothing_else(
    engine: Engine,
) -> None:
    """Of one that has ended, everything. An id that is nearly the same, or hard to quote, is no other one."""
    task, client = unique("inner-"), engine.client.client
    engine.file(f"tasks/{task}.md", SUB.strip().replace("NAME", task))
    name = f"it's_{task}"
    await engine.start(OUTER.replace("NAME", task), id=name)
    other = await engine.start("## Phase: A\n### Steps\n- A note", id=name.replace("_", "x"))
    await engine.wait(other)
    await engine.until_trace(f"{name}/main/main_task_1", "start", task)

    running = (await replayed(of_executions(client, [name])))[name]
    assert (running.open, running.affected, running.histories) == (True, False, 4), running
    listed = await executions_in(client, since=None)
    assert [one for one in listed if one.startswith(name)] == [name], (
        "sub-tasks are no executions of their own"
    )
    engine.release(task)
    await engine.wait(name)
    ended = (await replayed(of_executions(client, [name])))[name]
    assert (ended.open, ended.affected, ended.histories) == (False, False, 5), ended
    assert name not in await executions_in(client, since=None)


@pytest.mark.semantics("S16")
async def test_an_id_with_a_slash_that_temporals_own_means_gave_is_an_execution_like_any_other(
    engine: Engine,
) -> None:
    name, client = f"team/{unique('nightly-')}", engine.client.client
    start = {"source": "# Gate\n## Phase: A\n### Steps\n- approval: go - Go?"}
    queue = engine.client.wiring.settings.task_queue
    await client.start_workflow(TASK_WORKFLOW, start, id=name, task_queue=queue)
    await engine.until_status(name, "waiting")
    assert name in await executions_in(client, since=None)
    assert await executions_in(client, since=None, limit=1) != []
    told = await replayed(of_executions(client, [name]))
    assert {one: (found.open, found.histories) for one, found in told.items()} == {name: (True, 2)}
    waits = [one.execution_id for one in (await engine.client.waiting()).executions]
    assert name in waits
    await engine.client.approve(name, "go")
    assert (await engine.wait(name)).status == "completed"
