"""Exceptions as failures: what people and programs read of them, in records and results."""

from __future__ import annotations

import math
import traceback
from collections.abc import Callable

from pydantic import ValidationError

from taskmark.errors import Category, Failure, StepFailed, TaskmarkError
from taskmark.stack_hash import stack_hash

LONGEST_SECONDS = 3600.0
STACK_LIMIT = 4_000
MESSAGE_LIMIT = 2_000
"""Characters that are kept of a stack, its last ones, and of a message."""


def failure_from(
    error: BaseException,
    *,
    step: str | None = None,
    phase: str | None = None,
    hide: Callable[[str], str] | None = None,
) -> Failure:
    """Returns what went wrong, and where, as a failure: what nobody classified is transient.

    Texts are hidden from before they are cut: a part of a secret would not be known for one.
    """
    hidden = hide or str
    whole = hidden("".join(traceback.format_exception(error)))
    about = {
        "stack": sendable(whole[-STACK_LIMIT:]),
        "stack_hash": stack_hash(whole),
        "step": step,
        "phase": phase,
    }
    if isinstance(error, TaskmarkError):
        return Failure(
            type=error.type if isinstance(error, StepFailed) else "step_failed",
            retry_in_seconds=_seconds(error.retry_after) if isinstance(error, StepFailed) else None,
            message=sendable(hidden(error.message)[:MESSAGE_LIMIT]),
            category=error.category,
            hint=error.hint and sendable(hidden(error.hint)[:MESSAGE_LIMIT]),
            **about,
        )
    category = Category.CONFIGURATION if isinstance(error, ValidationError) else Category.TRANSIENT
    message = sendable(hidden(f"{type(error).__name__}: {error}")[:MESSAGE_LIMIT])
    return Failure(type="step_failed", message=message, category=category, **about)


def overdue(seconds: float, *, step: str | None = None, phase: str | None = None) -> Failure:
    """Returns the failure of a call that exceeded its timeout."""
    return Failure(
        type="timed_out",
        message=f"it took longer than its timeout of {seconds:g} s",
        category=Category.TRANSIENT,
        hint="raise the step's `timeout`, or let it do less",
        step=step,
        phase=phase,
    )


def _seconds(told: float | None) -> float | None:
    """Returns how long to leave somebody alone, as far as it can be meant: others may say what they like."""
    return min(max(told, 0.0), LONGEST_SECONDS) if told is not None and not math.isnan(told) else None


def sendable(text: str) -> str:
    """Returns text that can be sent: half characters, as they come of broken file names, cannot."""
    return text.encode(errors="backslashreplace").decode()
