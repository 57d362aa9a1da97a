"""`http`: one HTTP call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Final, Literal, Self

from pydantic import Field, field_validator, model_validator

from taskmark.contracts import ADAPTER_LIMIT
from taskmark.errors import Category, StepFailed
from taskmark.ports import Health, StepContext, Tool
from taskmark.task.model import Json
from taskmark.tools.call_failures import category_of, distrust, is_wrong_call, pause_asked
from taskmark.tools.http_client import checked_client, host_of, trusted
from taskmark.tools.sizes import capped
from taskmark.tools.validation import Arguments, Timeout

if TYPE_CHECKING:
    import ssl

    import httpx2

    from taskmark.tools.network import NetworkPolicy, Resolve

SAFE_METHODS: Final = ("GET", "HEAD", "OPTIONS")
MOST_REDIRECTS: Final = 5
RESERVED_HEADERS: Final = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer", "expect"}
)
"""They say how a message travels, or where to: a wrong one smuggles a second request."""
KEPT_ACROSS_HOSTS: Final = frozenset(
    {"accept", "accept-encoding", "accept-language", "user-agent", "content-type"}
)
PACKED: Final = frozenset({"gzip", "x-gzip", "deflate"})
NO_TEXT: Final = frozenset({"idna", "punycode", "undefined"})
"""Encodings of names, not of texts: of a long text they take minutes, in which nothing else runs."""
TOO_LARGE: Final = "ask for less, such as one page, or fetch it to a file with shell"


class HttpParameters(Arguments):
    """What to ask, and whom."""

    url: str
    method: Literal["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"] = "GET"
    headers: dict[str, str] = Field(default_factory=dict)
    json_body: Json = Field(default=None, alias="json", description="Sent as JSON")
    body: str | None = Field(default=None, description="Sent as it is")
    timeout: Timeout = Field(default=30.0, description="A duration such as 30s, for all of it, redirects too")
    raise_for_status: bool = Field(default=True, description="Fail for a status of 400 and above")
    allow_failure: bool = Field(default=False, description="The same as `raiseForStatus: false`")

    @field_validator("method", mode="before")
    @classmethod
    def _upper_case(cls, method: Json) -> Json:
        """People write `post` too."""
        return method.upper() if isinstance(method, str) else method

    @field_validator("headers")
    @classmethod
    def _free_headers(cls, headers: dict[str, str]) -> dict[str, str]:
        """Nobody else's headers, and one line each."""
        for name, value in headers.items():
            if name.lower() in RESERVED_HEADERS:
                raise ValueError(f"{name} is set by the call itself")
            if not name or not name.isascii() or any(character in name + value for character in "\r\n\0"):
                raise ValueError(f"{name!r} is no header")
        return headers

    @model_validator(mode="after")
    def _one_body(self) -> Self:
        """Of two bodies one would be lost."""
        if self.body is not None and "json_body" in self.model_fields_set:
            raise ValueError('give "json" or "body", not both')
        return self


class Http(Tool[HttpParameters]):
    """Makes an HTTP call to a host that is allowed, without the machine's proxies and credentials."""

    name = "http"
    repeatable = True
    parameters = HttpParameters

    def __init__(
        self,
        policy: NetworkPolicy | None = None,
        *,
        certificates: ssl.SSLContext | None = None,
        resolver: Resolve | None = None,
    ) -> None:
        self._given_policy = policy
        self._certificates = certificates
        self._resolver = resolver

    @cached_property
    def _policy(self) -> NetworkPolicy:
        """What is allowed; by default any public host."""
        from taskmark.tools.network import NetworkPolicy

        return self._given_policy or NetworkPolicy()

    async def execute(self, parameters: HttpParameters, context: StepContext) -> Json:
        """Returns `status`, `headers` (names in lower case) and `json` or `text`. Raises `StepFailed`."""
        import httpx2

        seconds = min(parameters.timeout, context.timeout)
        try:
            async with asyncio.timeout(seconds), self._client() as client:
                response = await _send(client, _request(client, parameters, context), self._policy)
                content = await _content(response)
        except (TimeoutError, httpx2.TimeoutException) as error:
            raise StepFailed(
                f"{parameters.method} {_shown(parameters.url)}: no answer within {seconds:g} s"
            ) from error
        except (httpx2.InvalidURL, httpx2.HTTPError, UnicodeError) as error:
            raise _failure(f"{parameters.method} {_shown(parameters.url)}", error) from error
        if response.is_error and parameters.raise_for_status and not parameters.allow_failure:
            raise _bad_status(response, content, context.hide)
        return capped(_output(response, content), source="the answer", advice=TOO_LARGE)

    def _client(self) -> httpx2.AsyncClient:
        return checked_client(self._policy, self._certificates, self._resolver)

    def target(self, parameters: HttpParameters) -> str | None:
        """The host and its port."""
        return host_of(parameters.url) or None

    def estimate_duration(self, parameters: HttpParameters) -> float:
        """Seconds: a call over the network."""
        return 1.0

    async def health_check(self) -> Health:
        """Whether it can be used, and where it may call."""
        hosts = ", ".join(self._policy.allow_hosts) or "any public host"
        private = ", private addresses too" if self._policy.allow_private else ""
        return Health(healthy=bool(self._certificates or trusted()), message=f"may call {hosts}{private}")


def _request(client: httpx2.AsyncClient, parameters: HttpParameters, context: StepContext) -> httpx2.Request:
    """Returns the first request."""
    headers = {
        "user-agent": "taskmark",
        "accept-encoding": "gzip",
        **{name.lower(): value for name, value in parameters.headers.items()},
    }
    if parameters.method not in SAFE_METHODS and context.idempotency_key:
        headers.setdefault("idempotency-key", context.idempotency_key)
    if "json_body" in parameters.model_fields_set:
        return client.build_request(
            parameters.method, parameters.url, headers=headers, json=parameters.json_body
        )
    body = None if parameters.body is None else parameters.body.encode()
    return client.build_request(parameters.method, parameters.url, headers=headers, content=body)


async def _send(
    client: httpx2.AsyncClient, request: httpx2.Request, policy: NetworkPolicy
) -> httpx2.Response:
    """Returns the last answer of a chain of redirects, its body unread. Raises `StepFailed`."""
    for _ in range(MOST_REDIRECTS + 1):
        policy.check_url(request.url)
        response = await client.send(request, stream=True)
        following = response.next_request
        if following is None and not response.has_redirect_location:
            return response
        await response.aclose()
        if following is None:
            raise StepFailed(f"{request.url.host} redirects to what is no URL", Category.LOGIC)
        request = _redirected(request, following)
    raise StepFailed(f"{request.url.host}: more than {MOST_REDIRECTS} redirects", Category.LOGIC)


def _redirected(before: httpx2.Request, following: httpx2.Request) -> httpx2.Request:
    """Returns the next request, without what was meant for another host only. Raises `StepFailed`."""
    if before.url.scheme == "https" and following.url.scheme != "https":
        raise StepFailed(f"{before.url.host} redirects to an unencrypted address", Category.LOGIC)
    here, there = ((url.scheme, url.host, url.port) for url in (before.url, following.url))
    if here != there:
        needed = KEPT_ACROSS_HOSTS | {"host", "content-length", "connection", "idempotency-key"}
        for name in set(following.headers) - needed:
            del following.headers[name]
    return following


async def _content(response: httpx2.Response) -> bytes:
    """Returns the body. Raises `StepFailed` (resource) as soon as it is larger than may be returned."""
    body, content = _Body(response), bytearray()
    async for chunk in response.aiter_raw():
        content += body.unpacked(chunk, ADAPTER_LIMIT + 1 - len(content))
        if max(body.arrived, len(content)) > ADAPTER_LIMIT:
            raise StepFailed(
                f"{body.host} answers with more than {ADAPTER_LIMIT:,} bytes",
                Category.RESOURCE,
                hint=TOO_LARGE,
            )
    body.check_end()
    return bytes(content)


class _Body:
    """What is small on the wire can be large unpacked, or be much work that leads to nothing. So it is
    unpacked here, never more of it than is asked for, and only if it was packed once."""

    def __init__(self, response: httpx2.Response) -> None:
        """Raises `StepFailed` (logic) for an encoding that was not asked for."""
        import zlib

        self.host, self.arrived = response.url.host, 0
        encoding = response.headers.get("content-encoding", "").strip().lower()
        if encoding not in ("", "identity", *PACKED):
            said = f"{self.host} answers in the encoding {encoding[:40]!r}, which it was not asked for"
            raise StepFailed(said, Category.LOGIC)
        # 32: by the header it tells whether it is gzip or zlib's own format.
        self._unzip = zlib.decompressobj(zlib.MAX_WBITS | 32) if encoding in PACKED else None

    def unpacked(self, chunk: bytes, most: int) -> bytes:
        """Returns what is in a part of the body, if it was packed at most so many bytes of it."""
        import zlib

        self.arrived += len(chunk)
        if self._unzip is None:
            return chunk
        try:
            return self._unzip.decompress(chunk, most)
        except zlib.error as error:
            raise StepFailed(f"{self.host} answers with what cannot be unpacked: {error}") from error

    def check_end(self) -> None:
        """Raises `StepFailed` (transient) if the end is missing."""
        if self._unzip is not None and self.arrived and not self._unzip.eof:
            raise StepFailed(f"{self.host} answers with what ends in the middle")


def _output(response: httpx2.Response, content: bytes) -> dict[str, Json]:
    """Returns what the tool returns."""
    import json

    output: dict[str, Json] = {"status": response.status_code, "headers": _headers(response.headers)}
    media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type == "application/json" or media_type.endswith("+json"):
        try:
            return {**output, "json": json.loads(content)}
        except (ValueError, RecursionError):
            pass  # it says JSON and is not: then it is text
    return {**output, "text": _text(response, content)}


def _headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Returns headers with names in lower case."""
    return {name.lower(): value for name, value in headers.items()}


def _text(response: httpx2.Response, content: bytes) -> str:
    """Returns the body as text, by the encoding it names."""
    import codecs

    try:
        encoding = codecs.lookup(response.charset_encoding or "utf-8").name
        if encoding not in NO_TEXT:
            return content.decode(encoding, errors="replace")
    except (LookupError, ValueError):
        pass  # there is no such encoding, or it is not one of texts
    return content.decode(errors="replace")


def _bad_status(response: httpx2.Response, content: bytes, hide: Callable[[str], str]) -> StepFailed:
    """Returns the error for a status of 400 and above."""
    category = category_of(response.status_code)
    after = response.headers.get("retry-after")
    said = hide(_text(response, content).strip())[:500]
    parts = [f"{response.url.host} answers {response.status_code} {response.reason_phrase}".rstrip()]
    parts += [f"retry after {after[:40]}"] if after else []
    parts += [said] if said else []
    hint = "set `raiseForStatus: false` if this is an answer"
    return StepFailed("; ".join(parts), category, hint=hint, retry_after=pause_asked(after))


def _failure(call: str, error: Exception) -> StepFailed:
    """Returns the error for a call that got no answer."""
    if is_wrong_call(error):
        return StepFailed(f"{call}: {error}", Category.CONFIGURATION, hint="correct the call")
    if (why := distrust(error)) is not None:
        hint = "its certificate is not trusted here"
        return StepFailed(f"{call}: {why}", Category.CONFIGURATION, hint=hint)
    return StepFailed(f"{call}: {error or type(error).__name__}")


def _shown(url: str) -> str:
    """Returns a URL for messages, without its query: that is where secrets are."""
    return url.partition("?")[0][:200]
