"""Lends a recorder to workflows: the worker's as things happen, another one when a history is replayed."""

from __future__ import annotations

from temporalio import workflow
from temporalio.worker import Interceptor, WorkflowInboundInterceptor, WorkflowInterceptorClassInput

from taskmark.contracts import REBUILD_EXTERN, RECORDER_EXTERN
from taskmark.ports import Recorder
from taskmark.records import Record


class RecordingInterceptor(Interceptor):
    """Gives workflow code one function to call outside its sandbox: append records to the spool."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def workflow_interceptor_class(
        self, input: WorkflowInterceptorClassInput
    ) -> type[WorkflowInboundInterceptor] | None:
        """Lends the function; nothing is intercepted."""
        input.unsafe_extern_functions[RECORDER_EXTERN] = self._recorder.record
        return None


class RebuildingInterceptor(Interceptor):
    """Lends a recorder that takes what a replayed workflow recorded when it ran."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def workflow_interceptor_class(
        self, input: WorkflowInterceptorClassInput
    ) -> type[WorkflowInboundInterceptor] | None:
        """Lends the function; nothing is intercepted."""
        input.unsafe_extern_functions[REBUILD_EXTERN] = self._take
        return None

    def _take(self, *records: Record) -> None:
        if not _is_torn_down():
            self._recorder.record(*records)


def _is_torn_down() -> bool:
    """Whether the workflow that calls is leaving memory, at the end of a history that has no end.

    Then everything in it is cancelled, which never happened. Nothing public tells; but whatever could
    change a workflow is refused from then on, and to ask for its source of chance changes nothing.
    """
    try:
        workflow.random()
    except BaseException:
        return True
    return False
