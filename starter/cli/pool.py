"""Several worker processes as one: started together, replaced when one dies, ended together."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence

from starter.cli.exits import Exit
from starter.cli.interrupts import interrupts
from starter.cli.terminal import say

TOO_SOON_SECONDS = 5.0
"""A worker that fails within this time would fail again: what is wrong with it is for a person to see."""


async def supervise(count: int, words: Sequence[str], grace: float) -> Exit:
    """Runs so many processes of a command of ours until told to end, or until one cannot even start.

    A process is asked to end by closing its stdin, so it also ends if this process is killed.
    """
    with interrupts(grace) as caught:
        requested = caught.await_request()
        keepers = [asyncio.ensure_future(_keep(words, requested)) for _ in range(count)]
        await asyncio.wait(keepers, return_when=asyncio.FIRST_COMPLETED)
        if not requested.is_set():
            requested.set()
        else:
            say(f"ending {count} workers; running steps have {grace:.0f} s")
        codes = await asyncio.gather(*keepers)
    return next((code for code in codes if code is not Exit.OK), Exit.OK)


async def _keep(words: Sequence[str], requested: asyncio.Event) -> Exit:
    """Keeps one process running. Returns its code if it failed at once, else once it was asked to end."""
    while not requested.is_set():
        started = time.monotonic()
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "starter.cli.entry", *words, stdin=asyncio.subprocess.PIPE
        )
        code = await _until_end(process, requested)
        if requested.is_set():
            break
        if time.monotonic() - started < TOO_SOON_SECONDS:
            return Exit(code) if code in Exit.__members__.values() else Exit.FAILED
        say(f"a worker ended with code {code}; starting another")
    return Exit.OK


async def _until_end(process: asyncio.subprocess.Process, requested: asyncio.Event) -> int:
    """Waits for the process, and asks it to end when that is wanted."""
    ended = asyncio.ensure_future(process.wait())
    asked = asyncio.ensure_future(requested.wait())
    await asyncio.wait((ended, asked), return_when=asyncio.FIRST_COMPLETED)
    asked.cancel()
    assert process.stdin is not None
    process.stdin.close()
    return await ended
