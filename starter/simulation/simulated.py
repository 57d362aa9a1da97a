"""One simulated execution, from its start to its result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from temporalio.exceptions import ApplicationError

from starter.simulation import wire
from starter.simulation.answering import MockedAnswers
from starter.simulation.clock import SECOND
from starter.simulation.declarations import Decision
from starter.simulation.host import Host
from starter.simulation.mocks import Mocks
from starter.simulation.people import People, Undecided
from starter.simulation.process import Process
from taskmark.contracts import TASK_WORKFLOW, ExecutionStatus, Limits, StartTask, TaskResult
from taskmark.errors import Failure
from taskmark.registry import Registry
from taskmark.task.model import Json, TaskDefinition

EXECUTION = "exec-1767225600000-test"


@dataclass(frozen=True)
class Simulated:
    """How an execution ended, and what happened on the way."""

    result: TaskResult
    seconds: float
    """That passed in the simulation."""
    calls: Mapping[str, list[dict[str, Json]]]
    decided: frozenset[str]
    """Gates for which a decision was asked."""


def simulate(
    definition: TaskDefinition,
    inputs: Mapping[str, Json],
    mocks: Mocks,
    decisions: Mapping[str, list[Decision]],
    *,
    registry: Registry,
    limits: Limits,
) -> Simulated:
    """Runs a task to its end. Must not be called where an event loop runs.

    Raises `Unmocked` for a call, and `Undecided` for a gate, that nothing
    useful is said about.
    """
    answers = MockedAnswers(mocks, registry)
    host = Host(answers)
    people = People(host, decisions, answers.paths)
    request = StartTask(definition=definition, inputs=dict(inputs), limits=limits)
    try:
        process = host.start(TASK_WORKFLOW, EXECUTION, request)
        while process.ended is None:
            if not host.step(now=True):
                people.look()
                if not host.step(now=False):
                    raise Undecided("nothing can happen any more, and the task has not ended")
    finally:
        host.close()
    result = _result(process, answers)
    return Simulated(
        result=TaskResult.model_validate(answers.filled(result.model_dump(mode="json"))),
        seconds=host.clock.elapsed / SECOND,
        calls=mocks.calls,
        decided=frozenset(people.used),
    )


def _result(process: Process, answers: MockedAnswers) -> TaskResult:
    """Returns the result, wherever it is: a cancelled execution has it in its final record only."""
    ended = process.ended
    assert ended is not None
    if ended.result is not None:
        return wire.read(ended.result, TaskResult)
    if process.id in answers.results:
        return answers.results[process.id]
    error: Any = wire.error(ended.failure) if ended.failure else None
    kind = error.type if isinstance(error, ApplicationError) else "failed"
    failure = Failure(type=kind or "failed", message=getattr(error, "message", str(error)))
    return TaskResult(execution_id=process.id, status=ExecutionStatus.FAILED, error=failure)
