"""Workflows that do what the sandbox exists to refuse, and one that does not."""

from __future__ import annotations

import random
import time
from datetime import datetime
from pathlib import Path

from temporalio import workflow

STARTED_ANEW = object()


@workflow.defn(failure_exception_types=[Exception])
class Guarded:
    """Does what it is asked to, before and after a moment in which others run."""

    @workflow.run
    async def run(self, what: str) -> int:
        await workflow.sleep(0.02)
        if what == "clock":
            time.time()
        elif what == "date":
            datetime.now()
        elif what == "chance":
            random.random()
        elif what == "file":
            Path("/etc/hostname").open().close()
        await workflow.sleep(0.02)
        return id(STARTED_ANEW)
