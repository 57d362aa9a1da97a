"""The engine as in the tests of the workflows, but on a worker that keeps nothing in memory."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
for folder in (HERE, HERE.parent / "workflows", HERE.parent / "workflows" / "plugins"):
    sys.path.insert(0, str(folder))

from engine import Engine, Forgetful, Patient  # noqa: E402 - found by the path above
from kind_scenarios import fill  # noqa: E402 - found by the path above
from record import settings_of  # noqa: E402 - found by the path above

from starter.connection import connected  # noqa: E402 - after the path above
from starter.gateway import TaskClient  # noqa: E402 - after the path above
from starter.working import working  # noqa: E402 - after the path above


@pytest.fixture(scope="package")
async def uncached(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Engine]:
    """The engine on such a worker."""
    root = tmp_path_factory.mktemp("uncached") / "root"
    fill(root)
    wiring = Forgetful(settings_of(root))
    async with connected(wiring.settings) as (client, server), working(client, wiring):
        yield Patient(TaskClient(client, wiring, server), root)
