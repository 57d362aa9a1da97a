"""Work in a thread that stops when nobody waits for it any more."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextvars import ContextVar
from typing import Final, ParamSpec, TypeVar

LAST_WORK: Final = 5.0
"""Seconds that a cancelled call waits for its thread, which ends at its next part."""

Given = ParamSpec("Given")
Result = TypeVar("Result")

_given_up: ContextVar[threading.Event | None] = ContextVar("given_up", default=None)


class GivenUp(Exception):
    """Nobody waits for this call any more; it ends the thread that works for it, and nobody sees it."""


async def in_thread(work: Callable[Given, Result], *args: Given.args, **kwargs: Given.kwargs) -> Result:
    """Returns what the work returns, which is done in a thread.

    A thread cannot be stopped from outside, and there are few of them: one that goes on after its step was
    cancelled would change files that others have by then, and leave less room for other steps. So it is told,
    and stops where it calls `check_wanted`; the cancelled call ends when it has, at the latest after
    `LAST_WORK` seconds.
    """
    given_up = threading.Event()
    _given_up.set(given_up)
    working = asyncio.ensure_future(asyncio.to_thread(work, *args, **kwargs))
    working.add_done_callback(lambda done: done.cancelled() or done.exception())
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        given_up.set()
        await asyncio.wait({working}, timeout=LAST_WORK)
        raise


def check_wanted() -> None:
    """Raises `GivenUp` if nobody waits any more for the call that this thread works for."""
    given_up = _given_up.get()
    if given_up is not None and given_up.is_set():
        raise GivenUp
