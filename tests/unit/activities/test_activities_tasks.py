"""The activities that serve the engine itself: compile, record, cancel, artifacts."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from activity_calls import environment
from temporalio.exceptions import ApplicationError

from activities.tasks import TaskActivities
from taskmark.contracts import (
    Compiled,
    ExecutionStatus,
    FinalRecord,
    Resumed,
    Resuming,
    StartTask,
    StepOutcome,
    StepStatus,
    TaskResult,
    is_artifact,
)
from taskmark.errors import InvalidInputs, InvalidTask, TaskmarkError, Unreachable
from taskmark.store.memory import MemoryArtifacts, MemoryRecorder
from taskmark.task.diagnostics import Diagnostic


def activities(answer: Any = None) -> tuple[TaskActivities, MemoryRecorder]:
    """Returns the activities with a compiler that gives this answer, or raises it."""

    def compile_task(request: StartTask) -> Compiled:
        if isinstance(answer, Exception):
            raise answer
        return Compiled(inputs={"asked": request.task})

    recorder = MemoryRecorder()

    async def resume(_client: object, _request: Resuming) -> Resumed:
        return Resumed()

    return TaskActivities(compile_task, MemoryArtifacts(), recorder, resume), recorder


async def refusal(error: TaskmarkError) -> ApplicationError:
    """Returns how the compile activity refuses."""
    with pytest.raises(ApplicationError) as raised:
        await environment().run(activities(error)[0].compile, StartTask(task="t"))
    assert raised.value.non_retryable
    return raised.value


async def test_compile_returns_what_the_compiler_says() -> None:
    compiled = await environment().run(activities()[0].compile, StartTask(task="t"))
    assert compiled.inputs == {"asked": "t"}


async def test_a_wrong_file_is_refused_with_every_diagnostic() -> None:
    found = [Diagnostic(file="t.md", line=n, column=1, code="c", message=f"m{n}") for n in (1, 2)]
    error = await refusal(InvalidTask(found))
    assert error.type == "invalid_task"
    assert [d["message"] for d in error.details[0]["diagnostics"]] == ["m1", "m2"]


async def test_wrong_inputs_are_refused_with_every_problem() -> None:
    error = await refusal(InvalidInputs(["a is missing", "b is no number"]))
    assert (error.type, error.details[0]["problems"]) == (
        "invalid_inputs",
        ["a is missing", "b is no number"],
    )


async def test_any_other_error_of_ours_is_refused_with_its_hint() -> None:
    error = await refusal(Unreachable("the file cannot be read", hint="look at its permissions"))
    assert (error.type, error.message) == ("invalid_task", "the file cannot be read")
    assert error.details[0]["hint"] == "look at its permissions"


async def test_the_final_record_reaches_the_recorder_whole() -> None:
    ours, recorder = activities()
    now = datetime.now(UTC)
    outcome = StepOutcome(status=StepStatus.COMPLETED, phase="p", attempts=1, output=7)
    result = TaskResult(
        execution_id="exec-1",
        status=ExecutionStatus.COMPLETED,
        steps={"s": outcome},
        started_at=now,
        finished_at=now,
    )
    await environment().run(ours.record, FinalRecord(result=result, task_id="t", task_name="T"))
    assert recorder.execution("exec-1").status == "completed"
    assert [a.output for a in recorder.attempts("exec-1")] == [7]
    assert "execution_completed" in {event.kind for event in recorder.events("exec-1")}


async def test_a_saved_value_is_loaded_again_by_its_reference() -> None:
    ours, _ = activities()
    for value in ("", {"a": ["ü", None, 1.5]}, list(range(100))):
        reference = await environment().run(ours.save, value)
        assert is_artifact(reference)
        assert await environment().run(ours.load, reference) == value


async def test_all_of_them_are_registered() -> None:
    assert len(activities()[0].all()) == 7
