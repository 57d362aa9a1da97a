"""Runs one step's activity until it succeeds or gives up.

Every attempt that counts is an activity of its own, so that its failure is in history, a pause or stop
holds between attempts, and the next attempt is decided here. What does not count, an attempt lost with
its worker, is the server's to repeat: the activity's own retry policy sees nothing else, because every
failure that a step reports is marked as not retryable by the server.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from datetime import timedelta
from typing import Any, Protocol

from pydantic import ValidationError
from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception
from temporalio.exceptions import TimeoutError as TemporalTimeoutError

from taskmark.carried import Trying
from taskmark.contracts import CIRCUIT_OPEN, Limits, StepCall, StepDone, Usage
from taskmark.errors import Category, Failure, worker_lost
from taskmark.inquiries import Inquiry, inquiry
from taskmark.plan import retrying
from taskmark.task.model import Json, Retry
from workflows import travelling
from workflows.admission import Admission, Stopped
from workflows.clock import within
from workflows.effort import Effort
from workflows.interrupting import Interrupted, unless_interrupted
from workflows.purses import Receipt

GRACE = timedelta(seconds=30)
"""An activity ends itself at the step's timeout; the server waits so much longer before it does."""
SUMMARY_BYTES = 200


class GaveUp(Exception):
    """A step's attempts are used up, or its failure is not worth another."""

    def __init__(
        self,
        failure: Failure,
        resume: Any = None,
        *,
        reported: bool = True,
        resources: Any = None,
    ) -> None:
        super().__init__(failure.message)
        self.failure = failure
        self.resume = resume
        self.resources = resources
        """What the attempt used, as far as it was measured."""
        self.reported = reported
        """Whether a worker told of it, where one was called."""


class Observer(Protocol):
    """Who is told of attempts."""

    def attempt_started(self, attempt: int) -> None:
        """An attempt begins."""

    def attempt_used(self, resources: Any) -> None:
        """It has ended, however it did, and used so much, as far as it was measured."""

    def attempt_failed(self, failure: Failure) -> None:
        """It failed; the failure says whether and when the next one comes."""

    def attempt_lost(self, request: StepCall, failure: Failure, *, deliveries: int) -> None:
        """It failed, and no worker told so, however often the server had handed it to one."""

    def attempt_interrupted(self, interrupted: Interrupted) -> None:
        """It was ended where it was; it goes on, and is then started again."""


class Known:
    """How far a call has come: what its agent asks now, and what people have answered."""

    def __init__(self, tried: Trying | None) -> None:
        self._tried = tried or Trying(step="")

    @property
    def question(self) -> Inquiry | None:
        """What its agent asks now."""
        return inquiry(self._tried.asks)

    @property
    def asker(self) -> str:
        """The agent."""
        return self._tried.asker

    @property
    def has_asked(self) -> bool:
        """Whether it asked anything so far."""
        return self._tried.spent is not None

    @property
    def hints(self) -> dict[str, Any]:
        """Returns what the agent is told when it is asked again."""
        return {"answers": self._tried.answers, "spent": self._tried.spent} if self.has_asked else {}

    def note(self, **fields: Any) -> Trying:
        """Notes how the call goes on, and returns all that is known of it."""
        self._tried = self._tried.model_copy(update=fields)
        return self._tried

    def asks(self, request: StepCall, done: StepDone, **fields: Any) -> Trying:
        """Notes that the agent asks a person."""
        spent = (self._tried.spent or Usage()).plus(done.usage)
        who = {"step": request.step, "item": request.item, "asker": request.name}
        return self.note(asks=done.output, spent=spent, failure=None, due=None, **who, **fields)

    def answered(self, answer: Json) -> Trying:
        """Notes what a person has answered."""
        return self.note(asks=None, answers=(*self._tried.answers, answer))


def _so_far(tried: Trying | None, known: Known) -> tuple[int, bool, dict[str, Any], GaveUp | None]:
    """Returns how far an earlier run of the workflow came: attempt, whether credentials were refreshed, what
    the next attempt is told, and the failure of the one before."""
    if tried is None or (tried.due is None and not known.has_asked):
        return 1, False, {}, None
    left = tried.model_dump(include={"resume", "reduced", "refresh_credentials", "timeout"})
    hints = {name: value for name, value in left.items() if value is not None} | known.hints
    failed = tried.failure is not None and tried.due is not None
    gave_up = GaveUp(tried.failure, tried.resume) if failed and tried.failure is not None else None
    return tried.attempt, tried.refreshed, hints, gave_up


def _left_by(interrupted: Interrupted) -> dict[str, Any]:
    """Returns what the next attempt goes on with. Raises a cancellation if there is none."""
    if not interrupted.goes_on:
        raise asyncio.CancelledError from None
    return {"resume": interrupted.resume, "timeout": interrupted.timeout}


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
    tried: Trying | None = None,
    tries: Callable[[Trying], None] = lambda _: None,
    paid: Callable[[], AbstractAsyncContextManager[Receipt]] | None = None,
    inquire: Callable[[Inquiry, str], Awaitable[Json]] | None = None,
) -> StepDone:
    """Runs the activity with the retries of the file; `make` renders its argument once it may start.

    An earlier run of the workflow may have `tried`; `tries` is told whenever another attempt is to follow.
    Each attempt is `paid` before it takes a place: who waits for a budget holds up nobody.
    An agent that asks a person back is asked again with what `inquire` returns, which is no attempt.
    Raises `GaveUp` with the last failure, and `Stopped` if nothing may start any more and nothing had.
    """
    known = Known(tried)
    attempt, refreshed, hints, gave_up = _so_far(tried, known)
    if gave_up is not None and tried is not None and tried.due is not None:
        await _pause_between((tried.due - workflow.now()).total_seconds(), admission, gave_up)
    while True:
        try:
            if inquire is not None and known.question is not None:
                tries(known.answered(await inquire(known.question, known.asker)))
                hints |= known.hints
            async with paid() if paid else nullcontext(Receipt()) as receipt, admission.slot():
                await effort.turn()
                request = make().model_copy(update={"attempt": attempts_before + attempt, **hints})
                await effort.send(len(request.model_dump_json()), f"the call of {request.name}")
                if admission.paused and limits.engine >= 2:
                    continue  # the pause came while it waited for its turn
                observer.attempt_started(attempts_before + attempt)
                receipt.begin()
                attempting = _attempt(activity, request, heartbeat, limits, admission, observer)
                done = await _paid(receipt, attempting)
            if inquire is None or inquiry(done.output) is None:
                return done
            gave_up, hints = None, {}
            tries(known.asks(request, done, attempt=attempt, refreshed=refreshed))
            continue
        except Stopped:
            raise gave_up or Stopped from None
        except Interrupted as interrupted:
            observer.attempt_interrupted(interrupted)
            hints |= _left_by(interrupted)
            place = {"step": request.step, "item": request.item, "failure": gave_up and gave_up.failure}
            tries(known.note(**place, attempt=attempt, refreshed=refreshed, due=workflow.now(), **hints))
            continue
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            gave_up = _given_up(error, request, observer, limits)
        again = _decided(gave_up.failure, request, attempt, retry, limits, refreshed=refreshed)
        if again is None:
            raise gave_up
        failure = gave_up.failure.model_copy(update={"will_retry": True, "retry_in_seconds": again.delay})
        observer.attempt_failed(failure)
        refreshed = refreshed or again.refresh_credentials
        hints = {
            "resume": gave_up.resume,
            "reduced": again.reduced,
            "refresh_credentials": again.refresh_credentials,
        }
        attempt += again.counts
        due = workflow.now() + timedelta(seconds=again.delay)
        told = {"attempt": attempt, "refreshed": refreshed, "due": due, "failure": gave_up.failure}
        tries(known.note(step=request.step, item=request.item, **told, **hints))
        hints |= known.hints
        await _pause_between(again.delay, admission, gave_up)


async def _paid(receipt: Receipt, attempt: Awaitable[StepDone]) -> StepDone:
    """Returns what an attempt returns, and notes what it used, also if it failed."""
    try:
        done = await attempt
    except ActivityError as error:
        if isinstance(error.cause, ApplicationError):
            receipt.charge(_usage(error.cause))
        raise
    receipt.answer(done.usage)
    return done


def _usage(cause: ApplicationError) -> Usage | None:
    """Returns what an agent used that failed."""
    try:
        return Usage.model_validate(cause.details[3])
    except (IndexError, ValidationError):
        return None


async def _attempt(  # noqa: PLR0917 - one activity, and who is told of it
    activity: str,
    request: StepCall,
    heartbeat: float,
    limits: Limits,
    admission: Admission,
    observer: Observer,
) -> StepDone:
    running: asyncio.Task[StepDone] = workflow.start_activity(
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
    done = await (unless_interrupted(running, request, admission) if request.resumes else running)
    observer.attempt_used(done.resources)
    return done


def _id(request: StepCall) -> str:
    """Returns the activity's id. Numbers in the order of the calls, which Temporal would give, are the same
    for any two calls of one tool: a change of their order would replay, and swap their results."""
    item = "" if request.item is None else f"[{request.item}]"
    question = f"?{len(request.answers)}" if request.answers else ""
    return f"{request.step}{item}#{request.attempt}{question}"


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


def _given_up(error: ActivityError, request: StepCall, observer: Observer, limits: Limits) -> GaveUp:
    gave_up = read(error, request)
    observer.attempt_used(gave_up.resources)
    if not gave_up.reported:
        observer.attempt_lost(request, gave_up.failure, deliveries=limits.lost_attempts)
    return gave_up


def _decided(
    failure: Failure, request: StepCall, attempt: int, retry: Retry, limits: Limits, *, refreshed: bool
) -> retrying.Again | None:
    chance, not_before = workflow.random().random(), failure.retry_in_seconds or 0.0
    if request.waits and failure.type == CIRCUIT_OPEN:
        return retrying.held_back(not_before, chance)
    return retrying.decide(
        failure.category,
        attempt,
        retry,
        refreshed=refreshed,
        cap=limits.backoff_cap,
        chance=chance,
        not_before=not_before,
    )


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
        return GaveUp(worker_lost(cause.message, **place), resume, reported=False)
    message = getattr(cause, "message", None) or str(cause or error)
    return _unreported(message, place)


def _unreported(message: str, place: dict[str, str]) -> GaveUp:
    failure = Failure(type="step_failed", message=message, category=Category.TRANSIENT, **place)
    return GaveUp(failure, reported=False)


def _reported(cause: ApplicationError, place: dict[str, str]) -> GaveUp:
    if cause.type == "NotFoundError":
        failure = Failure(
            type="step_failed",
            message=cause.message,
            category=Category.CONFIGURATION,
            hint="start the workers with the module that registers it in TASKMARK_PLUGINS",
            **place,
        )
        return GaveUp(failure, reported=False)
    try:
        details = cause.details
        failure = Failure.model_validate(details[0])
        resume, resources = (*details[1:], None, None)[:2]
        return GaveUp(failure, resume, resources=resources)
    except (IndexError, ValidationError):
        return _unreported(cause.message, place)


__all__ = ["GaveUp", "Observer", "Stopped", "call", "read", "shortened", "summary"]
