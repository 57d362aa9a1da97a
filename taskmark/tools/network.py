"""Where HTTP calls may go: checked for every request, redirects too, at the moment of connecting.

A name is resolved once, every address it has is checked, and the connection goes to one of these very
addresses; so a name that resolves differently the second time leads nowhere. TLS and the Host header keep
the name. Proxies from the environment are not used: they would connect on our behalf, unchecked.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import httpcore2
import httpx2

from taskmark.errors import Category, StepFailed
from taskmark.tools.addresses import Reach, reach
from taskmark.tools.own_thread import in_own_thread
from taskmark.tools.traffic import Traffic, traffic

if TYPE_CHECKING:
    import ssl

    from httpcore2 import SOCKET_OPTION

DEFAULT_PORTS: Final = {"http": 80, "https": 443}

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Host and port to addresses."""


@dataclass(frozen=True)
class NetworkPolicy:
    """What settings allow."""

    allow_hosts: tuple[str, ...] = ()
    """`host`, `*.domain`, either with `:port`; empty means any host."""
    allow_private: bool = False
    """Whether loopback and local networks count as public."""

    def check_url(self, url: httpx2.URL) -> None:
        """Raises `StepFailed` (configuration) for a URL that may not be called, whatever it resolves to."""
        if url.scheme not in DEFAULT_PORTS:
            raise _refused(str(url), f"only http and https are spoken, not {url.scheme or 'none'!r}")
        if not url.host or "%" in url.host or not 0 < (url.port or DEFAULT_PORTS[url.scheme]) < 65536:
            raise _refused(f"{url.scheme}://{url.host}", "it names no host and port that can be")
        if url.userinfo:
            raise _refused(f"{url.scheme}://…@{url.host}", "it has a user or password in it; use a header")
        host = url.host.rstrip(".").lower()
        port = url.port or DEFAULT_PORTS[url.scheme]
        if self.allow_hosts and not any(_names(entry, host, port) for entry in self.allow_hosts):
            raise _refused(host, "it is not among the allowed hosts", "TASKMARK_HTTP_ALLOW_HOSTS lists them")

    def check_addresses(self, host: str, addresses: Sequence[str]) -> None:
        """Raises `StepFailed` (configuration) if any of a host's addresses may not be connected to."""
        for address in addresses:
            whose = reach(address)
            if whose is Reach.FORBIDDEN:
                raise _refused(host, f"{address} is no address for a task")
            if whose is Reach.PRIVATE and not self.allow_private:
                hint = "TASKMARK_HTTP_ALLOW_PRIVATE=true allows them"
                raise _refused(host, f"{address} is a private address", hint)


def _names(entry: str, host: str, port: int) -> bool:
    """Whether an entry of the allow list names the host and port."""
    name, colon, number = entry.lower().rpartition(":")
    if not colon or not number.isdigit():
        name, number = entry.lower(), str(port)
    name = name.strip("[]").rstrip(".")
    fits = host.endswith(name[1:]) if name.startswith("*.") else host == name
    return fits and number == str(port)


def _refused(what: str, reason: str, hint: str | None = None) -> StepFailed:
    """Returns the error for a call that is not allowed."""
    return StepFailed(f"call to {what} is refused: {reason}", Category.CONFIGURATION, hint=hint)


async def resolve(host: str, port: int) -> Sequence[str]:
    """Returns a host's addresses as the system resolves it. Raises `OSError` if it has none.

    A name server that does not answer holds a thread for up to a minute, and nothing can end it.
    """
    return await in_own_thread(lambda: _ask(host, port), f"resolve {host}")


def _ask(host: str, port: int) -> Sequence[str]:
    """Returns each address once, in the system's order."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class CheckedBackend(httpcore2.AsyncNetworkBackend):
    """Connects to checked addresses only."""

    def __init__(self, policy: NetworkPolicy, resolver: Resolve) -> None:
        self._policy = policy
        self._resolve = resolver
        self._backend = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  # the interface has it
        local_address: str | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Returns a connection to the first address that answers. Raises `StepFailed` or `ConnectError`."""
        try:
            addresses = await self._resolve(host, port)
        except (OSError, UnicodeError) as error:
            raise httpcore2.ConnectError(f"{host} cannot be resolved: {error}") from error
        self._policy.check_addresses(host, addresses)
        problem: Exception = httpcore2.ConnectError(f"{host} has no address")
        for address in addresses:
            try:
                stream = await self._backend.connect_tcp(
                    address, port, timeout, local_address, socket_options
                )
                return _Connection(stream, traffic())
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                problem = error
        raise problem


class _Connection(httpcore2.AsyncNetworkStream):
    """A connection that counts what goes through it, without what encryption adds, at the call's rate.

    It is closed, too, if its encryption is given up before it has begun. The library closes it after an
    error, but not after a cancellation: against a server that says nothing it would stay open.
    """

    def __init__(self, stream: httpcore2.AsyncNetworkStream, traffic: Traffic) -> None:
        self._stream = stream
        self._traffic = traffic
        self.aclose, self.get_extra_info = stream.aclose, stream.get_extra_info  # type: ignore[method-assign]  # handed on as they are

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109  # the interface has it
        """Returns what came, once more may come."""
        data = await self._stream.read(min(max_bytes, self._traffic.part or max_bytes), timeout)
        await self._traffic.received(len(data))
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109  # the interface has it
        """Sends it, and returns once more may go."""
        part = self._traffic.part or len(buffer) or 1
        for begin in range(0, len(buffer), part):
            data = buffer[begin : begin + part]
            await self._stream.write(data, timeout)
            await self._traffic.sent(len(data))

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109  # the interface has it
    ) -> httpcore2.AsyncNetworkStream:
        """Returns the encrypted connection. Raises `ConnectError`."""
        try:
            encrypted = await self._stream.start_tls(ssl_context, server_hostname, timeout)
        except BaseException:
            await self._stream.aclose()
            raise
        return _Connection(encrypted, self._traffic)


class CheckedTransport(httpx2.AsyncHTTPTransport):
    """A transport that checks each request's URL and each connection's address."""

    def __init__(self, policy: NetworkPolicy, context: ssl.SSLContext, resolver: Resolve = resolve) -> None:
        super().__init__(verify=context, trust_env=False)
        self._policy = policy
        # httpx2 offers no way to give a network backend; its transport needs nothing but a pool.
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=context, network_backend=CheckedBackend(policy, resolver), retries=0
        )

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Sends one request. Raises `StepFailed` if it may not be sent."""
        self._policy.check_url(request.url)
        return await super().handle_async_request(request)
