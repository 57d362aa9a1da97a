"""What the failure of a child workflow means."""

from __future__ import annotations

from pydantic import ValidationError
from temporalio.exceptions import (
    ApplicationError,
    ChildWorkflowError,
    TerminatedError,
    WorkflowAlreadyStartedError,
)

from taskmark.contracts import TaskResult
from taskmark.errors import Category, Failure


def failure_of(error: ChildWorkflowError | WorkflowAlreadyStartedError, who: str) -> Failure:
    """Returns why a child workflow ended badly or did not begin, in words a person can use."""
    if isinstance(error, WorkflowAlreadyStartedError):
        return Failure(
            type="not_started",
            message=f"{who} could not be started: a workflow with the id {error.workflow_id} runs already",
            hint="end that workflow, and run the task again",
        )
    cause = error.cause
    if isinstance(cause, ApplicationError):
        result = _result(cause)
        told = result.error if result else None
        message = f"{who} failed: {cause.message}"
        category = told.category if told else Category.LOGIC
        return Failure(type=cause.type or "step_failed", message=message, category=category)
    if isinstance(cause, TerminatedError):
        message = f"{who} was terminated from outside"
        return Failure(type="terminated", message=message, category=Category.LOGIC)
    message = f"{who} was cancelled from outside" if cause else f"{who} failed: {error.message}"
    return Failure(type="cancelled", message=message, category=Category.LOGIC)


def result_in(error: ChildWorkflowError | WorkflowAlreadyStartedError) -> TaskResult | None:
    """Returns what came of a sub-task before it ended badly, as far as it could say so."""
    cause = error.cause if isinstance(error, ChildWorkflowError) else None
    return _result(cause) if isinstance(cause, ApplicationError) else None


def _result(cause: ApplicationError) -> TaskResult | None:
    try:
        return TaskResult.model_validate(cause.details[0])
    except (IndexError, ValidationError):
        return None
