import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from embedded_users import User, eventually, processes_on

from starter.embedded import server as embedded
from taskmark.settings import Settings


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """Settings with a state directory of their own; whatever still runs on it at the end is a failure."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "state"
    yield Settings(state_dir=folder)
    left_over = not eventually(lambda: not processes_on(folder))
    for process in processes_on(folder):
        os.kill(process.pid, signal.SIGKILL)
    assert not left_over, "processes were left behind"


@pytest.fixture
def users(settings: Settings) -> Iterator[Callable[[], User]]:
    """Starts further processes that use the server."""
    started: list[User] = []

    def start() -> User:
        started.append(User(settings))
        return started[-1]

    yield start
    for user in started:
        if user.process.poll() is None:
            user.kill()


@pytest.fixture
def state(settings: Settings) -> Callable[[], embedded.ServerState]:
    """The running server, as soon as it is up."""

    def wait() -> embedded.ServerState:
        assert eventually(lambda: embedded.running(settings))
        found = embedded.running(settings)
        assert found is not None
        return found

    return wait
