"""What it means that a call over the network failed: the same for every tool that makes some."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

from taskmark.errors import Category

RETRIED: Final = frozenset({408, 425, 429})
"""Statuses below 500 that say that it may be different later."""


def category_of(status: int) -> Category:
    """Returns what kind of failure an HTTP status is that does not say that all went well."""
    if status in RETRIED or status >= 500:
        return Category.TRANSIENT
    return Category.PERMISSION if status in (401, 403) else Category.LOGIC


def pause_asked(header: str | None) -> float | None:
    """Returns the seconds that `Retry-After` asks for, as a number or until a date; None if it says neither.

    They may be any number: others say what they like.
    """
    said = (header or "").strip()
    if said.isascii() and said.replace(".", "", 1).isdigit():
        return seconds if math.isfinite(seconds := float(said)) else None
    try:
        until = parsedate_to_datetime(said)
        aware = until if until.tzinfo else until.replace(tzinfo=UTC)
        return max(0.0, (aware - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return None


def is_wrong_call(error: Exception) -> bool:
    """Whether it could not even be sent, so that another attempt would not help."""
    import httpx2

    wrong = (httpx2.InvalidURL, httpx2.UnsupportedProtocol, httpx2.LocalProtocolError, UnicodeError)
    return isinstance(error, wrong)


def distrust(error: BaseException) -> str | None:
    """Returns why a server's certificate is not trusted, if that is what an error comes from."""
    import ssl

    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return cause.verify_message
        cause = cause.__cause__ or cause.__context__
    return None
