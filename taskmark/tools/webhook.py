"""`webhook`: tells another system what happened, signed as the Standard Webhooks specification says.

Where it goes and what it is signed with are secrets: who knows both can pretend to be us. So the settings
hold them, a task names the endpoint only, and neither is repeated: not where the call fails, and not where
the receiver says it.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from taskmark.errors import Category, StepFailed
from taskmark.ports import Health, StepContext, Tool
from taskmark.task.model import Json
from taskmark.tools.call_failures import category_of, distrust, is_wrong_call, pause_asked
from taskmark.tools.http_client import checked_client, configured_place, host_of
from taskmark.tools.masking import masked
from taskmark.tools.outgoing import AllowSecrets, Confirmation, Delivery, Outgoing, Parcel
from taskmark.tools.pace import LONGEST_HOLD
from taskmark.tools.sizes import capped
from taskmark.tools.validation import Arguments, Timeout, did_you_mean

if TYPE_CHECKING:
    import ssl

    import httpx2

    from taskmark.tools.network import NetworkPolicy, Resolve

LARGEST_PAYLOAD: Final = 256 * 1024
"""Bytes of JSON. Receivers are told to expect less than 20 KB."""
LARGEST_ANSWER: Final = 64 * 1024
"""Bytes that are read of an answer."""
LONGEST_ANSWER: Final = 4_000
"""Characters that are kept of one."""
SHORTEST_KEY: Final = 24
"""Bytes of a signing key, by the specification."""
_SHORTEST_HIDDEN: Final = 8
_PREFIX: Final = "whsec_"
_SETTING: Final = (
    'set TASKMARK_WEBHOOKS, such as {"billing": {"url": "https://example.com/hook", "secret": "whsec_…"}}'
)


# --- the tool -------------------------------------------------------------------------------------


class WebhookParameters(Arguments):
    """Whom to tell, and what."""

    endpoint: str | None = Field(default=None, description="A name in the setting webhooks")
    url: str | None = Field(default=None, description="Where to, unsigned, if no setting names it")
    payload: Json = Field(description="What happened, sent as JSON")
    allow_secrets: AllowSecrets = False
    timeout: Timeout = Field(default=30.0, description="A duration such as 30s")

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        """It goes to one place."""
        if (self.endpoint is None) == (self.url is None):
            raise ValueError('give "endpoint" or "url"')
        return self


class Endpoint(BaseModel):
    """Who is told, by the settings."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str = Field(repr=False)
    secret: str | None = Field(default=None, repr=False)
    """`whsec_` and Base64; several with spaces between, while one takes the place of another."""

    def keys(self) -> list[bytes]:
        """Returns the signing keys. Raises `ValueError`."""
        return [_key(secret) for secret in (self.secret or "").split()]


class Webhook(Tool[WebhookParameters]):
    """Tells another system, once. Endpoints of the settings may be anywhere, URLs of tasks where `http` may
    call."""

    name = "webhook"
    repeatable = True
    parameters = WebhookParameters

    def __init__(
        self,
        endpoints: Mapping[str, Mapping[str, str]] | None = None,
        policy: NetworkPolicy | None = None,
        *,
        outgoing: Outgoing | None = None,
        certificates: ssl.SSLContext | None = None,
        resolver: Resolve | None = None,
    ) -> None:
        """`endpoints` are by name, each with a `url` and, to sign, a `secret`."""
        self._endpoints = dict(endpoints or {})
        self._outgoing = outgoing or Outgoing()
        self._poster = Poster(policy, certificates=certificates, resolver=resolver)

    async def execute(self, parameters: WebhookParameters, context: StepContext) -> Json:
        """Returns `status`, the message's `id`, the `answer`, cut to what fits, whether it was `signed`, and
        whether this is a `duplicate`. Raises `StepFailed`."""
        endpoint, target = self._endpoint(parameters), parameters.endpoint or host_of(parameters.url or "")
        seconds = min(parameters.timeout, context.timeout)
        receivers = (parameters.endpoint or parameters.url or "",)
        delivery = Delivery(self.name, target, receivers, context, seconds, parameters.allow_secrets)
        pack = partial(self._packed, parameters, delivery, endpoint)
        return capped(await self._outgoing.deliver(delivery, pack), source="the webhook's receiver")

    def _endpoint(self, parameters: WebhookParameters) -> Endpoint:
        """Raises `StepFailed` (configuration), which repeats no setting's value."""
        name = parameters.endpoint
        if name is None:
            return Endpoint(url=parameters.url or "")
        if name not in self._endpoints:
            known = ", ".join(sorted(self._endpoints))
            hint = f"the setting webhooks names them: {known}" if known else _SETTING
            meant = did_you_mean(name, self._endpoints)
            raise StepFailed(f"there is no endpoint {name!r}{meant}", Category.CONFIGURATION, hint=hint)
        problem = _problem(self._endpoints[name])
        if problem:
            raise StepFailed(f"endpoint {name!r}: {problem}", Category.CONFIGURATION, hint=_SETTING)
        return Endpoint.model_validate(self._endpoints[name])

    async def _packed(self, parameters: WebhookParameters, delivery: Delivery, endpoint: Endpoint) -> Parcel:
        body = encoded(parameters.payload, LARGEST_PAYLOAD)
        is_known = parameters.endpoint is not None
        hidden = _hidden(endpoint) if is_known else ()
        post = Post(delivery.target, endpoint.url, body, is_known=is_known, hidden=hidden)
        # Without a dot, which would end it in what is signed.
        send = partial(self._send, post, f"msg_{delivery.id}", endpoint.keys())
        return Parcel({"payload": parameters.payload}, send)

    async def _send(self, post: Post, message_id: str, keys: list[bytes]) -> Confirmation:
        # The time is that of the attempt: receivers refuse what is old.
        answer = await self._poster.post(post, signed(message_id, int(time.time()), post.body, keys))
        return {"status": answer.status, "id": message_id, "answer": answer.said, "signed": bool(keys)}

    def target(self, parameters: WebhookParameters) -> str | None:
        """The endpoint, or the host of a URL."""
        return parameters.endpoint or host_of(parameters.url or "") or None

    def estimate_duration(self, parameters: WebhookParameters) -> float:
        """Seconds: a call over the network."""
        return 1.0

    async def health_check(self) -> Health:
        """Whether what is configured can be used; nobody is told anything."""
        problems = {name: _problem(found) for name, found in sorted(self._endpoints.items())}
        broken = [f"{name}: {problem}" for name, problem in problems.items() if problem]
        if broken:
            return Health(healthy=False, message="; ".join(broken), hint=_SETTING)
        known = ", ".join(problems) or "no endpoint by name"
        return Health(healthy=True, message=f"knows {known}", hint=None if problems else _SETTING)


def _problem(given: Mapping[str, str]) -> str:
    """Returns why no message can go to an endpoint, without its values, or nothing."""
    try:
        endpoint = Endpoint.model_validate(given)
        endpoint.keys()
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        return "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg'].lower()}" for one in found)
    except ValueError as error:
        return str(error)
    return "" if host_of(endpoint.url) else "its url is none that begins with https:// or http://"


def _hidden(endpoint: Endpoint) -> tuple[str, ...]:
    return (*hidden_in(endpoint.url), *(endpoint.secret or "").split())


# --- the signature --------------------------------------------------------------------------------


def signed(message_id: str, seconds: int, body: bytes, keys: list[bytes]) -> dict[str, str]:
    """Returns the headers of a message at a time in Unix seconds; without keys it is told but not signed."""
    headers = {"webhook-id": message_id, "webhook-timestamp": str(seconds)}
    if keys:
        content = f"{message_id}.{seconds}.".encode() + body
        signatures = (base64.b64encode(hmac.digest(key, content, "sha256")).decode() for key in keys)
        headers["webhook-signature"] = " ".join(f"v1,{signature}" for signature in signatures)
    return headers


def _key(secret: str) -> bytes:
    """Raises `ValueError`, which does not repeat it."""
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except binascii.Error:
        key = b""
    if not secret.startswith(_PREFIX) or len(key) < SHORTEST_KEY:
        raise ValueError(f"its secret is not {_PREFIX} and the Base64 of at least {SHORTEST_KEY} bytes")
    return key


# --- posting --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Post:
    """One POST of JSON."""

    target: str
    """What failures call the receiver."""
    url: str
    body: bytes
    is_known: bool = False
    """Whether the settings name the URL: then it is allowed, wherever it is."""
    hidden: tuple[str, ...] = ()
    """What neither failures nor answers repeat."""


@dataclass(frozen=True)
class Answer:
    """What the receiver said."""

    status: int
    said: Json
    """JSON if it is JSON and complete, else text."""


class Poster:
    """Posts JSON to addresses that are checked. Redirects are not followed: what was meant for one receiver
    is not for another, and they would turn the message into a question."""

    def __init__(
        self,
        policy: NetworkPolicy | None = None,
        *,
        certificates: ssl.SSLContext | None = None,
        resolver: Resolve | None = None,
    ) -> None:
        self._policy = policy
        self._certificates = certificates
        self._resolver = resolver

    async def post(self, post: Post, headers: Mapping[str, str]) -> Answer:
        """Returns what a receiver says that took it. Raises `StepFailed`, with the time before which it takes
        no more if it names one."""
        import httpx2

        sent = {"user-agent": "taskmark", "content-type": "application/json", **headers}
        try:
            async with self._client(post) as client:
                request = client.build_request("POST", post.url, headers=sent, content=post.body)
                response = await client.send(request, stream=True)
                try:
                    said = _said(response, await _read(response), post.hidden)
                finally:
                    await response.aclose()
        except (httpx2.InvalidURL, httpx2.HTTPError, UnicodeError) as error:
            raise _unanswered(error, post) from error
        if not response.is_success:
            raise _refusal(response, said, post)
        return Answer(response.status_code, said)

    def _client(self, post: Post) -> httpx2.AsyncClient:
        """Returns a client for one call. What the settings name is allowed, wherever it is."""
        from taskmark.tools.network import NetworkPolicy

        policy = configured_place(post.url) if post.is_known else self._policy or NetworkPolicy()
        return checked_client(policy, self._certificates, self._resolver)


def hidden_in(url: str) -> tuple[str, ...]:
    """Returns what of a URL is secret: all after the host, and each part of it that is no plain word."""
    rest = url.partition("://")[2].partition("/")[2]
    path, _, query = rest.partition("?")
    parts = [*path.split("/"), *(pair.partition("=")[2] for pair in query.split("&"))]
    found = [rest, path, query, *(part for part in parts if not (part.isalpha() and part.islower()))]
    return tuple(part for part in found if len(part) >= _SHORTEST_HIDDEN)


def encoded(payload: Json, most: int) -> bytes:
    """Returns JSON without a blank too many. Raises `StepFailed`: resource above so many bytes, logic for
    what is no JSON."""
    from pydantic_core import PydanticSerializationError, to_json

    try:
        body = to_json(payload, inf_nan_mode="null")
    except (PydanticSerializationError, ValueError) as error:
        raise StepFailed("what is to be sent is no JSON value", Category.LOGIC) from error
    if len(body) > most:
        hint = "send less, such as an id or where the rest can be fetched"
        raise StepFailed(f"{len(body):,} bytes; at most {most:,} are sent", Category.RESOURCE, hint=hint)
    return body


async def _read(response: httpx2.Response) -> bytes:
    """Returns the beginning of the body; what goes on for ever is left."""
    content = bytearray()
    async for chunk in response.aiter_bytes(16 * 1024):
        content += chunk
        if len(content) >= LARGEST_ANSWER:
            break
    return bytes(content[:LARGEST_ANSWER])


def _said(response: httpx2.Response, content: bytes, hidden: tuple[str, ...]) -> Json:
    """Returns the answer, cut to what is kept."""
    import json

    text = masked(content.decode(errors="replace"), hidden)
    media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if len(text) <= LONGEST_ANSWER and (media_type == "application/json" or media_type.endswith("+json")):
        try:
            parsed: Json = json.loads(text)
        except (ValueError, RecursionError):
            pass  # it says JSON and is not: then it is text
        else:
            return parsed
    return text if len(text) <= LONGEST_ANSWER else f"{text[:LONGEST_ANSWER]}…"


def _refusal(response: httpx2.Response, said: Json, post: Post) -> StepFailed:
    """Returns the failure for an answer that does not say it was taken."""
    status = response.status_code
    after = _retry_after(response, said)
    words = said if isinstance(said, str) else encoded(said, LARGEST_ANSWER * 8).decode()
    parts = [f"{post.target} answers {status} {response.reason_phrase}".rstrip()]
    parts += [f"retry after {after:g} s"] if after is not None else []
    parts += [words.strip()[:500]] if words.strip() else []
    message = masked("; ".join(parts), post.hidden)
    category = category_of(status)
    if category is Category.TRANSIENT:
        return StepFailed(message, retry_after=after)
    if category is Category.PERMISSION:
        return StepFailed(message, category, hint="the receiver does not take it from us")
    hint = "redirects are not followed: give the address it names" if response.is_redirect else None
    return StepFailed(message, Category.LOGIC, hint=hint)


def _retry_after(response: httpx2.Response, said: Json) -> float | None:
    """Returns the seconds that a receiver asks for, as far as they make sense: in a header, as the web does,
    or in its JSON, as Discord and Telegram do."""
    header = response.headers.get("retry-after", "").strip()
    body = said if isinstance(said, dict) else {}
    inner = body.get("parameters")
    named = body.get("retry_after", inner.get("retry_after") if isinstance(inner, dict) else None)
    found = pause_asked(header) if header else named
    if not isinstance(found, int | float) or not 0 <= found < math.inf:
        return None
    return min(float(found), LONGEST_HOLD)


def _unanswered(error: Exception, post: Post) -> StepFailed:
    """Returns the failure for a call that got no answer."""
    said = masked(f"{post.target}: {str(error) or type(error).__name__}", post.hidden)
    if is_wrong_call(error):
        return StepFailed(said, Category.CONFIGURATION, hint="correct the URL")
    if (why := distrust(error)) is not None:
        hint = "its certificate is not trusted here"
        return StepFailed(f"{post.target}: {why}", Category.CONFIGURATION, hint=hint)
    return StepFailed(said)
