"""What programs use that need the history store and no Temporal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from starter.wiring import Wiring
from taskmark.settings import Settings

if TYPE_CHECKING:
    from taskmark.store.elsewhere import Elsewhere
    from taskmark.store.reading import History, StoredExecution


class StoreClient:
    """Tells of work done elsewhere, waits for the ends of executions, asks the history; needs no server.
    Made by `StoreClient.open()`."""

    def __init__(self, wiring: Wiring) -> None:
        self.wiring = wiring

    @classmethod
    @contextmanager
    def open(cls, settings: Settings | None = None) -> Iterator[StoreClient]:
        """Yields a client of the configured store, which is made if there is none.

        Raises `Unreachable` and `InvalidSettings`.
        """
        wiring = Wiring(settings or Settings())
        store = wiring.store
        try:
            yield cls(wiring)
        finally:
            store.dispose()

    @property
    def elsewhere(self) -> Elsewhere:
        """What takes what is told of work that Temporal does not run. Its methods block for a moment."""
        return self.wiring.elsewhere

    @property
    def history(self) -> History:
        """What answers questions. Its methods block for a moment."""
        return self.wiring.history

    async def wait(
        self,
        execution: str,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - the word for it
        expected: bool = False,
    ) -> StoredExecution:
        """Returns an execution, whoever does it, once the store knows that it has ended.

        However many wait in this process, one reader looks for all. Raises `TimeoutError` after `timeout`
        seconds, and `UnknownExecution` if nobody has told of it, unless that is `expected` to come.
        """
        return await self.wiring.completions.wait(execution, timeout=timeout, expected=expected)
