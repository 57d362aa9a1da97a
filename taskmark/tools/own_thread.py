"""Work in a thread of its own, for what may hang and cannot be ended.

In the event loop's threads, which are few, it would stand in the way of every step that works with files.
Being a daemon, the thread does not keep a worker from ending either.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

Result = TypeVar("Result")


async def in_own_thread(work: Callable[[], Result], name: str) -> Result:
    """Returns what the work returns, and raises what it raises; who is cancelled leaves the thread behind."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Result] = loop.create_future()
    run = contextvars.copy_context().run

    def tell(how: Callable[[Any], None], what: object) -> None:
        with suppress(RuntimeError):  # the loop may be closed by now
            loop.call_soon_threadsafe(lambda: None if done.done() else how(what))

    def go() -> None:
        try:
            found = run(work)
        except BaseException as error:
            tell(done.set_exception, error)
        else:
            tell(done.set_result, found)

    threading.Thread(target=go, name=name, daemon=True).start()
    return await done
