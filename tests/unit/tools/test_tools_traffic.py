"""What calls send and receive: counted, and no faster than it may be."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from taskmark.errors import StepFailed
from taskmark.ports import StepContext
from taskmark.task.model import StepLimits
from taskmark.tools.browsing_proxy import Proxy
from taskmark.tools.network import NetworkPolicy
from taskmark.tools.traffic import Throttle, metered
from taskmark.tools.web import Http

LOCAL = NetworkPolicy(allow_private=True)
SIZE = 60_000


class Sender:
    """A server that answers with so many bytes, and knows how many it got and could send."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.got = 0
        self.url = ""

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.got += len(head)
        lines = head.lower().split(b"\r\n")
        length = next((line for line in lines if line.startswith(b"content-length")), b": 0")
        self.got += len(await reader.readexactly(int(length.rpartition(b":")[2])))
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % self.size)
        writer.write(b"x" * self.size)
        await writer.drain()
        writer.close()


@pytest.fixture
async def sender() -> AsyncIterator[Sender]:
    found = Sender(SIZE)
    async with await asyncio.start_server(found.answer, "127.0.0.1", 0) as server:
        found.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        yield found


async def seconds(context: StepContext, throttle: Throttle | None = None, **arguments: object) -> float:
    """Returns how long a call takes."""
    http, begin = Http(LOCAL), time.monotonic()
    with metered(context, throttle):
        await http.execute(http.validate(arguments), context)
    return time.monotonic() - begin


def limited(context: StepContext, rate: int) -> StepContext:
    return replace(context, limits=StepLimits(network=rate))


async def test_what_a_call_sends_and_receives_is_measured(sender: Sender, context: StepContext) -> None:
    """Headers too."""
    await seconds(context, url=sender.url, method="POST", body="y" * 1000)
    assert context.resources["sent_bytes"] == sender.got > 1000
    assert SIZE < context.resources["received_bytes"] < SIZE + 200


@pytest.mark.semantics("U7")
async def test_a_step_receives_no_faster_than_it_may(sender: Sender, context: StepContext) -> None:
    took = await seconds(limited(context, 2 * SIZE), url=sender.url)
    assert 0.45 < took < 3


@pytest.mark.semantics("U7")
async def test_a_step_sends_no_faster_than_it_may(sender: Sender, context: StepContext) -> None:
    sender.size = 1
    took = await seconds(limited(context, 2 * SIZE), url=sender.url, method="POST", body="y" * SIZE)
    assert 0.45 < took < 3


@pytest.mark.semantics("U7")
async def test_all_steps_of_a_worker_share_its_rate(sender: Sender, context: StepContext) -> None:
    throttle = Throttle(4 * SIZE)
    begin = time.monotonic()
    await asyncio.gather(*(seconds(context, throttle, url=sender.url) for _ in range(2)))
    assert 0.45 < time.monotonic() - begin < 3


async def test_without_a_rate_nobody_waits(sender: Sender, context: StepContext) -> None:
    assert await seconds(context, url=sender.url) < 0.4


async def test_a_timeout_runs_while_a_call_waits_for_its_rate(sender: Sender, context: StepContext) -> None:
    """What came by then is measured; the rest stays where it is."""
    with pytest.raises(StepFailed, match="no answer within"):
        await seconds(limited(context, SIZE // 10), url=sender.url, timeout="500ms")
    assert context.resources["received_bytes"] < SIZE / 2


async def test_nothing_is_counted_for_a_call_that_has_ended(sender: Sender, context: StepContext) -> None:
    await seconds(context, url=sender.url)
    before = dict(context.resources)
    http = Http(LOCAL)
    await http.execute(http.validate({"url": sender.url}), context)
    assert context.resources == before


async def test_what_a_browser_receives_is_traffic_of_its_step(sender: Sender, context: StepContext) -> None:
    """Whatever it connects for: it can do so by its step's proxy alone."""
    port = int(sender.url.rstrip("/").rpartition(":")[2])
    limits = limited(context, 2 * SIZE)
    begin = time.monotonic()
    with metered(limits):
        async with Proxy(LOCAL) as proxy:
            reader, writer = await asyncio.open_connection("127.0.0.1", int(proxy.url.rpartition(":")[2]))
            writer.write(b"\x05\x01\x00")
            await reader.readexactly(2)
            writer.write(b"\x05\x01\x00\x01\x7f\x00\x00\x01" + port.to_bytes(2, "big"))
            await reader.readexactly(10)
            writer.write(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
            received = len(await reader.read())
            writer.close()
    assert limits.resources["received_bytes"] == received > SIZE
    assert 0.45 < time.monotonic() - begin < 3
