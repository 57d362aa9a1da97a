"""Choosing ports on loopback."""

from __future__ import annotations

import socket
from collections.abc import Iterable

from starter.embedded.command import LOOPBACK, Ports
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
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def choose(settings: Settings, previous: int | None) -> Ports:
    """Returns the ports for a new server; `previous` is the port of the one before it, if that is known.

    Raises `InvalidSettings` if a port that was asked for is taken.
    """
    wanted = (GRPC_PORT,) if previous is None else (previous, GRPC_PORT)
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
