"""What workers share, asked with patience: a store that is slow or down must not hold up who asks.

A question that the store leaves unanswered cannot be ended; it may still be carried out later. So each has a
thread of its own.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final, TypeVar

from taskmark.errors import Unreachable
from taskmark.shared import Shared
from taskmark.tools.own_thread import in_own_thread

PATIENCE: Final = 2.0
"""Seconds that the store has for an answer …"""
SILENCE: Final = 5.0
"""… and seconds for which it is not asked again if it gave none. Not long, because what is not asked and not
noted meanwhile may be done twice."""

Answer = TypeVar("Answer")


class Sharing:
    """Asks the store, as long as it answers in time. One object serves many callers at once."""

    def __init__(self, *, patience: float = PATIENCE, silence: float = SILENCE) -> None:
        """Both are in seconds."""
        self._patience = patience
        self._silence = silence
        self._is_silent = False
        self._again_at = 0.0

    async def ask(self, shared: Shared, question: Callable[[Shared], Answer]) -> Answer:
        """Returns what the store says. Raises `Unreachable`, also if it takes too long, and at once if it was
        so a moment ago."""
        if time.monotonic() < self._again_at:
            raise Unreachable("what workers share did not answer a moment ago")
        if self._is_silent:
            # This one finds out whether it answers again; the others go on without it meanwhile.
            self._again_at = time.monotonic() + self._patience
        try:
            answer = await asyncio.wait_for(self._asked(shared, question), self._patience)
        except (Unreachable, TimeoutError) as error:
            self._is_silent, self._again_at = True, time.monotonic() + self._silence
            if isinstance(error, Unreachable):
                raise
            raise Unreachable("what workers share does not answer in time") from error
        self._is_silent, self._again_at = False, 0.0
        return answer

    async def _asked(self, shared: Shared, question: Callable[[Shared], Answer]) -> Answer:
        return await in_own_thread(lambda: question(shared), "asks what workers share")
