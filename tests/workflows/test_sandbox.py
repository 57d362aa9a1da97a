"""The sandbox guards workflow code, and all workflows of a worker share it."""

from __future__ import annotations

import asyncio
import threading

import guarded
import pytest
from engine import PATIENCE, Engine
from observing import unique
from temporalio.client import WorkflowFailureError
from temporalio.worker import Worker

from starter.blocking import allow_blocking
from starter.sandbox import _ContextOfThread, workflow_runner
from workflows import recording


async def outcomes(engine: Engine, wanted: list[str]) -> list[int | BaseException]:
    """Runs a workflow for each, all at once, on a worker with our runner."""
    queue, client = unique(), engine.client.client
    worker = Worker(client, task_queue=queue, workflows=[guarded.Guarded], workflow_runner=workflow_runner())
    async with asyncio.timeout(PATIENCE), allow_blocking(worker):
        running = [
            client.execute_workflow(guarded.Guarded.run, what, id=f"{queue}-{n}", task_queue=queue)
            for n, what in enumerate(wanted)
        ]
        return await asyncio.gather(*running, return_exceptions=True)


@pytest.mark.parametrize("what", ["clock", "date", "chance", "file"])
async def test_what_would_differ_in_a_replay_is_refused_while_others_run(engine: Engine, what: str) -> None:
    found = await outcomes(engine, [what, "nothing"] * 10)
    for bad, good in zip(found[::2], found[1::2], strict=True):
        assert isinstance(bad, WorkflowFailureError)
        assert "Cannot access" in str(bad.cause)
        assert isinstance(good, int)


async def test_the_modules_of_workflows_are_made_once_and_apart_from_the_worker_s(engine: Engine) -> None:
    found = await outcomes(engine, ["nothing"] * 5)
    assert len(set(found)) == 1
    assert found[0] != id(guarded.STARTED_ANEW)


def test_each_thread_knows_for_itself_whether_workflow_code_runs() -> None:
    context = _ContextOfThread()
    context.is_runtime = context.in_activation = True
    seen = []
    other = threading.Thread(target=lambda: seen.append((context.is_runtime, context.in_activation)))
    other.start()
    other.join()
    assert seen == [(False, False)]
    assert context.is_runtime
    assert context.in_activation


async def test_records_of_a_moment_that_never_came_to_an_end_are_gone_with_their_workflow() -> None:
    """Else the next worker to run it would wait for a hand-over that nobody makes any more."""
    loop = asyncio.new_event_loop()
    recording._waiting[loop] = []
    loop.close()
    del loop
    assert not recording._waiting
