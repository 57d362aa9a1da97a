"""The servers that programs of `peers.py` need and do not start themselves, each in a folder of its own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil

START_SECONDS = 90
STOP_SECONDS = 15
CHILD_SECONDS = 5
Command = Sequence[str | Path]


class Missing(Exception):
    """What is needed is not here or did not start; the message says what it is."""


@dataclass(frozen=True)
class Server:
    """A server that answers."""

    process: psutil.Process
    url: str


@contextmanager
def postgresql() -> Iterator[Server]:
    """Yields a PostgreSQL as it comes, with `fsync`. It listens on a Unix socket only."""
    programs, user = _postgresql_programs(), _user_of_postgresql()
    with scratch_folder("taskmark-peers-pg-", user) as folder:
        data = folder / "data"
        words: Command = [
            programs / "initdb",
            "-D",
            data,
            "-U",
            "bench",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C.UTF-8",
        ]
        subprocess.run(words, user=user, cwd=folder, check=True, capture_output=True, timeout=START_SECONDS)
        server: Command = [programs / "postgres", "-D", data, "-k", folder, "-c", "listen_addresses="]
        answers: Command = [programs / "pg_isready", "-q", "-h", folder]

        def is_ready() -> bool:
            return subprocess.run(answers, check=False).returncode == 0

        with _running(server, folder, is_ready, user=user, stop=signal.SIGINT) as process:
            yield Server(process, f"postgresql://bench@/postgres?host={quote(str(folder))}")


def _postgresql_programs() -> Path:
    found = shutil.which("initdb")
    folders = [Path(found).resolve().parent] if found else []
    folders += sorted(path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not folders:
        raise Missing("PostgreSQL is not installed: there is no initdb")
    return folders[-1]


def _user_of_postgresql() -> str | None:
    """Returns whom PostgreSQL is to run as: it refuses to run as root."""
    if os.geteuid() != 0:
        return None
    if subprocess.run(["id", "postgres"], check=False, capture_output=True).returncode:
        raise Missing("PostgreSQL does not run as root, and there is no user postgres")
    return "postgres"


@contextmanager
def prefect(program: Path, environment: Mapping[str, str]) -> Iterator[Server]:
    """Yields a Prefect server as it comes, with its SQLite database, but without analytics."""
    port = free_port()
    url = f"http://127.0.0.1:{port}/api"
    words: Command = [
        program,
        "server",
        "start",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--analytics-off",
    ]

    def is_ready() -> bool:
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    with scratch_folder("taskmark-peers-prefect-") as folder:
        own = {**environment, "PREFECT_HOME": str(folder)}
        with _running(words, folder, is_ready, environment=own) as process:
            yield Server(process, url)


def free_port() -> int:
    """Returns a port of the loopback address that nobody uses."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def scratch_folder(prefix: str = "taskmark-peers-", user: str | None = None) -> Iterator[Path]:
    """Yields a new folder that is removed again, whatever is still in it."""
    with tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True) as name:
        if user:
            shutil.chown(name, user)
        yield Path(name)


@contextmanager
def _running(
    words: Command,
    folder: Path,
    is_ready: Callable[[], bool],
    *,
    user: str | None = None,
    environment: Mapping[str, str] | None = None,
    stop: signal.Signals = signal.SIGTERM,
) -> Iterator[psutil.Process]:
    """Yields the process once it is ready, in a session of its own, so that Ctrl-C reaches only us."""
    log = folder / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            words,
            user=user,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait(process, is_ready, log)
        yield psutil.Process(process.pid)
    finally:
        end(process, lambda: process.send_signal(stop))


def _wait(process: subprocess.Popen[bytes], is_ready: Callable[[], bool], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not is_ready():
        if process.poll() is not None or time.monotonic() > deadline:
            raise Missing(f"{log.parent.name}: the server did not start:\n{last_lines(log)}")
        time.sleep(0.1)


def end(process: subprocess.Popen[Any], ask: Callable[[], None]) -> None:
    """Asks a process to end, and ends it and all below it by force if that is not enough."""
    if process.poll() is not None:
        return
    children = below(psutil.Process(process.pid))
    ask()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for child in children:
        _kill(child)


def below(process: psutil.Process) -> list[psutil.Process]:
    """Returns the children, and theirs."""
    try:
        return list(process.children(recursive=True))
    except psutil.NoSuchProcess:
        return []


def _kill(process: psutil.Process) -> None:
    try:
        process.wait(CHILD_SECONDS)
    except psutil.TimeoutExpired:
        process.kill()
    except psutil.NoSuchProcess:
        pass


def last_lines(log: Path, count: int = 8) -> str:
    """Returns the end of what a process wrote."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-count:])
