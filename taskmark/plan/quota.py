"""Whether an execution has used up what its `limits` allow. Pure."""

from __future__ import annotations

from typing import NamedTuple

from taskmark.contracts import Consumption
from taskmark.task.durations import duration_text
from taskmark.task.model import TaskLimits


class UsedUp(NamedTuple):
    """A limit of which nothing is left, in words."""

    key: str
    """As the file calls it."""
    what: str
    used: str
    limit: str


def used_up(limits: TaskLimits, consumed: Consumption) -> UsedUp | None:
    """Returns the first limit that is reached, or None."""
    if limits.cpu is not None and consumed.cpu_seconds >= limits.cpu:
        return UsedUp("cpu", "CPU", f"{consumed.cpu_seconds:.1f}s", duration_text(limits.cpu))
    sizes = (
        ("disk", "what is written to disks", consumed.written_bytes, limits.disk),
        ("received", "what is received", consumed.received_bytes, limits.received),
        ("sent", "what is sent", consumed.sent_bytes, limits.sent),
    )
    for key, what, used, limit in sizes:
        if limit is not None and used >= limit:
            return UsedUp(key, what, f"{used:,} bytes", f"{limit:,} bytes")
    return None
