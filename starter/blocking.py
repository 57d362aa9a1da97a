"""How long workflow code may hold its thread.

The SDK takes a workflow that computes for two seconds for a deadlock, and raises an exception within its
thread, wherever that is at the moment: also between taking a lock and the `try` that gives it back. Then
whoever wants that lock waits for ever, the process with it. Our workflow code computes in short turns
(workflows/effort.py) and waits for nothing outside, so two seconds only pass on a machine that is very
busy, where the right thing is to go on. What really blocks is told all the same: the server repeats the
workflow task after its time limit, and `progress` says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from temporalio.worker import Worker

BLOCKED_SECONDS = 60
"""After this a thread is taken for lost."""


def allow_blocking(worker: Worker) -> Worker:
    """Returns the worker, patient with workflows. The SDK has no public setting for it (1.35)."""
    workflows = worker._workflow_worker
    assert workflows is not None, "it has workflows"
    workflows._deadlock_timeout_seconds = BLOCKED_SECONDS
    return worker
