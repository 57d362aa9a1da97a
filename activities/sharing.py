"""What workers share, as the boundary of a step asks: with patience, never failing for the store's sake."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from taskmark.errors import Unreachable
from taskmark.shared import Shared
from taskmark.tools import sharing

SILENCE = 30.0
"""Seconds for which a store that gave no answer is not asked again: what it knows is worth little here."""

Answer = TypeVar("Answer")
_log = logging.getLogger("taskmark.worker")


class Sharing:
    """Asks the store, as long as it answers in time."""

    def __init__(
        self, shared: Shared, *, patience: float = sharing.PATIENCE, silence: float = SILENCE
    ) -> None:
        self._shared = shared
        self._patient = sharing.Sharing(patience=patience, silence=silence)

    async def ask(self, question: Callable[[Shared], Answer], *, otherwise: Answer) -> Answer:
        """Returns what the store says, or else what counts without it. A question that took too long may
        still be carried out later."""
        try:
            return await self._patient.ask(self._shared, question)
        except Unreachable as error:
            _log.debug("what workers share cannot be asked: %s", error)
        except Exception:  # whatever it is, the step has nothing to do with it
            _log.exception("what workers share cannot be asked")
        return otherwise
