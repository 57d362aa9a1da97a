"""The embedded Temporal server as its users see it: enter the block, and it is there.

Every process that uses it holds a shared lock on one file; a supervisor process (`supervise.py`) ends the
server when the last of them is gone, however they went. The order is the same everywhere, so that no two
processes start a server and none gets one that is about to stop: the users' lock (not to be had while the
server stops), then the start lock, then look whether it runs, start it if not, wait until it answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import json
import logging
import os
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, ValidationError

from starter.embedded import binary, command, ports, supervise
from taskmark.errors import InvalidSettings, Unreachable

if TYPE_CHECKING:
    from taskmark.settings import Settings

Report = Callable[[str], None]

LOCK_WAIT_SECONDS = 60.0
"""For a server that is just stopping (5 s at most) or being started by another process."""
WATCH_SECONDS = 1.0
LOG_LINES = 8

_log = logging.getLogger("taskmark.embedded")


class ServerState(BaseModel):
    """The running server, as `server.json` in the state directory describes it."""

    model_config = ConfigDict(frozen=True)

    address: str
    ui: str
    health: str
    pid: int
    supervisor: int
    version: str
    ready: bool

    @property
    def port(self) -> int:
        """Port of the gRPC service."""
        return int(self.address.rpartition(":")[2])


def to_stderr(message: str) -> None:
    """Shows a message where messages belong."""
    print(message, file=sys.stderr, flush=True)


def running(settings: Settings) -> ServerState | None:
    """Returns the server of this state directory if it is up and supervised, else None. Starts nothing."""
    state = _read_state(settings.state_dir)
    if state is None or not state.ready or not _is_supervised(settings.state_dir):
        return None
    return state if supervise.answers(state.health) else None


class EmbeddedServer:
    """A context manager, used once: within it a Temporal server runs here, shared with other processes.

    Raises `InvalidSettings` if the state directory cannot be written or a port that was asked for is taken,
    `Unreachable` if there is no usable `temporal` binary or the server does not come up.
    """

    def __init__(self, settings: Settings, *, report: Report = to_stderr) -> None:
        self._settings = settings
        self._folder = settings.state_dir
        self._state: ServerState | None = None
        self._users: int | None = None
        self._reserved: int | None = None
        self._leaving = threading.Event()
        """Set when this user goes, also while it still waits for the server."""
        self._patience = binary.Patience(report, self._leaving)
        self._entering = threading.Lock()
        self._watch = threading.Thread(target=self._keep_supervised, name="embedded-server", daemon=True)

    @property
    def address(self) -> str:
        """What Temporal clients connect to, as host:port."""
        return self._known.address

    @property
    def ui_url(self) -> str:
        """URL of the Web UI; it is dead once the last user is gone."""
        return self._known.ui

    @property
    def version(self) -> str:
        """Version of the Temporal server."""
        return self._known.version

    @property
    def _known(self) -> ServerState:
        assert self._state is not None, "the server is known only within its block"
        return self._state

    def __enter__(self) -> EmbeddedServer:
        with self._entering:
            try:
                self._enter()
                self._give_up_if_leaving()
            except BaseException:
                self.release()
                raise
            self._watch.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leaving.set()
        # Who is still on the way in, in another thread, gives up at its next step.
        with self._entering:
            if self._watch.is_alive():
                self._watch.join()
            self.release()

    def _enter(self) -> None:
        _prepare(self._folder)
        if running(self._settings) is None:
            # It may have to be built, which takes minutes: not while others wait for the lock.
            binary.find(self._settings, self._patience)
        self._users = _open_lock(self._folder / supervise.USERS_LOCK)
        _held.add(self)
        self._take(self._users, fcntl.LOCK_SH)
        self._ensure_running()

    def _give_up_if_leaving(self) -> None:
        if self._leaving.is_set():
            raise binary.GivenUp

    def release(self) -> None:
        """Stops counting as a user; the supervisor notices within a moment."""
        _held.discard(self)
        if self._users is not None:
            os.close(self._users)
        self._users = None
        if self._reserved is not None:
            os.close(self._reserved)
        self._reserved = None

    def is_last_user(self) -> bool:
        """Whether work stands still once this process leaves, because no other uses the server."""
        assert self._users is not None, "only a user can be the last one"
        with self._start_lock():
            # The exchange drops the shared lock for an instant. Nothing can come of it: who would end the
            # server tries only with the start lock held, and that is ours.
            alone = supervise.take(self._users, fcntl.LOCK_EX)
            fcntl.flock(self._users, fcntl.LOCK_SH)
        return alone

    def _ensure_running(self) -> None:
        with self._start_lock():
            self._state = self._wait_for_another() or self._start()
        self._reserve(self._state.port)

    def _reserve(self, port: int) -> None:
        """Keeps the server's port from servers of others while it is down; see `ports`."""
        before, self._reserved = self._reserved, ports.reserve(port)
        if before is not None:
            os.close(before)

    def _pause(self, deadline: float) -> None:
        if time.monotonic() > deadline:
            raise _silent(self._folder)
        self._leaving.wait(0.02)
        self._give_up_if_leaving()

    def _take(self, descriptor: int, kind: int) -> None:
        deadline = time.monotonic() + LOCK_WAIT_SECONDS
        while not supervise.take(descriptor, kind):
            self._pause(deadline)

    @contextlib.contextmanager
    def _start_lock(self) -> Iterator[None]:
        descriptor = _open_lock(self._folder / supervise.START_LOCK)
        try:
            self._take(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _wait_for_another(self) -> ServerState | None:
        """Returns the supervised server once it answers; None if nobody supervises one."""
        deadline = time.monotonic() + supervise.READY_SECONDS
        while _is_supervised(self._folder):
            state = running(self._settings)
            if state is not None:
                return state
            self._pause(deadline)
        return None

    def _start(self) -> ServerState:
        """Starts a supervisor with a server; tries other ports if somebody was faster on the chosen ones."""
        previous = _end_stale(self._folder)
        found = binary.find(self._settings, self._patience)
        for _attempt in range(3):
            chosen = ports.choose(self._settings, previous)
            state = self._launch(found, chosen)
            if state is not None:
                return state
            previous = None
            if not _was_late(self._folder, chosen):
                break
        raise _silent(self._folder)

    def _launch(self, found: binary.Binary, chosen: command.Ports) -> ServerState | None:
        """Starts a supervisor; returns the server's state once it answers, None if it did not come up."""
        instructions = supervise.Instructions(
            state_dir=str(self._folder),
            command=command.command(found.path, self._settings, chosen),
            environment=command.environment(self._folder),
            address=chosen.address,
            ui=chosen.ui_url,
            health=chosen.health_url,
            version=found.server_version,
        )
        supervisor = _spawn_supervisor(self._folder, instructions)
        # The supervisor has a limit of its own and ends; waiting longer than that only covers its end.
        deadline = time.monotonic() + 2 * supervise.READY_SECONDS
        while supervisor.poll() is None:
            state = _read_state(self._folder)
            if state is not None and state.ready and state.supervisor == supervisor.pid:
                return state
            self._pause(deadline)
        return None

    def _keep_supervised(self) -> None:
        """Brings the server back if even its supervisor was killed; runs in a thread of each user."""
        while not self._leaving.wait(WATCH_SECONDS):
            if _is_supervised(self._folder):
                continue
            try:
                self._ensure_running()
            except binary.GivenUp:
                return
            except Exception as error:
                # The user's own calls to Temporal fail and say so; the next turn tries again.
                _log.warning("The embedded server is down: %s", error)


@contextlib.asynccontextmanager
async def embedded(settings: Settings, *, report: Report = to_stderr) -> AsyncIterator[EmbeddedServer]:
    """`EmbeddedServer` for async code: waiting happens in a thread, and a cancelled wait leaves no user."""
    server = EmbeddedServer(settings, report=report)
    try:
        await asyncio.to_thread(server.__enter__)
        yield server
    finally:
        # After a cancelled wait the thread may still be on its way in: it finds that it is to leave.
        await asyncio.to_thread(server.__exit__, None, None, None)


_held: weakref.WeakSet[EmbeddedServer] = weakref.WeakSet()


def _forget_in_fork() -> None:
    """A forked child shares its parent's lock and would keep the server alive after it."""
    for server in list(_held):
        server.release()


os.register_at_fork(after_in_child=_forget_in_fork)


def _prepare(folder: Path) -> None:
    """Makes the state directory. Raises `InvalidSettings` if that, or writing in it, is not possible."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not (folder / ".gitignore").exists():
            (folder / ".gitignore").write_text("*\n", encoding="utf-8")
        os.close(_open_lock(folder / supervise.USERS_LOCK))
    except OSError as error:
        raise InvalidSettings(
            f"The state directory {folder} cannot be written: {error.strerror or error}.",
            hint="Set TASKMARK_STATE_DIR to a directory you may write to, such as ~/.local/state/taskmark.",
        ) from error


def _open_lock(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)


def _is_supervised(folder: Path) -> bool:
    try:
        descriptor = os.open(folder / supervise.SUPERVISOR_LOCK, os.O_RDWR)
    except OSError:
        return False
    try:
        return not supervise.take(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


def _read_state(folder: Path) -> ServerState | None:
    try:
        return ServerState.model_validate_json((folder / supervise.STATE_FILE).read_bytes())
    except (OSError, ValidationError):
        return None


def _end_stale(folder: Path) -> int | None:
    """Ends a server whose supervisor was killed; returns the port it had, for its users know that one.

    The process is ended only if it is a server on this very database: its id may be someone else's by now.
    """
    state = _read_state(folder)
    if state is None:
        return None
    import psutil  # type: ignore[import-untyped] # it ships no types

    with contextlib.suppress(psutil.Error):
        process = psutil.Process(state.pid)
        if f"--db-filename={command.database(folder)}" in process.cmdline():
            process.kill()
            process.wait(supervise.STOP_SECONDS)
    return state.port


def _spawn_supervisor(folder: Path, instructions: supervise.Instructions) -> subprocess.Popen[bytes]:
    with (folder / "supervisor.log").open("wb") as log:
        return subprocess.Popen(
            # By path and with the standard library alone, see there.
            [sys.executable, "-I", "-S", supervise.__file__, json.dumps(instructions._asdict())],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=folder,
            start_new_session=True,
        )


def _was_late(folder: Path, chosen: command.Ports) -> bool:
    """Whether somebody took a port between its choice and the server's start; he may have left it again."""
    taken = os.strerror(errno.EADDRINUSE).lower()
    return taken in _said(folder, 64 * 1024).lower() or not all(
        ports.is_free(port) for port in (chosen.grpc, chosen.ui, chosen.http)
    )


def _said(folder: Path, most: int, name: str = supervise.LOG_FILE) -> str:
    """Returns the last bytes of a log. A server that breaks says why, then in hundreds of lines where."""
    with contextlib.suppress(OSError):
        return (folder / name).read_bytes()[-most:].decode(errors="replace")
    return ""


def _last_words(folder: Path) -> list[str]:
    said = (_said(folder, 4096, name) for name in ("supervisor.log", supervise.LOG_FILE))
    return [line for text in said for line in text.splitlines()[-LOG_LINES:]]


def _silent(folder: Path) -> Unreachable:
    """What is known about a server that does not come up or does not answer."""
    said = "\n".join(f"    {line}" for line in _last_words(folder)) or "    (nothing)"
    return Unreachable(
        f"The embedded Temporal server does not come up. The last it said:\n{said}",
        hint=f"See {folder / supervise.LOG_FILE}; if {command.database(folder)} is damaged, move it away.",
    )
