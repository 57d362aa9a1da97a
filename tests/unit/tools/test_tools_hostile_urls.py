"""However a URL is written, wherever a server sends the call, whatever a name means: nothing private is met.

Somebody listens on every address of this machine meanwhile and counts who comes.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from hostile_urls import RESOLVED, corpus

from taskmark.errors import Category, StepFailed
from taskmark.tools import network
from taskmark.tools.network import NetworkPolicy, resolve
from taskmark.tools.web import Http

Call = Callable[..., Awaitable[Any]]
FRONT = "127.0.0.2"
NOBODY = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Trusts nobody, and takes no time to make."""


@dataclass
class Listener:
    """Counts who connects on any address of this machine, but for the one that counts as public."""

    ports: tuple[int, ...] = ()
    connections: int = 0

    async def handle(self, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += writer.get_extra_info("sockname")[0] != FRONT
        writer.close()


@pytest.fixture
async def listener() -> AsyncIterator[Listener]:
    listening = Listener()
    hosts = ["0.0.0.0", "::" if socket.has_ipv6 else "127.0.0.1"]
    servers = [await asyncio.start_server(listening.handle, host, 0) for host in hosts]
    listening.ports = tuple(server.sockets[0].getsockname()[1] for server in servers)
    yield listening
    for server in servers:
        server.close()
        await server.wait_closed()


async def refused(call: Awaitable[Any]) -> StepFailed:
    """Returns the failure; what cannot be resolved may pass, everything else will not."""
    with pytest.raises(StepFailed) as caught:
        await call
    may_pass = "cannot be resolved" in caught.value.message
    assert caught.value.category is (Category.TRANSIENT if may_pass else Category.CONFIGURATION), str(caught)
    return caught.value


async def test_no_url_of_the_corpus_reaches_anybody(listener: Listener, call: Call) -> None:
    urls, tool = corpus(), Http(certificates=NOBODY)
    assert len(urls) >= 400
    for url in urls:
        await refused(call(tool, url=url.replace("{port}", str(listener.ports["[" in url]))))
    assert listener.connections == 0


class OneIsPublic(NetworkPolicy):
    """The usual policy, for which one address of this machine counts as public."""

    def check_addresses(self, host: str, addresses: Sequence[str]) -> None:
        super().check_addresses(host, [address for address in addresses if address != FRONT])


class Front:
    """A server on the address that counts as public: it sends everybody on."""

    def __init__(self) -> None:
        self.location = ""
        self.connections = 0

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        await reader.readuntil(b"\r\n\r\n")
        where = self.location.encode(errors="surrogatepass").replace(b"\r\n", b" ").replace(b"\n", b" ")
        writer.write(b"HTTP/1.1 307 On\r\nContent-Length: 0\r\nLocation: " + where + b"\r\n\r\n")
        writer.close()


async def test_no_redirect_of_the_corpus_reaches_anybody(listener: Listener, call: Call) -> None:
    """Wherever a public server sends the call, each hop is checked like the first one."""
    front = Front()
    tool = Http(OneIsPublic(), certificates=NOBODY)
    async with await asyncio.start_server(front.handle, FRONT, 0) as server:
        url = f"http://{FRONT}:{server.sockets[0].getsockname()[1]}/"
        for location in corpus():
            front.location = location.replace("{port}", str(listener.ports["[" in location]))
            with pytest.raises(StepFailed):
                print(ascii(location), await call(tool, url=url))
    assert listener.connections == 0
    assert front.connections >= len(corpus())


@pytest.mark.parametrize("address", RESOLVED)
async def test_a_name_that_means_a_private_address_is_refused(
    address: str, listener: Listener, call: Call
) -> None:
    """Alone, or as one of several."""
    for answer in ([address], ["1.1.1.1", address], [address, "2606:4700::1111"]):

        async def answering(_host: str, _port: int, found: Sequence[str] = tuple(answer)) -> Sequence[str]:
            return found

        tool = Http(resolver=answering, certificates=NOBODY)
        for port in listener.ports:
            failure = await refused(call(tool, url=f"http://harmless.test:{port}/"))
            assert "is refused" in failure.message
    assert listener.connections == 0


async def test_a_name_that_changes_its_meaning_leads_to_nobody(listener: Listener, call: Call) -> None:
    """It is asked for once a connection, and the connection goes to the very address that was checked."""
    front, asked = Front(), 0

    async def rebinding(_host: str, _port: int) -> list[str]:
        nonlocal asked
        asked += 1
        return [FRONT] if asked == 1 else ["127.0.0.1"]

    tool = Http(OneIsPublic(), certificates=NOBODY, resolver=rebinding)
    async with await asyncio.start_server(front.handle, FRONT, 0) as server:
        port = server.sockets[0].getsockname()[1]
        for other in (port, *listener.ports):
            asked, front.connections, front.location = 0, 0, f"http://rebind.test:{other}/again"
            with pytest.raises(StepFailed, match=r"127\.0\.0\.1 is a private address"):
                await call(tool, url=f"http://rebind.test:{port}/")
            assert (asked, front.connections) == (2, 1)
    assert listener.connections == 0


async def test_a_name_server_that_is_silent_stands_in_nobodys_way(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing can end such a question; but no step waits for it, whether it calls or works with files."""
    monkeypatch.setattr(network, "_ask", lambda _host, _port: time.sleep(3))
    before = time.monotonic()
    tool = Http(certificates=NOBODY)
    calls = [call(tool, url="http://silent.test/", timeout="200ms") for _ in range(40)]
    beside = [asyncio.to_thread(time.sleep, 0.01) for _ in range(40)]
    for failure in (await asyncio.gather(*calls, *beside, return_exceptions=True))[: len(calls)]:
        assert isinstance(failure, StepFailed)
        assert failure.category is Category.TRANSIENT
    assert time.monotonic() - before < 2


async def test_what_the_system_says_of_a_name_is_told() -> None:
    with pytest.raises(OSError, match=r"."):
        await resolve("no-such-host.invalid", 80)
    with pytest.raises(UnicodeError):
        await resolve("a" * 64, 80)
