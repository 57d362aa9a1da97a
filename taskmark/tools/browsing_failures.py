"""What Playwright and Chromium report, as what it means for a step."""

from __future__ import annotations

import re
from typing import Final

from taskmark.errors import Category, StepFailed
from taskmark.tools.call_failures import category_of

_LOST: Final = re.compile(
    r"has been closed|page crashed|target crashed|connection closed|browser closed", re.IGNORECASE
)
_MEANINGS: Final = tuple(
    (re.compile(pattern), category, hint)
    for pattern, category, hint in (
        (r"net::ERR_(CERT|SSL)_\w+", Category.CONFIGURATION, "its certificate is not trusted here"),
        (
            r"net::ERR_(INVALID_URL|UNKNOWN_URL_SCHEME|UNSAFE_PORT|DISALLOWED_URL_SCHEME)",
            Category.CONFIGURATION,
            None,
        ),
        (r"Cannot navigate to invalid URL", Category.CONFIGURATION, None),
        (r"net::ERR_TOO_MANY_REDIRECTS", Category.LOGIC, None),
        (r"Download is starting", Category.LOGIC, "it is a file: click the link to it with `download`"),
        (
            r"strict mode violation: .* resolved to \d+ elements",
            Category.LOGIC,
            "say which of them, such as `… >> nth=0`",
        ),
        (
            r"(Unexpected (token|end)|Unknown engine|Unsupported token|[Mm]alformed|is not a valid selector"
            r"|while parsing \w+ selector|Invalid selector)",
            Category.CONFIGURATION,
            "correct the selector",
        ),
        (
            r"Element is not an? <?\w+|Not an? \w*\s?Element|Cannot type text into|cannot be filled",
            Category.LOGIC,
            None,
        ),
    )
)
"""The first that fits counts; what fits none is transient."""
_PLACE: Final = re.compile(r" at \w+://\S+")
"""A URL in a message: its query may hold a secret."""
_CALL: Final = re.compile(r"^\w+\.\w+: (Error: )?")


def is_loss(error: Exception) -> bool:
    """Whether the page or its browser is gone."""
    return bool(_LOST.search(_first_line(error)))


def lost(what: str, *, exhausted: bool, limit: int) -> StepFailed:
    """Returns the error for a page that is gone."""
    if exhausted:
        message = f"{what}: the browser needed more than {limit:,} bytes of memory, so the page was ended"
        return StepFailed(
            message, Category.RESOURCE, hint="visit a lighter page, or raise TASKMARK_BROWSER_MEMORY"
        )
    return StepFailed(f"{what}: the browser died, or its page did")


def meaning(what: str, error: Exception) -> StepFailed:
    """Returns the error for what went wrong with an action. Only the first line is repeated: those below hold
    what was filled in."""
    said = _first_line(error)
    for pattern, category, hint in _MEANINGS:
        if pattern.search(said):
            return StepFailed(f"{what}: {said}", category, hint=hint)
    return StepFailed(f"{what}: {said}")


def late(what: str, seconds: float) -> StepFailed:
    """Returns the error for what did not happen in time: the page may be slow, or not have it at all."""
    hint = "give it more `timeout`, or `loadTimeout` if it is a page, or check the selector"
    return StepFailed(f"{what}: not possible within {seconds:g} s", hint=hint)


def bad_status(host: str, status: int) -> StepFailed:
    """Returns the error for a page with a status of 400 and above."""
    hint = "set `raiseForStatus: false` if this is an answer"
    return StepFailed(f"{host} answers {status}", category_of(status), hint=hint)


def _first_line(error: Exception) -> str:
    line = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return _PLACE.sub("", _CALL.sub("", line))[:300]
