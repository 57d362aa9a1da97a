"""Ends a running call where it is, because a pause wants it so, and tells what came back.

The danger is that several things end such a call at once: a pause of mode `now`, a cancellation of the
whole task, its own end, the death of its worker. Whoever asked decides what an answer means, and a call
that ended by itself meanwhile keeps its end.
"""

from __future__ import annotations

import asyncio
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, TimeoutType, is_cancelled_exception
from temporalio.exceptions import TimeoutError as TemporalTimeoutError

from taskmark.contracts import INTERRUPTED, WORKER_SHUTDOWN, StepCall, StepDone
from taskmark.task.model import Json
from workflows.admission import Admission

SHORTEST = 1.0
"""Seconds that a call has at least when it goes on."""


class Interrupted(Exception):
    """A call was ended where it was. A pause did it, and it goes on, or the task is being cancelled."""

    def __init__(self, request: StepCall, *, goes_on: bool, resume: Json = None, ran: float = 0.0) -> None:
        super().__init__(f"{request.step} was ended where it was")
        self.request = request
        self.goes_on = goes_on
        self.resume = request.resume if resume is None else resume
        self.timeout = max(request.timeout - ran, SHORTEST)


async def unless_interrupted(
    running: asyncio.Task[StepDone], request: StepCall, admission: Admission
) -> StepDone:
    """Returns what a call that goes on from its heartbeat returns; a pause of mode `now` ends it.

    Raises `Interrupted`, and whatever else became of the call.
    """
    asked = await _is_asked_to_end(running, admission)
    try:
        return await running
    except ActivityError as error:
        interrupted = _read(error, request, asked=asked)
        if interrupted is None:
            raise
        raise interrupted from error


async def _is_asked_to_end(running: asyncio.Task[StepDone], admission: Admission) -> bool:
    """Waits until a call has ended or a pause asks it to; returns whether it does.

    By a condition, not by the handler of the signal: conditions are looked at when all else that came with
    the signal has had its turn, so a result that is there already is never lost.
    """
    try:
        await workflow.wait_condition(lambda: running.done() or admission.interrupts)
    except asyncio.CancelledError:
        running.cancel()
        return False
    if running.done():
        return False
    running.cancel()
    return True


def _read(error: ActivityError, request: StepCall, *, asked: bool) -> Interrupted | None:
    """Returns what the end of a call means, or None if it is no interruption."""
    cause = error.cause
    if isinstance(cause, ApplicationError) and cause.type == INTERRUPTED:
        return _told(cause, request, goes_on=asked)
    if not asked:
        return None
    if isinstance(cause, ApplicationError) and cause.type == WORKER_SHUTDOWN:
        return _told(cause, request, goes_on=True)
    if isinstance(cause, TemporalTimeoutError) and cause.type is TimeoutType.HEARTBEAT:
        return Interrupted(request, goes_on=True, resume=_first(cause.last_heartbeat_details))
    return Interrupted(request, goes_on=True) if is_cancelled_exception(error) else None


def _told(cause: ApplicationError, request: StepCall, *, goes_on: bool) -> Interrupted:
    ran = cause.details[1] if len(cause.details) > 1 else 0.0
    return Interrupted(request, goes_on=goes_on, resume=_first(cause.details), ran=ran)


def _first(details: Any) -> Json:
    return details[0] if details else None
