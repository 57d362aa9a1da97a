"""An MCP server at an address: streamable HTTP, under the same policy as every other call of a task.

Which hosts may be called, that no private address is, and that the check and the connection are one: all
that is `network.py`. Added is what a conversation needs: an answer that is not endless, and why one failed,
which the official client does not tell.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import httpcore2
import httpx2
from mcp.client.streamable_http import streamable_http_client

from taskmark.errors import Category, StepFailed
from taskmark.tools.call_failures import category_of, distrust
from taskmark.tools.network import CheckedBackend, CheckedTransport, NetworkPolicy, Resolve

if TYPE_CHECKING:
    from taskmark.tools.mcp_servers import Server

LONGEST_ANSWER: Final = 16 * 1024**2
"""Bytes of one answer, or of one stream of events."""
PATIENCE: Final = 30.0
"""Seconds until there is a connection. How long an answer may take is for each call to say."""


@dataclass(frozen=True)
class Network:
    """How servers elsewhere are reached."""

    policy: NetworkPolicy
    certificates: ssl.SSLContext
    resolver: Resolve


class HttpConnection:
    """A server that is spoken to over streamable HTTP."""

    def __init__(self, server: Server, network: Network) -> None:
        self._server = server
        self._transport = _Watched(network)

    def problem(self) -> StepFailed | None:
        """Returns why the last call got no answer, or None if it got one."""
        return self._transport.problem

    def remark(self) -> str:
        """Returns nothing: a server elsewhere says nothing beside the conversation."""
        return ""

    @asynccontextmanager
    async def streams(self) -> AsyncIterator[tuple[Any, Any]]:
        """Lends the conversation. Redirects lead nowhere but to the same host and port.

        Raises `StepFailed` (configuration) for what is no address.
        """
        try:
            httpx2.URL(self._server.url)
        except httpx2.InvalidURL as error:
            raise StepFailed(f"its `url` is none: {error}", Category.CONFIGURATION) from error
        client = httpx2.AsyncClient(
            transport=self._transport,
            # What is compressed may be of any size when it is not any more.
            headers={"accept-encoding": "identity", "user-agent": "taskmark", **self._server.headers},
            timeout=httpx2.Timeout(PATIENCE, read=None),
            trust_env=False,
        )
        async with (
            client,
            streamable_http_client(
                self._server.url, http_client=client, max_sse_event_size=LONGEST_ANSWER
            ) as streams,
        ):
            yield streams


class _Watched(CheckedTransport):
    """A transport that keeps why a call failed, and takes no answer without end."""

    def __init__(self, network: Network) -> None:
        super().__init__(network.policy, network.certificates, network.resolver)
        # A call holds its connection until it is answered, so there have to be as many as there are calls.
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=network.certificates,
            network_backend=CheckedBackend(network.policy, network.resolver),
            max_connections=None,
        )
        self.problem: StepFailed | None = None

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Sends one request. Raises `StepFailed` if it may not be sent."""
        try:
            response = await super().handle_async_request(request)
        except (StepFailed, httpx2.HTTPError) as error:
            self.problem = _unanswered(error)
            raise
        if request.method == "POST":
            self.problem = _refused(request, response)
        response.stream = _Bounded(response, self)
        return response


class _Bounded(httpx2.AsyncByteStream):
    """The bytes of an answer, until they are too many."""

    def __init__(self, response: httpx2.Response, transport: _Watched) -> None:
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        self._stream = response.stream
        self._transport = transport
        self._packed = response.headers.get("content-encoding", "identity") != "identity"

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yields the bytes. Raises `ReadError` for what is too much."""
        count = 0
        try:
            async for part in self._stream:
                count += len(part)
                self._check(count)
                yield part
        except (StepFailed, httpx2.HTTPError) as error:
            self._transport.problem = _unanswered(error)
            raise httpx2.ReadError("the answer is not read to its end") from error

    def _check(self, count: int) -> None:
        """Raises `StepFailed` for an answer that is not taken."""
        if self._packed:
            raise StepFailed("it answers packed, which it was not asked to", Category.LOGIC)
        if count > LONGEST_ANSWER:
            said = f"it answers with more than {LONGEST_ANSWER:,} bytes"
            raise StepFailed(said, Category.RESOURCE, hint="ask it for less")

    async def aclose(self) -> None:
        """Gives the connection back."""
        await self._stream.aclose()


def _refused(request: httpx2.Request, response: httpx2.Response) -> StepFailed | None:
    """Returns what it means that the server has answered with an error, or None if it has not."""
    status = response.status_code
    if status < 300:
        return None
    said = f"it answers {status} {response.reason_phrase}".rstrip()
    category = category_of(status)
    if category is Category.TRANSIENT:
        after = response.headers.get("retry-after", "")
        return StepFailed(said, retry_after=float(after) if after.isdecimal() else None)
    if category is Category.PERMISSION:
        return StepFailed(said, category, hint="check the server's `headers`")
    if status == 404 and "mcp-session-id" in request.headers:
        return StepFailed(f"{said}: it has forgotten the conversation, as servers do that are started again")
    if response.headers.get("content-type", "").lower().startswith("application/json"):
        return None  # it says more than its status does
    return StepFailed(said, category, hint="check the server's `url`")


def _unanswered(error: Exception) -> StepFailed:
    """Returns what it means that there was no answer, or not all of one."""
    if isinstance(error, StepFailed):
        return error
    if (why := distrust(error)) is not None:
        hint = "its certificate is not trusted here"
        return StepFailed(f"it cannot be called: {why}", Category.CONFIGURATION, hint=hint)
    if isinstance(error, httpx2.LocalProtocolError):
        # What it is about is not repeated: it is a header more often than not.
        said = "it cannot be called: a header or the address has a character that cannot be sent"
        return StepFailed(said, Category.CONFIGURATION, hint="look for a line end in the server's `headers`")
    return StepFailed(f"it cannot be reached: {error or type(error).__name__}")
