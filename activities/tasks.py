"""The few activities that serve the engine itself: compile, record, cancel, artifacts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any

from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from activities.steps import kept
from taskmark.contracts import (
    ARTIFACT_KEY,
    CANCEL_ACTIVITY,
    COMPILE_ACTIVITY,
    LOAD_ARTIFACT_ACTIVITY,
    RECORD_ACTIVITY,
    SAVE_ARTIFACT_ACTIVITY,
    Compiled,
    FinalRecord,
    StartTask,
)
from taskmark.errors import InvalidInputs, InvalidTask, TaskmarkError
from taskmark.ports import Artifacts, Recorder
from taskmark.projection import records_of
from taskmark.records import Record
from taskmark.task.model import Json

Compile = Callable[[StartTask], Compiled]


class TaskActivities:
    """Serves executions by the adapters it is given."""

    def __init__(
        self,
        compile_task: Compile,
        artifacts: Artifacts,
        recorder: Recorder,
        is_told: Callable[[Record], bool] = lambda _: False,
    ) -> None:
        """`is_told` says whether this worker told a record's end itself, when it happened."""
        self._is_told = is_told
        self._compile = compile_task
        self._artifacts = artifacts
        self._recorder = recorder

    def all(self) -> list[Callable[..., Any]]:
        """Returns the activities."""
        return [self.compile, self.record, self.cancel, self.load, self.save]

    @activity.defn(name=COMPILE_ACTIVITY)
    async def compile(self, request: StartTask) -> Compiled:
        """Reads and checks a task file and the inputs. Raises `invalid_task` or `invalid_inputs`."""
        try:
            return await asyncio.to_thread(self._compile, request)
        except InvalidTask as error:
            found = [d.model_dump(mode="json") for d in error.diagnostics]
            raise _refused("invalid_task", error, {"diagnostics": found}) from None
        except InvalidInputs as error:
            raise _refused("invalid_inputs", error, {"problems": list(error.problems)}) from None
        except TaskmarkError as error:
            raise _refused("invalid_task", error, {"hint": error.hint}) from None

    @activity.defn(name=RECORD_ACTIVITY)
    async def record(self, final: FinalRecord) -> None:
        """Hands the final state of an execution to the store's spool, but for what is there already."""
        self._recorder.record(*(record for record in records_of(final) if not self._is_told(record)))

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


def _refused(kind: str, error: TaskmarkError, details: Mapping[str, Json]) -> ApplicationError:
    expected = ApplicationErrorCategory.BENIGN  # somebody's file or inputs, not a fault of the worker
    return ApplicationError(error.message, details, type=kind, non_retryable=True, category=expected)
