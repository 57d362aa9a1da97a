"""What Temporal's list shows: search attributes."""

from __future__ import annotations

from temporalio import workflow
from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes

from taskmark.contracts import (
    BUILD_ATTRIBUTE,
    PROJECT_ATTRIBUTE,
    STATUS_ATTRIBUTE,
    TASK_ATTRIBUTE,
    ExecutionStatus,
    StartTask,
)
from workflows.state import TaskState

STATUS = SearchAttributeKey.for_keyword(STATUS_ATTRIBUTE)
TASK = SearchAttributeKey.for_keyword(TASK_ATTRIBUTE)
PROJECT = SearchAttributeKey.for_keyword(PROJECT_ATTRIBUTE)
BUILD = SearchAttributeKey.for_keyword(BUILD_ATTRIBUTE)

_PUBLISHED = frozenset({ExecutionStatus.RUNNING, ExecutionStatus.WAITING, ExecutionStatus.PAUSED})


def at_start(
    task: str, project: str | None, build: str | None, status: ExecutionStatus
) -> TypedSearchAttributes:
    """Returns the search attributes of an execution that begins."""
    pairs = [SearchAttributePair(TASK, task), SearchAttributePair(STATUS, status.value)]
    pairs += [SearchAttributePair(PROJECT, project)] if project else []
    pairs += [SearchAttributePair(BUILD, build)] if build else []
    return TypedSearchAttributes(pairs)


def publish(state: TaskState, request: StartTask, status: ExecutionStatus) -> None:
    """Shows the status, with an event in history only where it differs from what is shown already."""
    if not (status.is_final or status in _PUBLISHED):
        return
    definition = state.definition
    if definition is None:
        wanted = TypedSearchAttributes([SearchAttributePair(STATUS, status.value)])
    else:
        wanted = at_start(definition.id, request.project or definition.project, request.build_id, status)
    shown = workflow.info().typed_search_attributes
    news = [pair.key.value_set(pair.value) for pair in wanted if shown.get(pair.key) != pair.value]
    if news:
        workflow.upsert_search_attributes(news)
