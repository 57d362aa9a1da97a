"""A database whose network falls silent: the call ends in time, and nobody else waits for it."""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from taskmark.errors import Category, StepFailed
from taskmark.tools.sql import Sql

Call = Callable[..., Awaitable[Any]]
SSL, CANCEL = 80877103, 80877102
"""Codes that a client of PostgreSQL begins with."""


def message(kind: bytes, content: bytes) -> bytes:
    return kind + struct.pack("!i", len(content) + 4) + content


WELCOME = (
    message(b"R", struct.pack("!i", 0))
    + message(b"S", b"server_version\0" + b"16.0\0")
    + message(b"S", b"client_encoding\0" + b"UTF8\0")
    + message(b"K", struct.pack("!ii", 1, 2))
    + message(b"Z", b"I")
)


async def _hears(reader: asyncio.StreamReader) -> int:
    """Returns the code that a message without a kind begins with."""
    (size,) = struct.unpack("!i", await reader.readexactly(4))
    code: int = struct.unpack("!i", (await reader.readexactly(size - 4))[:4])[0]
    return code


@asynccontextmanager
async def falling_silent(welcomes: bool) -> AsyncIterator[tuple[Sql, set[asyncio.Task[Any]]]]:
    """A server that says nothing, or nothing any more once somebody has come in; and who is there still."""
    there: set[asyncio.Task[Any]] = set()

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        there.add(task)
        with suppress(OSError, asyncio.IncompleteReadError):
            if welcomes:
                code = await _hears(reader)
                if code == SSL:
                    writer.write(b"N")
                    code = await _hears(reader)
                if code != CANCEL:
                    writer.write(WELCOME)
            while await reader.read(4096):
                pass
        writer.close()
        there.discard(task)

    async with await asyncio.start_server(meet, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        yield Sql({"x": f"postgresql://u:geheim@127.0.0.1:{port}/x"}), there
        for task in there:
            task.cancel()


async def others_go_on(until: Awaitable[Any]) -> float:
    """Returns the longest time that nobody else of this process had a turn, until something has ended."""
    longest, waiting = 0.0, asyncio.ensure_future(until)
    while not waiting.done():
        before = time.monotonic()
        await asyncio.wait({waiting}, timeout=0.01)
        longest = max(longest, time.monotonic() - before)
    return longest


@pytest.mark.parametrize("welcomes", [False, True])
async def test_a_database_that_falls_silent_ends_the_call_in_time(welcomes: bool, call: Call) -> None:
    async with falling_silent(welcomes) as (tool, there):
        before = time.monotonic()
        calling = asyncio.ensure_future(call(tool, query="SELECT 1", timeout="1s"))
        assert await others_go_on(asyncio.wait({calling})) < 0.5
        with pytest.raises(StepFailed) as caught:
            await calling
        assert caught.value.category is Category.TRANSIENT
        assert "geheim" not in caught.value.message
        assert time.monotonic() - before < 4
        while welcomes and there and time.monotonic() - before < 8:
            await asyncio.sleep(0.02)
        assert not welcomes or not there


async def test_a_step_that_is_cancelled_waits_for_no_database(call: Call) -> None:
    async with falling_silent(welcomes=True) as (tool, there):
        calling = asyncio.ensure_future(call(tool, query="SELECT 1", timeout="60s"))
        await asyncio.sleep(0.5)
        before = time.monotonic()
        calling.cancel()
        assert await others_go_on(asyncio.wait({calling})) < 0.5
        assert calling.cancelled()
        assert time.monotonic() - before < 1
        while there and time.monotonic() - before < 5:
            await asyncio.sleep(0.02)
        assert not there
