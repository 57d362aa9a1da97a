"""Why an execution does not answer: its workflow's own code fails, and Temporal tries it again and again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskmark.errors import Unreachable

if TYPE_CHECKING:
    from temporalio.api.history.v1 import HistoryEvent
    from temporalio.client import Client

PATIENCE = 2
"""Attempts of one workflow task until its failure is more than a worker that was just replaced."""
_PAGE = 5


async def failing_code(client: Client, execution: str) -> Unreachable | None:
    """Returns why the execution's workflow tasks fail again and again, or None if they don't.

    Raises `RPCError` if Temporal does not know or does not say.
    """
    described = await client.get_workflow_handle(execution).describe()
    attempt = described.raw_description.pending_workflow_task.attempt
    if attempt < PATIENCE:
        return None
    reason, hint = await _last_failure(client, execution)
    return Unreachable(f"its workflow task fails again and again (attempt {attempt}): {reason}", hint=hint)


async def _last_failure(client: Client, execution: str) -> tuple[str, str]:
    """Returns reason and hint of the newest failure; Temporal's history keeps the first of a row of them."""
    from temporalio.api.common.v1 import WorkflowExecution
    from temporalio.api.enums.v1 import EventType
    from temporalio.api.workflowservice.v1 import GetWorkflowExecutionHistoryReverseRequest

    request = GetWorkflowExecutionHistoryReverseRequest(
        namespace=client.namespace,
        execution=WorkflowExecution(workflow_id=execution),
        maximum_page_size=_PAGE,
    )
    answer = await client.workflow_service.get_workflow_execution_history_reverse(request)
    for event in answer.history.events:
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED:
            return _of_failure(event)
    return "it does not end in time", "the worker may be overloaded: `taskmark doctor`, and its log"


def _of_failure(event: HistoryEvent) -> tuple[str, str]:
    from temporalio.api.enums.v1 import WorkflowTaskFailedCause

    failed = event.workflow_task_failed_event_attributes
    reason = failed.failure.message or WorkflowTaskFailedCause.Name(failed.cause)
    if failed.cause == WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_NON_DETERMINISTIC_ERROR:
        return reason, "this worker's version cannot go on with what another began: run the other version"
    return reason, "nothing is lost: once a repaired worker runs, it goes on; the worker's log has more"
