"""Warns before a start, or soon after it, of what the task needs and cannot use now. It refuses nothing."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from taskmark.records import EventRecord

if TYPE_CHECKING:
    from starter.wiring import Wiring
    from taskmark.plan.usability import Unusable
    from taskmark.task.model import TaskDefinition

Warn = Callable[["Unusable"], None]
"""Is told of each thing that cannot be used."""

_log = logging.getLogger("taskmark.start")


def warn(found: Unusable) -> None:
    """Warns in the log."""
    _log.warning("%s", found)


def events(execution: str, found: Iterable[Unusable]) -> list[EventRecord]:
    """Returns what the history store is told of it."""
    now = datetime.now(UTC)
    return [
        EventRecord(
            execution_id=execution,
            kind="unusable",
            occurrence=number,
            at=now,
            payload={
                "kind": one.kind,
                "name": one.name,
                "reason": one.reason,
                **({"hint": one.hint} if one.hint else {}),
                "uses": [str(use) for use in one.uses],
            },
        )
        for number, one in enumerate(found)
    ]


class Forewarning:
    """Warns of executions that were not started through our doors: in the worker's log, and by events. It
    delays nobody: each look is a thread of its own, and begins after the start."""

    def __init__(self, wiring: Wiring) -> None:
        self._wiring = wiring

    def begin(self, execution: str, definition: TaskDefinition) -> None:
        """Looks at what an execution needs, and returns at once."""
        if self._wiring.settings.health_seconds:
            work = threading.Thread(
                target=self._look, args=(execution, definition), name="taskmark-health", daemon=True
            )
            work.start()

    def _look(self, execution: str, definition: TaskDefinition) -> None:
        from starter.foreknowledge import forewarned

        try:
            found = forewarned(self._wiring, definition)
            for one in found:
                _log.warning("%s: %s", execution, one)
            self._wiring.recorder.record(*events(execution, found))
        except Exception:  # a look ahead is in nobody's way, whatever breaks in it
            _log.warning("%s: nobody could look at its tools", execution, exc_info=True)
