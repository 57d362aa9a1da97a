"""The engine as in the tests of the workflows, but on a worker that keeps nothing in memory."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
for folder in (HERE, HERE.parent / "workflows", HERE.parent / "workflows" / "plugins"):
    sys.path.insert(0, str(folder))

from engine import PATIENCE, Engine, Forgetful  # noqa: E402 - found by the path above
from kind_scenarios import fill  # noqa: E402 - found by the path above
from record import settings_of  # noqa: E402 - found by the path above

from starter.connection import connected  # noqa: E402 - after the path above
from starter.gateway import TaskClient  # noqa: E402 - after the path above
from starter.working import working  # noqa: E402 - after the path above
from taskmark.contracts import Progress  # noqa: E402 - after the path above
from taskmark.errors import Unreachable  # noqa: E402 - after the path above


class Patient(Engine):
    """Asks seldom: each question costs this worker a replay."""

    async def until(self, execution: str, test: Callable[[Progress], Any]) -> Progress:
        """Returns the first progress for which the test holds; nobody answers while the worker is busy."""
        async with asyncio.timeout(2 * PATIENCE):
            while True:
                with suppress(Unreachable):
                    progress = await self.client.progress(execution)
                    if test(progress):
                        return progress
                await asyncio.sleep(0.2)


@pytest.fixture(scope="package")
async def uncached(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Engine]:
    """The engine on such a worker."""
    root = tmp_path_factory.mktemp("uncached") / "root"
    fill(root)
    wiring = Forgetful(settings_of(root))
    async with connected(wiring.settings) as (client, server), working(client, wiring):
        yield Patient(TaskClient(client, wiring, server), root)
