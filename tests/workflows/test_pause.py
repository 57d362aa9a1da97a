"""Semantics C1 to C5 and C10: pause and resume, in every state."""

from __future__ import annotations

import asyncio
import random
import time
from typing import Any

import pytest
from engine import Engine
from inspecting import no_task_failed, signals
from observing import (
    pause,
    scheduled_once,
    starts_between,
    stored_events,
    temporal_status,
    unique,
    until_parent,
)

from taskmark.contracts import TASK_QUEUE, TASK_WORKFLOW
from taskmark.errors import Refused

QUIET = 0.25
"""Seconds in which something that must not happen would have happened."""


def two_steps(name: str) -> str:
    """Returns a task whose first step holds."""
    return f"""
        ## Phase: Work
        ### Steps
        - tool: hold
          with: {{name: {name}}}
        - tool: effect
          with: {{name: after}}
        """


async def hold(engine: Engine, text: str, name: str, **options: Any) -> str:
    """Starts a task and returns its id once the `hold` step of that name runs."""
    execution = await engine.start(text, **options)
    await engine.until_trace(execution, "start", name)
    return execution


# --- C1: what a pause does ----------------------------------------------------------------------------


@pytest.mark.semantics("C1")
async def test_a_pause_lets_a_running_step_end_and_starts_no_other(engine: Engine) -> None:
    """It is `pausing` with one in flight, then `paused`, and nothing starts until the resume."""
    name = unique()
    execution = await hold(engine, two_steps(name), name)
    await pause(engine, execution, "work")
    progress = await engine.until_status(execution, "pausing")
    assert progress.in_flight == 1
    engine.release(name)
    progress = await engine.until_status(execution, "paused")
    assert progress.in_flight == 0
    await asyncio.sleep(QUIET)
    assert engine.names(execution) == [name]
    await engine.client.resume(execution)
    assert (await engine.wait(execution)).status == "completed"
    assert engine.names(execution) == [name, "after"]


@pytest.mark.semantics("C1")
async def test_pausing_tells_how_many_are_in_flight_in_all_phases(engine: Engine) -> None:
    names = [unique("p") for _ in range(3)]
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
    execution = await hold(engine, text, names[2])
    for name in names:
        await engine.until_trace(execution, "start", name)
    await pause(engine, execution, "one", "two")
    for left in (3, 2, 1):
        await engine.until(execution, lambda p, left=left: p.status == "pausing" and p.in_flight == left)
        engine.release(names[left - 1])
    await engine.until_status(execution, "paused")
    assert "after" not in engine.names(execution)
    await engine.client.resume(execution)
    assert (await engine.wait(execution)).status == "completed"


@pytest.mark.semantics("C1")
async def test_a_pause_while_pending_starts_no_phase(engine: Engine) -> None:
    """The pause is there before the definition is; the file is checked, and then nothing begins."""
    source = "# T\n\n## Phase: A\n### Steps\n- tool: effect\n  with: {name: only}\n"
    handle = await engine.client.client.start_workflow(
        TASK_WORKFLOW,
        {"source": source},
        id=unique("exec-"),
        task_queue=TASK_QUEUE,
        start_signal="pause",
        start_signal_args=[{"by": "ann"}],
    )
    progress = await engine.until(handle.id, lambda p: p.status == "paused" and p.task)
    assert progress.paused is not None
    assert progress.paused.by == "ann"
    await asyncio.sleep(QUIET)
    assert engine.names(handle.id) == []
    assert (await engine.client.progress(handle.id)).phases[0].status == "pending"
    await engine.client.resume(handle.id)
    assert (await engine.wait(handle.id)).status == "completed"
    assert engine.names(handle.id) == ["only"]


@pytest.mark.semantics("C1", "G2")
async def test_a_gate_stays_open_while_paused_and_its_decision_starts_nothing(engine: Engine) -> None:
    text = """
        ## Phase: Ask
        ### Steps
        - approval: go - Shall it go on?
        - tool: effect
          with: {name: after}
        """
    execution = await engine.start(text)
    await engine.until_status(execution, "waiting")
    await engine.client.pause(execution)
    progress = await engine.until_status(execution, "paused")
    assert [wait.name for wait in progress.waiting] == ["go"]
    await engine.client.approve(execution, "go", by="ann")
    progress = await engine.client.progress(execution)
    assert (progress.status, progress.waiting) == ("paused", ())
    await asyncio.sleep(QUIET)
    assert engine.names(execution) == []
    await engine.client.resume(execution)
    assert (await engine.wait(execution)).status == "completed"
    assert engine.names(execution) == ["after"]


@pytest.mark.semantics("C1")
async def test_a_paused_gate_waits_again_after_the_resume(engine: Engine) -> None:
    execution = await engine.start("## Phase: Ask\n### Steps\n- approval: go - Go?")
    await engine.until_status(execution, "waiting")
    await engine.client.pause(execution)
    await engine.until_status(execution, "paused")
    await engine.client.resume(execution)
    await engine.until_status(execution, "waiting")
    await engine.client.approve(execution, "go")
    assert (await engine.wait(execution)).status == "completed"


@pytest.mark.semantics("C1")
async def test_a_pause_between_phases_holds_the_next_phase(engine: Engine) -> None:
    name = unique()
    text = f"""
        ## Phase: First
        ### Steps
        - tool: hold
          with: {{name: {name}}}

        ## Phase: Second
        dependsOn: [First]
        ### Steps
        - tool: effect
          with: {{name: second}}
        """
    execution = await hold(engine, text, name)
    await pause(engine, execution, "first")
    engine.release(name)
    progress = await engine.until_status(execution, "paused")
    assert [(p.slug, p.status) for p in progress.phases] == [("first", "completed"), ("second", "pending")]
    await asyncio.sleep(QUIET)
    assert engine.names(execution) == [name]
    await engine.client.resume(execution)
    assert (await engine.wait(execution)).status == "completed"


FOUR_PHASES = "\n".join(
    f"""
        ## Phase: P{phase}
        ### Steps
        - tool: effect
          with: {{name: {phase}a, seconds: 0.01}}
        - tool: effect
          with: {{name: {phase}b, seconds: 0.01}}
        - tool: effect
          with: {{name: {phase}c, seconds: 0.01}}
    """
    for phase in range(4)
)


@pytest.mark.semantics("C1", "C3")
async def test_a_pause_while_phases_start_reaches_every_one_of_them(engine: Engine) -> None:
    """Whenever it comes, it is reached, and from then to the resume nothing starts."""

    async def run(delay: float) -> None:
        execution = await engine.start(FOUR_PHASES)
        await asyncio.sleep(delay)
        try:
            await engine.client.pause(execution)
        except Refused:
            return  # it had ended
        status = await until_parent(engine, execution, "paused", "completed")
        reached = time.time()
        await asyncio.sleep(QUIET)
        if status == "paused":
            await engine.client.resume(execution)
        assert starts_between(engine, execution, reached, reached + QUIET) == []
        assert (await engine.wait(execution)).status == "completed"
        assert len(await scheduled_once(engine, execution)) == 12

    for delays in (range(0, 48, 12), range(8, 160, 40)):
        await asyncio.gather(*(run(delay / 1000) for delay in delays))


@pytest.mark.semantics("C1", "C3", "C2")
async def test_twenty_fast_cycles_run_no_step_twice_and_none_while_paused(engine: Engine) -> None:
    steps = "\n".join(f"- tool: effect\n  with: {{name: NAME{n}, seconds: 0.01}}" for n in range(80))
    text = "\n\n".join(f"## Phase: {p}\n### Steps\n{steps.replace('NAME', p)}" for p in ("A", "B"))
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    execution = await engine.start(text)
    reached = 0
    for _ in range(20):
        await engine.client.pause(execution)
        if chance.random() < 0.5:
            await until_parent(engine, execution, "paused")
            begin = time.time()
            await asyncio.sleep(0.03)
            assert starts_between(engine, execution, begin, time.time()) == []
            reached += 1
        await engine.client.resume(execution)
        await asyncio.sleep(chance.random() * 0.02)
    result = await engine.wait(execution)
    assert result.status == "completed"
    assert len(await scheduled_once(engine, execution)) == 160
    assert reached > 0
    assert len(await stored_events(engine, execution, "execution_paused", 20)) == 20
    assert len(await stored_events(engine, execution, "execution_resumed", 20)) == 20


@pytest.mark.semantics("C1")
async def test_a_pause_holds_the_items_of_a_for_each(engine: Engine) -> None:
    name = unique()
    text = f"""
        ## Phase: Items
        maxConcurrent: 2
        ### Steps
        - tool: hold
          forEach: ["{name}x", "{name}y", "{name}z"]
          with: {{name: "{{{{ item }}}}"}}
        """
    execution = await hold(engine, text, f"{name}y")
    await pause(engine, execution, "items")
    await engine.until_status(execution, "pausing")
    engine.release(f"{name}x", f"{name}y", f"{name}z")
    await engine.until_status(execution, "paused")
    await asyncio.sleep(QUIET)
    assert sorted(engine.names(execution)) == [f"{name}x", f"{name}y"]
    await engine.client.resume(execution)
    assert (await engine.wait(execution)).status == "completed"


@pytest.mark.semantics("C1")
async def test_a_wait_goes_on_while_paused_but_what_follows_does_not(engine: Engine) -> None:
    text = """
        ## Phase: Rest
        ### Steps
        - wait: 300ms
        - tool: effect
          with: {name: after}
        """
    execution = await engine.start(text)
    await engine.until(execution, lambda p: p.phases and p.phases[0].counts.get("running"))
    await engine.client.pause(execution)
    await engine.until_status(execution, "paused")
    await asyncio.sleep(0.5)
    assert engine.names(execution) == []
    await engine.client.resume(execution)
    assert (await engine.wait(execution)).status == "completed"


# --- C2: what changes nothing -------------------------------------------------------------------------


@pytest.mark.semantics("C2")
async def test_a_second_pause_changes_nothing(engine: Engine) -> None:
    name = unique()
    execution = await hold(engine, two_steps(name), name)
    await pause(engine, execution, "work", by="ann", reason="lunch")
    first = (await engine.until_status(execution, "pausing")).paused
    await engine.client.pause(execution, by="bob", reason="other")
    engine.release(name)
    assert (await engine.until_status(execution, "paused")).paused == first
    await engine.client.resume(execution)
    assert (await engine.wait(execution)).status == "completed"
    assert len(await stored_events(engine, execution, "execution_paused")) == 1


@pytest.mark.semantics("C2")
async def test_a_resume_without_a_pause_changes_nothing(engine: Engine) -> None:
    name = unique()
    execution = await hold(engine, two_steps(name), name)
    await engine.client.resume(execution)
    await engine.client.resume(execution)
    await pause(engine, execution, "work")
    engine.release(name)
    await engine.until_status(execution, "paused")
    await engine.client.resume(execution)
    assert (await engine.wait(execution)).status == "completed"
    assert len(await stored_events(engine, execution, "execution_resumed")) == 1
    assert len(await stored_events(engine, execution, "execution_paused")) == 1


@pytest.mark.semantics("C2", "E6")
async def test_pause_and_resume_of_an_ended_execution_are_refused(engine: Engine) -> None:
    result = await engine.run("## Phase: A\n### Steps\n- A note")
    before = len(await engine.events(result.execution_id))
    for control in (engine.client.pause, engine.client.resume):
        with pytest.raises(Refused, match="ended"):
            await control(result.execution_id)
    assert len(await engine.events(result.execution_id)) == before
    assert await temporal_status(engine, result.execution_id) == "COMPLETED"


# --- C3, C4: going on ---------------------------------------------------------------------------------


@pytest.mark.semantics("C3")
async def test_after_a_resume_outputs_from_before_the_pause_are_there(engine: Engine) -> None:
    name = unique()
    text = f"""
        ## Phase: One
        ### Steps
        - tool: hold
          id: early
          with: {{name: {name}, value: 41}}
        - tool: effect
          id: late
          with: {{name: late, value: "{{{{ steps.early.output.value + 1 }}}}"}}
        """
    execution = await hold(engine, text, name)
    await pause(engine, execution, "one")
    engine.release(name)
    await engine.until_status(execution, "paused")
    await engine.client.resume(execution)
    result = await engine.wait(execution)
    assert result.steps["late"].output["value"] == 42
    assert await scheduled_once(engine, execution) == [name, "late"]


@pytest.mark.semantics("C4")
async def test_a_pause_during_the_backoff_holds_the_next_attempt(engine: Engine) -> None:
    name = unique()
    text = f"""
        ## Phase: Work
        ### Steps
        - tool: flaky
          with: {{name: {name}, failures: 1}}
          retry: {{maxAttempts: 2, backoffMs: 900}}
        """
    execution = await hold(engine, text, name)
    await engine.until(execution, lambda p: p.phases[0].steps and p.phases[0].steps[0].error)
    await engine.client.pause(execution)
    await engine.until_status(execution, "paused")
    await asyncio.sleep(1.2)
    assert engine.names(execution) == [name]
    await engine.client.resume(execution)
    result = await engine.wait(execution)
    assert (result.status, engine.names(execution)) == ("completed", [name, name])
    assert next(iter(result.steps.values())).attempts == 2


@pytest.mark.semantics("C4", "R11")
async def test_a_pause_during_a_phases_backoff_holds_its_next_run(engine: Engine) -> None:
    name = unique()
    text = f"""
        ## Phase: Work
        retry: {{maxAttempts: 2, backoffMs: 900}}
        ### Steps
        - tool: flaky
          with: {{name: {name}, failures: 1}}
          retry: {{maxAttempts: 1}}
        """
    execution = await hold(engine, text, name)
    await engine.until(execution, lambda p: p.phases[0].counts.get("failed"))
    await engine.client.pause(execution)
    await engine.until_status(execution, "paused")
    await asyncio.sleep(1.2)
    assert engine.names(execution) == [name]
    await engine.client.resume(execution)
    assert (await engine.wait(execution)).status == "completed"


# --- C10: who, when, why ------------------------------------------------------------------------------


@pytest.mark.semantics("C10")
async def test_who_paused_when_and_why_is_in_progress_and_in_the_events(engine: Engine) -> None:
    name = unique()
    execution = await hold(engine, two_steps(name), name)
    await engine.client.pause(execution, by="ann", reason="lunch")
    paused = (await engine.until_status(execution, "pausing")).paused
    assert paused is not None
    assert (paused.by, paused.reason) == ("ann", "lunch")
    at, _ = (await signals(engine, execution, "pause"))[0]
    assert paused.since is not None
    assert abs((paused.since.replace(tzinfo=None) - at).total_seconds()) < 1
    await engine.client.resume(execution, by="bob", reason="back")
    assert (await engine.until_status(execution, "running")).paused is None
    engine.release(name)
    await engine.wait(execution)
    (event,) = await stored_events(engine, execution, "execution_paused")
    assert event.payload == {"by": "ann", "reason": "lunch"}
    assert event.at == paused.since
    (event,) = await stored_events(engine, execution, "execution_resumed")
    assert event.payload == {"by": "bob", "reason": "back"}


PAYLOADS: list[tuple[list[Any], str, str]] = [
    ([], "", ""),
    ([None], "", ""),
    (["lunch"], "", "lunch"),
    ([17], "", ""),
    ([["a", "b"]], "", ""),
    ([{"by": ["x"], "reason": {"a": 1}}], "['x']", "{'a': 1}"),
    ([{"mode": "sideways", "nonsense": True, "epoch": "soon"}], "", ""),
    ([{"by": "ann"}, {"by": "bob"}], "ann", ""),
    ([b"\x00\xff\xfe"], "", ""),
]


@pytest.mark.semantics("C10", "C1")
async def test_a_pause_with_any_payload_pauses_and_so_does_a_resume(engine: Engine) -> None:
    """A signal cannot be refused, so one that makes no sense must do no harm."""
    name = unique()
    execution = await hold(engine, two_steps(name), name)
    handle = engine.client.client.get_workflow_handle(execution)
    for arguments, by, reason in PAYLOADS:
        await handle.signal("pause", args=arguments)
        paused = (await engine.until_status(execution, "pausing")).paused
        assert paused is not None
        assert (paused.by, paused.reason) == (by, reason)
        await handle.signal("resume", args=arguments)
        assert (await engine.until_status(execution, "running")).paused is None
    engine.release(name)
    assert (await engine.wait(execution)).status == "completed"
    await no_task_failed(handle)


@pytest.mark.semantics("C10")
async def test_a_reason_of_any_length_is_cut(engine: Engine) -> None:
    """It travels in every answer, and the server limits those."""
    name = unique()
    execution = await hold(engine, two_steps(name), name)
    await engine.client.pause(execution, reason="x" * 1_000_000, by="y" * 100_000)
    paused = (await engine.until_status(execution, "pausing")).paused
    assert paused is not None
    assert (len(paused.reason), len(paused.by)) == (2_000, 200)
    engine.release(name)
    await engine.client.resume(execution)
    await engine.wait(execution)


STRANGE: list[list[Any]] = [
    [],
    [None],
    ["x"],
    [7],
    [[]],
    [{}],
    [{}, {}],
    [b"\x00\xff"],
    [{"wish": {"epoch": "x"}}],
]


@pytest.mark.semantics("C1", "C2")
async def test_strangers_that_use_the_workflows_own_signals_do_no_harm(engine: Engine) -> None:
    """What does not fit is dropped; no workflow task fails, and a pause still works."""
    name = unique()
    execution = await hold(engine, two_steps(name), name)
    parent = engine.client.client.get_workflow_handle(execution)
    child = engine.client.client.get_workflow_handle(f"{execution}/work")
    for arguments in STRANGE:
        await parent.signal("report", args=arguments)
        for signal in ("control", "subtask"):
            await child.signal(signal, args=arguments)
    await pause(engine, execution, "work")
    engine.release(name)
    await engine.until_status(execution, "paused")
    await engine.client.resume(execution)
    assert (await engine.wait(execution)).status == "completed"
    await no_task_failed(parent)
    await no_task_failed(child)
