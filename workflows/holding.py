"""Checks how people want a held phase to go on: which step, and with which inputs."""

from __future__ import annotations

from typing import Any, Literal

from temporalio.exceptions import ApplicationError

from taskmark.contracts import LONG, RESULT_LIMIT, SHORT, Again, Wait
from taskmark.errors import InvalidInputs
from taskmark.task.inputs import check_inputs
from taskmark.task.model import Json
from workflows.artifacts import size_of
from workflows.state import TaskState


def wanted(state: TaskState, step: str, inputs: Any, what: Literal["retry", "skip"]) -> Again:
    """Returns how a phase is to go on. Raises `ApplicationError` for what cannot be asked of any phase."""
    if inputs is not None and not isinstance(inputs, dict):
        raise _refused("InvalidPayload", '`inputs` are given by name: {"inputs": {"name": value}}')
    if inputs and what == "skip":
        raise _refused("InvalidPayload", "inputs change with `retry`, not with `skip`")
    if inputs and not state.corrects:
        message = "inputs cannot change: the execution began under a version that keeps them"
        raise _refused("NotSupported", message)
    named = step if state.corrects else ""  # before, a step only told which phase was meant
    return Again(action=what, step=named, inputs=inputs or {})


def check(state: TaskState, wait: Wait, again: Again) -> None:
    """Raises `ApplicationError` if the held phase cannot go on so, with every reason."""
    if again.step and again.action == "skip":
        _check_failed(wait, again.step)
    elif again.step and again.step not in state.steps[wait.phase]:
        raise _refused("UnknownStep", f"the phase {wait.phase} has no step “{again.step[:SHORT]}”")
    merged(state, again)


def merged(state: TaskState, again: Again) -> dict[str, Json]:
    """Returns the inputs as they are from then on. Raises `ApplicationError` with everything that does not
    fit."""
    assert state.definition is not None
    if not again.inputs:
        return state.inputs
    try:
        inputs = check_inputs(state.definition, {**state.inputs, **again.inputs}, coerce=True)
    except InvalidInputs as error:
        raise _refused("InvalidInputs", "; ".join(error.problems)[:LONG]) from None
    if size_of(inputs) > RESULT_LIMIT:
        raise _refused("InvalidInputs", f"the inputs have more than {RESULT_LIMIT // 1024} KiB together")
    return inputs


def _check_failed(wait: Wait, step: str) -> None:
    if step not in wait.failed:
        failed = f"failed: {', '.join(wait.failed)[:LONG]}" if wait.failed else "retry or skip the phase"
        raise _refused("NotFailed", f"“{step[:SHORT]}” is no failed step of {wait.phase}; {failed}")


def _refused(kind: str, message: str) -> ApplicationError:
    return ApplicationError(message, type=kind, non_retryable=True)
