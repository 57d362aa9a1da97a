"""`codec`: decrypts what Temporal keeps, for the Web UI and the Temporal CLI."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Collection
from typing import TYPE_CHECKING

import typer

from starter.cli.exits import Exit
from starter.cli.loops import run_async
from starter.cli.terminal import say

if TYPE_CHECKING:
    from taskmark.settings import Settings


def codec() -> Exit:
    """Decrypt for the Web UI and the Temporal CLI.

    Serves their codec endpoint until Ctrl-C, with the keys of TASKMARK_ENCRYPTION_KEYS.
    """
    from starter.cli.clients import settings

    return run_async(_serve(settings()))


async def _serve(settings: Settings) -> Exit:
    from starter.cli.interrupts import interrupts
    from starter.codec_server import Access, CodecServer
    from starter.connection import namespace_of
    from starter.encrypting import keyring_of
    from taskmark.errors import InvalidSettings

    keyring = keyring_of(settings)
    if keyring is None:
        hint = "set TASKMARK_ENCRYPTION_KEYS, such as 2026-01:$(openssl rand -base64 32)"
        raise InvalidSettings("There are no keys to decrypt with.", hint=hint)
    access = Access(settings.codec_token, lambda: _origins(settings), namespace_of(settings))
    with interrupts(settings.grace_seconds) as caught:
        requested = caught.await_request()
        server = CodecServer((settings.bind, settings.codec_port), keyring, access)
        serving = asyncio.create_task(asyncio.to_thread(server.serve_forever))
        typer.echo(server.url)
        sys.stdout.flush()
        say("Ctrl-C ends this.")
        await requested.wait()
        server.shutdown()
        await serving
        server.server_close()
    return Exit.OK


def _origins(settings: Settings) -> Collection[str]:
    """Returns whose pages may ask: those that are set, else the embedded Web UI, wherever it is now."""
    from starter.embedded.ports import UI_PORT
    from starter.embedded.server import running

    if settings.codec_origins:
        return settings.codec_origins
    state = running(settings)
    port = state.ui.rpartition(":")[2] if state else settings.ui_port or UI_PORT
    return (f"http://127.0.0.1:{port}", f"http://localhost:{port}")
