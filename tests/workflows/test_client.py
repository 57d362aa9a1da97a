"""What programs do with `TaskClient`."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from engine import PATIENCE, Engine
from observing import unique, until
from temporalio import workflow
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from starter.gateway import TaskClient
from starter.wiring import Wiring
from starter.working import working
from taskmark.errors import InvalidInputs, InvalidTask, Refused, UnknownExecution, Unreachable
from taskmark.settings import Settings

HOLD = """
## Phase: A
### Steps
- tool: hold - Hold it
  id: held
  with: {{name: {name}}}
"""


async def test_execute_starts_a_task_by_path_and_returns_its_result(engine: Engine) -> None:
    """One call from file to outputs."""
    engine.file(
        "tasks/adding.md",
        """
        # Adding

        ```yaml
        requirements:
          a: number
          b: {type: number, default: 2}
        ```

        ## Phase: Add
        ### Steps
        - tool: effect - Add
          id: add
          with: {name: add, value: "{{ inputs.a + inputs.b }}"}
        ### Outputs
        - sum: steps.add.output.value
        """,
    )
    result = await engine.client.execute("adding", {"a": 40})
    assert result.status == "completed"
    assert result.outputs == {"add": {"sum": 42}}


async def test_a_wrong_task_or_wrong_inputs_start_nothing(engine: Engine) -> None:
    """They are refused here, with every problem, before Temporal hears of them."""
    with pytest.raises(InvalidTask, match="no task"):
        await engine.client.start("no-such-task")
    with pytest.raises(InvalidTask, match="unknown-tool"):
        await engine.start("## Phase: A\n### Steps\n- tool: effekt - x")
    with pytest.raises(InvalidInputs, match="unknown"):
        await engine.start("## Phase: A\n### Steps\n- tool: effect - x", {"unknown": 1})


@pytest.mark.parametrize("own", ["", "exec-1/phase", "two\nlines", "x" * 201])
async def test_an_id_that_could_be_a_phases_or_cannot_be_typed_is_refused(engine: Engine, own: str) -> None:
    with pytest.raises(InvalidInputs, match="cannot have the id"):
        await engine.start("## Phase: A\n### Steps\n- validation: true - It holds", id=own)


async def test_wait_gives_up_after_its_timeout_and_leaves_the_execution_alone(engine: Engine) -> None:
    """The execution goes on."""
    execution = await engine.start(HOLD.format(name="patient"))
    with pytest.raises(TimeoutError):
        await engine.client.wait(execution, timeout=0.2)
    engine.release("patient")
    assert (await engine.wait(execution)).status == "completed"


async def test_many_may_wait_for_one_execution(engine: Engine) -> None:
    """Each gets the same result."""
    execution = await engine.start(HOLD.format(name="many"))
    waiters = [asyncio.create_task(engine.wait(execution)) for _ in range(20)]
    engine.release("many")
    assert {result.finished_at for result in await asyncio.gather(*waiters)} == {
        (await engine.wait(execution)).finished_at
    }


async def test_running_executions_are_listed_with_task_and_status(engine: Engine) -> None:
    """Temporal's own list, by search attributes."""
    execution = await engine.start(HOLD.format(name="listed"))
    for _ in range(100):
        found = {e.execution_id: e for e in await engine.client.active()}
        if execution in found:
            break
        await asyncio.sleep(0.05)
    assert (found[execution].task, found[execution].status) == ("test", "running")
    engine.release("listed")
    await engine.wait(execution)


async def test_an_execution_is_found_in_temporal_by_the_beginning_of_its_id_after_its_end_too(
    engine: Engine,
) -> None:
    name, client = unique("kept-"), engine.client
    for end in ("-1", "-2", "-22"):
        await engine.wait(await engine.start("## Phase: A\n### Steps\n- A note", id=name + end))
    await until(lambda: client.active(beginning=name), lambda found: not found)
    assert [await client.kept(name + end) for end in ("-1", "-2", "-22")] == [
        f"{name}-{n}" for n in (1, 2, 22)
    ]
    await engine.wait(await engine.start("## Phase: A\n### Steps\n- A note", id=f"{name}-one-{name}"))

    async def only() -> str:
        return await client.kept(f"{name}-one")

    assert await until(only, lambda found: found != f"{name}-one") == f"{name}-one-{name}"
    with pytest.raises(UnknownExecution, match="Several"):
        await client.kept(name)
    assert await client.kept("nobody-knows-it") == "nobody-knows-it"


async def test_who_waits_beside_what_runs_is_told_with_what_for(engine: Engine) -> None:
    name = unique()
    text = f"""
        ## Phase: A
        parallel: true
        ### Steps
        - tool: hold
          with: {{name: {name}}}
        - approval: go - Go?
        """
    execution = await engine.start(text)
    await engine.until_trace(execution, "start", name)
    progress = await engine.until(execution, lambda p: p.waiting)
    found = {one.execution_id: one for one in (await engine.client.waiting()).executions}
    assert (progress.status, [w.name for w in found[execution].waiting]) == ("running", ["go"])
    engine.release(name)
    await engine.client.approve(execution, "go")
    await engine.wait(execution)
    assert execution not in [one.execution_id for one in (await engine.client.waiting()).executions]


async def test_the_history_lists_executions_and_their_attempts(engine: Engine) -> None:
    """The store has what happened, soon after it happened."""
    result = await engine.run(
        """
        ## Phase: A
        ### Steps
        - tool: flaky - Try
          id: try
          retry: {backoffMs: 10}
          with: {failures: 1}
        """
    )
    spool = engine.client.wiring.spool
    assert await asyncio.to_thread(spool.flush, 10)
    assert result.execution_id in {e.execution_id for e in await engine.client.history(limit=500)}
    attempts = engine.client.wiring.history.attempts(result.execution_id)
    assert [(a.step, a.attempt, a.status) for a in attempts] == [
        ("try", 1, "failed"),
        ("try", 2, "completed"),
    ]
    events = engine.client.wiring.history.events(result.execution_id)
    assert [e.seq for e in events] == list(range(1, len(events) + 1))
    assert events[0].kind == "execution_started"
    assert events[-1].kind == "execution_completed"


async def test_progress_shows_a_running_step_at_once(engine: Engine) -> None:
    """The client merges what the phases know, so it does not wait for their next report."""
    execution = await engine.start(HOLD.format(name="fresh"))
    await engine.until_trace(execution, "start", "fresh")
    progress = await engine.client.progress(execution)
    step = progress.phases[0].steps[0]
    assert (step.id, step.status, step.attempt) == ("held", "running", 1)
    engine.release("fresh")
    await engine.wait(execution)


async def test_the_plan_of_an_execution_can_be_asked(engine: Engine) -> None:
    """Also after its end, as long as a worker lives."""
    result = await engine.run(
        """
        ## Phase: A
        ### Steps
        - tool: effect - x

        ## Phase: B
        dependsOn: [A]
        ### Steps
        - tool: effect - y
        """
    )
    plan = await engine.client.plan(result.execution_id)
    assert plan["waves"] == [["a"], ["b"]]


async def test_an_unknown_execution_is_said_to_be_unknown(engine: Engine) -> None:
    """By every call."""
    client = engine.client
    for call in (client.wait("nobody"), client.progress("nobody"), client.pause("nobody")):
        with pytest.raises(UnknownExecution):
            await call


async def test_control_of_an_ended_execution_is_refused(engine: Engine) -> None:
    """With the reason."""
    result = await engine.run("## Phase: A\n### Steps\n- tool: effect - x")
    for call in (
        engine.client.pause(result.execution_id),
        engine.client.approve(result.execution_id, "release"),
    ):
        with pytest.raises(Refused, match="ended"):
            await call


async def test_with_nothing_configured_a_program_needs_no_worker_of_its_own(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`TaskClient.open()` brings server and worker along."""
    from starter import TaskClient

    root = engine.root.parent / "alone"
    root.mkdir()
    settings = Settings(state_dir=root / "state", root=root)
    steps = "### Steps\n- tool: shell - Say\n  id: say\n  with: {command: [echo, hi]}\n"
    source = f"# Alone\n\n## Phase: A\n{steps}\n## Outputs\n- said: steps.say.output.stdout\n"
    async with TaskClient.open(settings) as client:
        result = await client.execute(source=source)
    assert result.outputs == {"said": "hi\n"}


async def test_a_start_with_a_word_that_means_nothing_is_refused(engine: Engine) -> None:
    """`input` instead of `inputs` must not run with the defaults."""
    handle = await engine.client.client.start_workflow(
        "TaskWorkflow", {"task": "x", "input": {}}, id="client-unknown-key", task_queue="taskmark"
    )
    result = await engine.client.wait("client-unknown-key")
    assert result.status == "failed"
    assert result.error is not None
    assert result.error.type == "invalid_start"
    assert "unknown: input" in result.error.message
    assert handle.id == result.execution_id


async def test_an_execution_that_no_worker_has_taken_is_listed_as_pending(engine: Engine) -> None:
    """A start is in the history before anything of it ran."""
    settings = engine.client.wiring.settings.model_copy(update={"task_queue": "nobody-polls"})
    waiting = type(engine.client)(engine.client.client, Wiring(settings), engine.client.server)
    execution = await waiting.start(source="# Later\n\n## Phase: A\n### Steps\n- tool: effect - x\n")
    assert await asyncio.to_thread(waiting.wiring.close)
    assert waiting.wiring.history.execution(execution).status == "pending"
    await waiting.client.get_workflow_handle(execution).terminate()


@workflow.defn(name="TaskWorkflow")
class Broken:
    """The engine with a mistake in it: what Temporal tries again until the code is repaired."""

    @workflow.run
    async def run(self, start: dict[str, Any]) -> None:
        raise RuntimeError("the plan has a hole")


async def test_a_workflow_whose_own_code_fails_says_so_instead_of_nothing(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    """`progress` tells the reason, how often it was tried, and that a repaired worker goes on."""
    caplog.set_level(logging.CRITICAL, "temporalio")  # the worker complains, and rightly
    wiring = Wiring(engine.client.wiring.settings.model_copy(update={"task_queue": "broken"}))
    client = TaskClient(engine.client.client, wiring)
    async with Worker(
        client.client,
        task_queue="broken",
        workflows=[Broken],
        workflow_runner=UnsandboxedWorkflowRunner(),
    ):
        execution = await client.start(source="# T\n\n## Phase: A\n### Steps\n- validation: true - It holds")
        end = asyncio.get_running_loop().time() + PATIENCE
        while True:
            with pytest.raises((Unreachable, Refused)) as caught:
                await client.progress(execution)
            if "the plan has a hole" in str(caught.value):
                break
            assert asyncio.get_running_loop().time() < end, caught.value
        assert "again and again (attempt" in caught.value.message
        assert "repaired" in (caught.value.hint or "")
        await client.client.get_workflow_handle(execution).terminate()
    await asyncio.to_thread(wiring.close)


async def test_a_worker_that_does_not_stop_keeps_nobody_waiting(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The SDK's own waits for ever once a workflow has blocked its thread."""

    class Stubborn:
        async def __aenter__(self) -> None:
            pass

        async def __aexit__(self, *_: object) -> None:
            await asyncio.Event().wait()

    class Wired(Wiring):
        def worker(self, client: Any) -> Any:
            return Stubborn()

    monkeypatch.setattr("starter.working.STOPPING_SECONDS", 0.1)
    wiring = Wired(engine.client.wiring.settings.model_copy(update={"grace_seconds": 0.0}))
    with pytest.raises(KeyError):
        async with asyncio.timeout(PATIENCE), working(engine.client.client, wiring):
            raise KeyError
    assert "did not stop within 0.1 s" in caplog.text
