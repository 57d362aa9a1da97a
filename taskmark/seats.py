"""So many at once, in the order in which they come; who is to be careful takes more room than others."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Seats:
    """The seats of one event loop."""

    def __init__(self, count: int) -> None:
        self._count = self._free = count
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def are_taken(self) -> bool:
        """Whether who comes now waits."""
        return not self._free or bool(self._waiting)

    @asynccontextmanager
    async def taken(self, *, reduced: bool = False) -> AsyncIterator[None]:
        """Lends one seat. Who is `reduced` takes more than half of all: of those one runs at a time."""
        wanted = self._count // 2 + 1 if reduced else 1
        await self._take(wanted)
        try:
            yield
        finally:
            self._give_back(wanted)

    async def _take(self, wanted: int) -> None:
        if self._free >= wanted and not self._waiting:
            self._free -= wanted
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((wanted, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._waiting = deque(one for one in self._waiting if one[1] is not turn)
                self._give_back(0)  # who stood behind may fit where this one did not
            else:
                self._give_back(wanted)
            raise

    def _give_back(self, seats: int) -> None:
        self._free += seats
        while self._waiting and self._waiting[0][0] <= self._free:
            wanted, turn = self._waiting.popleft()
            if not turn.done():
                self._free -= wanted
                turn.set_result(None)
