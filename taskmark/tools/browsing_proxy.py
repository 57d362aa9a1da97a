"""Every connection of a browser, checked in one place: a small SOCKS proxy in the worker.

A browser connects for more reasons than anybody can list: pages, redirects, frames, images, scripts, sockets,
service workers, preconnections. So it is not asked what it is about to do. It can connect to nothing but this
proxy, gives it names instead of addresses, and the proxy does what the tool `http` does: resolves a name
once, checks every address it has, and connects to one of these very addresses. A name that resolves
differently the second time leads nowhere. TLS ends in the browser: nobody reads along.

Each step has a proxy of its own, which ends with it, and with it every connection of the step.
"""

from __future__ import annotations

import asyncio
import ipaddress
import struct
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Final, Self

import httpcore2
import httpx2

from taskmark.errors import Category, StepFailed
from taskmark.tools.network import CheckedBackend, NetworkPolicy, Resolve, resolve

if TYPE_CHECKING:
    from types import TracebackType

CHUNK: Final = 64 * 1024
CONNECT_SECONDS: Final = 15.0
"""For one connection, from the browser's wish to the server's answer."""
MOST_REMEMBERED: Final = 100
"""Places of which is kept why they were not connected to."""
# RFC 1928, as far as Chromium speaks it.
_VERSION: Final = 5
_CONNECT: Final = 1
_IPV4, _NAME, _IPV6 = 1, 3, 4
_DONE, _NOT_ALLOWED, _UNREACHABLE = 0, 2, 4


class Proxy:
    """A SOCKS proxy on loopback that connects only to where the policy allows."""

    def __init__(self, policy: NetworkPolicy, resolver: Resolve | None = None) -> None:
        self._policy = policy
        self._backend = CheckedBackend(policy, resolver or resolve)
        self._connections: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.problems: dict[str, StepFailed] = {}
        """Why there was no connection, by `host:port`: configuration if it may not be, transient if it could
        not."""

    @property
    def url(self) -> str:
        """Where it listens, as the browser is told."""
        assert self._server is not None
        return f"socks5://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    @property
    def refused(self) -> list[str]:
        """Each `host:port` that may not be connected to, and to which the browser wanted."""
        problems = self.problems.items()
        return sorted(place for place, problem in problems if problem.category is Category.CONFIGURATION)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serves one connection of the browser, to its end."""
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            await self._pass_on(reader, writer)
        except (OSError, EOFError, TimeoutError):
            pass  # it is gone, or speaks another protocol
        except asyncio.CancelledError:
            writer.transport.abort()  # the step is over; asyncio takes a cancelled handler for a mistake
        finally:
            self._connections.discard(task)
            writer.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Connects to where the browser wants to, if it may, and passes on what both say."""
        async with asyncio.timeout(CONNECT_SECONDS):
            stream = await self._connected(*await _wanted(reader, writer))
        if isinstance(stream, int):
            writer.write(_answer(stream))
            return
        try:
            writer.write(_answer(_DONE))
            await _until_one_ends(_upwards(reader, stream), _downwards(stream, writer))
        finally:
            await stream.aclose()

    async def _connected(self, host: str, port: int) -> httpcore2.AsyncNetworkStream | int:
        """Returns a connection, or the number that tells the browser why there is none.

        Whether TLS follows cannot be seen here; the policy makes no difference.
        """
        try:
            self._policy.check_url(httpx2.URL(f"http://{place(host, port)}/"))
            return await self._backend.connect_tcp(host, port, CONNECT_SECONDS)
        except StepFailed as refusal:
            self._remember(place(host, port), refusal)
            return _NOT_ALLOWED
        except (httpcore2.ConnectError, httpcore2.ConnectTimeout, httpx2.InvalidURL, ValueError) as error:
            said = str(error) or type(error).__name__
            self._remember(place(host, port), StepFailed(f"{host}: {said}"))
            return _UNREACHABLE

    def _remember(self, where: str, problem: StepFailed) -> None:
        if where in self.problems or len(self.problems) < MOST_REMEMBERED:
            self.problems[where] = problem


def place(host: str, port: int) -> str:
    """Returns `host:port`, as it stands in a URL and in the list of allowed hosts."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


async def _wanted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[str, int]:
    """Returns the host and port that the browser asks for. Raises `EOFError` or `OSError` for what speaks
    another protocol."""
    version, methods = await reader.readexactly(2)
    if version != _VERSION:
        raise ConnectionError("this is not SOCKS 5")
    await reader.readexactly(methods)
    writer.write(bytes((_VERSION, 0)))
    version, command, _, kind = await reader.readexactly(4)
    if version != _VERSION or command != _CONNECT:
        raise ConnectionError("this is no wish to connect")
    host = await _host(reader, kind)
    (port,) = struct.unpack("!H", await reader.readexactly(2))
    return host, port


async def _host(reader: asyncio.StreamReader, kind: int) -> str:
    """Returns the host that is asked for: a name, or an address as text."""
    if kind == _NAME:
        (length,) = await reader.readexactly(1)
        return (await reader.readexactly(length)).decode("ascii", errors="replace").strip("[]")
    if kind not in (_IPV4, _IPV6):
        raise ConnectionError("this is no kind of address")
    return str(ipaddress.ip_address(await reader.readexactly(4 if kind == _IPV4 else 16)))


def _answer(number: int) -> bytes:
    """Returns the answer to a wish. Which address it became is nobody's concern."""
    return struct.pack("!BBBBIH", _VERSION, number, 0, _IPV4, 0, 0)


async def _upwards(reader: asyncio.StreamReader, stream: httpcore2.AsyncNetworkStream) -> None:
    """Passes on what the browser says, until it says no more."""
    while part := await reader.read(CHUNK):
        await stream.write(part)


async def _downwards(stream: httpcore2.AsyncNetworkStream, writer: asyncio.StreamWriter) -> None:
    """Passes on what the server says, until it says no more."""
    while part := await stream.read(CHUNK):
        writer.write(part)
        await writer.drain()


async def _until_one_ends(*ways: Coroutine[Any, Any, None]) -> None:
    """Returns when one of them has ended, however it did; the others are ended then."""
    tasks = [asyncio.ensure_future(way) for way in ways]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
