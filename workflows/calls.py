"""Runs one step's activity until it succeeds or gives up.

Every attempt that counts is an activity of its own, so that its failure is in history, a pause or stop
holds between attempts, and the next attempt is decided here. What does not count, an attempt lost with
its worker, is the server's to repeat: the activity's own retry policy sees nothing else, because every
failure that a step reports is marked as not retryable by the server.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, Protocol

from pydantic import ValidationError
from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception
from temporalio.exceptions import TimeoutError as TemporalTimeoutError

from taskmark.contracts import Limits, StepCall, StepDone
from taskmark.errors import Category, Failure
from taskmark.plan import retrying
from taskmark.task.model import Retry
from workflows import travelling
from workflows.admission import Admission, Stopped
from workflows.clock import within
from workflows.effort import Effort

GRACE = timedelta(seconds=30)
"""An activity ends itself at the step's timeout; the server waits so much longer before it does."""
SUMMARY_BYTES = 200


class GaveUp(Exception):
    """A step's attempts are used up, or its failure is not worth another."""

    def __init__(self, failure: Failure, resume: Any = None) -> None:
        super().__init__(failure.message)
        self.failure = failure
        self.resume = resume


class Observer(Protocol):
    """Who is told of attempts."""

    def attempt_started(self, attempt: int) -> None:
        """An attempt begins."""

    def attempt_failed(self, failure: Failure) -> None:
        """It failed; the failure says whether and when the next one comes."""


async def call(
    activity: str,
    make: Callable[[], StepCall],
    *,
    retry: Retry,
    heartbeat: float,
    limits: Limits,
    admission: Admission,
    effort: Effort,
    observer: Observer,
    attempts_before: int = 0,
) -> StepDone:
    """Runs the activity with the retries of the file; `make` renders its argument once it may start.

    Raises `GaveUp` with the last failure, and `Stopped` if nothing may start any more and nothing had.
    """
    attempt, refreshed = 1, False
    hints: dict[str, Any] = {}
    gave_up: GaveUp | None = None
    while True:
        try:
            async with admission.slot():
                await effort.turn()
                request = make().model_copy(update={"attempt": attempts_before + attempt, **hints})
                await effort.send(len(request.model_dump_json()), f"the call of {request.name}")
                observer.attempt_started(attempts_before + attempt)
                return await _attempt(activity, request, heartbeat, limits)
        except Stopped:
            raise gave_up or Stopped from None
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            gave_up = read(error, request)
        again = retrying.decide(
            gave_up.failure.category,
            attempt,
            retry,
            refreshed=refreshed,
            cap=limits.backoff_cap,
            chance=workflow.random().random(),
        )
        if again is None:
            raise gave_up
        failure = gave_up.failure.model_copy(update={"will_retry": True, "retry_in_seconds": again.delay})
        observer.attempt_failed(failure)
        await _pause_between(again.delay, admission, gave_up)
        refreshed = refreshed or again.refresh_credentials
        hints = {
            "resume": gave_up.resume,
            "reduced": again.reduced,
            "refresh_credentials": again.refresh_credentials,
        }
        attempt += 1


async def _attempt(activity: str, request: StepCall, heartbeat: float, limits: Limits) -> StepDone:
    result: StepDone = await workflow.execute_activity(
        activity,
        travelling.compact(request),
        result_type=StepDone,
        activity_id=_id(request),
        start_to_close_timeout=timedelta(seconds=request.timeout) + GRACE,
        heartbeat_timeout=timedelta(seconds=heartbeat),
        retry_policy=RetryPolicy(
            initial_interval=timedelta(milliseconds=100),
            backoff_coefficient=1.5,
            maximum_interval=timedelta(seconds=2),
            maximum_attempts=limits.lost_attempts,
        ),
        cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
        summary=summary(request),
    )
    return result


def _id(request: StepCall) -> str:
    """Returns the activity's id. Numbers in the order of the calls, which Temporal would give, are the same
    for any two calls of one tool: a change of their order would replay, and swap their results."""
    item = "" if request.item is None else f"[{request.item}]"
    return f"{request.step}{item}#{request.attempt}"


def summary(request: StepCall) -> str:
    """Returns the line that the Web UI shows beside the activity."""
    asked = "" if request.agent is None else f" ({request.name})"
    item = "" if request.item is None else f" · item {request.item + 1}{asked}"
    attempt = "" if request.attempt == 1 else f" · attempt {request.attempt}"
    return shortened(f"{request.step}{item}{attempt}: {request.description or request.name}")


def shortened(text: str) -> str:
    """Returns the text in at most the 200 bytes that Temporal shows."""
    raw = " ".join(text.split()).encode()
    return text if len(raw) <= SUMMARY_BYTES else raw[: SUMMARY_BYTES - 3].decode(errors="ignore") + "…"


async def _pause_between(seconds: float, admission: Admission, gave_up: GaveUp) -> None:
    """Waits before the next attempt; a stop ends the wait, and then there is no next attempt."""
    if await within(seconds, lambda: admission.stopped, "before the next attempt"):
        raise gave_up


def read(error: ActivityError, request: StepCall) -> GaveUp:
    """Returns what an activity's error means for the step."""
    cause = error.cause
    place = {"step": request.step, "phase": request.phase}
    if isinstance(cause, ApplicationError):
        return _reported(cause, place)
    if isinstance(cause, TemporalTimeoutError):
        resume = cause.last_heartbeat_details[0] if cause.last_heartbeat_details else None
        failure = Failure(
            type="worker_lost",
            message=f"no worker finished it: {cause.message}; its workers died or were cut off each time",
            category=Category.TRANSIENT,
            hint="look at the workers' logs for what kills them",
            **place,
        )
        return GaveUp(failure, resume)
    message = getattr(cause, "message", None) or str(cause or error)
    return GaveUp(Failure(type="step_failed", message=message, category=Category.TRANSIENT, **place))


def _reported(cause: ApplicationError, place: dict[str, str]) -> GaveUp:
    if cause.type == "NotFoundError":
        failure = Failure(
            type="step_failed",
            message=cause.message,
            category=Category.CONFIGURATION,
            hint="start the workers with the module that registers it in TASKMARK_PLUGINS",
            **place,
        )
        return GaveUp(failure)
    try:
        details = cause.details
        failure = Failure.model_validate(details[0])
        return GaveUp(failure, details[1] if len(details) > 1 else None)
    except (IndexError, ValidationError):
        category = Category.TRANSIENT
        return GaveUp(Failure(type="step_failed", message=cause.message, category=category, **place))


__all__ = ["GaveUp", "Observer", "Stopped", "call", "read", "shortened", "summary"]
