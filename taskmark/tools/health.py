"""Whether tools can be used now, asked of all at once and within a bounded time."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Mapping
from typing import Any

from taskmark.ports import Health, Tool

PATIENCE_SECONDS = 3.0
"""For all tools together: they are asked side by side."""
FRESH_SECONDS = 30.0
"""For so long an answer holds where starts ask: many starts are one question."""


class Checkup:
    """Asks tools how they are, and each of them seldom. May be asked in several threads."""

    def __init__(self, patience: float, fresh_seconds: float = FRESH_SECONDS) -> None:
        """`patience` is in seconds, for all that are asked at one time."""
        self._patience = patience
        self._fresh_seconds = fresh_seconds
        self._known: dict[str, tuple[float, Health]] = {}

    def ask(self, tools: Mapping[str, Tool[Any]]) -> dict[str, Health]:
        """Returns what each tool says of itself, or said a moment ago."""
        now = time.monotonic()
        known = {name: self._known[name] for name in tools.keys() & self._known.keys()}
        fresh = {name: health for name, (at, health) in known.items() if now - at < self._fresh_seconds}
        asked = check_health(
            {name: tool for name, tool in tools.items() if name not in fresh}, self._patience
        )
        self._known |= {name: (time.monotonic(), health) for name, health in asked.items()}
        return fresh | asked


def check_health(tools: Mapping[str, Tool[Any]], patience: float = PATIENCE_SECONDS) -> dict[str, Health]:
    """Returns what each tool says of itself. One that breaks or keeps silent is not healthy.

    Each that has something to say is asked in a thread of its own, which is left behind if it blocks: whoever
    asks is not held up.
    """
    silent = Health(healthy=False, message=f"its health check took longer than {patience:g} s")
    told = {name: Health(healthy=True) for name, tool in tools.items() if _says_nothing(tool)}
    threads = [
        threading.Thread(target=_ask, args=(name, tool, told), name=f"health of {name}", daemon=True)
        for name, tool in tools.items()
        if name not in told
    ]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + patience
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return {name: told.get(name, silent) for name in tools}


def _says_nothing(tool: Tool[Any]) -> bool:
    return type(tool).health_check is Tool.health_check and not tool.needs


def _ask(name: str, tool: Tool[Any], told: dict[str, Health]) -> None:
    try:
        told[name] = asyncio.run(tool.health_check())
    except Exception as error:
        reason = str(error) or type(error).__name__
        told[name] = Health(healthy=False, message=f"its health check broke: {reason}")
