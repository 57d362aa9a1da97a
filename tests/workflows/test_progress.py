"""Semantics, section Q: what can be seen of an execution while it runs, and what the store has of it."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any
from uuid import uuid4

import pytest
from engine import PATIENCE, Engine
from inspecting import activities, cancelled_timers, signals, start_raw, timers
from observing import stored_attempts, stored_events, unique, until
from temporalio import activity
from temporalio.api.enums.v1 import WorkflowTaskFailedCause
from temporalio.worker import Replayer, Worker

from starter.recording import RecordingInterceptor
from starter.sandbox import workflow_runner
from taskmark.contracts import (
    COMPILE_ACTIVITY,
    ENGINE,
    RECORD_ACTIVITY,
    REPORT_SIGNAL,
    TASK_WORKFLOW,
    ExecutionStatus,
    PhaseReport,
    Progress,
    StepState,
    StepStatus,
)
from taskmark.records import ExecutionRecord, PhaseRecord, Record
from taskmark.task import parse_text
from workflows.phase import PhaseWorkflow
from workflows.state import TaskState
from workflows.task import TaskWorkflow

FAILS = "- tool: flaky\n  with: {category: logic}"
HOLD = "- tool: hold\n  with: {name: NAME}"


async def parents(engine: Engine, execution: str, phase: str | None = None) -> Progress:
    """Returns what the parent workflow alone answers, without asking its children."""
    handle = engine.client.client.get_workflow_handle(execution)
    return Progress.model_validate(await handle.query("progress", {"phase": phase} if phase else {}))


async def until_parent(engine: Engine, execution: str, test: Any) -> Progress:
    """Returns the first such answer for which the test holds."""
    return await until(lambda: parents(engine, execution), test)


async def start_slow(engine: Engine, text: str, /, **limits: Any) -> str:
    """Starts a task whose phases report rarely, so that what is told at once can be told apart."""
    definition = parse_text(f"# Slow\n\n{text}", catalog=engine.client.wiring.catalog)
    given = {"progress_interval": 60, "heartbeat": 1, **limits}
    start = {"definition": definition.model_dump(mode="json", exclude_defaults=True), "limits": given}
    return (await start_raw(engine, start)).id


# --- Q1: progress ------------------------------------------------------------------------------------


@asynccontextmanager
async def stalled_queue(engine: Engine, released: asyncio.Event) -> AsyncIterator[str]:
    """A task queue whose worker checks definitions only once it is let go."""

    @activity.defn(name=COMPILE_ACTIVITY)
    async def stall(_request: dict[str, Any]) -> dict[str, Any]:
        await released.wait()
        return {"definition": parse_text("# A\n").model_dump(mode="json")}

    @activity.defn(name=RECORD_ACTIVITY)
    async def ignore(_final: dict[str, Any]) -> None:
        """Nobody asks the store about these."""

    queue = f"stalled-{uuid4().hex[:6]}"
    worker = Worker(
        engine.client.client,
        task_queue=queue,
        workflows=[TaskWorkflow, PhaseWorkflow],
        activities=[stall, ignore],
        workflow_runner=workflow_runner(),
    )
    async with worker:
        yield queue


@pytest.mark.semantics("Q1")
async def test_progress_answers_while_the_definition_is_being_checked(engine: Engine) -> None:
    released = asyncio.Event()
    async with stalled_queue(engine, released) as queue:
        handle = await engine.client.client.start_workflow(
            TASK_WORKFLOW, {"task": "x"}, id=f"pending-{uuid4().hex[:8]}", task_queue=queue
        )
        progress = Progress.model_validate(await handle.query("progress"))
        assert (progress.status, progress.percent, progress.phases) == ("pending", 0, ())
        await handle.signal("pause")
        assert (await parents(engine, handle.id)).status == "paused"
        await handle.signal("resume")
        released.set()
        await handle.result()
        assert (await parents(engine, handle.id)).status == "completed"


@pytest.mark.semantics("Q1")
async def test_progress_answers_while_running_pausing_paused_and_waiting(engine: Engine) -> None:
    held = unique()
    execution = await engine.start(
        f"## Phase: A\n### Steps\n{HOLD}\n- approval: go - Go on?".replace("NAME", held)
    )
    await engine.until_trace(execution, "start", held)
    running = await engine.until(execution, lambda p: p.status == "running" and p.eta)
    assert (running.phases[0].status, running.in_flight >= 0) == ("running", True)
    assert running.eta.remaining_seconds >= 0
    assert running.eta.low <= running.eta.remaining_seconds <= running.eta.high
    await engine.client.pause(execution, reason="lunch", by="ann")
    pausing = await engine.until(execution, lambda p: p.status == "pausing" and p.in_flight == 1)
    assert (pausing.paused.reason, pausing.paused.by) == ("lunch", "ann")
    engine.release(held)
    await engine.until_status(execution, "paused")
    await engine.client.resume(execution)
    waiting = await engine.until_status(execution, "waiting")
    assert [(w.kind, w.name, w.prompt) for w in waiting.waiting] == [("approval", "go", "Go on?")]
    await engine.client.approve(execution, "go")
    assert (await engine.wait(execution)).status == "completed"


ENDINGS = {
    ExecutionStatus.COMPLETED: "### Steps\n- A note",
    ExecutionStatus.COMPLETED_WITH_ERRORS: f"onFailure: continue\n### Steps\n{FAILS}",
    ExecutionStatus.FAILED: f"### Steps\n{FAILS}\n- A note",
    ExecutionStatus.TIMED_OUT: "### Steps\n- wait: 1h\n- A note",
    ExecutionStatus.CANCELLED: "### Steps\n- wait: 1h\n- A note",
}


@pytest.mark.semantics("Q1")
@pytest.mark.parametrize("status", list(ENDINGS))
async def test_progress_answers_after_the_end(engine: Engine, status: ExecutionStatus) -> None:
    limit = "maxExecutionTime: 300ms" if status == "timed_out" else "version: '1'"
    execution = await engine.start(f"# Test\n\n```yaml\n{limit}\n```\n\n## Phase: A\n{ENDINGS[status]}")
    if status == "cancelled":
        await engine.client.abort(execution)
    await engine.wait(execution)
    progress = await engine.client.progress(execution)
    assert (progress.status, progress.eta) == (status, None)
    assert 0 <= progress.percent <= 100
    assert (progress.percent == 100) == status.is_success
    assert all(step.status.is_final for phase in progress.phases for step in phase.steps)


@pytest.mark.semantics("Q1")
@pytest.mark.parametrize("payload", [None, "x", [], {"now": "yesterday"}, {"phase": 7}, {"phase": "nowhere"}])
async def test_progress_answers_whatever_it_is_asked_with(engine: Engine, payload: Any) -> None:
    result = await engine.run("## Phase: A\n### Steps\n- A note")
    handle = engine.client.client.get_workflow_handle(result.execution_id)
    assert (await handle.query("progress", payload))["status"] == "completed"


@pytest.mark.semantics("Q1")
async def test_percent_never_falls_and_ends_at_a_hundred(engine: Engine) -> None:
    """Also when a phase unfolds into items, and when one begins again after a failure."""
    execution = await engine.start(
        """
        ## Phase: Items
        forEach: [1, 2, 3]
        ### Steps
        - tool: effect
          with: {seconds: 0.1}
        - tool: effect
          with: {seconds: 0.1}

        ## Phase: Again
        dependsOn: [Items]
        retry: {maxAttempts: 2, backoffMs: 100}
        ### Steps
        - tool: effect
          with: {seconds: 0.1}
        - tool: flaky
          retry: {maxAttempts: 1}
          with: {failures: 1}

        ## Phase: Last
        dependsOn: [Again]
        ### Steps
        - tool: effect
          forEach: [1, 2, 3, 4]
          with: {seconds: 0.1}
        """
    )
    seen = [0.0]
    while not (progress := await engine.client.progress(execution)).status.is_final:
        seen.append(progress.percent)
        await asyncio.sleep(0.02)
    seen.append(progress.percent)
    assert seen == sorted(seen)
    assert (seen[-1], progress.status) == (100, "completed")
    assert all(percent < 100 for percent in seen[:-1])
    assert len(set(seen)) > 2, seen


@pytest.mark.semantics("Q1")
def test_percent_does_not_fall_when_steps_go_back_to_the_start() -> None:
    """As when a phase begins again because all its agents failed, which were done until then."""
    definition = parse_text("# A\n\n## Phase: A\n### Steps\n- agent: x\n  id: x\n- wait: 1s", catalog=None)
    state, now = TaskState(), datetime(2026, 1, 1, tzinfo=UTC)
    state.open(definition, {}, now)
    state.phase_started(definition.phases[0], now)
    seen = []
    for status in ("running", "failed", "pending", "failed"):
        step = StepState(id="x", kind="agent", critical=False, status=StepStatus(status))
        state.reported(PhaseReport(phase="a", steps=(step,)), now)
        state.advance()
        seen.append(state.percent)
    assert 0 == seen[0] < seen[1] == seen[2] == seen[3] < 100


# --- Q2: reports -------------------------------------------------------------------------------------


@pytest.mark.semantics("Q2")
async def test_the_parent_is_at_most_one_interval_behind_its_children(engine: Engine) -> None:
    """The interval of the tests is 0.2 s; the rest of the two seconds is for a slow machine."""
    held = unique()
    execution = await engine.start(
        f"## Phase: A\n### Steps\n- tool: effect\n  id: quick\n  with: {{name: quick}}\n{HOLD}".replace(
            "NAME", held
        )
    )
    await engine.until_trace(execution, "start", held)
    begin = time.monotonic()
    await until_parent(
        engine, execution, lambda p: [s.status for s in p.phases[0].steps] == ["completed", "running"]
    )
    assert time.monotonic() - begin < 5
    engine.release(held)
    await engine.wait(execution)


@pytest.mark.semantics("Q2")
async def test_a_phase_reports_at_most_once_per_interval(engine: Engine) -> None:
    """Forty steps in about a second make a handful of reports, not forty."""
    steps = "\n".join("- tool: effect" for _ in range(40))
    result = await engine.run(f"## Phase: A\n### Steps\n{steps}")
    reports = [at for at, _ in await signals(engine, result.execution_id, REPORT_SIGNAL)]
    seconds = (result.finished_at - result.started_at).total_seconds()
    assert 1 <= len(reports) <= seconds / 0.2 + 1
    gaps = [(later - at).total_seconds() for at, later in pairwise(reports)]
    assert all(gap > 0.15 for gap in gaps), gaps


@pytest.mark.semantics("Q2")
async def test_reports_have_a_budget(engine: Engine) -> None:
    """With hundreds of phases each may report twenty times; after half of it the interval doubles."""
    others = "\n".join(f"## Phase: Off {n}\nif: 1 > 2\n### Steps\n- A note\n" for n in range(260))
    steps = "\n".join("- tool: effect\n  with: {seconds: 0.03}" for _ in range(40))
    execution = await start_slow(engine, f"{others}\n## Phase: A\n### Steps\n{steps}", progress_interval=0.02)
    result = await engine.wait(execution)
    reports = [at for at, _ in await signals(engine, execution, REPORT_SIGNAL)]
    assert (result.finished_at - result.started_at).total_seconds() > 1
    assert 10 < len(reports) < 20
    gaps = [(later - at).total_seconds() for at, later in pairwise(reports)]
    assert gaps[-1] > 0.1
    assert min(gaps) < gaps[-1] / 2


@pytest.mark.semantics("Q2")
async def test_waits_are_told_at_once(engine: Engine) -> None:
    execution = await start_slow(engine, "## Phase: A\n### Steps\n- approval: go")
    progress = await until_parent(engine, execution, lambda p: p.status == "waiting")
    assert [wait.name for wait in progress.waiting] == ["go"]
    await engine.client.approve(execution, "go")
    assert (await engine.wait(execution)).status == "completed"


@pytest.mark.semantics("Q2")
async def test_failures_are_told_at_once(engine: Engine) -> None:
    """Also those that stop nothing."""
    held = unique()
    steps = f"- tool: flaky\n  id: bad\n  critical: false\n  with: {{category: logic}}\n{HOLD}"
    execution = await start_slow(
        engine, f"## Phase: A\nparallel: true\n### Steps\n{steps}".replace("NAME", held)
    )
    progress = await until_parent(engine, execution, lambda p: p.phases[0].counts.get("failed"))
    assert progress.phases[0].steps[0].error == "it fails on purpose"
    engine.release(held)
    assert (await engine.wait(execution)).status == "completed_with_errors"


@pytest.mark.semantics("Q2")
async def test_a_thousand_failures_leave_room_for_other_signals(engine: Engine) -> None:
    """They are told together."""
    steps = "\n".join(f"- validation: {n} < 0 - It is not\n  critical: false" for n in range(300))
    result = await engine.run(f"## Phase: A\n### Steps\n{steps}")
    assert result.status == "completed_with_errors"
    assert len(await signals(engine, result.execution_id, REPORT_SIGNAL)) < 30


@pytest.mark.semantics("Q2")
async def test_a_reached_pause_is_told_at_once(engine: Engine) -> None:
    held = unique()
    execution = await start_slow(engine, f"## Phase: A\n### Steps\n{HOLD}\n- A note".replace("NAME", held))
    await engine.until_trace(execution, "start", held)
    await engine.client.pause(execution)
    await until_parent(engine, execution, lambda p: p.status == "pausing")
    engine.release(held)
    await until_parent(engine, execution, lambda p: p.status == "paused")
    await engine.client.resume(execution)
    assert (await engine.wait(execution)).status == "completed"


# --- Q3: many steps ----------------------------------------------------------------------------------


def _many(count: int, held: str) -> str:
    notes = "\n".join(f"- Note {n}" for n in range(count - 2))
    hold = HOLD.replace("NAME", held)
    many = f"## Phase: Many\nparallel: true\n### Steps\n{notes}\n{hold}"
    return f"{many}\n\n## Phase: Other\n### Steps\n- A note"


@pytest.mark.semantics("Q3")
async def test_above_500_steps_progress_counts_and_lists_only_the_phase_asked_for(engine: Engine) -> None:
    held = unique()
    execution = await engine.start(_many(602, held))
    await until_parent(engine, execution, lambda p: p.phases[0].counts == {"completed": 600, "running": 1})
    for ask in (parents, lambda e, x, phase=None: e.client.progress(x, phase)):
        progress = await ask(engine, execution)
        assert [sum(p.counts.values()) for p in progress.phases] == [601, 1]
        assert [len(p.steps) for p in progress.phases] == [0, 0]
        assert [len(p.steps) for p in (await ask(engine, execution, "many")).phases] == [601, 0]
        assert [len(p.steps) for p in (await ask(engine, execution, "other")).phases] == [0, 1]
    engine.release(held)
    result = await engine.wait(execution)
    assert (result.status, len(result.steps)) == ("completed", 602)
    ended = await engine.client.progress(execution)
    assert [len(p.steps) for p in ended.phases] == [0, 0]
    assert ended.phases[0].counts == {"completed": 601}


@pytest.mark.semantics("Q3")
async def test_up_to_500_steps_progress_lists_all(engine: Engine) -> None:
    held = unique()
    execution = await engine.start(_many(500, held))
    progress = await until_parent(engine, execution, lambda p: p.phases[0].counts.get("running") == 1)
    assert [len(p.steps) for p in progress.phases] == [499, 1]
    engine.release(held)
    assert (await engine.wait(execution)).status == "completed"


# --- Q4: plan and checkpoint ---------------------------------------------------------------------------


@pytest.mark.semantics("Q4")
async def test_plan_tells_phases_waves_and_expected_durations(engine: Engine) -> None:
    result = await engine.run(
        """
        ## Phase: First
        ### Steps
        - tool: effect
          estimate: 90s
        - Well?
        ### Agents
        - ann

        ## Phase: Aside
        parallel: true
        ### Steps
        - wait: 10ms
        - A note

        ## Phase: Last
        dependsOn: [First, Aside]
        ### Steps
        - validation: 1 > 0
        """
    )
    plan = await engine.client.plan(result.execution_id)
    assert plan["waves"] == [["first", "aside"], ["last"]]
    assert [p["slug"] for p in plan["phases"]] == ["first", "aside", "last"]
    assert plan["phases"][2]["dependsOn"] == ["first", "aside"]
    expected = [[s["expected_seconds"] for s in p["steps"]] for p in plan["phases"]]
    assert (expected[0][0], expected[1][0]) == (90, 0.01)
    assert expected[0][1] > 1 > expected[1][1] > 0
    assert plan["phases"][0]["expected_seconds"] > 90
    assert plan["expected_seconds"] > 90


@pytest.mark.semantics("Q4")
async def test_checkpoint_tells_what_has_completed_with_its_outputs(engine: Engine) -> None:
    held = unique()
    execution = await engine.start(
        f"""## Phase: Done
### Steps
- tool: effect
  id: one
  with: {{value: 1}}
### Outputs
- value: steps.one.output.value

## Phase: Bad
onFailure: continue
### Steps
{FAILS}

## Phase: Runs
dependsOn: [Done]
### Steps
{HOLD}
""".replace("NAME", held)
    )
    await engine.until_trace(execution, "start", held)
    handle = engine.client.client.get_workflow_handle(execution)
    checkpoint = await handle.query("checkpoint")
    assert checkpoint["phases"] == {"done": {"value": 1}}
    assert len(checkpoint["sha256"]) == 64
    engine.release(held)
    await engine.wait(execution)
    assert set((await handle.query("checkpoint"))["phases"]) == {"done", "runs"}


# --- Q6 and Q7: the store -----------------------------------------------------------------------------


async def stored(engine: Engine, execution: str, test: Any) -> ExecutionRecord:
    """Returns the stored execution once the test holds for it."""
    history = engine.client.wiring.history

    async def look() -> list[ExecutionRecord]:
        return [one for one in await asyncio.to_thread(history.executions) if one.execution_id == execution]

    return (await until(look, lambda found: found and test(found[0])))[0]


async def stored_phases(engine: Engine, execution: str, test: Any) -> tuple[PhaseRecord, ...]:
    """Returns the stored phases of an execution once the test holds for them."""
    history = engine.client.wiring.history
    return await until(lambda: asyncio.to_thread(history.phases, execution), test)


@pytest.mark.semantics("Q6")
async def test_the_store_knows_what_happens_while_it_happens(engine: Engine) -> None:
    """Definition, execution, phase, attempts and events are there while the second step still runs."""
    held = unique()
    text = (
        f"## Phase: A\n### Steps\n- tool: effect\n  id: one\n  with: {{name: x, value: 1}}\n{HOLD}\n  id: two"
    )
    execution = await engine.start(text.replace("NAME", held), project="shop", build_id="7")
    await engine.until_trace(execution, "start", held)
    record = await stored(engine, execution, lambda found: found.status == "running")
    assert (record.task_name, record.project, record.build_id) == ("Test", "shop", "7")
    definition = await asyncio.to_thread(engine.client.wiring.history.definition, record.definition_sha256)
    assert definition.definition["phases"][0]["slug"] == "a"
    assert (await stored_phases(engine, execution, bool))[0].status == "running"
    one = (await stored_attempts(engine, execution, "one", lambda found: found and found[0].output))[0]
    assert (one.status, one.output["value"], one.input) == ("completed", 1, {"name": "x", "value": 1})
    two = (await stored_attempts(engine, execution, "two", bool))[0]
    assert (two.status, two.finished_at) == ("running", None)
    assert [e.step for e in await stored_events(engine, execution, "step_started", 2)] == ["one", "two"]
    assert [e.step for e in await stored_events(engine, execution, "step_completed", 1)] == ["one"]
    engine.release(held)
    await engine.wait(execution)
    ended = await stored(engine, execution, lambda found: found.status.is_final)
    assert (ended.status, ended.outputs) == ("completed", {})
    assert (await stored_phases(engine, execution, lambda p: p[0].status.is_final))[0].status == "completed"
    await stored_events(engine, execution, "execution_completed")


@pytest.mark.semantics("Q6")
async def test_the_store_costs_no_activity_but_the_final_one(engine: Engine) -> None:
    result = await engine.run("## Phase: A\n### Steps\n- tool: effect\n- A note\n- validation: 1 > 0 - x")
    assert await activities(engine, result.execution_id) == [RECORD_ACTIVITY]
    assert await activities(engine, result.execution_id, phase="a") == ["tool.effect"]
    assert await timers(engine, result.execution_id) == []


LIMITED = """
```yaml
maxExecutionTime: 10m
```

## Phase: A
timeout: 5m
### Steps
- tool: effect
"""


@pytest.mark.parametrize(("limits", "cancelled"), [({"engine": 1}, 0), ({}, 2)])
async def test_timers_that_end_with_their_workflow_are_left_to_it_since_the_engine_says_so(
    engine: Engine, limits: dict[str, int], cancelled: int
) -> None:
    """An event less for each; an execution that began before cancels them, as its history says."""
    execution = await start_slow(engine, LIMITED, **limits)
    assert (await engine.wait(execution)).status == "completed"
    assert await timers(engine, execution) == [600]
    assert sorted(await timers(engine, execution, phase="a")) == [60, 300]
    assert await cancelled_timers(engine, execution, phase="a") == cancelled
    assert await cancelled_timers(engine, execution) == (1 if cancelled else 0)


async def test_a_timer_that_is_nearly_due_is_cancelled(engine: Engine) -> None:
    """One that fires while its workflow says that it has ended would make the server refuse the end."""
    execution = await start_slow(engine, LIMITED, engine=1, progress_interval=0.9)
    await engine.wait(execution)
    assert await cancelled_timers(engine, execution, phase="a") == 1


@pytest.mark.semantics("Q6")
async def test_steps_that_run_in_the_workflow_and_skipped_ones_are_in_the_store(engine: Engine) -> None:
    text = (
        "- A note\n  id: note\n- validation: 1 > 0 - x\n  id: check\n- tool: effect\n  id: off\n  if: 1 > 2"
    )
    result = await engine.run(
        f"## Phase: A\n### Steps\n{text}\n\n## Phase: B\nif: 1 > 2\n### Steps\n- Never\n  id: never"
    )
    for step, status in (
        ("note", "completed"),
        ("check", "completed"),
        ("off", "skipped"),
        ("never", "skipped"),
    ):
        found = await stored_attempts(
            engine, result.execution_id, step, lambda found: found and found[0].status.is_final
        )
        assert [attempt.status for attempt in found] == [status]
    phases = await stored_phases(engine, result.execution_id, lambda found: len(found) == 2)
    assert {p.phase: p.status.value for p in phases} == {"a": "completed", "b": "skipped"}


@pytest.mark.semantics("Q6")
async def test_a_start_that_is_refused_is_in_the_store(engine: Engine) -> None:
    handle = await start_raw(engine, {"task": "no-such-task"})
    record = await stored(engine, handle.id, lambda found: found.status.is_final)
    assert (record.status, record.error.type, record.task_id) == ("failed", "invalid_task", "no-such-task")


@pytest.mark.semantics("Q6")
async def test_replay_writes_nothing(engine: Engine) -> None:
    """The same histories, replayed with a recorder that would remember."""
    result = await engine.run("## Phase: A\n### Steps\n- tool: effect\n- A note")
    remembered: list[Record] = []

    class Remembering:
        def record(self, *records: Record) -> None:
            remembered.extend(records)

    replayer = Replayer(
        workflows=[TaskWorkflow, PhaseWorkflow],
        data_converter=engine.client.client.data_converter,
        interceptors=[RecordingInterceptor(Remembering())],
        workflow_runner=workflow_runner(),
        debug_mode=True,  # slow machines are not taken for deadlocks
    )
    for workflow in (result.execution_id, f"{result.execution_id}/a"):
        history = await engine.client.client.get_workflow_handle(workflow).fetch_history()
        await replayer.replay_workflow(history)
    assert remembered == []


@pytest.mark.semantics("Q7")
async def test_a_store_that_is_locked_delays_no_step_and_catches_up(engine: Engine) -> None:
    database = engine.client.wiring.settings.database_url.removeprefix("sqlite:///")
    await stored(engine, (await engine.run("## Phase: A\n### Steps\n- A note")).execution_id, bool)
    lock = sqlite3.connect(database, isolation_level=None)
    try:
        lock.execute("BEGIN EXCLUSIVE")
        begin = time.monotonic()
        result = await engine.run(
            "## Phase: A\n### Steps\n- tool: effect\n  id: one\n- tool: effect\n  id: two"
        )
        assert (result.status, time.monotonic() - begin < PATIENCE / 3) == ("completed", True)
    finally:
        lock.execute("ROLLBACK")
        lock.close()
    await stored(engine, result.execution_id, lambda found: found.status == "completed")
    await stored_attempts(
        engine, result.execution_id, "two", lambda found: found and found[0].status == "completed"
    )


@pytest.mark.semantics("Q13")
async def test_a_phase_ends_once_what_it_has_reported_has_arrived(engine: Engine) -> None:
    """Otherwise the server refuses the end, and a phase of thousands of steps is replayed whole.

    Below engine 3 it does not wait, as the histories of such executions say: there some ends are refused.
    """
    steps = "\n".join("- tool: effect" for _ in range(12))
    text = f"## Phase: A\nparallel: true\n### Steps\n{steps}"
    started = [await start_slow(engine, text, engine=ENGINE, progress_interval=0.001) for _ in range(10)]
    refused = 0
    for execution in started:
        assert (await engine.wait(execution)).status == "completed"
        refused += len([e for e in await engine.events(execution, phase="a") if _is_refused(e)])
    assert not refused


def _is_refused(event: Any) -> bool:
    """Whether the server refused what a workflow task had decided, for something that it did not know."""
    crossed = WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_UNHANDLED_COMMAND
    return bool(event.workflow_task_failed_event_attributes.cause == crossed)
