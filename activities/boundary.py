"""What surrounds every step that runs in an activity: heartbeats, time, cancellation, errors, records.

Failures are decided once, here. Everything a step reports is marked as not retryable by the server,
because the workflow counts and repeats attempts; only what is not the step's fault, a worker that is
shutting down, is left to the server's own retry.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import copy_context
from datetime import UTC, datetime
from functools import partial
from typing import Any

from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from taskmark.contracts import (
    CIRCUIT_OPEN,
    INTERRUPTED,
    NOTIFY_KIND,
    WORKER_SHUTDOWN,
    StepCall,
    StepDone,
    StepStatus,
    Usage,
)
from taskmark.errors import Failure
from taskmark.failures import failure_from, overdue
from taskmark.identity import worker_identity
from taskmark.ports import SAID_LENGTH, Recorder
from taskmark.projection import attempt_of
from taskmark.records import AttemptRecord, Record
from taskmark.secrets.masks import Masks

TOLD_AFTER = 0.1
"""Seconds after which an attempt is told to run. Of most steps only the end is told: half the work."""


class Heart:
    """Keeps the last details and sends them with every beat, so that a later attempt finds them.

    Second in a beat is what the step said last, for people: no attempt gets it. No secret is in either.
    """

    def __init__(self, masks: Masks) -> None:
        self._masks = masks
        info = activity.info()
        self._loop = asyncio.get_running_loop()
        self._context = copy_context()
        self._details: tuple[Any, ...] = tuple(one for one in info.heartbeat_details[:1] if one is not None)
        self._said = ""
        self.resources: dict[str, float] = {}
        """What the attempt used so far, however it ends."""
        self.usage: Usage | None = None
        """What its agent used so far."""
        timeout = info.heartbeat_timeout
        self._interval = timeout.total_seconds() / 3 if timeout else None
        self._next: asyncio.TimerHandle | None = None

    @property
    def details(self) -> Any:
        """What was kept last, by this attempt or by one that was lost."""
        return self._details[0] if self._details else None

    def keep(self, *details: Any) -> None:
        """Keeps details for a later attempt. A tool that runs in a thread may call it there."""
        self._details = tuple(self._masks.value(one) for one in details)
        self._loop.call_soon_threadsafe(partial(activity.heartbeat, *self._beaten), context=self._context)

    def charge(self, usage: Usage) -> None:
        """Takes what the attempt's agent has used so far."""
        self.usage = usage

    def say(self, text: str) -> None:
        """Has the next beats tell what the step does just now. A tool that runs in a thread may call it
        there."""
        self._said = self._masks.text(text, cut=True)[:SAID_LENGTH]

    @property
    def _beaten(self) -> tuple[Any, ...]:
        """What a beat carries."""
        return (self.details, self._said) if self._said else self._details

    def start(self) -> None:
        """Beats until it is stopped. Cancellation and the loss of a worker are noticed only by beats.

        The first is due after an interval, because each is a call to the server, unless there are details
        of a lost attempt to pass on.
        """
        if self._details:
            self._beat()
        elif self._interval is not None:
            self._await_next(self._interval)

    def stop(self) -> None:
        """Beats no more."""
        if self._next is not None:
            self._next.cancel()

    def _beat(self) -> None:
        if self._interval is not None:
            self._await_next(self._interval)
            activity.heartbeat(*self._beaten)

    def _await_next(self, seconds: float) -> None:
        self._next = self._loop.call_later(seconds, self._beat, context=self._context)


class Unrecorded:
    """Takes the records of what is no step."""

    def record(self, *_records: Record) -> None:
        """Forgets them."""


async def supervised(
    call: StepCall,
    body: Callable[[Heart], Awaitable[StepDone]],
    recorder: Recorder,
    masks: Masks | None = None,
) -> StepDone:
    """Runs the body within the step's timeout, with heartbeats, and records the attempt.

    Raises `ApplicationError` with the `Failure` and the last heartbeat details as its details. A call that
    goes on from its heartbeat answers a cancellation so too: whether it was a pause or the end, the workflow
    knows.
    """
    masks = masks or Masks()
    heart = Heart(masks)
    heart.start()
    started = datetime.now(UTC)
    if call.kind == NOTIFY_KIND:
        recorder = Unrecorded()
    begun = partial(_record_begun, call, recorder, started)
    told = asyncio.get_running_loop().call_later(TOLD_AFTER, begun)
    limit = asyncio.timeout(call.timeout)
    try:
        async with limit:
            done = await body(heart)
    except asyncio.CancelledError:
        if _is_interrupted(call):
            raise _goes_on(INTERRUPTED, call, heart, started) from None
        if activity.is_worker_shutdown():
            raise _goes_on(WORKER_SHUTDOWN, call, heart, started) from None
        _record_cancelled(call, recorder, started)
        raise
    except (Exception, SystemExit) as error:  # a tool that exits Python must not take the worker with it
        if _is_interrupted(call) and not limit.expired():
            raise _goes_on(INTERRUPTED, call, heart, started) from None  # it broke while it was ended
        failure = timed_out(call) if limit.expired() else failure_of(error, call, masks)
        if call.waits and failure.type == CIRCUIT_OPEN:
            raise reported(failure, last_details(call, heart)) from None  # it was not tried
        used = {"used": heart.resources or None, "usage": heart.usage}
        ended = {"started_at": started, "finished_at": datetime.now(UTC), "error": failure, **used}
        recorder.record(_attempt(call, StepStatus.FAILED, **ended))
        activity.logger.warning("%s failed: %s", call.step, failure.message)
        raise reported(failure, last_details(call, heart), heart.resources or None, heart.usage) from None
    finally:
        told.cancel()
        heart.stop()
    ended = {"started_at": started, "finished_at": datetime.now(UTC)}
    recorder.record(_attempt(call, StepStatus.COMPLETED, done=done, **ended))
    return done


def _record_begun(call: StepCall, recorder: Recorder, started: datetime) -> None:
    recorder.record(_attempt(call, StepStatus.RUNNING, started_at=started))


def last_details(call: StepCall, heart: Heart) -> Any:
    """Returns from where a call goes on: what this attempt kept last, else what it was given."""
    return call.resume if heart.details is None else heart.details


def _is_interrupted(call: StepCall) -> bool:
    """Whether the call has to end now, and goes on from its heartbeat should it have been a pause."""
    details = activity.cancellation_details()
    return call.resumes and details is not None and details.cancel_requested


def _goes_on(kind: str, call: StepCall, heart: Heart, started: datetime) -> ApplicationError:
    """Returns what tells that a call was ended where it was: no failure, and nothing that counts.

    A worker that shuts down is replaced by the server's own retry, except of what is being cancelled.
    """
    ran = (datetime.now(UTC) - started).total_seconds()
    is_last = kind == INTERRUPTED
    message = (
        "it was ended where it was" if is_last else "the worker is shutting down; another one takes over"
    )
    details = (last_details(call, heart), ran)
    category = ApplicationErrorCategory.BENIGN if is_last else ApplicationErrorCategory.UNSPECIFIED
    return ApplicationError(message, *details, type=kind, non_retryable=is_last, category=category)


def _record_cancelled(call: StepCall, recorder: Recorder, started: datetime) -> None:
    """What has lost its workflow ends quietly: the SDK logs a cancellation that nobody asked for with its
    stack."""
    ended = {"started_at": started, "finished_at": datetime.now(UTC)}
    recorder.record(_attempt(call, StepStatus.CANCELLED, **ended))
    details = activity.cancellation_details()
    if details is not None and details.not_found:
        raise ApplicationError("nobody waits for it any more", category=ApplicationErrorCategory.BENIGN)


def reported(
    failure: Failure,
    details: Any = None,
    resources: dict[str, float] | None = None,
    usage: Usage | None = None,
) -> ApplicationError:
    """Returns a failure as it is told to the workflow, with the last heartbeat details, what was used of the
    machine, and what an agent used all the same."""
    return ApplicationError(
        failure.message,
        failure.model_copy(update={"stack": None}),
        details,
        *((resources, usage) if usage else (resources,) if resources else ()),
        type=failure.category.value,
        non_retryable=True,
        category=ApplicationErrorCategory.BENIGN,  # expected: recorded, and told in one line
    )


def timed_out(call: StepCall) -> Failure:
    """Returns the failure of a step that exceeded its timeout."""
    return overdue(call.timeout, step=call.step, phase=call.phase)


def failure_of(error: BaseException, call: StepCall, masks: Masks | None = None) -> Failure:
    """Returns what went wrong as a failure: what an adapter cannot classify is transient."""
    return failure_from(error, step=call.step, phase=call.phase, hide=masks.text if masks else None)


def _attempt(call: StepCall, status: StepStatus, **fields: Any) -> AttemptRecord:
    delivery = activity.info().attempt
    return attempt_of(call, status, worker=worker_identity(), delivery=delivery, **fields)
