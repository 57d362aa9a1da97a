"""The supervisor's decisions, tried in this process with a program that stands for the server."""

import dataclasses
import fcntl
import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import psutil
import pytest
from embedded_users import eventually

from starter.embedded import binary, command, ports, supervise
from starter.embedded import server as embedded
from starter.embedded.server import EmbeddedServer, ServerState
from taskmark.errors import Unreachable
from taskmark.settings import Settings

SLEEP = "import time; time.sleep(60)"
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(60)"
)


class Answer(BaseHTTPRequestHandler):
    """Answers /ok with 200 and all else with 503."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/ok" else 503)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def web() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def start(tmp_path: Path, web: str) -> Iterator[Callable[[str, str], supervise.Server]]:
    """Starts a server that is a line of Python, and ends it at last."""
    started: list[supervise.Server] = []

    def begin(code: str, health: str = "/ok") -> supervise.Server:
        server = supervise.Server(instructions(tmp_path, code, web + health))
        started.append(server)
        return server

    yield begin
    for server in started:
        server.process.kill()
        server.process.wait()


def instructions(folder: Path, code: str, health: str) -> supervise.Instructions:
    return supervise.Instructions(
        state_dir=str(folder),
        command=[sys.executable, "-c", code],
        environment={},
        address="127.0.0.1:1",
        ui="http://127.0.0.1:2",
        health=health,
        version="1.29.1",
    )


def state(folder: Path) -> ServerState:
    return ServerState.model_validate_json((folder / supervise.STATE_FILE).read_bytes())


def test_only_a_good_answer_means_ready(web: str) -> None:
    assert supervise.answers(f"{web}/ok")
    assert not supervise.answers(f"{web}/starting")
    assert not supervise.answers(f"http://127.0.0.1:{ports.any_free()}/ok")
    assert not supervise.answers("http://nonsense")


def test_the_state_is_written_before_and_after_it_is_ready(
    start: Callable[..., supervise.Server], tmp_path: Path
) -> None:
    server = start(SLEEP)
    assert (state(tmp_path).pid, state(tmp_path).ready) == (server.process.pid, False)
    assert server.wait_until_ready()
    assert state(tmp_path).ready


def test_a_program_that_ends_or_stays_silent_is_not_ready(
    start: Callable[..., supervise.Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not start("", "/never").wait_until_ready()
    monkeypatch.setattr(supervise, "READY_SECONDS", 0.1)
    assert not start(SLEEP, "/never").wait_until_ready()


def test_a_program_that_died_is_started_again(start: Callable[..., supervise.Server], tmp_path: Path) -> None:
    server = start(SLEEP)
    server.keep_alive()
    first = server.process.pid
    server.process.kill()
    server.process.wait()
    server.keep_alive()
    assert server.process.pid != first
    assert state(tmp_path).pid == server.process.pid


def test_the_wait_grows_while_it_does_not_come_up(start: Callable[..., supervise.Server]) -> None:
    server = start("", "/never")
    server.process.wait()
    before = server.backoff
    server.keep_alive()
    assert server.backoff == 2 * before


def test_a_program_that_does_not_listen_is_killed(
    start: Callable[..., supervise.Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervise, "STOP_SECONDS", 0.2)
    server = start(STUBBORN)
    assert eventually(lambda: b"1" in server.log.read_bytes())
    server.stop()
    assert server.process.returncode == -9


def test_it_stops_when_nobody_uses_the_server(start: Callable[..., supervise.Server], tmp_path: Path) -> None:
    own_lock = supervise.own(tmp_path)
    assert own_lock is not None
    server = start(SLEEP)
    supervise.run_while_used(server, tmp_path, own_lock)
    assert server.process.returncode is not None
    assert not (tmp_path / supervise.STATE_FILE).exists()
    os.close(own_lock)


def test_it_goes_on_while_somebody_uses_the_server(
    start: Callable[..., supervise.Server], tmp_path: Path
) -> None:
    own_lock = supervise.own(tmp_path)
    user = os.open(tmp_path / supervise.USERS_LOCK, os.O_RDWR | os.O_CREAT)
    fcntl.flock(user, fcntl.LOCK_SH)
    server = start(SLEEP)
    running = threading.Thread(target=supervise.run_while_used, args=[server, tmp_path, own_lock])
    running.start()
    time.sleep(0.5)
    assert running.is_alive()
    os.close(user)
    running.join(10)
    assert not running.is_alive()


def test_a_second_supervisor_leaves_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervise, "OWN_SECONDS", 0.1)
    first = supervise.own(tmp_path)
    assert first is not None
    arguments = json.dumps(instructions(tmp_path, SLEEP, "http://127.0.0.1:1/ok")._asdict())
    assert supervise.main(arguments) == 1
    os.close(first)


def test_it_gives_up_if_the_first_start_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervise.signal, "signal", lambda *_: None)
    arguments = json.dumps(instructions(tmp_path, "", "http://127.0.0.1:1/ok")._asdict())
    assert supervise.main(arguments) == 1


def test_it_runs_until_it_is_no_longer_used(
    tmp_path: Path, web: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervise.signal, "signal", lambda *_: None)
    arguments = json.dumps(instructions(tmp_path, SLEEP, f"{web}/ok")._asdict())
    assert supervise.main(arguments) == 0


def test_without_linux_the_next_start_cleans_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervise.sys, "platform", "darwin")
    assert supervise.die_with_parent(os.getpid()) is None


def test_a_server_left_without_supervisor_is_ended_by_the_next_start(settings: Settings) -> None:
    found, _ = binary.look(settings)
    assert found is not None, "`make test` gets the binary first"
    settings.state_dir.mkdir()
    taken = command.Ports(grpc=ports.any_free(), ui=ports.any_free(), http=ports.any_free())
    left = subprocess.Popen(
        command.command(found.path, settings, taken),
        env=command.environment(settings.state_dir),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    recorded = {"address": taken.address, "ui": "", "health": taken.health_url, "pid": left.pid}
    record = json.dumps({**recorded, "supervisor": 1, "version": "1", "ready": True})
    (settings.state_dir / supervise.STATE_FILE).write_text(record)
    assert eventually(lambda: supervise.answers(taken.health_url))
    with EmbeddedServer(settings) as server:
        assert not psutil.pid_exists(left.pid)
        assert server.address == taken.address


def test_somebody_faster_on_the_same_port_is_no_obstacle(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, web: str
) -> None:
    taken = int(web.rpartition(":")[2])
    choose, first = ports.choose, [command.Ports(grpc=taken, ui=ports.any_free(), http=ports.any_free())]
    monkeypatch.setattr(ports, "choose", lambda *_: first.pop() if first else choose(settings, None))
    with EmbeddedServer(settings) as server:
        assert not server.address.endswith(f":{taken}")


@pytest.mark.parametrize("which", ["grpc", "ui", "http"])
def test_somebody_faster_who_has_left_again_is_no_obstacle(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, web: str, which: str
) -> None:
    taken = int(web.rpartition(":")[2])
    choose, is_free = ports.choose, ports.is_free
    free = command.Ports(grpc=ports.any_free(), ui=ports.any_free(), http=ports.any_free())
    first = [dataclasses.replace(free, **{which: taken})]
    monkeypatch.setattr(ports, "choose", lambda *_: first.pop() if first else choose(settings, None))
    monkeypatch.setattr(ports, "is_free", lambda port: port == taken or is_free(port))
    with EmbeddedServer(settings) as server:
        assert supervise.answers(state(settings.state_dir).health)
        assert server.address


def test_the_reason_is_found_before_the_stack_of_a_server_that_broke(settings: Settings) -> None:
    settings.state_dir.mkdir()
    (settings.state_dir / supervise.LOG_FILE).write_text(
        'level=ERROR msg="Failed to start gRPC listener" error="bind: address already in use"\n'
        + "panic: nil pointer dereference\n"
        + "frame\n" * 2000
    )
    free = command.Ports(grpc=ports.any_free(), ui=ports.any_free(), http=ports.any_free())
    assert embedded._was_late(settings.state_dir, free)


def test_a_lock_that_is_never_free_is_an_error_with_a_hint(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "LOCK_WAIT_SECONDS", 0.1)
    settings.state_dir.mkdir()
    with supervise.locked(settings.state_dir / supervise.START_LOCK) as held:
        assert held
        with pytest.raises(Unreachable, match="does not come up") as caught:
            EmbeddedServer(settings).__enter__()
    assert "server.log" in str(caught.value.hint)


def test_a_server_that_cannot_be_brought_back_is_reported_and_tried_again(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(embedded, "WATCH_SECONDS", 0.05)
    with caplog.at_level(logging.WARNING, "taskmark.embedded"), EmbeddedServer(settings) as server:
        real = server._start
        monkeypatch.setattr(server, "_start", lambda: (_ for _ in ()).throw(Unreachable("not now")))
        psutil.Process(state(settings.state_dir).supervisor).kill()
        assert eventually(lambda: "The embedded server is down: not now" in caplog.text)
        monkeypatch.setattr(server, "_start", real)
        assert eventually(lambda: embedded.running(settings))


def test_messages_go_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    embedded.to_stderr("building")
    assert capsys.readouterr() == ("", "building\n")
