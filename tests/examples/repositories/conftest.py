"""Folders in which the example tasks run as a user would run them: copied, with real git repositories."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "acceptance"))
sys.path.insert(0, str(Path(__file__).parent))

from acceptance_place import Place
from example_repository import GitRepository

from starter.gateway import TaskClient

ROOT = Path(__file__).parents[3]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder as the current directory, which the examples' functions keep to."""
    folder = tmp_path / "root"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def repository(root: Path) -> GitRepository:
    """A new repository under it."""
    return GitRepository(root / "project")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """One place for the runs of a module, whose server stays up between them, with the examples in it."""
    shared = Place(tmp_path_factory.mktemp("examples"))
    for name in ("repo-health.md", "release.md"):
        shutil.copy(ROOT / "tasks" / name, shared.root / "tasks")
    for name in ("repo_health", "release"):
        shutil.copytree(ROOT / "tasks" / name, shared.root / "tasks" / name)
    yield shared
    shared.close()


@pytest.fixture(scope="module")
async def client(place: Place) -> AsyncIterator[TaskClient]:
    """A client of this process, which keeps the server up."""
    async with TaskClient.open(place.settings, worker=False) as client:
        yield client


@pytest.fixture(scope="module")
def workers(place: Place, client: TaskClient) -> list[subprocess.Popen[bytes]]:
    """One worker for the module, in a process of its own; a test that kills it adds another."""
    return [place.worker()]
