"""Carries out what workflows call: steps by mocks, the engine's own few activities for real."""

from __future__ import annotations

import hashlib

from temporalio.api.common.v1 import Payload
from temporalio.exceptions import ApplicationError

from activities.boundary import failure_of, reported, timed_out
from activities.steps import filled, kept, resolve
from starter.simulation import wire
from starter.simulation.host import Answer, Host
from starter.simulation.mocks import Called, Mocks, Unmocked, called
from taskmark import contracts
from taskmark.contracts import (
    TASK_WORKFLOW,
    ExecutionStatus,
    FinalRecord,
    StartTask,
    StepCall,
    StepDone,
    TaskResult,
)
from taskmark.errors import Failure, StepFailed
from taskmark.registry import Registry
from taskmark.task.model import Json
from taskmark.tools.sizes import capped


class Shelf:
    """Artifacts that live as long as the simulation."""

    def __init__(self) -> None:
        self._kept: dict[str, bytes] = {}

    def save(self, content: bytes) -> str:
        """Keeps the content and returns its SHA-256."""
        sha256 = hashlib.sha256(content).hexdigest()
        self._kept[sha256] = content
        return sha256

    def load(self, sha256: str) -> bytes:
        """Returns the content. Raises `KeyError` if it is not there."""
        return self._kept[sha256]


class MockedAnswers:
    """Answers by mocks. Arguments are checked as the real activity checks them."""

    def __init__(self, mocks: Mocks, registry: Registry) -> None:
        self._mocks = mocks
        self._registry = registry
        self._shelf = Shelf()
        self.paths: dict[str, str] = {}
        """Of each sub-task: the steps that lead to it, by its workflow id."""
        self.results: dict[str, TaskResult] = {}
        """What each execution told at its end."""

    def activity(self, name: str, argument: Payload, host: Host) -> Answer:
        """Returns what comes of an activity. Raises `Unmocked`."""
        match name:
            case contracts.RECORD_ACTIVITY:
                final = wire.read(argument, FinalRecord)
                self.results[final.result.execution_id] = final.result
                return Answer()
            case contracts.CANCEL_ACTIVITY:
                host.cancel(wire.read(argument, str))
                return Answer()
            case contracts.SAVE_ARTIFACT_ACTIVITY:
                return Answer(kept(wire.first([argument]), 0, self._shelf))
            case contracts.LOAD_ARTIFACT_ACTIVITY:
                return Answer(self.filled(wire.first([argument])))
            case _:
                return self._step(name, resolve(wire.read(argument, StepCall), self._shelf))

    def child(self, kind: str, id: str, argument: Payload) -> Answer | None:
        """Returns what comes of a sub-task that is mocked as a whole, else None."""
        if kind != TASK_WORKFLOW:
            return None
        request = wire.read(argument, StartTask)
        parent = request.parent_id or ""
        step, *item = id.removeprefix(f"{parent}/").split("/")[1:]
        path = self.paths.get(parent, "") + step
        self.paths[id] = f"{path}/"
        what = Called(parent, path, int(item[0]) if item else None, "", step)
        mock = self._mocks.find(what)
        if mock is None:
            return None
        self._mocks.note(what, arguments=filled(request.inputs, self._shelf))
        if self._mocks.fails_now(mock, what):
            assert mock.fails is not None
            failure = Failure(type="step_failed", message=mock.fails.message, category=mock.fails.category)
            result = TaskResult(execution_id=id, status=ExecutionStatus.FAILED, error=failure)
            error = ApplicationError(failure.message, result, type=failure.type, non_retryable=True)
            return Answer(error=error, after=mock.takes)
        return Answer({"outputs": self._mocks.output(mock, what)}, after=mock.takes)

    def filled(self, value: Json) -> Json:
        """Returns a value with everything in it that was kept as an artifact."""
        return filled(value, self._shelf)

    def _step(self, activity: str, call: StepCall) -> Answer:
        if call.kind == contracts.NOTIFY_KIND:
            return Answer(StepDone())  # a rehearsal tells nobody
        what = called(activity, call, self.paths.get(call.execution_id, ""))
        self._note(what, call)
        try:
            if what.section == "tools":
                self._registry.tool(call.name).validate(call.arguments)
            return self._mocked(what, call)
        except StepFailed as error:
            return Answer(error=reported(failure_of(error, call)))

    def _note(self, what: Called, call: StepCall) -> None:
        self._mocks.note(
            what,
            arguments=call.arguments,
            instruction=call.description if call.agent else "",
            values=list(call.values),
            attempt=call.attempt,
        )

    def _mocked(self, what: Called, call: StepCall) -> Answer:
        mock = self._mocks.find(what)
        if mock is None:
            raise Unmocked(what)
        if mock.takes > call.timeout:
            return Answer(error=reported(timed_out(call)), after=call.timeout)
        if self._mocks.fails_now(mock, what):
            assert mock.fails is not None
            error = StepFailed(mock.fails.message, mock.fails.category)
            return Answer(error=reported(failure_of(error, call)), after=mock.takes)
        output = kept(capped(self._mocks.output(mock, what)), call.inline_limit, self._shelf)
        return Answer(StepDone(output=output), after=mock.takes)
