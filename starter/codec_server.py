"""A small HTTP server that decrypts payloads for who looks at Temporal: the Web UI and the Temporal CLI.

It gives away what encryption hides. So it answers on loopback, or to who presents the token; a browser is
answered only for pages of origins that are allowed, and only under a name that is ours, because a stranger's
page may have a name that leads here.
"""

from __future__ import annotations

import hmac
import json
import socket
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from google.protobuf import json_format
from temporalio.api.common.v1 import Payload, Payloads

from starter.encrypting import EncryptionCodec, is_encrypted
from taskmark.errors import InvalidSettings
from taskmark.secrets.keyring import UnreadableText

if TYPE_CHECKING:
    from taskmark.secrets.keyring import Keyring

LARGEST: Final = 32 * 1024 * 1024
"""Bytes of a request: a page of history has payloads of 4 MiB at most, in Base64 and encrypted."""
PATIENCE: Final = 30.0
"""Seconds that a client may be silent."""
LONGEST_NAMESPACE: Final = 1000
OWN_NAMES: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_PREFLIGHT: Final = {
    "Access-Control-Allow-Methods": "POST",
    "Access-Control-Allow-Headers": "authorization, authorization-extras, content-type, x-namespace",
    "Access-Control-Allow-Private-Network": "true",
    "Access-Control-Max-Age": "600",
}


@dataclass(frozen=True)
class Access:
    """Who may ask."""

    token: str = field(default="", repr=False)
    origins: Callable[[], Collection[str]] = tuple
    """Origins of pages that may, as they are now."""
    namespace: str = "default"
    """Whose payloads are meant if nobody says."""


class CodecServer(ThreadingHTTPServer):
    """Serves `/encode` and `/decode` until it is shut down."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], keyring: Keyring, access: Access) -> None:
        """Raises `InvalidSettings` if it would answer everybody, or cannot listen there."""
        host, port = address
        if not access.token and not ip_address(host).is_loopback:
            raise InvalidSettings(
                f"Without a token everybody who reaches {host} could decrypt everything.",
                hint="set TASKMARK_CODEC_TOKEN, or TASKMARK_BIND to 127.0.0.1",
            )
        self.keyring, self.access = keyring, access
        self.is_local = ip_address(host).is_loopback
        self.address_family = socket.AF_INET6 if ip_address(host).version == 6 else socket.AF_INET
        try:
            super().__init__(address, _Handler)
        except OSError as error:
            raise InvalidSettings(
                f"Nothing can listen on {host}:{port}: {error.strerror}.", hint="set TASKMARK_CODEC_PORT"
            ) from error

    @property
    def url(self) -> str:
        """Where it is."""
        host = str(self.server_address[0])
        return f"http://{f'[{host}]' if ':' in host else host}:{self.server_address[1]}"


class _Refused(Exception):
    """A request is not answered."""

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class _Handler(BaseHTTPRequestHandler):
    server: CodecServer
    server_version = "taskmark-codec"
    sys_version = ""
    protocol_version = "HTTP/1.1"
    timeout = PATIENCE

    def do_OPTIONS(self) -> None:
        """Tells a browser what a page may ask."""
        self._answer(self._preflight)

    def do_POST(self) -> None:
        """Encrypts or decrypts."""
        self._answer(self._translated)

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing of requests."""

    def _answer(self, make: Callable[[], bytes]) -> None:
        try:
            self._must_be_ours()
            self._must_be_allowed()
            content, status = make(), HTTPStatus.OK
        except _Refused as refused:
            # What was sent is not read: what follows on the connection would be taken for another request.
            self.close_connection = True
            content, status = json.dumps({"message": str(refused)}).encode(), refused.status
        self.send_response(status)
        for name, value in self._common_headers().items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(content)

    # --- who asks ---------------------------------------------------------------------------------

    def _must_be_ours(self) -> None:
        """Refuses names that are not ours: a page of a stranger's may come under one that leads here."""
        try:
            name = urlsplit(f"//{self.headers.get('Host', '')}").hostname or ""
        except ValueError:
            name = ""
        if self.server.is_local and name not in OWN_NAMES:
            raise _Refused(HTTPStatus.FORBIDDEN, "this host is not known here")

    def _must_be_allowed(self) -> None:
        origin = self.headers.get("Origin")
        if origin is not None and origin not in self.server.access.origins():
            raise _Refused(
                HTTPStatus.FORBIDDEN, "pages of this origin may not ask; see TASKMARK_CODEC_ORIGINS"
            )

    def _must_have_token(self) -> None:
        token = self.server.access.token
        given = self.headers.get("Authorization", "")
        if token and not hmac.compare_digest(given.encode(), f"Bearer {token}".encode()):
            raise _Refused(HTTPStatus.UNAUTHORIZED, "the token is missing or wrong")

    def _common_headers(self) -> dict[str, str]:
        headers = {
            "Content-Type": "application/json",
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "Vary": "Origin",
        }
        origin = self.headers.get("Origin")
        if origin is not None and origin in self.server.access.origins():
            headers["Access-Control-Allow-Origin"] = origin
            if self.command == "OPTIONS":
                headers |= _PREFLIGHT
        return headers

    def _preflight(self) -> bytes:
        if self.headers.get("Origin") is None:
            raise _Refused(HTTPStatus.FORBIDDEN, "only pages ask so")
        self.close_connection = True  # nor is its body read, should it have one
        return b""

    # --- what is asked ----------------------------------------------------------------------------

    def _translated(self) -> bytes:
        self._must_have_token()
        work = {"/encode": _encoded, "/decode": _decoded}.get(urlsplit(self.path).path)
        if work is None:
            raise _Refused(HTTPStatus.NOT_FOUND, "there are /encode and /decode")
        namespace = self.headers.get("X-Namespace") or self.server.access.namespace
        if len(namespace) > LONGEST_NAMESPACE:
            raise _Refused(HTTPStatus.BAD_REQUEST, "this is no namespace")
        payloads = self._payloads()
        codec = EncryptionCodec(self.server.keyring, namespace)
        done = Payloads(payloads=[work(codec, payload) for payload in payloads])
        return json_format.MessageToJson(done, indent=None).encode()

    def _payloads(self) -> list[Payload]:
        length = self.headers.get("Content-Length", "")
        if "Transfer-Encoding" in self.headers or not length.isascii() or not length.isdigit():
            raise _Refused(HTTPStatus.LENGTH_REQUIRED, "the length of the request is missing")
        if int(length) > LARGEST:
            raise _Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"at most {LARGEST} bytes are read")
        content = self.rfile.read(int(length))
        try:
            told = json.loads(content)
            if isinstance(told, dict):
                return list(json_format.ParseDict(told, Payloads()).payloads)
            raise ValueError("a list, or a single value")
        except (json_format.ParseError, ValueError, RecursionError):
            raise _Refused(HTTPStatus.BAD_REQUEST, 'it takes JSON such as {"payloads": […]}') from None


def _encoded(codec: EncryptionCodec, payload: Payload) -> Payload:
    return payload if is_encrypted(payload) else codec.encrypted(payload)


def _decoded(codec: EncryptionCodec, payload: Payload) -> Payload:
    """Returns a payload decrypted; one that cannot be read stays as it is, and hides none of the others."""
    try:
        return codec.decrypted(payload) if is_encrypted(payload) else payload
    except UnreadableText:
        return payload
