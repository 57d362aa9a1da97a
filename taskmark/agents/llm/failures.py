"""What goes wrong with a provider, as failures that say whether to try again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from taskmark.contracts import HELD_OFF
from taskmark.errors import Category, StepFailed
from taskmark.tools.masking import masked

if TYPE_CHECKING:
    from pydantic_ai.exceptions import ModelHTTPError

TRANSIENT_STATUS = frozenset({408, 425, 429})
REFUSED_STATUS = frozenset({401, 403})
UNSENT = frozenset({"connect", "pool"})
"""Stages of a request in which nothing has been sent yet."""
TOLD = 500
"""Characters that are repeated of what a provider says."""


class Unanswered(StepFailed):
    """It was refused or never sent: another provider may be asked instead, and nothing is paid twice."""


def failure_of(error: Exception, who: str, hidden: Iterable[str], *, began: bool) -> StepFailed:
    """Returns what an error of pydantic-ai's means. `hidden` is not repeated; `began` says whether a part of
    an answer has come."""
    from pydantic_ai import exceptions as known

    if isinstance(error, known.ModelHTTPError):
        return _of_status(error, who, hidden, StepFailed if began else Unanswered)
    said = masked(str(error), hidden)[:TOLD]
    if isinstance(error, known.UserError | ImportError):
        return Unanswered(f"{who} cannot be asked: {said}", Category.CONFIGURATION)
    if isinstance(error, known.UnexpectedModelBehavior):
        return StepFailed(f"{who} answered what is no answer: {said}", Category.TRANSIENT)
    status = getattr(error.__cause__, "status_code", None)
    if isinstance(status, int) and 300 <= status < 400:
        hint = "write the address that it redirects to as `baseUrl`: a key is not sent elsewhere"
        return Unanswered(f"{who} redirects (HTTP {status})", Category.CONFIGURATION, hint=hint)
    return _of_transport(error, who, said, began=began)


def _of_transport(error: Exception, who: str, said: str, *, began: bool) -> StepFailed:
    from pydantic_ai import exceptions as known

    if not began and getattr(error, "phase", None) in UNSENT:
        return Unanswered(f"{who} could not be asked: {said}", Category.TRANSIENT)
    if isinstance(error, known.ModelTimeoutError):
        hint = "raise `agent_stall_seconds` for models that think long in silence"
        return StepFailed(f"{who} fell silent in its answer", Category.TRANSIENT, hint=hint)
    return StepFailed(f"{who} broke off its answer: {said}", Category.TRANSIENT)


def _of_status(error: ModelHTTPError, who: str, hidden: Iterable[str], kind: type[StepFailed]) -> StepFailed:
    from pydantic_ai import exceptions as known

    said = masked(_message(error.body) or str(error), hidden)[:TOLD]
    message = f"{who}: HTTP {error.status_code}: {said}"
    if isinstance(error, known.ModelContextWindowExceededError):
        return kind(message, Category.RESOURCE, hint="the next attempt is given less; let the step read less")
    if isinstance(error, known.ModelQuotaExceededError):
        hint = "the account behind the key has nothing left; top it up, or name another provider"
        return kind(message, Category.CONFIGURATION, hint=hint)
    if error.status_code == 429:
        return kind(message, Category.TRANSIENT, type=HELD_OFF, retry_after=error.retry_after)
    if error.status_code in TRANSIENT_STATUS or error.status_code >= 500:
        return kind(message, Category.TRANSIENT, retry_after=error.retry_after)
    if error.status_code in REFUSED_STATUS:
        return kind(message, Category.PERMISSION, hint="the key is wrong, or may not use this model")
    return kind(message, Category.LOGIC)


def _message(body: Any) -> str | None:
    """Returns what a provider's error says for people."""
    inner = body.get("error", body) if isinstance(body, dict) else None
    said = inner.get("message") if isinstance(inner, dict) else inner
    return said if isinstance(said, str) else None
