"""Exit codes, the same for every command."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from taskmark.contracts import ExecutionStatus


class Exit(IntEnum):
    """What a process says to whoever started it."""

    OK = 0
    FAILED = 1
    """A task failed or was cancelled, or this program broke."""
    USAGE = 2
    """Wrong words, or an invalid file, input, setting or decision."""
    UNREACHABLE = 3
    """Temporal or the store does not answer."""
    NOT_ALLOWED = 4
    WAITING = 5
    """Only a person can go on."""
    TIMED_OUT = 6
    DETACHED = 130
    """Ctrl-C: this process left, the execution did not end."""


def of_status(status: ExecutionStatus) -> Exit:
    """Returns the exit code for an execution that ended so."""
    if status.is_success:
        return Exit.OK
    return Exit.TIMED_OUT if status.value == "timed_out" else Exit.FAILED
