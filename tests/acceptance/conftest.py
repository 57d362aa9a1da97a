"""Real processes in a folder of their own; what is left of them afterwards is a failure."""

from __future__ import annotations

import random
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))

from acceptance_place import Place

from starter.gateway import TaskClient


@pytest.fixture
def make_place(tmp_path: Path) -> Iterator[Callable[..., Place]]:
    """Makes places with settings of their own; each has an embedded server once it is used."""
    places: list[Place] = []

    def make(**settings: Any) -> Place:
        places.append(Place(tmp_path / f"place-{len(places)}", **settings))
        return places[-1]

    yield make
    for place in places:
        place.close()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """One place for the tests of a module, with the settings that people have but for a shorter heartbeat."""
    shared = Place(tmp_path_factory.mktemp("acceptance"))
    yield shared
    shared.close()


@pytest.fixture(scope="module")
async def client(place: Place) -> AsyncIterator[TaskClient]:
    """A client in this process, which keeps the server up while workers die."""
    async with TaskClient.open(place.settings, worker=False) as client:
        yield client


@pytest.fixture
def chance(request: pytest.FixtureRequest) -> random.Random:
    """Chance with a seed that is shown when the test fails; `TASKMARK_SEED` sets it again."""
    import os

    seed = int(os.environ.get("TASKMARK_SEED") or random.SystemRandom().randrange(10**6))
    print(f"TASKMARK_SEED={seed}")
    request.node.user_properties.append(("seed", seed))
    return random.Random(seed)
