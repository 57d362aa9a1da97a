"""What surrounds a step that runs in an activity: time, heartbeats, cancellation, failures, records."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import pytest
from activity_calls import call, environment
from pydantic import BaseModel
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from activities.boundary import TOLD_AFTER, Heart, failure_of, supervised
from taskmark.contracts import StepCall, StepDone, Usage
from taskmark.errors import Category, Failure, InvalidSettings, StepFailed
from taskmark.store.memory import MemoryRecorder


async def fail_with(
    error: BaseException, request: StepCall | None = None
) -> tuple[ApplicationError, MemoryRecorder]:
    """Returns what an activity raises whose body raises this, and what it recorded."""
    recorder = MemoryRecorder()

    async def body(heart: Heart) -> StepDone:
        raise error

    with pytest.raises(ApplicationError) as raised:
        await environment().run(supervised, request or call(), body, recorder)
    return raised.value, recorder


# --- success --------------------------------------------------------------------------------------------


async def test_a_completed_attempt_is_recorded_with_output_usage_and_files() -> None:
    recorder = MemoryRecorder()

    async def body(heart: Heart) -> StepDone:
        return StepDone(output={"a": 1}, usage=Usage(tokens=7, cost=0.5), files=("x.txt",))

    done = await environment().run(supervised, call(item=3, attempt=2), body, recorder)
    assert done.output == {"a": 1}
    (attempt,) = recorder.attempts("exec-1")
    assert (attempt.step, attempt.item, attempt.attempt, attempt.status) == ("s", 3, 2, "completed")
    assert (attempt.output, attempt.tokens, attempt.cost, attempt.files) == ({"a": 1}, 7, 0.5, ("x.txt",))
    assert attempt.started_at is not None
    assert attempt.finished_at is not None
    assert attempt.worker
    assert attempt.idempotency_key == "key"


async def test_an_attempt_is_recorded_as_running_while_it_runs() -> None:
    recorder = MemoryRecorder()

    async def body(heart: Heart) -> StepDone:
        await asyncio.sleep(TOLD_AFTER * 1.2)
        assert [a.status for a in recorder.attempts("exec-1")] == ["running"]
        return StepDone()

    await environment().run(supervised, call(), body, recorder)


async def test_of_an_attempt_that_soon_ends_only_the_end_is_recorded() -> None:
    recorder = MemoryRecorder()

    async def body(heart: Heart) -> StepDone:
        return StepDone()

    await environment().run(supervised, call(), body, recorder)
    assert [a.status for a in recorder.attempts("exec-1")] == ["completed"]
    await asyncio.sleep(TOLD_AFTER * 1.2)
    assert [a.status for a in recorder.attempts("exec-1")] == ["completed"]


async def test_only_an_agents_attempt_names_an_agent() -> None:
    from taskmark.task.model import Agent

    recorder = MemoryRecorder()

    async def body(heart: Heart) -> StepDone:
        return StepDone()

    await environment().run(supervised, call(), body, recorder)
    await environment().run(supervised, call(step="t", name="ann", agent=Agent(id="ann")), body, recorder)
    assert [a.agent for a in recorder.attempts("exec-1")] == [None, "ann"]


# --- failures -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("category", list(Category))
async def test_a_steps_failure_is_for_the_workflow_to_repeat_and_not_for_the_server(
    category: Category,
) -> None:
    error, recorder = await fail_with(StepFailed("no", category, hint="do this", type="odd"))
    assert (error.non_retryable, error.type) == (True, category.value)
    assert error.category is ApplicationErrorCategory.BENIGN
    failure = error.details[0]
    assert isinstance(failure, Failure)
    assert (failure.type, failure.message, failure.category) == ("odd", "no", category)
    assert (failure.hint, failure.step, failure.phase) == ("do this", "s", "p")
    (attempt,) = recorder.attempts("exec-1")
    assert attempt.status == "failed"
    assert attempt.error is not None


async def test_the_stack_is_recorded_and_stays_out_of_history() -> None:
    error, recorder = await fail_with(ValueError("broken"))
    assert error.details[0].stack is None
    (attempt,) = recorder.attempts("exec-1")
    assert attempt.error is not None
    assert attempt.error.stack is not None
    assert "ValueError: broken" in attempt.error.stack


async def test_what_a_failed_attempt_used_is_recorded_too() -> None:
    """It may be why it failed."""
    recorder = MemoryRecorder()

    async def body(heart: Heart) -> StepDone:
        heart.resources["cpu_seconds"] = 3.5
        raise StepFailed("too much", Category.RESOURCE)

    with pytest.raises(ApplicationError):
        await environment().run(supervised, call(), body, recorder)
    (attempt,) = recorder.attempts("exec-1")
    assert attempt.resources == {"cpu_seconds": 3.5}


async def test_what_cannot_be_classified_is_transient_and_says_its_type() -> None:
    error, _ = await fail_with(KeyError("x"))
    assert (error.details[0].category, error.message) == ("transient", "KeyError: 'x'")


async def test_an_error_of_our_own_keeps_its_category() -> None:
    error, _ = await fail_with(InvalidSettings("wrong", hint="set it"))
    failure = error.details[0]
    assert (failure.type, failure.category, failure.hint) == ("step_failed", "configuration", "set it")


async def test_data_that_does_not_fit_a_model_is_a_configuration_failure() -> None:
    class Model(BaseModel):
        number: int

    with pytest.raises(ValueError, match="number") as raised:
        Model.model_validate({"number": "x"})
    error, _ = await fail_with(raised.value)
    assert error.details[0].category == "configuration"


async def test_a_tool_that_exits_python_fails_its_step_and_not_the_worker() -> None:
    async def body() -> None:
        sys.exit(3)

    with pytest.raises(SystemExit) as raised:
        await body()
    error, recorder = await fail_with(raised.value)
    assert "SystemExit: 3" in error.message
    assert [a.status for a in recorder.attempts("exec-1")] == ["failed"]


@pytest.mark.parametrize("size", [1_999, 2_000, 2_001, 5_000_000])
def test_a_message_is_cut(size: int) -> None:
    for error in (StepFailed("x" * size), ValueError("x" * size)):
        failure = failure_of(error, call())
        assert len(failure.message) <= 2_000
        assert len(failure.stack or "") <= 4_000


@pytest.mark.parametrize("text", ["\ud800 half a character", "\0 nul", "ü" * 3_000])
def test_a_message_of_any_characters_can_be_sent(text: str) -> None:
    for error in (StepFailed(text, hint=text), ValueError(text)):
        failure = failure_of(error, call())
        assert Failure.model_validate_json(failure.model_dump_json().encode()) == failure


# --- time -----------------------------------------------------------------------------------------------


async def test_a_step_over_its_timeout_is_ended_and_has_failed_as_timed_out() -> None:
    ended = []

    async def body(heart: Heart) -> StepDone:
        try:
            await asyncio.sleep(30)
        finally:
            ended.append(True)
        return StepDone()

    with pytest.raises(ApplicationError) as raised:
        await environment().run(supervised, call(timeout=0.05), body, MemoryRecorder())
    failure = raised.value.details[0]
    assert (failure.type, failure.category, ended) == ("timed_out", "transient", [True])
    assert "0.05 s" in failure.message
    assert failure.hint


async def test_a_timeout_inside_a_tool_is_not_the_steps_own() -> None:
    """A connection that timed out says so, and not that the step took too long."""
    error, _ = await fail_with(TimeoutError("the connection timed out"))
    failure = error.details[0]
    assert (failure.type, failure.category) == ("step_failed", "transient")
    assert failure.message == "TimeoutError: the connection timed out"


# --- heartbeats -----------------------------------------------------------------------------------------


async def test_it_beats_three_times_per_heartbeat_timeout_and_stops_with_the_step() -> None:
    surroundings, beats = environment(heartbeat=0.09), []
    surroundings.on_heartbeat = lambda *details: beats.append(details)

    async def body(heart: Heart) -> StepDone:
        heart.keep({"done": 3})
        await asyncio.sleep(0.2)
        return StepDone()

    await surroundings.run(supervised, call(), body, MemoryRecorder())
    count = len(beats)
    assert count >= 4
    assert set(map(str, beats)) == {"({'done': 3},)"}
    await asyncio.sleep(0.1)
    assert len(beats) == count


async def test_a_step_that_ends_before_its_first_beat_is_due_makes_no_call_for_it() -> None:
    surroundings, beats = environment(heartbeat=600), []
    surroundings.on_heartbeat = lambda *details: beats.append(details)

    async def body(heart: Heart) -> StepDone:
        await asyncio.sleep(0)
        return StepDone()

    await surroundings.run(supervised, call(), body, MemoryRecorder())
    assert beats == []


async def test_what_a_lost_attempt_kept_is_passed_on_at_once_so_that_it_outlives_this_one_too() -> None:
    surroundings, beats = environment(heartbeat=600, details=({"done": 7},)), []
    surroundings.on_heartbeat = lambda *details: beats.append(details)

    async def body(heart: Heart) -> StepDone:
        await asyncio.sleep(0)
        return StepDone()

    await surroundings.run(supervised, call(), body, MemoryRecorder())
    assert beats == [({"done": 7},)]


async def test_without_a_heartbeat_timeout_it_does_not_beat() -> None:
    surroundings, beats = environment(), []
    surroundings.on_heartbeat = lambda *details: beats.append(details)

    async def body(heart: Heart) -> StepDone:
        assert heart.details is None
        await asyncio.sleep(0.05)
        return StepDone()

    await surroundings.run(supervised, call(), body, MemoryRecorder())
    assert beats == []


async def test_what_a_step_says_goes_with_the_next_beat_and_nothing_of_it_to_a_later_attempt() -> None:
    surroundings, beats = environment(heartbeat=0.06), []
    surroundings.on_heartbeat = lambda *details: beats.append(details)

    async def body(heart: Heart) -> StepDone:
        heart.say("a" * 300)
        assert beats == []
        await asyncio.sleep(0.05)
        heart.keep({"done": 3})
        heart.say("nearly there")
        await asyncio.sleep(0.05)
        raise StepFailed("half way")

    with pytest.raises(ApplicationError) as raised:
        await surroundings.run(supervised, call(), body, MemoryRecorder())
    assert (beats[0], beats[-1]) == ((None, "a" * 200), ({"done": 3}, "nearly there"))
    assert raised.value.details[1] == {"done": 3}


async def test_what_a_lost_attempt_said_is_not_said_again() -> None:
    surroundings, beats = environment(heartbeat=600, details=(None, "nearly there")), []
    surroundings.on_heartbeat = lambda *details: beats.append(details)

    async def body(heart: Heart) -> StepDone:
        assert heart.details is None
        return StepDone()

    await surroundings.run(supervised, call(), body, MemoryRecorder())
    assert beats == []


async def test_a_failure_carries_the_last_heartbeat_for_the_next_attempt() -> None:
    async def body(heart: Heart) -> StepDone:
        assert heart.details == {"done": 1}
        heart.keep({"done": 5})
        raise StepFailed("half way")

    with pytest.raises(ApplicationError) as raised:
        await environment(details=({"done": 1},)).run(supervised, call(), body, MemoryRecorder())
    assert raised.value.details[1] == {"done": 5}


# --- cancellation ---------------------------------------------------------------------------------------


async def interrupted(stop: str, cleanup: Any = None) -> tuple[BaseException, MemoryRecorder]:
    """Returns what an activity raises that is stopped while it runs, and what it recorded."""
    surroundings, recorder, begun = environment(), MemoryRecorder(), asyncio.Event()

    async def body(heart: Heart) -> StepDone:
        begun.set()
        try:
            await asyncio.sleep(30)
        finally:
            if cleanup is not None:
                await cleanup()
        return StepDone()

    running = asyncio.create_task(surroundings.run(supervised, call(), body, recorder))
    await begun.wait()
    if stop == "worker":
        surroundings.worker_shutdown()
        running.cancel()  # what the SDK does when the grace time is over
    else:
        surroundings.cancel()
    with pytest.raises((asyncio.CancelledError, ApplicationError)) as raised:
        await running
    return raised.value, recorder


async def test_a_cancelled_attempt_is_recorded_as_cancelled_after_its_cleanup() -> None:
    cleaned = []

    async def cleanup() -> None:
        await asyncio.sleep(0.02)
        cleaned.append(True)

    error, recorder = await interrupted("step", cleanup)
    assert isinstance(error, asyncio.CancelledError)
    assert cleaned == [True]
    assert [a.status for a in recorder.attempts("exec-1")] == ["cancelled"]


async def test_an_attempt_that_its_worker_gives_up_is_handed_over_and_does_not_count() -> None:
    """The server repeats it: it is not marked as final, and in the store nothing says that it ended."""
    error, recorder = await interrupted("worker")
    assert isinstance(error, ApplicationError)
    assert (error.type, error.non_retryable) == ("worker_shutdown", False)
    assert all(not a.status.is_final for a in recorder.attempts("exec-1"))
