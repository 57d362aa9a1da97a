"""Networks that hang, break off, trickle or never end: a call ends in time, says why, and nothing is left."""

from __future__ import annotations

import asyncio
import gzip
import socket
import ssl
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import psutil
import pytest

from taskmark.contracts import ADAPTER_LIMIT
from taskmark.errors import Category, StepFailed
from taskmark.tools.network import NetworkPolicy
from taskmark.tools.web import Http

Call = Callable[..., Awaitable[Any]]
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

LOCAL = Http(NetworkPolicy(allow_private=True), certificates=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
SECONDS = 0.6
"""What each call may take; a machine that is busy needs a little more to tell."""
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


@dataclass
class Peers:
    """A server that treats everybody badly, and knows who has gone."""

    url: str = ""
    talking: set[asyncio.Task[Any]] = field(default_factory=set)

    async def all_gone(self) -> bool:
        """Whether everybody has hung up by now."""
        if self.talking:
            await asyncio.wait(self.talking, timeout=2)
        return not any(not task.done() for task in self.talking)


@asynccontextmanager
async def serving(talk: Talk) -> AsyncIterator[Peers]:
    peers = Peers()

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        peers.talking.add(task)
        with suppress(OSError, asyncio.IncompleteReadError):
            await talk(reader, writer)
        writer.close()

    async with await asyncio.start_server(meet, "127.0.0.1", 0) as server:
        peers.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        yield peers
        for task in peers.talking:
            task.cancel()


def says(*parts: bytes, every: float = 0.0, again: bool = False, then_waits: bool = False) -> Talk:
    """Hears the request and says these parts, so many seconds apart, once or for ever."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        told = False
        while again or not told:
            for part in parts[1 if told else 0 :]:
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(every)
            told = True
        if then_waits:
            await until_it_hangs_up(reader, writer)

    return talk


async def until_it_hangs_up(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    while await reader.read(65_536):
        pass


async def breaks_off(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Resets the connection in the middle of the body."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(OK + b"Content-Length: 1000\r\n\r\nhalf")
    await writer.drain()
    lingering = writer.get_extra_info("socket")
    lingering.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


async def hears_nothing(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.transport.pause_reading()  # type: ignore[attr-defined]  # of a transport that reads, as this one is
    await asyncio.sleep(SECONDS)
    writer.transport.resume_reading()  # type: ignore[attr-defined]  # the same


def packed(body: bytes, encoding: str = "gzip") -> bytes:
    return OK + f"Content-Encoding: {encoding}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def empty_blocks(size: int) -> bytes:
    """Returns so many bytes that are a begun gzip of nothing."""
    return gzip.compress(b"")[:10] + b"\0\0\0\xff\xff" * (size // 5)


BOMB = gzip.compress(b"\0" * 100_000_000, 9)
TRANSIENT, LOGIC, RESOURCE = Category.TRANSIENT, Category.LOGIC, Category.RESOURCE
LATE = r"no answer within"
CASES: dict[str, tuple[Talk, Category, str]] = {
    "silent": (until_it_hangs_up, TRANSIENT, LATE),
    "silent after the head": (says(OK + b"\r\n", then_waits=True), TRANSIENT, LATE),
    "deaf": (hears_nothing, TRANSIENT, LATE),
    "head in drops": (says(OK + b"X: ", b"y", every=0.05, again=True), TRANSIENT, LATE),
    "body in drops": (
        says(OK + b"Content-Length: 9999\r\n\r\n", b"x", every=0.05, again=True),
        TRANSIENT,
        LATE,
    ),
    "chunks in drops": (says(CHUNKED, b"1\r\nx\r\n", every=0.05, again=True), TRANSIENT, LATE),
    "gone at once": (says(), TRANSIENT, "disconnected"),
    "gone in the head": (says(OK + b"X: y"), TRANSIENT, "."),
    "gone in the body": (says(OK + b"Content-Length: 1000\r\n\r\nhalf"), TRANSIENT, "."),
    "gone in a chunk": (says(CHUNKED + b"ff\r\nhalf"), TRANSIENT, "."),
    "breaks off": (breaks_off, TRANSIENT, "."),
    "head without end": (says(OK, b"X: " + b"y" * 9_000 + b"\r\n", again=True), TRANSIENT, "."),
    "line without end": (says(OK + b"X: ", b"y" * 9_000, again=True), TRANSIENT, "."),
    "status without end": (says(b"HTTP/1.1 200 ", b"y" * 9_000, again=True), TRANSIENT, "."),
    "soon without end": (
        says(b"", b"HTTP/1.1 103 Soon\r\n\r\n" * 100, every=0.001, again=True),
        TRANSIENT,
        LATE,
    ),
    "body without end": (says(OK + b"\r\n", b"x" * 9_000, again=True), RESOURCE, "more than"),
    "chunks without end": (
        says(CHUNKED, b"400\r\n" + b"x" * 1024 + b"\r\n", again=True),
        RESOURCE,
        "more than",
    ),
    "tiny chunks without end": (says(CHUNKED, b"1\r\nx\r\n" * 1000, again=True), TRANSIENT, LATE),
    "chunk size without end": (says(CHUNKED, b"0" * 9_000, again=True), TRANSIENT, "."),
    "chunk notes without end": (says(CHUNKED + b"1;", b"x" * 9_000, again=True), TRANSIENT, "."),
    "trailer without end": (says(CHUNKED + b"0\r\n", b"X: y\r\n" * 999, again=True), TRANSIENT, "."),
    "too short": (says(OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx"), TRANSIENT, "."),
    "below zero": (says(OK + b"Content-Length: -1\r\n\r\nxx"), TRANSIENT, "."),
    "no number": (says(OK + b"Content-Length: many\r\n\r\nxx"), TRANSIENT, "."),
    "no http": (says(b"SSH-2.0-OpenSSH_9.6\r\n", then_waits=True), TRANSIENT, "."),
    "no status": (says(b"HTTP/1.1 99999 OK\r\n\r\n"), TRANSIENT, "."),
    "bomb": (says(packed(BOMB)), RESOURCE, "more than"),
    "bomb in a bomb": (says(packed(gzip.compress(BOMB), "gzip, gzip")), LOGIC, "not asked for"),
    "packed as nobody asked": (says(packed(b"\x0b\x02\x80x\x03", "br")), LOGIC, "not asked for"),
    "packed nothing without end": (
        says(OK + b"Content-Encoding: gzip\r\n\r\n" + empty_blocks(4 * ADAPTER_LIMIT), then_waits=True),
        RESOURCE,
        "more than",
    ),
    "packed and cut off": (says(packed(gzip.compress(b"abc" * 99)[:-9])), TRANSIENT, "in the middle"),
    "packed badly": (says(packed(b"not gzip at all")), TRANSIENT, "cannot be unpacked"),
    "redirects to nowhere": (
        says(b"HTTP/1.1 302 Go\r\nLocation: http://0177.0.0.1/\r\n\r\n"),
        LOGIC,
        "no URL",
    ),
}


@asynccontextmanager
async def others_go_on() -> AsyncIterator[None]:
    """Fails if nobody else of this process had a turn for long."""
    longest, stopped = 0.0, False

    async def tick() -> None:
        nonlocal longest
        while not stopped:
            before = time.monotonic()
            await asyncio.sleep(0.01)
            longest = max(longest, time.monotonic() - before)

    ticking = asyncio.ensure_future(tick())
    yield
    stopped = True
    await ticking
    assert longest < 1.5


@pytest.mark.parametrize("case", CASES)
async def test_a_call_ends_in_time_with_a_reason_and_leaves_no_connection(case: str, call: Call) -> None:
    talk, category, reason = CASES[case]
    with suppress(StepFailed):  # what is made once is not counted
        await call(LOCAL, url="http://127.0.0.1:1/")
    open_before = psutil.Process().num_fds()
    async with serving(talk) as peers:
        before = time.monotonic()
        async with others_go_on():
            with pytest.raises(StepFailed, match=reason) as caught:
                await call(
                    LOCAL,
                    method="POST",
                    url=peers.url,
                    body="x" * 8_000_000,
                    timeout=f"{int(SECONDS * 1000)}ms",
                ) if case == "deaf" else await call(LOCAL, url=peers.url, timeout="600ms")
        assert caught.value.category is category, caught.value.message
        assert time.monotonic() - before < SECONDS + 3
        assert await peers.all_gone()
    await asyncio.sleep(0)
    assert psutil.Process().num_fds() <= open_before


async def test_a_step_that_is_cancelled_leaves_no_connection(call: Call) -> None:
    async with serving(until_it_hangs_up) as peers:
        calling = asyncio.ensure_future(call(LOCAL, url=peers.url, timeout="30s"))
        while not peers.talking:
            await asyncio.sleep(0.01)
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling
        assert await peers.all_gone()


async def test_what_is_longer_than_it_says_is_as_long_as_it_says(call: Call) -> None:
    async with serving(says(OK + b"Content-Length: 2\r\n\r\nokHTTP/1.1 500 Smuggled\r\n\r\n")) as peers:
        assert (await call(LOCAL, url=peers.url))["text"] == "ok"


async def test_an_encryption_that_never_begins_ends_in_time(call: Call) -> None:
    async with serving(until_it_hangs_up) as peers:
        with pytest.raises(StepFailed, match=LATE) as caught:
            await call(LOCAL, url=peers.url.replace("http:", "https:"), timeout="300ms")
        assert caught.value.category is Category.TRANSIENT
        assert await peers.all_gone()


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "GZIP", "deflate"])
async def test_what_is_packed_is_unpacked(encoding: str, call: Call) -> None:
    body = zlib.compress(b"abc" * 999) if encoding == "deflate" else gzip.compress(b"abc" * 999)
    async with serving(says(packed(body, encoding))) as peers:
        assert (await call(LOCAL, url=peers.url))["text"] == "abc" * 999


@pytest.mark.parametrize(
    "charset", ["punycode", "idna", "undefined", "rot13", "zip", "no-such", "utf-7", "x" * 999]
)
async def test_an_encoding_of_texts_that_is_none_takes_no_time(charset: str, call: Call) -> None:
    """Some of Python's are slower the longer the text is, until nothing else of the worker runs."""
    body = b"ba" * 120_000
    head = f"Content-Type: text/plain; charset={charset}\r\nContent-Length: {len(body)}\r\n\r\n"
    async with serving(says(OK + head.encode() + body)) as peers, others_go_on():
        assert (await call(LOCAL, url=peers.url))["text"].startswith("baba")


@pytest.mark.parametrize(
    "given",
    [
        {"url": "http://127.0.0.1/\ud800"},
        {"body": "\ud800", "method": "POST"},
        {"json": "\ud800", "method": "POST"},
        {"headers": {"X": "\ud800"}},
        {"headers": {"X Y": "z"}},
    ],
)
async def test_what_cannot_be_sent_is_a_mistake_of_the_file(given: dict[str, Any], call: Call) -> None:
    async with serving(says(OK + b"Content-Length: 0\r\n\r\n")) as peers:
        with pytest.raises(StepFailed) as caught:
            await call(LOCAL, **{"url": peers.url, **given})
    assert caught.value.category is Category.CONFIGURATION
