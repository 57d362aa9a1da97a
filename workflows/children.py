"""What the failure of a child workflow means."""

from __future__ import annotations

from pydantic import ValidationError
from temporalio.exceptions import (
    ApplicationError,
    ChildWorkflowError,
    TerminatedError,
    WorkflowAlreadyStartedError,
)

from taskmark.contracts import TaskResult, Used
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
        told = _told(cause)
        message = f"{who} failed: {cause.message}"
        category = told.category if told else Category.LOGIC
        return Failure(type=cause.type or "step_failed", message=message, category=category)
    if isinstance(cause, TerminatedError):
        message = f"{who} was terminated from outside"
        return Failure(type="terminated", message=message, category=Category.LOGIC)
    message = f"{who} was cancelled from outside" if cause else f"{who} failed: {error.message}"
    return Failure(type="cancelled", message=message, category=Category.LOGIC)


def used_before(error: ChildWorkflowError | WorkflowAlreadyStartedError) -> Used:
    """Returns what the agents of a sub-task used before it ended badly, as far as it could say so."""
    cause = error.cause if isinstance(error, ChildWorkflowError) else None
    if not isinstance(cause, ApplicationError):
        return Used()
    try:
        return TaskResult.model_validate(cause.details[0]).usage or Used()
    except (IndexError, ValidationError):
        return Used()


def _told(cause: ApplicationError) -> Failure | None:
    try:
        return TaskResult.model_validate(cause.details[0]).error
    except (IndexError, ValidationError):
        return None
