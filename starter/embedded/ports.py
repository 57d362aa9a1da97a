"""Choosing ports on loopback.

A server that died is started again on its port, because its users go on asking there. Were another
project's server faster on that port, they would ask that one, and do its work in their own folders. So
users reserve the port of their server, and nobody chooses a reserved one.
"""

from __future__ import annotations

import fcntl
import os
import socket
import tempfile
from collections.abc import Iterable
from pathlib import Path

from starter.embedded.command import LOOPBACK, Ports
from starter.embedded.supervise import take
from taskmark.errors import InvalidSettings
from taskmark.settings import Settings

GRPC_PORT = 7233
UI_PORT = 8233


def is_free(port: int) -> bool:
    """Whether a server could listen on a port of loopback now."""
    with socket.socket() as probe:
        # As servers do: a port whose last connections are only fading away counts as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def any_free() -> int:
    """Returns a port that nobody listens on."""
    while True:
        with socket.socket() as probe:
            probe.bind((LOOPBACK, 0))
            port = int(probe.getsockname()[1])
        if not is_reserved(port):
            return port


def reserve(port: int) -> int | None:
    """Reserves the port for whoever shares the server there, until the returned descriptor is closed.

    Several may. Returns None where there is no place of our own for it: then nothing is reserved.
    """
    descriptor = _open(port)
    if descriptor is not None:
        fcntl.flock(descriptor, fcntl.LOCK_SH)  # waits only for those who ask, an instant each
    return descriptor


def is_reserved(port: int) -> bool:
    """Whether somebody uses a server on the port, also while that server is down."""
    descriptor = _open(port)
    if descriptor is None:
        return False
    try:
        return not take(descriptor, fcntl.LOCK_EX)
    finally:
        os.close(descriptor)


def _open(port: int) -> int | None:
    """Opens the file that stands for a port, in a folder that only this person can write to."""
    folder = Path(tempfile.gettempdir(), f"taskmark-ports-{os.getuid()}")
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.is_symlink() or folder.stat().st_uid != os.getuid():
            return None
        return os.open(folder / str(port), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError:
        return None


def choose(settings: Settings, previous: int | None) -> Ports:
    """Returns the ports for a new server; `previous` is the port of the one before it, if that is known.

    Raises `InvalidSettings` if a port that was asked for is taken.
    """
    wanted = [port for port in (GRPC_PORT,) if not is_reserved(port)]
    if previous is not None:
        wanted.insert(0, previous)
    return Ports(
        grpc=_pick("TASKMARK_PORT", settings.port, wanted),
        ui=_pick("TASKMARK_UI_PORT", settings.ui_port, (UI_PORT,)),
        http=any_free(),
    )


def _pick(variable: str, explicit: int | None, wanted: Iterable[int]) -> int:
    if explicit is None:
        return next((port for port in wanted if is_free(port)), None) or any_free()
    if not is_free(explicit):
        raise InvalidSettings(
            f"{variable} is {explicit}, but another program listens on that port.",
            hint=f"Set {variable} to a free port, such as {any_free()}, or leave it out to have one chosen.",
        )
    return explicit
