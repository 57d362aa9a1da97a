"""Semantics W6 and W7: beside a real server, what is done elsewhere is left alone and can be waited for."""

from __future__ import annotations

import asyncio

import pytest
from engine import PATIENCE, Engine

from starter.backfill import backfill
from starter.catching_up import _living
from taskmark.errors import DoneElsewhere, UnknownExecution


@pytest.mark.semantics("W6")
async def test_what_temporal_does_not_run_cannot_be_steered_there(engine: Engine) -> None:
    client = engine.client
    execution = client.elsewhere.start("nightly")
    for call in (
        client.pause(execution),
        client.resume(execution),
        client.abort(execution),
        client.progress(execution),
        client.plan(execution),
        client.approve(execution, "gate"),
        client.answer(execution, "question", 1),
        client.retry(execution, "phase"),
        client.skip(execution, "phase"),
    ):
        with pytest.raises(DoneElsewhere, match="not by Temporal"):
            await call
    with pytest.raises(UnknownExecution):
        await client.pause(f"{execution}-of-nobody")


@pytest.mark.semantics("W6")
async def test_workers_and_backfill_leave_it_alone(engine: Engine) -> None:
    """The worker of these tests catches up twice a second, and takes what has closed twice."""
    client = engine.client
    execution = client.elsewhere.start("nightly")
    assert execution not in await asyncio.to_thread(_living, client.wiring)
    await asyncio.sleep(1.6)
    done = await backfill(client.client, client.wiring.recorder, only=[execution])
    assert (done.executions, len(done.problems)) == (0, 1)
    found = await asyncio.to_thread(client.wiring.history.execution, execution)
    assert (found.status, found.provenance) == ("running", "elsewhere")


@pytest.mark.semantics("W7")
async def test_a_client_waits_for_it_as_for_any_other(engine: Engine) -> None:
    client = engine.client
    execution = client.elsewhere.start("nightly", trace_id="ab" * 16)
    with pytest.raises(TimeoutError):
        await client.wait(execution, timeout=0.2)
    waiter = asyncio.create_task(client.wait(execution, timeout=PATIENCE))
    await asyncio.sleep(0.1)
    client.elsewhere.fail(execution, "it broke")
    result = await waiter
    assert (result.status, result.error and result.error.message) == ("failed", "it broke")
    assert (result.execution_id, result.trace_id) == (execution, "ab" * 16)
