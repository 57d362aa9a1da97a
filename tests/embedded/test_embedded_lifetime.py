"""The embedded server lives exactly as long as somebody uses it, whatever is killed."""

import asyncio
import os
import signal
import time
from collections.abc import Callable

import psutil
import pytest
from embedded_users import User, eventually, processes_on
from temporalio.client import Client

from starter.embedded import server as embedded
from starter.embedded import supervise
from starter.embedded.server import EmbeddedServer, ServerState
from taskmark.settings import Settings

Users = Callable[[], User]
State = Callable[[], ServerState]


def test_a_server_answers_and_ends_with_its_only_user(settings: Settings) -> None:
    with EmbeddedServer(settings) as server:
        assert server.address.startswith("127.0.0.1:")
        assert server.ui_url.startswith("http://127.0.0.1:")
        assert embedded.running(settings) is not None
    assert eventually(lambda: not processes_on(settings.state_dir))
    assert embedded.running(settings) is None


def test_everything_the_server_listens_on_is_loopback(settings: Settings, state: State) -> None:
    with EmbeddedServer(settings):
        sockets = psutil.Process(state().pid).net_connections("inet")
        listening = {item.laddr.ip for item in sockets if item.status == psutil.CONN_LISTEN}
    assert listening == {"127.0.0.1"}


def test_two_processes_share_one_server_and_only_the_last_is_told_so(
    settings: Settings, users: Users
) -> None:
    with EmbeddedServer(settings) as server:
        assert server.is_last_user()
        other = users()
        assert other.address() == server.address
        assert len(processes_on(settings.state_dir)) == 2
        assert not server.is_last_user()
        other.leave()
        assert eventually(server.is_last_user)


def test_processes_that_start_at_once_get_the_same_server(settings: Settings, users: Users) -> None:
    together = [users() for _ in range(4)]
    assert len({user.address() for user in together}) == 1
    assert len(processes_on(settings.state_dir)) == 2


def test_killing_one_user_leaves_the_server_to_the_other(
    settings: Settings, users: Users, state: State
) -> None:
    first, second = users(), users()
    address, pid = first.address(), state().pid
    first.kill()
    time.sleep(0.6)
    assert second.address() == address
    assert state().pid == pid


def test_killing_the_only_user_ends_the_server_within_seconds(settings: Settings, users: Users) -> None:
    user = users()
    user.address()
    user.kill()
    assert eventually(lambda: not processes_on(settings.state_dir))


def test_who_comes_while_the_server_stops_gets_a_new_one(settings: Settings, state: State) -> None:
    with EmbeddedServer(settings):
        first = state().pid
    assert eventually(lambda: not psutil.Process(first).is_running() or _stopping(settings))
    with EmbeddedServer(settings):
        assert state().pid != first


def _stopping(settings: Settings) -> bool:
    return embedded.running(settings) is None


async def test_a_killed_server_comes_back_on_its_port_with_its_data(settings: Settings, state: State) -> None:
    async with embedded.embedded(settings) as server:
        client = await Client.connect(server.address)
        await client.start_workflow("Kept", id="kept", task_queue="nobody")
        pid = state().pid
        os.kill(pid, signal.SIGKILL)
        assert await asyncio.to_thread(
            eventually, lambda: (now := embedded.running(settings)) is not None and now.pid != pid
        )
        assert state().address == server.address
        described = await client.get_workflow_handle("kept").describe()
        assert described.workflow_type == "Kept"


async def test_data_survives_the_end_of_the_last_user(settings: Settings) -> None:
    async with embedded.embedded(settings) as server:
        client = await Client.connect(server.address)
        await client.start_workflow("Kept", id="kept", task_queue="nobody")
    async with embedded.embedded(settings) as server:
        client = await Client.connect(server.address)
        assert (await client.get_workflow_handle("kept").describe()).id == "kept"


def test_after_a_killed_supervisor_its_user_has_a_server_on_the_same_port_again(
    settings: Settings, state: State
) -> None:
    with EmbeddedServer(settings) as server:
        before = state()
        os.kill(before.supervisor, signal.SIGKILL)
        assert eventually(lambda: (now := embedded.running(settings)) and now.supervisor != before.supervisor)
        assert state().address == server.address


def test_killing_user_and_supervisor_leaves_no_server_and_the_next_start_works(
    settings: Settings, users: Users, state: State
) -> None:
    user = users()
    user.address()
    before = state()
    user.kill()
    os.kill(before.supervisor, signal.SIGKILL)
    assert eventually(lambda: not psutil.pid_exists(before.pid))
    with EmbeddedServer(settings):
        assert state().supervisor != before.supervisor


def test_a_forked_child_does_not_keep_the_server_alive(settings: Settings) -> None:
    with EmbeddedServer(settings):
        child = os.fork()
        if child == 0:
            signal.pause()
            os._exit(0)
    try:
        assert eventually(lambda: not processes_on(settings.state_dir))
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_removing_the_state_directory_ends_its_server(settings: Settings) -> None:
    import shutil

    with EmbeddedServer(settings) as server:
        server._leaving.set()  # the watch would make a new one
        shutil.rmtree(settings.state_dir)
        assert eventually(lambda: not processes_on(settings.state_dir))


def test_a_terminated_supervisor_ends_its_server_in_order(settings: Settings, state: State) -> None:
    with EmbeddedServer(settings) as server:
        server._leaving.set()
        now = state()
        os.kill(now.supervisor, signal.SIGTERM)
        assert eventually(lambda: not processes_on(settings.state_dir))
    assert "Stopping server" in (settings.state_dir / "server.log").read_text()


@pytest.mark.parametrize("delay", [0, 0.02, 0.1, 0.2])
async def test_a_cancelled_start_leaves_no_user_behind(settings: Settings, delay: float) -> None:
    task = asyncio.create_task(_use_for_ever(settings))
    await asyncio.sleep(delay)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not _has_users(settings)


async def _use_for_ever(settings: Settings) -> None:
    async with embedded.embedded(settings):
        await asyncio.Event().wait()


def _has_users(settings: Settings) -> bool:
    """Whether somebody holds the users' lock; nobody else may start while this looks."""
    settings.state_dir.mkdir(exist_ok=True)
    with supervise.locked(settings.state_dir / supervise.USERS_LOCK) as unused:
        return not unused
