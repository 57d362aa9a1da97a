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


def check_health(tools: Mapping[str, Tool[Any]], patience: float = PATIENCE_SECONDS) -> dict[str, Health]:
    """Returns what each tool says of itself. One that breaks or keeps silent is not healthy.

    Each is asked in a thread of its own, which is left behind if it blocks: whoever asks is not held up.
    """
    silent = Health(healthy=False, message=f"its health check took longer than {patience:g} s")
    told: dict[str, Health] = {}
    threads = [
        threading.Thread(target=_ask, args=(name, tool, told), name=f"health of {name}", daemon=True)
        for name, tool in tools.items()
    ]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + patience
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return {name: told.get(name, silent) for name in tools}


def _ask(name: str, tool: Tool[Any], told: dict[str, Health]) -> None:
    try:
        told[name] = asyncio.run(tool.health_check())
    except Exception as error:
        reason = str(error) or type(error).__name__
        told[name] = Health(healthy=False, message=f"its health check broke: {reason}")
