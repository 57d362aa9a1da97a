"""Semantics R9 to R15: what the failure of a step means for its phase, and that of a phase for the task."""

from __future__ import annotations

import asyncio
import json

import pytest
from engine import Engine
from inspecting import no_task_failed, start_raw
from observing import temporal_status, unique, until, until_temporal

from taskmark.contracts import TaskResult
from taskmark.errors import Refused

FAIL = "- validation: 1 > 2 - It fails"


def statuses(result: TaskResult) -> dict[str, str]:
    """Returns the status of each step."""
    return {name: step.status.value for name, step in result.steps.items()}


def phases(result: TaskResult) -> dict[str, str]:
    """Returns the status of each phase."""
    return {slug: phase.status.value for slug, phase in result.phases.items()}


def effect(name: str) -> str:
    """Returns a step that leaves a trace."""
    return f"- tool: effect\n  id: {name}\n  with: {{name: {name}}}"


def hold(name: str, id: str = "held") -> str:
    """Returns a step that runs until it is released."""
    return f"- tool: hold\n  id: {id}\n  with: {{name: {name}}}"


# --- R9, R10: a step ----------------------------------------------------------------------------------


@pytest.mark.semantics("R9", "E1")
async def test_a_failed_step_that_is_not_critical_leaves_the_task_going_on(engine: Engine) -> None:
    text = f"""
## Phase: A
### Steps
- tool: flaky
  id: bad
  critical: false
  with: {{category: logic}}
{effect("good")}
## Phase: B
dependsOn: [A]
### Steps
{effect("later")}
"""
    result = await engine.run(text)
    assert result.status == "completed_with_errors"
    assert statuses(result) == {"bad": "failed", "good": "completed", "later": "completed"}
    assert phases(result) == {"a": "completed", "b": "completed"}
    assert await temporal_status(engine, result.execution_id) == "COMPLETED"


@pytest.mark.semantics("R10")
async def test_a_failed_critical_step_skips_the_rest_of_its_phase(engine: Engine) -> None:
    text = f"## Phase: A\n### Steps\n{effect('one')}\n{FAIL}\n  id: bad\n{effect('two')}\n{effect('three')}\n"
    result = await engine.run(text)
    assert statuses(result) == {"one": "completed", "bad": "failed", "two": "skipped", "three": "skipped"}
    assert result.steps["two"].reason
    assert "bad" in result.steps["two"].reason
    assert engine.names(result.execution_id) == ["one"]
    assert (result.status, phases(result)) == ("failed", {"a": "failed"})


@pytest.mark.semantics("R10")
async def test_in_a_parallel_phase_the_steps_in_flight_end_first(engine: Engine) -> None:
    """What runs is not ended, what waits for room does not begin."""
    name = unique()
    text = f"""
## Phase: A
parallel: true
maxConcurrent: 2
### Steps
{hold(name)}
- tool: flaky
  id: bad
  with: {{name: bad, category: logic}}
{effect("three")}
{effect("four")}
"""
    execution = await engine.start(text)
    await engine.until_trace(execution, "start", name)
    await engine.until(execution, lambda p: p.phases[0].counts.get("failed") == 1)
    await asyncio.sleep(0.2)
    assert await temporal_status(engine, execution) == "RUNNING"
    engine.release(name)
    result = await engine.wait(execution)
    assert statuses(result) == {"held": "completed", "bad": "failed", "three": "skipped", "four": "skipped"}
    assert "three" not in engine.names(execution)
    assert engine.names(execution, "end") == [name]


# --- R11: a phase's own retry -------------------------------------------------------------------------


@pytest.mark.semantics("R11")
async def test_a_phase_runs_again_keeping_what_completed(engine: Engine) -> None:
    """Completed steps keep their outputs and are not called again; the others are, and those after them."""
    text = f"""
## Phase: A
retry: {{maxAttempts: 3, backoffMs: 50}}
### Steps
{effect("first")}
- tool: flaky
  id: bad
  with: {{name: bad, failures: 2, category: logic}}
- tool: effect
  id: last
  with: {{name: "after {{{{ steps.first.output.name }}}} {{{{ steps.bad.output.calls }}}}"}}
### Outputs
- calls: steps.bad.output.calls
"""
    result = await engine.run(text)
    assert result.status == "completed", result.error
    assert engine.names(result.execution_id) == ["first", "bad", "bad", "bad", "after first 3"]
    assert (result.phases["a"].attempts, result.outputs) == (3, {"a": {"calls": 3}})
    assert {name: step.attempts for name, step in result.steps.items()} == {"first": 1, "bad": 3, "last": 1}
    waits = []
    for event in await engine.events(result.execution_id, phase="a"):
        summary = json.loads(event.user_metadata.summary.data or b'""')
        if summary == "before the phase runs again" and event.HasField("timer_started_event_attributes"):
            waits.append(event.timer_started_event_attributes.start_to_fire_timeout.ToMilliseconds())
    assert len(waits) == 2
    assert 45 <= waits[0] <= 55
    assert 90 <= waits[1] <= 110


@pytest.mark.semantics("R11", "R12")
async def test_a_phase_whose_retries_are_used_up_has_failed(engine: Engine) -> None:
    """Until then nothing else is stopped."""
    text = f"""
## Phase: A
retry: {{maxAttempts: 2, backoffMs: 10}}
### Steps
{FAIL}
  id: bad
"""
    result = await engine.run(text)
    assert (result.status, result.phases["a"].attempts, result.steps["bad"].attempts) == ("failed", 2, 2)


@pytest.mark.semantics("R11")
async def test_a_parallel_phase_runs_again_with_what_its_failure_kept_from_starting(engine: Engine) -> None:
    text = f"""
## Phase: A
parallel: true
maxConcurrent: 1
retry: {{maxAttempts: 2, backoffMs: 10}}
### Steps
- tool: flaky
  id: bad
  with: {{name: bad, failures: 1, category: logic}}
{effect("two")}
{effect("three")}
"""
    result = await engine.run(text)
    assert result.status == "completed", result.error
    assert sorted(engine.names(result.execution_id)) == ["bad", "bad", "three", "two"]


@pytest.mark.semantics("R11", "R12")
async def test_a_phase_that_waits_to_run_again_ends_when_another_fails(engine: Engine) -> None:
    """Its failed step stays failed, and what had not begun is skipped."""
    name = unique()
    text = f"""
## Phase: A
retry: {{maxAttempts: 2, backoffMs: 60000}}
### Steps
- tool: flaky
  id: bad
  with: {{name: bad, category: logic}}
{effect("rest")}
## Phase: B
### Steps
{hold(name)}
{FAIL}
  id: b_bad
"""
    execution = await engine.start(text)
    await engine.until(execution, lambda p: p.phases and p.phases[0].counts.get("failed"))
    engine.release(name)
    result = await engine.wait(execution)
    assert statuses(result) == {"bad": "failed", "rest": "skipped", "held": "completed", "b_bad": "failed"}
    assert engine.names(execution).count("bad") == 1


# --- R12: onFailure: fail -----------------------------------------------------------------------------


@pytest.mark.semantics("R12")
async def test_a_failed_phase_lets_running_steps_finish_and_starts_nothing_more(engine: Engine) -> None:
    held, trigger = unique(), unique()
    text = f"""
## Phase: A
### Steps
{hold(trigger, "trigger")}
{FAIL}
  id: bad
## Phase: B
### Steps
{hold(held)}
{effect("b_next")}
## Phase: C
dependsOn: [B]
### Steps
{effect("c")}
## Phase: D
dependsOn: [A]
### Steps
{effect("d")}
"""
    execution = await engine.start(text)
    for name in (held, trigger):
        await engine.until_trace(execution, "start", name)
    engine.release(trigger)
    await engine.until(execution, lambda p: p.phases[0].status == "failed")
    await asyncio.sleep(0.2)
    assert await temporal_status(engine, execution) == "RUNNING"
    engine.release(held)
    result = await engine.wait(execution)
    assert result.status == "failed"
    assert result.error is not None
    assert result.error.message == "It fails"
    assert statuses(result) == {
        "trigger": "completed",
        "bad": "failed",
        "held": "completed",
        "b_next": "skipped",
        "c": "skipped",
        "d": "skipped",
    }
    assert phases(result) == {"a": "failed", "b": "cancelled", "c": "skipped", "d": "skipped"}
    assert set(engine.names(execution)) == {held, trigger}


@pytest.mark.semantics("R12", "G1")
async def test_a_failed_phase_ends_open_gates_waits_and_further_attempts(engine: Engine) -> None:
    trigger = unique()
    text = f"""
## Phase: A
### Steps
{hold(trigger, "trigger")}
{FAIL}
  id: bad
## Phase: B
### Steps
- approval: go - Go?
{effect("b")}
## Phase: C
### Steps
- wait: 1 hour
  id: rest
## Phase: D
### Steps
- tool: flaky
  id: trying
  with: {{name: trying}}
  retry: {{maxAttempts: 5, backoffMs: 60000}}
## Phase: E
onFailure: pause
### Steps
{FAIL}
  id: e_bad
"""
    execution = await engine.start(text)
    await engine.until_trace(execution, "start", trigger)
    await engine.until_trace(execution, "start", "trying")
    await engine.until(execution, lambda p: len(p.waiting) == 2 and p.phases[3].steps[0].error)
    engine.release(trigger)
    result = await engine.wait(execution)
    assert result.status == "failed"
    assert statuses(result) == {
        "trigger": "completed",
        "bad": "failed",
        "go": "cancelled",
        "b": "skipped",
        "rest": "cancelled",
        "trying": "failed",
        "e_bad": "failed",
    }
    assert engine.names(execution).count("trying") == 1
    assert result.steps["trying"].error is not None
    assert result.steps["trying"].error.will_retry is False
    await no_task_failed(engine.client.client.get_workflow_handle(execution))
    for slug in "bcde":
        await no_task_failed(engine.client.client.get_workflow_handle(f"{execution}/{slug}"))


@pytest.mark.semantics("R12", "C4")
async def test_a_step_that_failed_and_is_held_by_a_pause_ends_failed_when_the_task_fails(
    engine: Engine,
) -> None:
    """Its backoff is over and the pause holds the next attempt, which then never comes."""
    text = f"""
## Phase: A
### Steps
- approval: go - Go?
{effect("after")}
## Phase: B
### Steps
- tool: flaky
  id: trying
  with: {{name: trying}}
  retry: {{maxAttempts: 5, backoffMs: 300}}
"""
    execution = await engine.start(text)
    await engine.until(execution, lambda p: p.waiting and p.phases[1].steps[0].error)
    await engine.client.pause(execution)
    await engine.until_status(execution, "paused")
    tries = engine.names(execution).count("trying")
    await asyncio.sleep(1)
    await engine.client.approve(execution, "go", decision="rejected")
    result = await engine.wait(execution)
    assert result.status == "failed"
    assert statuses(result) == {"go": "failed", "after": "skipped", "trying": "failed"}
    assert engine.names(execution).count("trying") == tries


@pytest.mark.semantics("R12", "R8")
async def test_when_the_task_has_failed_no_fallback_begins(engine: Engine) -> None:
    trigger = unique()
    text = f"""
## Phase: A
### Steps
{hold(trigger, "trigger")}
{FAIL}
  id: bad
## Phase: B
### Steps
- tool: flaky
  id: trying
  with: {{name: trying}}
  retry: {{maxAttempts: 2, backoffMs: 60000}}
  fallback: {{tool: effect, with: {{name: instead}}}}
"""
    execution = await engine.start(text)
    await engine.until_trace(execution, "start", trigger)
    await engine.until(execution, lambda p: p.phases[1].steps and p.phases[1].steps[0].error)
    engine.release(trigger)
    result = await engine.wait(execution)
    assert statuses(result) == {"trigger": "completed", "bad": "failed", "trying": "failed"}
    assert "instead" not in engine.names(execution)


@pytest.mark.semantics("R12", "T3")
async def test_of_a_for_each_that_the_task_ends_no_further_item_begins(engine: Engine) -> None:
    held, trigger = unique(), unique()
    text = f"""
## Phase: A
### Steps
{hold(trigger, "trigger")}
{FAIL}
  id: bad
## Phase: B
maxConcurrent: 1
### Steps
- tool: hold
  id: items
  forEach: ["{held}", "other"]
  with: {{name: "{{{{ item }}}}"}}
"""
    execution = await engine.start(text)
    for name in (held, trigger):
        await engine.until_trace(execution, "start", name)
    engine.release(trigger)
    await engine.until(execution, lambda p: p.phases[0].status == "failed")
    await asyncio.sleep(0.2)
    engine.release(held)
    result = await engine.wait(execution)
    assert statuses(result) == {"trigger": "completed", "bad": "failed", "items": "cancelled"}
    assert "other" not in engine.names(execution)


# --- R13: onFailure: continue -------------------------------------------------------------------------


@pytest.mark.semantics("R13")
async def test_under_continue_a_failed_phase_skips_what_depends_on_it_and_nothing_else(
    engine: Engine,
) -> None:
    text = f"""
## Phase: A
onFailure: continue
### Steps
{FAIL}
  id: bad
{effect("rest")}
## Phase: B
dependsOn: [A]
### Steps
{effect("b")}
## Phase: C
dependsOn: [B]
### Steps
{effect("c")}
## Phase: D
### Steps
{effect("d")}
"""
    result = await engine.run(text)
    assert result.status == "completed_with_errors"
    assert phases(result) == {"a": "failed", "b": "skipped", "c": "skipped", "d": "completed"}
    assert statuses(result) == {
        "bad": "failed",
        "rest": "skipped",
        "b": "skipped",
        "c": "skipped",
        "d": "completed",
    }
    assert engine.names(result.execution_id) == ["d"]
    assert await temporal_status(engine, result.execution_id) == "COMPLETED"


# --- R14: onFailure: pause ----------------------------------------------------------------------------


HELD = f"""
## Phase: A
onFailure: pause
### Steps
{effect("first")}
- tool: flaky
  id: bad
  with: {{name: bad, failures: 2, category: logic}}
{effect("last")}
## Phase: B
dependsOn: [A]
### Steps
{effect("b")}
"""


async def held(engine: Engine, text: str = HELD) -> str:
    """Starts a task and returns its id once a phase is held."""
    execution = await engine.start(text)
    progress = await engine.until_status(execution, "waiting")
    assert [wait.kind for wait in progress.waiting] == ["retry"]
    return execution


@pytest.mark.semantics("R14")
async def test_a_held_phase_tells_why_and_runs_again_on_retry(engine: Engine) -> None:
    """As often as it takes, keeping what completed."""
    execution = await held(engine)
    (wait,) = (await engine.client.progress(execution)).waiting
    assert (wait.name, wait.phase) == ("a", "a")
    assert "it fails on purpose" in wait.prompt
    answer = await engine.client.retry(execution, "a", by="ann")
    assert (answer["by"], answer["duplicate"]) == ("ann", False)
    progress = await engine.until(execution, lambda p: p.waiting and p.waiting[0].since != wait.since)
    assert [w.kind for w in progress.waiting] == ["retry"]
    await engine.client.retry(execution, "a")
    result = await engine.wait(execution)
    assert result.status == "completed"
    assert engine.names(execution) == ["first", "bad", "bad", "bad", "last", "b"]
    assert (result.phases["a"].attempts, result.steps["bad"].attempts) == (3, 3)


@pytest.mark.semantics("R14", "C5")
async def test_a_held_phase_waits_for_longer_than_its_timeout(engine: Engine) -> None:
    execution = await held(engine, HELD.replace("onFailure: pause", "onFailure: pause\ntimeout: 1500ms", 1))
    await asyncio.sleep(2)
    assert (await engine.client.progress(execution)).status == "waiting"
    for _ in range(2):
        await engine.client.retry(execution, "a")
        await engine.until(execution, lambda p: p.status != "waiting" or p.phases[0].attempt == 2)
    assert (await engine.wait(execution)).status == "completed"


@pytest.mark.semantics("R22", "P12")
async def test_a_phase_that_ran_out_of_its_time_is_held_and_has_it_again(engine: Engine) -> None:
    """However often: what ran is ended, and what has completed stays."""
    name = unique()
    text = f"""
        ## Phase: A
        onFailure: pause
        timeout: 1 second
        ### Steps
        - tool: effect
          with: {{name: first}}
        - tool: hold
          id: long
          with: {{name: {name}}}
        """
    execution = await held(engine, text)
    (wait,) = (await engine.client.progress(execution)).waiting
    assert "longer than its timeout" in wait.prompt
    await engine.client.retry(execution, "a")
    again = await engine.until(execution, lambda p: p.waiting and p.waiting[0].since != wait.since)
    assert "longer than its timeout" in again.waiting[0].prompt
    engine.release(name)
    await engine.client.retry(execution, "a")
    result = await engine.wait(execution)
    assert (result.status, result.phases["a"].attempts) == ("completed", 3)
    assert engine.names(execution) == ["first", name, name, name]


@pytest.mark.semantics("R22")
async def test_a_phase_that_ran_out_of_its_time_stays_failed_if_it_is_skipped(engine: Engine) -> None:
    name = unique()
    steps = f"- tool: hold\n  with: {{name: {name}}}"
    execution = await held(engine, f"## Phase: A\nonFailure: pause\ntimeout: 1 second\n### Steps\n{steps}")
    await engine.client.skip(execution, "a")
    result = await engine.wait(execution)
    assert result.status == "completed_with_errors"
    assert result.phases["a"].error is not None
    assert result.phases["a"].error.type == "timed_out"


@pytest.mark.semantics("R14", "R13")
async def test_a_held_phase_that_is_skipped_stays_failed_and_the_task_goes_on(engine: Engine) -> None:
    execution = await held(engine)
    await engine.client.skip(execution, "a", by="ann")
    result = await engine.wait(execution)
    assert result.status == "completed_with_errors"
    assert phases(result) == {"a": "failed", "b": "skipped"}
    assert statuses(result) == {"first": "completed", "bad": "failed", "last": "skipped", "b": "skipped"}


@pytest.mark.semantics("R14")
async def test_a_held_phase_is_also_named_by_one_of_its_steps(engine: Engine) -> None:
    execution = await held(engine)
    handle = engine.client.client.get_workflow_handle(execution)
    assert (await handle.execute_update("retry", {"step": "bad"}))["name"] == "a"
    await engine.until(execution, lambda p: p.phases[0].attempt == 2 and p.waiting)
    await engine.client.skip(execution, "a")
    assert (await engine.wait(execution)).status == "completed_with_errors"


@pytest.mark.semantics("R14")
async def test_a_held_phase_ends_with_an_abort(engine: Engine) -> None:
    execution = await held(engine)
    await engine.client.abort(execution)
    result = await engine.wait(execution)
    assert (result.status, statuses(result)["b"]) == ("cancelled", "skipped")


@pytest.mark.semantics("R14", "G2", "G3")
async def test_a_phase_that_is_not_held_takes_neither_retry_nor_skip(engine: Engine) -> None:
    execution = await held(engine)
    for control in (engine.client.retry, engine.client.skip):
        with pytest.raises(Refused, match="“b” does not wait"):
            await control(execution, "b")
        with pytest.raises(Refused, match="waiting now: a"):
            await control(execution, "nowhere")
    await engine.client.skip(execution, "a")
    await engine.wait(execution)


@pytest.mark.semantics("R14", "R11")
async def test_a_phase_is_held_only_after_its_own_retries(engine: Engine) -> None:
    text = HELD.replace("onFailure: pause", "onFailure: pause\nretry: {maxAttempts: 2, backoffMs: 10}")
    execution = await held(engine, text)
    assert engine.names(execution).count("bad") == 2
    await engine.client.retry(execution, "a")
    assert (await engine.wait(execution)).status == "completed"


@pytest.mark.semantics("R14", "C1", "C3")
async def test_a_retry_while_paused_runs_the_phase_after_the_resume(engine: Engine) -> None:
    execution = await held(engine)
    await engine.client.pause(execution)
    await engine.until_status(execution, "paused")
    await engine.client.retry(execution, "a")
    await asyncio.sleep(0.3)
    assert engine.names(execution).count("bad") == 1
    assert (await engine.client.progress(execution)).status == "paused"
    await engine.client.resume(execution)
    await engine.until_status(execution, "waiting")
    await engine.client.skip(execution, "a")
    assert (await engine.wait(execution)).status == "completed_with_errors"


@pytest.mark.semantics("R14")
async def test_other_phases_go_on_beside_a_held_one(engine: Engine) -> None:
    name = unique()
    execution = await engine.start(f"{HELD}\n## Phase: C\n### Steps\n{hold(name, 'c')}\n{effect('c_next')}\n")
    progress = await engine.until(execution, lambda p: p.waiting)
    assert progress.status == "running"
    engine.release(name)
    await engine.until_status(execution, "waiting")
    assert "c_next" in engine.names(execution)
    await engine.client.skip(execution, "a")
    assert phases(await engine.wait(execution))["c"] == "completed"


# --- R15: from outside --------------------------------------------------------------------------------


async def ended_from_outside(engine: Engine, how: str, on_failure: str) -> tuple[str, str]:
    """Starts a task, ends the child workflow of its first phase, and returns the ids of both."""
    name = unique()
    text = f"""
## Phase: A
onFailure: {on_failure}
### Steps
{effect("first")}
{hold(name)}
{effect("last")}
## Phase: B
dependsOn: [A]
### Steps
{effect("b")}
"""
    execution = await engine.start(text)
    await engine.until_trace(execution, "start", name)
    handle = engine.client.client.get_workflow_handle(execution)
    await until(lambda: handle.query("progress"), lambda p: p["phases"][0]["counts"].get("running"))
    await getattr(engine.client.client.get_workflow_handle(f"{execution}/a"), how)()
    return execution, name


OUTSIDE = pytest.mark.parametrize(("how", "word"), [("terminate", "terminated"), ("cancel", "cancelled")])


@OUTSIDE
@pytest.mark.semantics("R15", "R12")
async def test_a_child_ended_from_outside_fails_its_phase_and_the_task(
    engine: Engine, how: str, word: str
) -> None:
    execution, name = await ended_from_outside(engine, how, "fail")
    result = await engine.wait(execution)
    assert (result.status, phases(result)) == ("failed", {"a": "failed", "b": "skipped"})
    assert result.error is not None
    assert f"{word} from outside" in result.error.message
    assert result.error.phase == "a"
    assert statuses(result) == {
        "first": "completed",
        "held": "cancelled",
        "last": "skipped" if how == "cancel" else "cancelled",  # nobody can tell what a terminated one did
        "b": "skipped",
    }
    await engine.until_trace(execution, "cancelled", name)
    await until_temporal(engine, execution, "FAILED")
    await no_task_failed(engine.client.client.get_workflow_handle(execution))


@pytest.mark.semantics("R15")
async def test_a_step_that_lost_its_phase_fills_no_log_with_its_stack(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody waits for it any more, and it is no fault of the tool's."""
    execution, name = await ended_from_outside(engine, "terminate", "continue")
    await engine.wait(execution)
    await engine.until_trace(execution, "cancelled", name)
    await asyncio.sleep(0.3)  # what the SDK would say, it says right after
    assert not [record.getMessage() for record in caplog.records if record.exc_info]


@OUTSIDE
@pytest.mark.semantics("R15", "R13")
async def test_under_continue_the_task_goes_on_without_it(engine: Engine, how: str, word: str) -> None:
    execution, _ = await ended_from_outside(engine, how, "continue")
    result = await engine.wait(execution)
    assert (result.status, phases(result)) == ("completed_with_errors", {"a": "failed", "b": "skipped"})


@OUTSIDE
@pytest.mark.semantics("R15", "R14")
async def test_under_pause_it_is_held_and_runs_again_on_retry(engine: Engine, how: str, word: str) -> None:
    execution, name = await ended_from_outside(engine, how, "pause")
    progress = await engine.until_status(execution, "waiting")
    assert [(w.kind, w.name) for w in progress.waiting] == [("retry", "a")]
    assert f"{word} from outside" in progress.waiting[0].prompt
    await engine.client.pause(execution)
    await engine.until_status(execution, "paused")
    await engine.client.resume(execution)
    await engine.until_status(execution, "waiting")
    engine.release(name)
    await engine.client.retry(execution, "a")
    result = await engine.wait(execution)
    assert (result.status, result.phases["a"].attempts) == ("completed", 2)
    assert {step.status for step in result.steps.values()} == {"completed"}


@OUTSIDE
@pytest.mark.semantics("R15", "R14")
async def test_under_pause_it_stays_failed_when_it_is_skipped(engine: Engine, how: str, word: str) -> None:
    execution, _ = await ended_from_outside(engine, how, "pause")
    await engine.until_status(execution, "waiting")
    await engine.client.skip(execution, "a")
    result = await engine.wait(execution)
    assert (result.status, phases(result)) == ("completed_with_errors", {"a": "failed", "b": "skipped"})


@pytest.mark.semantics("R15", "C9")
async def test_a_lost_phase_that_is_held_ends_with_an_abort(engine: Engine) -> None:
    execution, _ = await ended_from_outside(engine, "terminate", "pause")
    await engine.until_status(execution, "waiting")
    await engine.client.abort(execution)
    assert (await engine.wait(execution)).status == "cancelled"


@pytest.mark.semantics("R15")
async def test_a_phase_whose_name_is_taken_fails_and_nothing_breaks(engine: Engine) -> None:
    """Somebody runs a workflow under the id that the phase would have."""
    name, execution = unique(), f"exec-{unique()}"
    source = f"# Taken\n\n## Phase: Z\n### Steps\n{hold(name)}"
    taken = await start_raw(engine, {"source": source}, id=f"{execution}/a")
    text = (
        f"## Phase: A\nonFailure: continue\n### Steps\n{effect('x')}\n## Phase: B\n### Steps\n{effect('y')}\n"
    )
    result = await engine.run(text, id=execution)
    assert (result.status, phases(result)) == ("completed_with_errors", {"a": "failed", "b": "completed"})
    engine.release(name)
    assert (await engine.wait(taken.id)).status == "completed"
