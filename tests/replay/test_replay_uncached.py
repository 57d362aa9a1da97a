"""A worker that forgets every workflow after each of its tasks comes to the same results."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from engine import PATIENCE, Engine
from kind_scenarios import SCENARIOS
from replay_scenarios import begin, outcome

from taskmark.contracts import TASK_QUEUE, TASK_WORKFLOW, StartTask
from taskmark.task.model import TaskDefinition

CHOSEN = [
    "completed",
    "parallel",
    "agents",
    "with_errors",
    "retried",
    "failed",
    "cancelled",
    "paused",
    "phase_for_each",
    "subtask",
    "approved",
    "held_and_retried",
    "fallback",
    "kinds_retried",
    "kinds_paused",
]


async def _run(engine: Engine, name: str, room: asyncio.Semaphore) -> tuple[str, str]:
    """Runs a scenario; returns its execution and how it ended."""
    async with room, asyncio.timeout(3 * PATIENCE):
        execution = await begin(engine, name, SCENARIOS[name])
        await SCENARIOS[name].drive(engine, execution)
        return execution, await outcome(engine, execution)


@pytest.fixture(scope="module")
async def runs(uncached: Engine) -> AsyncIterator[dict[str, asyncio.Task[tuple[str, str]]]]:
    """Scenarios side by side, because half of their time is waiting; the other half is replays, so few."""
    room = asyncio.Semaphore(3)
    running = {name: asyncio.create_task(_run(uncached, name, room)) for name in CHOSEN}
    yield running
    await asyncio.gather(*running.values(), return_exceptions=True)


@pytest.mark.semantics("C11")
@pytest.mark.parametrize("name", CHOSEN)
async def test_a_workflow_that_is_replayed_for_each_task_ends_the_same(
    uncached: Engine, runs: dict[str, asyncio.Task[tuple[str, str]]], name: str
) -> None:
    """What decides is history, never what happens to be in memory."""
    execution, status = await runs[name]
    assert status == SCENARIOS[name].status
    keys = [t["key"] for t in uncached.traces(execution) if t["what"] == "end"]
    assert len(keys) == len(set(keys)), "an effect happened twice"


async def test_no_workflow_stays_in_the_cache(uncached: Engine) -> None:
    """The worker of these tests really replays: each workflow task is delivered with its whole history."""
    execution = await begin(uncached, "skipped", SCENARIOS["skipped"])
    await uncached.wait(execution)
    queues = [
        event.workflow_task_scheduled_event_attributes.task_queue.name
        for event in await uncached.events(execution)
        if event.HasField("workflow_task_scheduled_event_attributes")
    ]
    assert set(queues) == {TASK_QUEUE}, "there is a queue of a worker's own"


def _definition(engine: Engine, expression: str) -> TaskDefinition:
    """Returns a definition as an older or foreign compiler could have let it through."""
    source = "# Test\n\n## Phase: Only\n### Steps\n- validation: inputs != 1 - It is not so\n"
    definition = engine.client.wiring.compiler().definition(StartTask(source=source))
    phase = definition.phases[0]
    step = phase.steps[0].model_copy(update={"value": expression})
    changed = phase.model_copy(update={"steps": (step,)})
    return definition.model_copy(update={"phases": (changed,)})


@pytest.mark.semantics("T12")
@pytest.mark.parametrize(
    "expression",
    ["nowhere.to_be_found == 1", "nowhere == nowhere", "inputs.nothing != 1", "not inputs.nothing.more"],
)
async def test_an_undefined_name_raises_inside_the_sandbox(uncached: Engine, expression: str) -> None:
    """A second copy of the expression engine in the sandbox would let undefined names pass without a word."""
    start = StartTask(definition=_definition(uncached, expression))
    execution = f"exec-undefined-{len(expression)}"
    await uncached.client.client.start_workflow(TASK_WORKFLOW, start, id=execution, task_queue=TASK_QUEUE)
    result = await uncached.wait(execution)
    errors: list[Any] = [step.error.type for step in result.steps.values() if step.error]
    assert (result.status, errors) == ("failed", ["expression_failed"])
