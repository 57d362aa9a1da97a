"""Who does the work: this process, as Temporal and the history store show it."""

from __future__ import annotations

import os
import socket
from functools import cache


@cache
def worker_identity() -> str:
    """Returns process and host, such as `4711@server`."""
    return f"{os.getpid()}@{socket.gethostname()}"
