"""The few activities that serve the engine itself: compile, record, cancel, artifacts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from temporalio import activity
from temporalio.client import Client
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from activities.steps import kept
from taskmark.contracts import (
    ARTIFACT_KEY,
    CANCEL_ACTIVITY,
    CHECKPOINTS_ACTIVITY,
    COMPILE_ACTIVITY,
    LOAD_ARTIFACT_ACTIVITY,
    RECORD_ACTIVITY,
    ROLL_BACK_ACTIVITY,
    SAVE_ARTIFACT_ACTIVITY,
    Compiled,
    FinalRecord,
    Resumed,
    Resuming,
    RollBack,
    RolledBack,
    StartTask,
)
from taskmark.errors import InvalidInputs, InvalidTask, Refused, TaskmarkError, UnknownExecution, Unreachable
from taskmark.ports import Artifacts, Recorder
from taskmark.projection import records_of
from taskmark.records import Record
from taskmark.task.model import Json, TaskDefinition
from taskmark.task.packing import unpack
from taskmark.tools.journal import bring_back, forget

Compile = Callable[[StartTask], Compiled]
Resume = Callable[[Client, Resuming], Awaitable[Resumed]]
Forewarn = Callable[[str, TaskDefinition], None]
"""Looks at what an execution needs. Returns at once and raises nothing."""


class TaskActivities:
    """Serves executions by the adapters it is given."""

    def __init__(
        self,
        compile_task: Compile,
        artifacts: Artifacts,
        recorder: Recorder,
        resume: Resume,
        is_told: Callable[[Record], bool] = lambda _: False,
        *,
        forewarn: Forewarn = lambda _execution, _definition: None,
        root: Path = Path(),
    ) -> None:
        """`is_told` says whether this worker told a record's end itself, when it happened; `forewarn` looks
        at what an execution needs that is compiled here; `root` is where steps change files."""
        self._is_told = is_told
        self._root = root
        self._compile = compile_task
        self._forewarn = forewarn
        self._resume = resume
        self._artifacts = artifacts
        self._recorder = recorder

    def all(self) -> list[Callable[..., Any]]:
        """Returns the activities."""
        return [
            self.compile,
            self.checkpoints,
            self.record,
            self.cancel,
            self.load,
            self.save,
            self.roll_back,
        ]

    @activity.defn(name=COMPILE_ACTIVITY)
    async def compile(self, request: StartTask) -> Compiled:
        """Reads and checks a task file and the inputs. Raises `invalid_task` or `invalid_inputs`."""
        try:
            compiled = await asyncio.to_thread(self._compile, request)
        except TaskmarkError as error:
            raise _refusal(error) from None
        self._look_ahead(compiled)
        return compiled

    @activity.defn(name=CHECKPOINTS_ACTIVITY)
    async def checkpoints(self, request: Resuming) -> Resumed:
        """Returns what an execution may reuse of an earlier one, and compiles what it runs. Raises
        `invalid_start`, and what `compile` does."""
        try:
            resumed = await self._resume(activity.client(), request)
        except Unreachable:
            raise  # it may answer later
        except TaskmarkError as error:
            raise _refusal(error) from None
        self._look_ahead(resumed)
        return resumed

    def _look_ahead(self, compiled: Compiled | Resumed) -> None:
        """Whoever starts with less than a definition cannot know what is wrong with its tools."""
        if compiled.definition is not None or compiled.packed is not None:
            execution = activity.info().workflow_id
            assert execution is not None
            self._forewarn(execution, compiled.definition or unpack(compiled.packed or "", TaskDefinition))

    @activity.defn(name=RECORD_ACTIVITY)
    async def record(self, final: FinalRecord) -> None:
        """Hands the final state of an execution to the store's spool, but for what is there already."""
        self._recorder.record(*(record for record in records_of(final) if not self._is_told(record)))

    @activity.defn(name=ROLL_BACK_ACTIVITY)
    async def roll_back(self, request: RollBack) -> RolledBack:
        """Brings back what a phase changed that did not complete; of one that did it forgets how it was."""
        if request.keep:
            with suppress(OSError):  # what is left of it is in nobody's way
                await asyncio.to_thread(forget, self._root, request.journal)
            return RolledBack()
        return await asyncio.to_thread(bring_back, self._root, request.journal)

    @activity.defn(name=CANCEL_ACTIVITY)
    async def cancel(self, execution: str) -> None:
        """Requests the cancellation of the execution that asks for it: only so it ends as cancelled."""
        await activity.client().get_workflow_handle(execution).cancel()

    @activity.defn(name=LOAD_ARTIFACT_ACTIVITY)
    async def load(self, reference: dict[str, Any]) -> Json:
        """Returns what a reference stands for. What is gone stays gone, however often one asks."""
        try:
            content = await asyncio.to_thread(self._artifacts.load, reference[ARTIFACT_KEY])
        except KeyError:
            message = f"the artifact {reference[ARTIFACT_KEY]} is not there, or was damaged"
            raise ApplicationError(message, type="artifact_gone", non_retryable=True) from None
        return json.loads(content)

    @activity.defn(name=SAVE_ARTIFACT_ACTIVITY)
    async def save(self, value: Any) -> Json:
        """Keeps a value in the artifact store and returns its reference."""
        return await asyncio.to_thread(kept, value, 0, self._artifacts)


def _refusal(error: TaskmarkError) -> ApplicationError:
    """Returns what somebody's file, inputs or wish is wrong with, in Temporal's words."""
    match error:
        case InvalidTask():
            found = [d.model_dump(mode="json") for d in error.diagnostics]
            return _refused("invalid_task", error, {"diagnostics": found})
        case InvalidInputs():
            return _refused("invalid_inputs", error, {"problems": list(error.problems)})
        case Refused() | UnknownExecution():
            return _refused("invalid_start", error, {"hint": error.hint})
        case _:
            return _refused("invalid_task", error, {"hint": error.hint})


def _refused(kind: str, error: TaskmarkError, details: Mapping[str, Json]) -> ApplicationError:
    expected = ApplicationErrorCategory.BENIGN  # somebody's file or inputs, not a fault of the worker
    return ApplicationError(error.message, details, type=kind, non_retryable=True, category=expected)
