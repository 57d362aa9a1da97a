"""Semantics U8: a worker takes as many steps as CPU and memory allow, and leaves the others."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from engine import PATIENCE, Engine
from observing import unique

from starter.gateway import TaskClient
from starter.wiring import Wiring
from starter.working import working

STEPS = 12


async def most_held(engine: Engine, expected: int, **settings: Any) -> int:
    """Returns how many of the steps a worker runs at once: it is waited for that many, and then a while."""
    queue, name = unique("queue-"), unique()
    given = {"task_queue": queue, "state_dir": engine.root.parent / f"state-{queue}", "tuner": "resource"}
    wiring = Wiring(engine.client.wiring.settings.model_copy(update={**given, **settings}))
    items = list(range(STEPS))
    text = f"## Phase: A\n### Steps\n- tool: hold\n  forEach: {items}\n  with: {{name: {name}}}"
    other = Engine(TaskClient(engine.client.client, wiring), engine.root)
    async with working(engine.client.client, wiring):
        execution = await other.start(text)
        async with asyncio.timeout(PATIENCE):
            while len(other.names(execution)) < expected:
                await asyncio.sleep(0.02)
        await asyncio.sleep(0.3)
        held = len(other.names(execution))
        other.release(name)
        assert (await other.wait(execution)).status == "completed"
    return held


@pytest.mark.semantics("U8")
async def test_a_worker_without_memory_to_spare_takes_few_steps(engine: Engine) -> None:
    """The others wait at the server, and all of them end."""
    assert await most_held(engine, 3, target_memory=0.001, least_concurrent_activities=3) == 3


@pytest.mark.semantics("U8")
async def test_a_worker_without_cpu_to_spare_takes_few_steps(engine: Engine) -> None:
    assert await most_held(engine, 2, target_cpu=0.001, target_memory=1.0, least_concurrent_activities=2) == 2


@pytest.mark.semantics("U8")
async def test_a_worker_with_room_takes_all_that_it_may(engine: Engine) -> None:
    held = await most_held(
        engine, STEPS, target_cpu=1.0, target_memory=1.0, least_concurrent_activities=STEPS + 1
    )
    assert held == STEPS
