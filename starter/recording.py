"""Lends a recorder to workflows: the worker's as things happen, another one when a history is replayed."""

from __future__ import annotations

from temporalio import workflow

from starter.lending import LendingInterceptor
from taskmark.contracts import REBUILD_EXTERN, RECORDER_EXTERN
from taskmark.ports import Recorder
from taskmark.records import Record


class RecordingInterceptor(LendingInterceptor):
    """Lends what appends records to the spool."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__(RECORDER_EXTERN, recorder.record)


class RebuildingInterceptor(LendingInterceptor):
    """Lends a recorder that takes what a replayed workflow recorded when it ran."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__(REBUILD_EXTERN, self._take)
        self._recorder = recorder

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
