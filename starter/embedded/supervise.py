"""The supervisor of the embedded server: a small process that outlives any one user of it.

It starts the server, starts it again on the same port if it dies, and ends it when the last user is gone.
Who uses the server is known by the kernel: each user holds a shared lock on `server.users`, which also a
kill -9 releases; once the supervisor gets that lock for itself nobody is left. It tries only while it holds
the start lock, so that a user that is just starting, or that counts the others, is never overlooked.

Run by path with the standard library alone (`python -I -S supervise.py <instructions>`): it stays as long
as any user, so it must cost little memory, and it must not depend on a project that is being edited.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

POLL_SECONDS = 0.2
READY_SECONDS = 30.0
STOP_SECONDS = 5.0
OWN_SECONDS = 2.0
LONGEST_BACKOFF_SECONDS = 5.0
LOG_LIMIT = 5 * 1024 * 1024
PR_SET_PDEATHSIG = 1

USERS_LOCK = "server.users"
START_LOCK = "server.lock"
SUPERVISOR_LOCK = "server.supervisor"
STATE_FILE = "server.json"
LOG_FILE = "server.log"


class Instructions(NamedTuple):
    """What to run and where; travels as one JSON argument."""

    state_dir: str
    command: list[str]
    environment: dict[str, str]
    address: str
    ui: str
    health: str
    """URL that answers 200 once the server serves requests."""
    version: str


@contextlib.contextmanager
def locked(path: Path) -> Iterator[bool]:
    """Tries to hold a file's exclusive lock for the block, without waiting; yields whether it is held."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        yield take(descriptor, fcntl.LOCK_EX)
    finally:
        os.close(descriptor)


def take(descriptor: int, kind: int) -> bool:
    """Tries to take a lock (`LOCK_SH` or `LOCK_EX`) without waiting; returns whether it worked."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def answers(health: str) -> bool:
    """Whether the server serves requests, not only accepts connections.

    Spoken by hand: `http.client` and what it imports would more than double this process.
    """
    place, _, path = health.removeprefix("http://").partition("/")
    host, _, port = place.partition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=2) as connection:
            connection.sendall(f"GET /{path} HTTP/1.0\r\nHost: {place}\r\n\r\n".encode())
            status = connection.makefile("rb").readline(256).split()
    except (OSError, ValueError):
        return False
    return status[1:2] == [b"200"]


def write_state(instructions: Instructions, pid: int, *, ready: bool) -> None:
    """Replaces `server.json` as a whole, so that readers never see half of it."""
    state: dict[str, Any] = {
        "address": instructions.address,
        "ui": instructions.ui,
        "health": instructions.health,
        "pid": pid,
        "supervisor": os.getpid(),
        "version": instructions.version,
        "ready": ready,
    }
    target = Path(instructions.state_dir, STATE_FILE)
    draft = target.with_suffix(f".{os.getpid()}.tmp")
    draft.write_text(json.dumps(state), encoding="utf-8")
    draft.replace(target)


def bound_log(log: Path) -> None:
    """Keeps at most one full log beside the current one, also while the server writes to it."""
    if log.exists() and log.stat().st_size > LOG_LIMIT:
        log.with_suffix(".log.1").write_bytes(log.read_bytes())
        os.truncate(log, 0)


class Server:
    """The server process: started, watched, started again, stopped."""

    def __init__(self, instructions: Instructions) -> None:
        self.instructions = instructions
        self.log = Path(instructions.state_dir, LOG_FILE)
        if self.log.exists():
            self.log.replace(self.log.with_suffix(".log.1"))
        self.process = self._spawn()
        self.backoff = POLL_SECONDS

    def _spawn(self) -> subprocess.Popen[bytes]:
        bound_log(self.log)
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                self.instructions.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.instructions.environment,
                # A kill -9 of this process must not leave a server behind.
                preexec_fn=die_with_parent(os.getpid()),  # noqa: PLW1509 - this process has one thread
            )
        write_state(self.instructions, process.pid, ready=False)
        return process

    def wait_until_ready(self) -> bool:
        """Waits until it answers; returns False if it ended or stayed silent for 30 s."""
        deadline = time.monotonic() + READY_SECONDS
        while self.process.poll() is None and time.monotonic() < deadline:
            if answers(self.instructions.health):
                write_state(self.instructions, self.process.pid, ready=True)
                return True
            time.sleep(0.02)
        return False

    def keep_alive(self) -> None:
        """Starts the server again if it died; waits longer each time it does not come up."""
        bound_log(self.log)
        if self.process.poll() is None:
            return
        time.sleep(self.backoff)
        self.process = self._spawn()
        if self.wait_until_ready():
            self.backoff = POLL_SECONDS
        else:
            self.stop()
            self.backoff = min(self.backoff * 2, LONGEST_BACKOFF_SECONDS)

    def stop(self) -> None:
        """Ends the server: kindly, and after 5 s by force."""
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def die_with_parent(parent: int) -> Callable[[], None] | None:
    """Returns what a child does before exec so that the kernel kills it with its parent; Linux only.

    Elsewhere the next start ends a server that was left behind.
    """
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def ask_kernel() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            # The parent died before the kernel was asked.
            os._exit(1)

    return ask_kernel


def run_while_used(server: Server, state_dir: Path, own_lock: int) -> None:
    """Keeps the server alive until no user is left, then ends it while new users wait for the locks.

    Returns early, and so ends the server, if the state directory was removed or replaced under it.
    """
    while same_file(own_lock, state_dir / SUPERVISOR_LOCK):
        with locked(state_dir / START_LOCK) as may_stop:
            if may_stop:
                with locked(state_dir / USERS_LOCK) as unused:
                    if unused:
                        server.stop()
                        (state_dir / STATE_FILE).unlink(missing_ok=True)
                        return
        server.keep_alive()
        time.sleep(POLL_SECONDS)


def same_file(descriptor: int, path: Path) -> bool:
    """Whether a path still leads to an open file."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except OSError:
        return False


def own(state_dir: Path) -> int | None:
    """Takes the lock that says a supervisor is there; returns its descriptor, or None if another has it."""
    descriptor = os.open(state_dir / SUPERVISOR_LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    deadline = time.monotonic() + OWN_SECONDS
    while not take(descriptor, fcntl.LOCK_EX):
        # Who only asks whether a supervisor is there holds the lock for an instant.
        if time.monotonic() > deadline:
            os.close(descriptor)
            return None
        time.sleep(0.02)
    return descriptor


def main(argument: str) -> int:
    """Supervises until the last user is gone. Returns 1 if the server cannot be started at all."""
    instructions = Instructions(**json.loads(argument))
    state_dir = Path(instructions.state_dir)
    own_lock = own(state_dir)
    if own_lock is None:
        return 1
    # As at the shutdown of the machine: leave through `finally`.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server = Server(instructions)
    try:
        if not server.wait_until_ready():
            return 1
        run_while_used(server, state_dir, own_lock)
    finally:
        server.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
