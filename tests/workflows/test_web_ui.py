"""Semantics, Q5: what Temporal's own list and Web UI show of an execution."""

from __future__ import annotations

from typing import Any

import pytest
from engine import Engine
from inspecting import start_raw, summaries
from observing import temporal_status, unique, until
from temporalio.api.sdk.v1 import WorkflowMetadata

from taskmark.contracts import SEARCH_ATTRIBUTES

METADATA = "__temporal_workflow_metadata"


async def details(engine: Engine, execution: str) -> str:
    """Returns the text that the Web UI shows as current details."""
    handle = engine.client.client.get_workflow_handle(execution)
    metadata = await handle.query(METADATA, result_type=WorkflowMetadata)
    return str(metadata.current_details)


async def attributes(engine: Engine, execution: str) -> dict[str, Any]:
    """Returns our search attributes of an execution."""
    described = await engine.client.client.get_workflow_handle(execution).describe()
    found = {pair.key.name: pair.value for pair in described.typed_search_attributes}
    return {name: found.get(name) for name in SEARCH_ATTRIBUTES}


@pytest.mark.semantics("Q5")
async def test_the_web_ui_shows_a_summary_and_details(engine: Engine) -> None:
    head = "# Repo “health”\n\n```yaml\ndescription: Looks at everything\n```"
    execution = await engine.start(f"{head}\n\n## Phase: A\n### Steps\n- A note")
    described = await engine.client.client.get_workflow_handle(execution).describe()
    assert await described.static_summary() == "Repo “health”"
    assert await described.static_details() == "Looks at everything"
    result = await engine.wait(execution)
    child = await engine.client.client.get_workflow_handle(f"{result.execution_id}/a").describe()
    assert await child.static_summary() == "A · Repo “health”"


@pytest.mark.semantics("Q5")
async def test_the_web_ui_shows_a_live_table_of_phases(engine: Engine) -> None:
    """It follows what happens within a phase, not only the status of the whole."""
    held, more = unique(), unique()
    execution = await engine.start(
        f"""
        ## Phase: One
        ### Steps
        - tool: hold
          with: {{name: {held}}}
        - tool: hold
          with: {{name: {more}}}

        ## Phase: Two | <b>bold</b>
        dependsOn: [One]
        ### Steps
        - approval: go | on - Shall | it
        """
    )
    table = await until(
        lambda: details(engine, execution), lambda text: "| ▶ | One | running | 0 of 2 |" in text
    )
    assert "**running**" in table
    assert "| · | Two \\| &lt;b>bold&lt;/b> | pending | 0 of 1 |" in table
    engine.release(held)
    await until(lambda: details(engine, execution), lambda text: "| ▶ | One | running | 1 of 2 |" in text)
    engine.release(more)
    table = await until(lambda: details(engine, execution), lambda text: "**waiting**" in text)
    assert "| ✓ | One | completed | 2 of 2 |" in table
    assert "approval go \\| on" in table
    await engine.client.approve(execution, "go | on")
    await engine.wait(execution)
    assert "**completed** · 100 %" in await details(engine, execution)


@pytest.mark.semantics("Q5")
async def test_the_table_of_hundreds_of_phases_stays_within_what_is_shown(engine: Engine) -> None:
    phases = "\n".join(f"## Phase: Number {n}\nif: 1 > 2\n### Steps\n- A note\n" for n in range(500))
    result = await engine.run(phases)
    assert result.status == "completed"
    assert len((await details(engine, result.execution_id)).encode()) <= 20_000


@pytest.mark.semantics("Q5")
async def test_every_activity_and_timer_has_a_summary(engine: Engine) -> None:
    """In each workflow of a task that uses every kind of them."""
    engine.file("tasks/small-child.md", "# Child\n\n## Phase: In\n### Steps\n- tool: effect - Inside\n")
    result = await engine.run(
        """
        # Test

        ```yaml
        maxExecutionTime: 1h
        ```

        ## Phase: A
        timeout: 1h
        retry: {maxAttempts: 2, backoffMs: 20}
        ### Steps
        - tool: effect - Look around
        - tool: flaky - Try twice
          retry: {maxAttempts: 2, backoffMs: 20}
          with: {failures: 1}
        - tool: flaky - Fail once
          retry: {maxAttempts: 1}
          with: {failures: 1}
        - wait: 20ms - Have a break
        - wait: 20ms
        - tool: big
          id: large
          with: {bytes: 50000}
        - validation: steps.large.output.length > 1 - No
        - approval: nobody
          critical: false
          timeout: 20ms
        - tool: effect
          forEach: [1, 2]
        - agent: ann - Say yes
        - shout: hello
        - task: small-child
          id: sub
        """
    )
    assert result.status == "completed_with_errors", result.error
    execution = result.execution_id
    for phase in (None, "a", "a/sub", "a/sub/in"):
        for kind in ("ACTIVITY_TASK_SCHEDULED", "TIMER_STARTED"):
            found = await summaries(engine, execution, kind, phase=phase)
            assert all(found), (phase, kind, found)
    told = await summaries(engine, execution, "ACTIVITY_TASK_SCHEDULED", phase="a")
    assert any("Look around" in text for text in told)
    assert any("attempt 2" in text and "Try twice" in text for text in told)
    assert any("item 2" in text for text in told)
    assert "Have a break" in await summaries(engine, execution, "TIMER_STARTED", phase="a")


@pytest.mark.semantics("Q5")
async def test_the_four_search_attributes_tell_task_status_project_and_build(engine: Engine) -> None:
    execution = await engine.start(
        "# My Task\n\n## Phase: A\n### Steps\n- approval: go", project="shop", build_id="build 7"
    )
    wanted = {
        "TaskmarkTask": "my_task",
        "TaskmarkStatus": "running",
        "TaskmarkProject": "shop",
        "TaskmarkBuild": "build 7",
    }
    assert {**await attributes(engine, execution), "TaskmarkStatus": "running"} == wanted

    async def status() -> Any:
        return (await attributes(engine, execution))["TaskmarkStatus"]

    await until(status, lambda found: found == "waiting")
    await engine.client.approve(execution, "go")
    await engine.wait(execution)
    assert await attributes(engine, execution) == {**wanted, "TaskmarkStatus": "completed"}


@pytest.mark.semantics("Q5")
async def test_a_strangers_execution_has_the_search_attributes_too(engine: Engine) -> None:
    source = "# Foreign\n\n## Phase: A\n### Steps\n- A note"
    handle = await start_raw(engine, {"source": source, "project": "shop", "build_id": "7"})
    await handle.result()
    assert await attributes(engine, handle.id) == {
        "TaskmarkTask": "foreign",
        "TaskmarkStatus": "completed",
        "TaskmarkProject": "shop",
        "TaskmarkBuild": "7",
    }


@pytest.mark.semantics("Q5")
async def test_executions_can_be_listed_by_what_they_are(engine: Engine) -> None:
    project = unique("project")
    execution = await engine.start("## Phase: A\n### Steps\n- A note", project=project)
    await engine.wait(execution)

    async def listed() -> list[str]:
        query = f"TaskmarkProject = '{project}' AND TaskmarkStatus = 'completed'"
        return [one.id async for one in engine.client.client.list_workflows(query)]

    assert await until(listed, bool) == [execution]
    assert await temporal_status(engine, execution) == "COMPLETED"


@pytest.mark.semantics("Q5")
async def test_handlers_describe_themselves(engine: Engine) -> None:
    result = await engine.run("## Phase: A\n### Steps\n- A note")
    handle = engine.client.client.get_workflow_handle(result.execution_id)
    definition = (await handle.query(METADATA, result_type=WorkflowMetadata)).definition
    handlers = (definition.signal_definitions, definition.query_definitions, definition.update_definitions)
    told = {one.name: one.description for kind in handlers for one in kind if not one.name.startswith("__")}
    assert {"pause", "resume", "abort", "progress", "plan", "checkpoint"} <= set(told)
    assert {"approve", "answer", "retry", "skip"} <= set(told)
    assert all(told.values()), told
