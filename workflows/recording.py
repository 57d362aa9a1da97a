"""Tells the store what happens, as it happens, at no cost in history.

The worker lends its workflows one function that appends to a local spool. It is called only while
code runs for the first time. A workflow task that is lost and run again may tell a thing twice or tell
what then went differently: keys are deterministic, a doubled record changes nothing, and the final
record says how it ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from weakref import WeakKeyDictionary

from temporalio import workflow

from taskmark.contracts import REBUILD_EXTERN, RECORDER_EXTERN
from taskmark.records import EventKind, EventRecord, Record
from taskmark.task.model import Json

_waiting: WeakKeyDictionary[asyncio.AbstractEventLoop, list[Record]] = WeakKeyDictionary()
"""Records of this moment, by workflow, until the code that runs now has had its turn. Each workflow has
a loop of its own, and one that is evicted in between takes its records with it."""


def record(*records: Record) -> None:
    """Hands records to the worker's recorder, except while history is replayed.

    A replay that is made to rebuild the store takes them: it tells the same again, at the same times.
    What happens in one moment is handed over together: each time costs a write to disk, during which
    other threads take over, and a thousand of them would take longer than workflow code may.
    """
    lent = workflow.extern_functions()
    write = lent.get(REBUILD_EXTERN)
    if write is None and not workflow.unsafe.is_replaying():
        write = lent.get(RECORDER_EXTERN)
    if write is None:
        return
    loop = asyncio.get_running_loop()
    if loop not in _waiting:
        _waiting[loop] = []
        loop.call_soon(_hand_over, write, loop)
    _waiting[loop] += records


def _hand_over(write: Callable[..., None], loop: asyncio.AbstractEventLoop) -> None:
    write(*_waiting.pop(loop))


def event(
    execution: str,
    kind: EventKind,
    *,
    phase: str = "",
    step: str = "",
    item: int | None = None,
    attempt: int = 0,
    occurrence: int = 0,
    payload: Mapping[str, Json] | None = None,
) -> EventRecord:
    """Returns an event that happens now."""
    return EventRecord(
        execution_id=execution,
        kind=kind,
        phase=phase,
        step=step,
        item=item,
        attempt=attempt,
        occurrence=occurrence,
        at=workflow.now(),
        payload={key: value for key, value in (payload or {}).items() if value is not None},
    )
