"""Semantics C7 to C9: cancel and abort, in every state that is not final."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
from engine import UNCACHED, Engine
from inspecting import children, no_task_failed
from observing import (
    memo_of,
    pause,
    processes,
    stored_attempts,
    stored_events,
    temporal_status,
    timeline,
    unique,
    until,
    until_processes,
    until_temporal,
)

from starter.compiling import Compiler
from taskmark.contracts import TASK_QUEUE, TASK_WORKFLOW, TaskResult
from taskmark.errors import Refused

SOON = 15.0 if UNCACHED else 5.0
"""Seconds within which a cancelled execution has ended, on a busy machine; see `UNCACHED`."""

End = Callable[[Engine, str], Awaitable[None]]


async def cancel(engine: Engine, execution: str) -> None:
    """Cancels as the Web UI does."""
    await engine.client.client.get_workflow_handle(execution).cancel()


async def abort(engine: Engine, execution: str) -> None:
    """Aborts with a reason."""
    await engine.client.abort(execution, by="ann", reason="enough")


ENDED = ("CANCELED", "COMPLETED")
ENDS = pytest.mark.parametrize("end", [cancel, abort])


async def ended(engine: Engine, execution: str, end: End, soon: float = SOON) -> TaskResult:
    """Ends the execution and returns its result, having checked what holds for every one."""
    begin = time.monotonic()
    await end(engine, execution)
    result = await engine.wait(execution)
    assert time.monotonic() - begin < soon, await timeline(engine, execution)
    assert result.status == "cancelled"
    assert result.error is not None
    assert result.error.message == ("aborted by ann: enough" if end is abort else "cancelled")
    assert all(phase.status.is_final for phase in result.phases.values()), result.phases
    assert all(step.status.is_final for step in result.steps.values()), result.steps
    assert await temporal_status(engine, execution) == "CANCELED"
    assert (await engine.client.progress(execution)).status == "cancelled"
    handle = engine.client.client.get_workflow_handle(execution)
    await no_task_failed(handle)
    told, size = await memo_of(engine, execution)
    assert (told["status"], told["error"]) == ("cancelled", result.error.message)
    assert size <= 1024
    events = await stored_events(engine, execution, "execution_cancelled")
    assert events[0].payload["error"] == result.error.message
    return result


async def all_children(engine: Engine, execution: str, status: str) -> None:
    """Fails unless there are children and Temporal shows this status for each."""
    names = await children(engine, execution)
    assert names
    assert {name: await temporal_status(engine, name) for name in names} == dict.fromkeys(names, status)


# --- every state --------------------------------------------------------------------------------------


@ENDS
@pytest.mark.semantics("C7", "C8")
async def test_a_running_execution_ends_with_its_children_and_activities(engine: Engine, end: End) -> None:
    names = [unique() for _ in range(3)]
    text = f"""
        ## Phase: One
        parallel: true
        ### Steps
        - tool: hold
          with: {{name: {names[0]}}}
        - tool: hold
          with: {{name: {names[1]}}}

        ## Phase: Two
        ### Steps
        - tool: hold
          with: {{name: {names[2]}}}
        - tool: effect
          with: {{name: after}}
        """
    execution = await engine.start(text)
    for name in names:
        await engine.until_trace(execution, "start", name)
    result = await ended(engine, execution, end)
    await all_children(engine, execution, "CANCELED")
    assert sorted(engine.names(execution, "cancelled")) == sorted(names)
    assert [step.status for step in result.steps.values()] == [
        "cancelled",
        "cancelled",
        "cancelled",
        "skipped",
    ]
    assert {phase.status for phase in result.phases.values()} == {"cancelled"}
    assert "after" not in engine.names(execution)


@ENDS
@pytest.mark.semantics("C8", "C9")
async def test_a_paused_execution_ends_at_once(engine: Engine, end: End) -> None:
    name = unique()
    text = f"""
        ## Phase: A
        ### Steps
        - tool: hold
          with: {{name: {name}}}
        - tool: effect
          with: {{name: after}}

        ## Phase: B
        dependsOn: [A]
        ### Steps
        - tool: effect
          with: {{name: later}}
        """
    execution = await engine.start(text)
    await engine.until_trace(execution, "start", name)
    await pause(engine, execution, "a")
    engine.release(name)
    await engine.until_status(execution, "paused")
    result = await ended(engine, execution, end)
    await all_children(engine, execution, "CANCELED")
    assert [step.status for step in result.steps.values()] == ["completed", "skipped", "skipped"]
    assert [phase.status for phase in result.phases.values()] == ["cancelled", "skipped"]
    assert engine.names(execution) == [name]


@ENDS
@pytest.mark.semantics("C8", "C9")
async def test_an_execution_that_is_pausing_ends_at_once(engine: Engine, end: End) -> None:
    name = unique()
    execution = await engine.start(f"## Phase: A\n### Steps\n- tool: hold\n  with: {{name: {name}}}")
    await engine.until_trace(execution, "start", name)
    await engine.client.pause(execution)
    await engine.until_status(execution, "pausing")
    await ended(engine, execution, end)
    await all_children(engine, execution, "CANCELED")
    assert engine.names(execution, "cancelled") == [name]


@ENDS
@pytest.mark.parametrize("gate", ["approval: go - Go?", "question: go - Where?"])
@pytest.mark.semantics("C8", "C9")
async def test_a_waiting_execution_ends_at_once(engine: Engine, end: End, gate: str) -> None:
    execution = await engine.start(f"## Phase: A\n### Steps\n- {gate}\n- tool: effect\n  with: {{name: x}}")
    await engine.until_status(execution, "waiting")
    result = await ended(engine, execution, end)
    await all_children(engine, execution, "CANCELED")
    assert [step.status for step in result.steps.values()] == ["cancelled", "skipped"]


@ENDS
@pytest.mark.semantics("C8", "C9", "R14")
async def test_a_held_execution_ends_at_once(engine: Engine, end: End) -> None:
    text = """
        ## Phase: A
        onFailure: pause
        ### Steps
        - validation: 1 > 2 - Never
        """
    execution = await engine.start(text)
    await engine.until_status(execution, "waiting")
    result = await ended(engine, execution, end)
    await all_children(engine, execution, "CANCELED")
    assert next(iter(result.steps.values())).status == "failed"


@ENDS
@pytest.mark.parametrize("word", ["onFailure: pause", "retry: {maxAttempts: 3, backoffMs: 100}"])
@pytest.mark.semantics("C8", "C20")
async def test_what_fails_while_it_is_ended_neither_waits_for_anybody_nor_runs_again(
    engine: Engine, end: End, word: str
) -> None:
    """A program that is killed in the midst of its work fails, and its phase must not take that for news."""
    text = (
        f"## Phase: A\n{word}\n### Steps\n- tool: breaking\n  retry: {{maxAttempts: 2}}\n  with: {{name: x}}"
    )
    execution = await engine.start(text)
    await engine.until_trace(execution, "start", "x")
    result = await ended(engine, execution, end)
    await all_children(engine, execution, "CANCELED")
    assert result.steps["a_tool_1"].status == "failed"
    assert engine.names(execution) == ["x"]


@ENDS
@pytest.mark.parametrize(
    "text",
    [
        pytest.param("### Steps\n- wait: 1 hour", id="wait"),
        pytest.param(
            "### Steps\n- tool: flaky\n  retry: {maxAttempts: 2, backoffMs: 60000}", id="before an attempt"
        ),
        pytest.param(
            "retry: {maxAttempts: 2, backoffMs: 60000}\n### Steps\n- validation: 1 > 2 - No",
            id="before a run of the phase",
        ),
    ],
)
@pytest.mark.semantics("C8")
async def test_an_execution_that_only_lets_time_pass_ends_at_once(
    engine: Engine, end: End, text: str
) -> None:
    execution = await engine.start(f"## Phase: A\n{text}")
    await engine.until(
        execution,
        lambda p: (
            p.phases
            and any(s.error or (s.status == "running" and s.kind == "wait") for s in p.phases[0].steps)
        ),
    )
    await ended(engine, execution, end)
    await all_children(engine, execution, "CANCELED")


@ENDS
@pytest.mark.semantics("C7", "C8")
async def test_a_sub_task_ends_with_its_parent(engine: Engine, end: End) -> None:
    name = unique("sub-")
    engine.file(
        f"tasks/{name}.md",
        f"# Sub {name}\n\n## Phase: Inner\n### Steps\n- tool: hold\n  with: {{name: {name}}}\n",
    )
    execution = await engine.start(f"## Phase: A\n### Steps\n- task: {name}\n  id: sub")
    child = f"{execution}/a/sub"
    await engine.until_trace(child, "start", name)
    result = await ended(engine, execution, end)
    await all_children(engine, execution, "CANCELED")
    await all_children(engine, child, "CANCELED")
    assert await temporal_status(engine, child) == "CANCELED"
    assert engine.names(child, "cancelled") == [name]
    assert result.steps["sub"].status == "cancelled"


@ENDS
@pytest.mark.parametrize("before", ["running", "pausing"])
@pytest.mark.semantics("C19", "C7", "C9")
async def test_whatever_stands_in_sub_tasks_ends_and_leaves_no_process(
    engine: Engine, end: End, before: str
) -> None:
    """One of them waits for a person, one is held after a failure, one runs a tree of processes."""
    marker = f"6{int(unique('')[:6], 16)}"
    command = f'"(sleep {marker} & (setsid sleep {marker} &) ; wait) & sleep {marker}"'
    steps = {
        "waits": "approval: go - Go?",
        "held": "validation: 1 > 2 - Never",
        "works": f"tool: shell\n  with: {{command: {command}, shell: true}}",
    }
    names = {word: unique("sub-") for word in steps}
    for word, step in steps.items():
        inner = f"## Phase: Inner\nonFailure: pause\n### Steps\n- {step}\n"
        engine.file(f"tasks/{names[word]}.md", f"# {word}\n\n{inner}")
    text = "\n".join(
        f"## Phase: {word}\n### Steps\n- task: {name}\n  id: {word}_sub\n" for word, name in names.items()
    )
    execution = await engine.start(text)
    for word in ("waits", "held"):
        await until_temporal(engine, f"{execution}/{word}/{word}_sub", "RUNNING")
        await engine.until_status(f"{execution}/{word}/{word}_sub", "waiting")
    await until(lambda: asyncio.to_thread(processes, marker), lambda found: len(found) >= 3)
    if before == "pausing":
        await pause(engine, execution, "waits", "held", "works")
        await engine.until_status(execution, "pausing")
    await ended(engine, execution, end, 2 * SOON)  # of workflows below each other one ends after the other
    for word in steps:
        for workflow in (word, f"{word}/{word}_sub", f"{word}/{word}_sub/inner"):
            assert await temporal_status(engine, f"{execution}/{workflow}") == "CANCELED", workflow
    await until_processes(marker, 0, SOON)


@pytest.fixture
def slow_check(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes the check of a definition last until the event is set."""
    event, real = threading.Event(), Compiler.definition

    def definition(self: Compiler, request: Any) -> Any:
        event.wait(20)
        return real(self, request)

    monkeypatch.setattr(Compiler, "definition", definition)
    yield event
    event.set()


@ENDS
@pytest.mark.semantics("C8")
async def test_a_pending_execution_ends_at_once(
    engine: Engine, end: End, slow_check: threading.Event
) -> None:
    """Its definition is still being checked: there is no result, but the reason is kept."""
    handle = await engine.client.client.start_workflow(
        TASK_WORKFLOW,
        {"source": "# T\n\n## Phase: A\n### Steps\n- tool: effect\n  with: {name: x}\n"},
        id=unique("exec-"),
        task_queue=TASK_QUEUE,
    )
    await engine.until_status(handle.id, "pending")
    result = await ended(engine, handle.id, end)
    slow_check.set()
    assert (result.phases, result.steps) == ({}, {})
    assert await children(engine, handle.id) == []


@pytest.mark.semantics("C8")
async def test_an_abort_that_comes_with_the_start_runs_nothing(engine: Engine) -> None:
    handle = await engine.client.client.start_workflow(
        TASK_WORKFLOW,
        {"source": "# T\n\n## Phase: A\n### Steps\n- tool: effect\n  with: {name: x}\n"},
        id=unique("exec-"),
        task_queue=TASK_QUEUE,
        start_signal="abort",
        start_signal_args=[{"reason": "wrong one"}],
    )
    result = await engine.wait(handle.id)
    assert (result.status, engine.names(handle.id)) == ("cancelled", [])
    assert result.error is not None
    assert result.error.message == "aborted: wrong one"


@pytest.mark.semantics("C8")
async def test_whenever_an_abort_comes_it_ends_cancelled_or_had_completed(engine: Engine) -> None:
    """Starts and ends of phases are the narrow places; five phases have many of them."""
    phases = "\n".join(f"## Phase: P{n}\n### Steps\n- tool: effect\n  with: {{name: p{n}}}" for n in range(5))

    async def run(delay: float) -> None:
        execution = await engine.start(phases)
        await asyncio.sleep(delay)
        with suppress(Refused):
            await engine.client.abort(execution, reason="enough")
        result = await engine.wait(execution)
        assert result.status in ("cancelled", "completed")
        for name in await children(engine, execution):
            await until(lambda name=name: temporal_status(engine, name), lambda s: s in ENDED)
        assert all(step.status.is_final for step in result.steps.values())

    await asyncio.gather(*(run(delay) for delay in (0, 0.02, 0.04, 0.06, 0.1)))


# --- what it leaves -----------------------------------------------------------------------------------


@ENDS
@pytest.mark.semantics("C7")
async def test_partial_results_are_in_the_store_and_for_whoever_waits(engine: Engine, end: End) -> None:
    name = unique()
    text = f"""
        ## Phase: Done
        ### Steps
        - tool: effect
          id: first
          with: {{name: first, value: 7}}
        ### Outputs
        - value: steps.first.output.value

        ## Phase: Doing
        dependsOn: [Done]
        ### Steps
        - tool: effect
          id: second
          with: {{name: second, value: 8}}
        - tool: hold
          id: third
          with: {{name: {name}}}
        """
    execution = await engine.start(text)
    await engine.until_trace(execution, "start", name)
    waiting = asyncio.create_task(engine.wait(execution))
    result = await ended(engine, execution, end)
    assert await waiting == result
    assert result.outputs == {"done": {"value": 7}}
    assert result.steps["second"].output["value"] == 8
    assert result.phases["done"].status == "completed"
    record = await asyncio.to_thread(engine.client.wiring.history.execution, execution)
    assert (record.status, record.outputs) == ("cancelled", {"done": {"value": 7}})
    attempts = await stored_attempts(engine, execution, "third", lambda a: a and a[0].status.is_final)
    assert [attempt.status for attempt in attempts] == ["cancelled"]
    attempts = await stored_attempts(engine, execution, "second", lambda a: a and a[0].status.is_final)
    assert attempts[0].output["value"] == 8
    told, _ = await memo_of(engine, execution)
    assert told["steps"] == {"completed": 2, "cancelled": 1}


@pytest.mark.semantics("C7", "C8")
@pytest.mark.parametrize(
    "reason", ["🔥" * 3000, "\0\x01" * 3000, "x" * 1_500_000], ids=["emoji", "nul", "long"]
)
async def test_a_reason_of_any_length_leaves_a_memo_of_at_most_1_kib(engine: Engine, reason: str) -> None:
    execution = await engine.start("## Phase: A\n### Steps\n- wait: 1 hour")
    await engine.until_status(execution, "running")
    await engine.client.abort(execution, reason=reason)
    assert (await engine.wait(execution)).status == "cancelled"
    told, size = await memo_of(engine, execution)
    assert size <= 1024
    assert told["error"].startswith(f"aborted: {reason[:20]}")
    assert len((await engine.wait(execution)).error.message) <= 2_100  # type: ignore[union-attr] - it is there


@ENDS
@pytest.mark.semantics("C7")
async def test_processes_and_their_children_are_gone_within_seconds(engine: Engine, end: End) -> None:
    marker = f"7{int(unique('')[:6], 16)}"
    text = f"""
        ## Phase: A
        ### Steps
        - tool: shell
          with:
            command: "(sleep {marker} & sleep {marker} & wait) & sleep {marker} & wait"
            shell: true
        """
    execution = await engine.start(text)
    await until(lambda: asyncio.to_thread(processes, f"{marker}"), lambda found: len(found) >= 4)
    begin = time.monotonic()
    await end(engine, execution)
    await until_processes(marker, 0, 10)
    assert time.monotonic() - begin < 12
    assert (await engine.wait(execution)).status == "cancelled"


@ENDS
@pytest.mark.semantics("C7", "C8")
async def test_a_second_cancel_during_the_cleanup_waits_for_the_cleanup(engine: Engine, end: End) -> None:
    name = unique()
    execution = await engine.start(f"## Phase: A\n### Steps\n- tool: stubborn\n  with: {{name: {name}}}")
    await engine.until_trace(execution, "start", name)
    await end(engine, execution)
    await engine.until_trace(execution, "cleaning", name)
    for control in (cancel, abort, cancel):
        await control(engine, execution)
    await engine.client.pause(execution)
    await asyncio.sleep(0.2)
    assert await temporal_status(engine, execution) == "RUNNING"
    engine.release(name)
    assert (await engine.wait(execution)).status == "cancelled"
    assert engine.names(execution, "cleaned") == [name]
    assert await temporal_status(engine, execution) == "CANCELED"
    await all_children(engine, execution, "CANCELED")


@pytest.mark.semantics("C8")
async def test_of_two_aborts_the_first_reason_is_kept(engine: Engine) -> None:
    name = unique()
    execution = await engine.start(f"## Phase: A\n### Steps\n- tool: stubborn\n  with: {{name: {name}}}")
    await engine.until_trace(execution, "start", name)
    await engine.client.abort(execution, reason="first")
    await engine.client.abort(execution, reason="second")
    engine.release(name)
    result = await engine.wait(execution)
    assert result.error is not None
    assert result.error.message == "aborted: first"


PAYLOADS: list[tuple[list[Any], str]] = [
    ([], "aborted"),
    ([None], "aborted"),
    (["fire"], "aborted: fire"),
    ([5], "aborted"),
    ([{"by": "ann"}], "aborted by ann"),
    ([{"reason": "a"}, {"reason": "b"}], "aborted: a"),
    ([b"\x00\xff"], "aborted"),
]


@pytest.mark.semantics("C8")
async def test_an_abort_with_any_payload_aborts(engine: Engine) -> None:
    async def run(arguments: list[Any], message: str) -> None:
        execution = await engine.start("## Phase: A\n### Steps\n- wait: 1 hour")
        await engine.client.client.get_workflow_handle(execution).signal("abort", args=arguments)
        result = await engine.wait(execution)
        assert result.error is not None
        assert (result.status, result.error.message) == ("cancelled", message)

    await asyncio.gather(*(run(arguments, message) for arguments, message in PAYLOADS))


@pytest.mark.semantics("C8", "E6")
async def test_an_ended_execution_refuses_an_abort(engine: Engine) -> None:
    result = await engine.run("## Phase: A\n### Steps\n- A note")
    with pytest.raises(Refused, match="ended"):
        await engine.client.abort(result.execution_id)
    assert await temporal_status(engine, result.execution_id) == "COMPLETED"


@pytest.mark.semantics("C7")
async def test_a_terminated_execution_leaves_no_child_running(engine: Engine) -> None:
    """Terminating asks nobody; the children are cancelled by Temporal itself."""
    name = unique()
    execution = await engine.start(f"## Phase: A\n### Steps\n- tool: hold\n  with: {{name: {name}}}")
    await engine.until_trace(execution, "start", name)
    await engine.client.client.get_workflow_handle(execution).terminate("out of the way")
    await until_temporal(engine, f"{execution}/a", "CANCELED")
    await engine.until_trace(execution, "cancelled", name)
    assert (await engine.wait(execution)).status == "failed"
