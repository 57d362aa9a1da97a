"""Values and failures as they travel between workflows and whoever answers them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from temporalio.api.common.v1 import Payload
from temporalio.api.failure.v1 import Failure

from starter.converting import data_converter

Read = TypeVar("Read")

payloads = data_converter.payload_converter
_failures = data_converter.failure_converter


def written(value: Any) -> Payload:
    """Returns a value as it travels."""
    return payloads.to_payload(value)


def read(found: Payload, kind: type[Read]) -> Read:
    """Returns what a payload holds."""
    return payloads.from_payload(found, kind)


def first(found: Sequence[Payload]) -> Any:
    """Returns what the first payload holds as plain JSON, or None."""
    return payloads.from_payload(found[0]) if found else None


def failure(error: BaseException) -> Failure:
    """Returns an error as it travels."""
    found = Failure()
    _failures.to_failure(error, payloads, found)
    return found


def error(found: Failure) -> BaseException:
    """Returns the error that a failure stands for."""
    return _failures.from_failure(found, payloads)


def cancelled(message: str) -> Failure:
    """Returns the failure of something that was cancelled."""
    found = Failure(message=message)
    found.canceled_failure_info.SetInParent()
    return found


def of_activity(cause: Failure, activity_type: str, activity_id: str) -> Failure:
    """Returns a failure as the activity that had it passes it on."""
    found = Failure(message="Activity task failed", cause=cause)
    found.activity_failure_info.activity_type.name = activity_type
    found.activity_failure_info.activity_id = activity_id
    return found


def of_child(cause: Failure, workflow_type: str, workflow_id: str) -> Failure:
    """Returns a failure as the child workflow that had it passes it on."""
    found = Failure(message="Child Workflow execution failed", cause=cause)
    found.child_workflow_execution_failure_info.workflow_type.name = workflow_type
    found.child_workflow_execution_failure_info.workflow_execution.workflow_id = workflow_id
    return found
