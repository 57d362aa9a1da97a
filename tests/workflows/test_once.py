"""Semantics, S9: starts with a key of the caller's own are one execution."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from engine import Engine
from observing import unique, until
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import DeleteWorkflowExecutionRequest
from temporalio.service import RPCError

from taskmark.contracts import TASK_QUEUE, TASK_WORKFLOW, ExecutionStatus
from taskmark.errors import Conflict, InvalidInputs
from taskmark.privacy.detectors import BUILT_IN
from taskmark.privacy.scrubbing import Scrubber
from taskmark.store.filtering import ExecutionFilter

TASK = """
# Once
```yaml
requirements:
  day: string
  limit: {type: integer, default: 3}
```
## Phase: Only
### Steps
- tool: effect - Do it
  with: {name: once}
"""


async def start(engine: Engine, key: str | None, text: str = TASK, **options: Any) -> str:
    return await engine.client.start(source=text.strip(), key=key, **{"inputs": {"day": "1st"}, **options})


@pytest.mark.semantics("S9")
async def test_starts_with_one_key_at_the_same_time_and_after_the_end_are_one_execution(
    engine: Engine,
) -> None:
    key = unique("nightly ")
    names = await asyncio.gather(*(start(engine, key) for _ in range(8)))
    assert len(set(names)) == 1
    name = names[0]
    assert name.startswith("exec-key-")
    assert name.endswith("-once")
    assert (await engine.wait(name)).status == "completed"
    assert await start(engine, key) == name
    assert engine.names(name) == ["once"]


@pytest.mark.semantics("S9")
async def test_a_key_counts_among_those_of_its_task_only(engine: Engine) -> None:
    key = unique()
    other = await start(engine, key, TASK.replace("# Once", "# Twice"))
    assert other != await start(engine, key)
    assert await start(engine, unique()) != await start(engine, unique())


@pytest.mark.semantics("S9")
async def test_the_same_key_with_something_else_is_refused_and_says_what_differs(engine: Engine) -> None:
    key = unique()
    name = await start(engine, key)
    with pytest.raises(Conflict, match=r"with other inputs \(day, limit\)"):
        await start(engine, key, inputs={"day": "2nd", "limit": 4})
    with pytest.raises(Conflict, match="with another definition"):
        await start(engine, key, TASK.replace("Do it", "Do it well"))
    assert await start(engine, key, inputs={"day": "1st", "limit": 3}) == name, "a default is no other input"
    await engine.wait(name)
    with pytest.raises(Conflict, match=r"other inputs \(day\)"):
        await start(engine, key, inputs={"day": "2nd"})


@pytest.mark.semantics("S9")
async def test_a_key_is_known_when_temporal_has_forgotten_its_execution(engine: Engine) -> None:
    """The embedded server keeps what ended for a day; the history store keeps it for good."""
    key, client = unique(), engine.client
    name = await start(engine, key)
    await engine.wait(name)
    await until(
        lambda: client.history(1, ExecutionFilter(task="once", status=(ExecutionStatus.COMPLETED,))),
        lambda found: [one.execution_id for one in found] == [name],
    )
    await client.client.workflow_service.delete_workflow_execution(
        DeleteWorkflowExecutionRequest(
            namespace="default", workflow_execution=WorkflowExecution(workflow_id=name)
        )
    )

    async def forgotten() -> bool:
        try:
            await client.client.get_workflow_handle(name).describe()
        except RPCError:
            return True
        return False

    await until(forgotten, bool)
    assert await start(engine, key) == name
    assert engine.names(name) == ["once"]
    with pytest.raises(Conflict, match="with other inputs"):
        await start(engine, key, inputs={"day": "2nd"})


@pytest.mark.semantics("S9")
async def test_what_somebody_else_started_by_that_name_is_not_taken_for_it(engine: Engine) -> None:
    key = unique()
    name = await start(engine, key)
    await engine.wait(name)
    handle = await engine.client.client.start_workflow(
        TASK_WORKFLOW, {"source": TASK, "inputs": {"day": "1st"}}, id=name, task_queue=TASK_QUEUE
    )  # Temporal lets its own clients use an id again
    with pytest.raises(Conflict, match="was not started with a key"):
        await start(engine, key)
    await handle.result()


@pytest.mark.semantics("S9")
async def test_a_key_is_words_that_can_be_typed_and_comes_without_an_id(engine: Engine) -> None:
    for key in ("", "a\nb", "x" * 3_000):
        with pytest.raises(InvalidInputs, match="key"):
            await start(engine, key)
    with pytest.raises(InvalidInputs, match="not both"):
        await start(engine, "a", id="mine")


@pytest.mark.semantics("S9", "Q10")
async def test_ids_made_of_keys_and_of_times_are_told_from_personal_data() -> None:
    scrubber = Scrubber(list(BUILT_IN.values()))
    for name in ("exec-key-0123456789012345-nightly", "exec-nightly-2026-01-31T06:00:00Z/measure"):
        assert scrubber.text(f"{name} has failed, ask ann@example.com") == f"{name} has failed, ask [email]"
