"""Conversations with MCP servers: begun when somebody calls, and kept while they are used.

The official client's scopes may be left only by the task that entered them, so each conversation has a task
of its own, which does nothing but hold it open. Each call is a task too: it can be given up without waiting
for a server that does not listen. A conversation in which a call was given up is not used for another one.
What that call has begun may still go on in the server; so a server that we started is ended, at once if
nobody else is using it, or with the last one who does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar
from weakref import WeakKeyDictionary

from taskmark.errors import StepFailed
from taskmark.tools.mcp_catalog import Catalog

if TYPE_CHECKING:
    from mcp import ClientSession

Result = TypeVar("Result")

COURTESY: Final = 0.5
"""Seconds in which a server can be told that a call was given up."""
FAREWELL: Final = 2.0
"""Seconds until a conversation that does not end is cut."""


class Connection(Protocol):
    """How one server is spoken to."""

    def streams(self) -> AbstractAsyncContextManager[Any]:
        """Lends what is heard and what is said. Nothing is left of it when it is given back."""
        ...

    def problem(self) -> StepFailed | None:
        """Returns why nothing more is heard, if that is known."""
        ...

    def remark(self) -> str:
        """Returns what the server said last beside the conversation, or nothing."""
        ...


Connect = Callable[[asyncio.Event], Connection]
"""Makes a connection, which sets the event when it is over."""


class Session:
    """One conversation."""

    def __init__(self, connect: Connect, idle: float) -> None:
        self.catalog = Catalog()
        self.client: ClientSession
        """Once it has begun."""
        self._over = asyncio.Event()
        self.connection = connect(self._over)
        self._idle = idle
        self._users = 0
        self._leaving = 0
        """Users that give up their calls just now."""
        self._timer: asyncio.TimerHandle | None = None
        self._begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._error: BaseException | None = None
        self._given_up = False
        self._task = asyncio.create_task(self._hold())

    @property
    def usable(self) -> bool:
        """Whether another call may be made in it."""
        return not (self._given_up or self._over.is_set() or self._task.done())

    async def ask(self, work: Callable[[Session], Awaitable[Result]], seconds: float) -> Result:
        """Returns what comes of a call. Raises `TimeoutError`, and whatever the call or the beginning raises.

        When it is cancelled or late, the call was given up, and nothing of it runs on a server of ours unless
        others still use that server.
        """
        with self._used():
            call = asyncio.create_task(self._call(work))
            try:
                done, _ = await asyncio.wait({call}, timeout=seconds)
            except asyncio.CancelledError:
                await asyncio.shield(self._give_up(call))
                raise
            if not done:
                await asyncio.shield(self._give_up(call))
                raise TimeoutError
            self._given_up |= self._is_broken(call.exception())
            return call.result()

    async def end(self) -> None:
        """Ends the conversation, and returns when that is done."""
        self._over.set()
        if not self._begun.done():
            self._task.cancel()
        await asyncio.wait({self._task})

    def retire(self) -> None:
        """Ends with its last user, or at once."""
        self._given_up = True
        if not self._users:
            self._over.set()

    async def _hold(self) -> None:
        """Begins the conversation and holds it until it is over, and not much longer."""
        from mcp import Client

        cut: asyncio.TimerHandle | None = None
        try:
            async with Client(self.connection.streams()) as client:
                self.client = client.session
                self._begun.set_result(None)
                await self._over.wait()
                cut = asyncio.get_running_loop().call_later(FAREWELL, self._task.cancel)
        except Exception as error:
            self._error = error
        finally:
            if cut is not None:
                cut.cancel()

    async def _call(self, work: Callable[[Session], Awaitable[Result]]) -> Result:
        await asyncio.wait({self._begun, self._task}, return_when=asyncio.FIRST_COMPLETED)
        if not self._begun.done():
            raise self._error or ConnectionError("the conversation was ended")
        return await work(self)

    async def _give_up(self, call: asyncio.Task[Any]) -> None:
        self._given_up = True
        self._leaving += 1
        call.add_done_callback(_unheard)
        call.cancel()
        try:
            await asyncio.wait({call}, timeout=COURTESY)
            if self._users == self._leaving:
                await self.end()
        finally:
            self._leaving -= 1

    def _is_broken(self, error: BaseException | None) -> bool:
        """Whether a call failed because of the conversation, and not by an answer in it."""
        from mcp import MCPError

        if error is None or isinstance(error, StepFailed):
            return False
        return self.connection.problem() is not None or not isinstance(error, MCPError)

    @contextmanager
    def _used(self) -> Iterator[None]:
        """Keeps it from ending for want of calls."""
        self._users += 1
        if self._timer is not None:
            self._timer.cancel()
        try:
            yield
        finally:
            self._users -= 1
            if not self._users:
                wait = self._idle if self.usable else 0
                self._timer = asyncio.get_running_loop().call_later(wait, self._over.set)


def _unheard(call: asyncio.Task[Any]) -> None:
    """Takes what came of a call that was given up, for which nobody waits."""
    if not call.cancelled():
        call.exception()


class Sessions:
    """The conversations of a process: one for each server, and each event loop has its own."""

    def __init__(self, idle: float) -> None:
        self._idle = idle
        self._kept: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Hashable, Session]] = (
            WeakKeyDictionary()
        )

    def get(self, key: Hashable, connect: Connect) -> Session:
        """Returns the conversation under a key, a new one if there is none that can be used."""
        kept = self._kept.setdefault(asyncio.get_running_loop(), {})
        if key not in kept or not kept[key].usable:
            kept[key] = Session(connect, self._idle)
        return kept[key]

    def retire(self, key: Hashable) -> None:
        """Lets the next call under a key begin a new conversation; what there is ends with its last user."""
        kept = self._kept.get(asyncio.get_running_loop(), {})
        if (session := kept.pop(key, None)) is not None:
            session.retire()

    async def close(self) -> None:
        """Ends all of this loop's."""
        kept = self._kept.pop(asyncio.get_running_loop(), {})
        await asyncio.gather(*(session.end() for session in kept.values()))
