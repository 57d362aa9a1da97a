"""The codec endpoint answers who may ask, and nobody else."""

from __future__ import annotations

import base64
import http.client
import json
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from google.protobuf import json_format
from temporalio.api.common.v1 import Payload, Payloads

from starter.codec_server import LARGEST, Access, CodecServer
from starter.encrypting import EncryptionCodec
from taskmark.errors import InvalidSettings
from taskmark.secrets.keyring import Keyring, read_keyring

ORIGIN = "http://127.0.0.1:8233"
PLAIN = Payload(metadata={"encoding": b"json/plain"}, data=b'"planted"')
Answer = tuple[int, dict[str, str], Any]
Ask = Callable[..., Answer]


@pytest.fixture(scope="module")
def keyring() -> Keyring:
    """One key."""
    found = read_keyring([f"k1:{base64.b64encode(b'k' * 32).decode()}"], None)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def ask(keyring: Keyring) -> Iterator[Ask]:
    """Asks a server without a token, on loopback."""
    yield from served(keyring, Access(origins=lambda: (ORIGIN,)))


@pytest.fixture(scope="module")
def ask_with_token(keyring: Keyring) -> Iterator[Ask]:
    """Asks a server that wants a token."""
    yield from served(keyring, Access("the-token", lambda: (ORIGIN,)))


def served(keyring: Keyring, access: Access) -> Iterator[Ask]:
    """Yields what asks a server."""
    server = CodecServer(("127.0.0.1", 0), keyring, access)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def ask(path: str, body: Any = None, *, method: str = "POST", **headers: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=10)
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, None if body is None else content, named)
        answer = connection.getresponse()
        said = answer.read()
        connection.close()
        found = {name.lower(): value for name, value in answer.getheaders()}
        return answer.status, found, json.loads(said) if said else None

    ask.url = server.url  # type: ignore[attr-defined]  # where it is, for who asks otherwise
    yield ask
    server.shutdown()
    server.server_close()


def as_json(*payloads: Payload) -> Any:
    """Returns payloads as they are sent."""
    return json_format.MessageToDict(Payloads(payloads=payloads))


@pytest.fixture(scope="module")
def hidden(keyring: Keyring) -> Payload:
    """A payload that is encrypted for the default namespace."""
    return EncryptionCodec(keyring, "default").encrypted(PLAIN)


def test_payloads_are_decrypted_and_encrypted(ask: Ask, hidden: Payload) -> None:
    status, headers, said = ask("/decode", as_json(hidden, PLAIN))
    assert (status, said) == (200, as_json(PLAIN, PLAIN))
    assert headers["content-type"] == "application/json"
    assert headers["cache-control"] == "no-store"
    _, _, encrypted = ask("/encode", as_json(PLAIN))
    assert base64.b64encode(PLAIN.data).decode() not in json.dumps(encrypted)
    assert ask("/decode", encrypted)[2] == as_json(PLAIN)


def test_a_payload_of_another_namespace_or_key_stays_encrypted_and_hides_no_other(
    ask: Ask, hidden: Payload
) -> None:
    assert ask("/decode", as_json(hidden), X_Namespace="other")[2] == as_json(hidden)
    unknown = Payload.FromString(hidden.SerializeToString())
    unknown.metadata["encryption-key-id"] = b"k9"
    assert ask("/decode", as_json(unknown, hidden))[2] == as_json(unknown, PLAIN)
    _, _, other = ask("/encode", as_json(PLAIN), X_Namespace="other")
    assert ask("/decode", other, X_Namespace="other")[2] == as_json(PLAIN)


def test_a_page_of_an_origin_that_is_allowed_may_ask(ask: Ask, hidden: Payload) -> None:
    status, headers, _ = ask("/decode", None, method="OPTIONS", Origin=ORIGIN)
    assert status == 200
    assert headers["access-control-allow-origin"] == ORIGIN
    assert "x-namespace" in headers["access-control-allow-headers"]
    assert headers["vary"] == "Origin"
    status, headers, said = ask("/decode", as_json(hidden), Origin=ORIGIN)
    assert (status, headers["access-control-allow-origin"], said) == (200, ORIGIN, as_json(PLAIN))


@pytest.mark.semantics("Z6")
@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1:8234", f"{ORIGIN}.evil.example", ""]
)
@pytest.mark.parametrize("method", ["POST", "OPTIONS"])
def test_a_page_of_another_origin_is_refused(ask: Ask, hidden: Payload, origin: str, method: str) -> None:
    status, headers, said = ask("/decode", as_json(hidden), method=method, Origin=origin)
    assert status == 403
    assert "access-control-allow-origin" not in headers
    assert "planted" not in json.dumps(said)


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "", "[", "a@b:c"]
)
def test_a_name_that_is_not_ours_is_refused(ask: Ask, hidden: Payload, host: str) -> None:
    """It may be a page's own name, which leads here since a moment ago."""
    assert ask("/decode", as_json(hidden), Host=host)[0] == 403


def test_loopback_has_several_names(ask: Ask, hidden: Payload) -> None:
    for host in ("localhost", "localhost:8234", "127.0.0.1:1", "[::1]:8234"):
        assert ask("/decode", as_json(hidden), Host=host)[0] == 200


@pytest.mark.semantics("Z6")
@pytest.mark.parametrize(
    "given", ["", "the-token", "Bearer wrong", "Bearer the-token ", "bearer the-token", "Bearer thé"]
)
def test_without_the_token_nothing_is_told(ask_with_token: Ask, hidden: Payload, given: str) -> None:
    headers = {"Authorization": given.encode().decode("latin-1")} if given else {}
    status, _, said = ask_with_token("/decode", as_json(hidden), **headers)
    assert (status, said) == (401, {"message": "the token is missing or wrong"})


def test_with_the_token_it_is(ask_with_token: Ask, hidden: Payload) -> None:
    status, _, said = ask_with_token("/decode", as_json(hidden), Authorization="Bearer the-token")
    assert (status, said) == (200, as_json(PLAIN))
    assert ask_with_token("/decode", None, method="OPTIONS", Origin=ORIGIN)[0] == 200, "which carries none"


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/", {}, 404),
        ("/decode/", {}, 404),
        ("/../decode", {}, 404),
        ("/decode", b"", 400),
        ("/decode", b"no json", 400),
        ("/decode", b"\xff", 400),
        ("/decode", [], 400),
        ("/decode", {"payloads": {}}, 400),
        ("/decode", {"payloads": [{"metadata": "json/plain"}]}, 400),
        ("/decode", {"other": []}, 400),
        ("/decode", b"[" * 100_000, 400),
        ("/decode", {"payloads": []}, 200),
        ("/decode", {}, 200),
    ],
)
def test_what_it_does_not_understand_is_refused(ask: Ask, path: str, body: Any, status: int) -> None:
    assert ask(path, body)[0] == status


def test_a_namespace_without_end_is_refused(ask: Ask) -> None:
    assert ask("/decode", {}, X_Namespace="n" * 2000)[0] == 400


@pytest.mark.parametrize(
    ("header", "status"),
    [
        (f"Content-Length: {LARGEST + 1}", b"413"),
        ("Content-Length: -1", b"411"),
        ("Content-Length: 1e3", b"411"),
        ("Transfer-Encoding: chunked", b"411"),
        ("Content-Length: 2\r\nTransfer-Encoding: chunked", b"411"),
        ("X-Nothing: 1", b"411"),
    ],
)
def test_a_body_of_unknown_or_too_great_length_is_not_read(ask: Ask, header: str, status: bytes) -> None:
    port = int(ask.url.rpartition(":")[2])  # type: ignore[attr-defined]  # see `served`
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(f"POST /decode HTTP/1.1\r\nHost: localhost\r\n{header}\r\n\r\n".encode())
        said = b""
        while part := connection.recv(65536):
            said += part
    assert said.split(b" ")[1] == status
    assert said.count(b"HTTP/1.1") == 1, "the connection is over"


def test_other_methods_are_unknown(ask: Ask) -> None:
    for method in ("GET", "PUT", "DELETE"):
        assert _status(ask, method) == 501


def _status(ask: Ask, method: str) -> int:
    port = int(ask.url.rpartition(":")[2])  # type: ignore[attr-defined]  # see `served`
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(method, "/decode")
    status = connection.getresponse().status
    connection.close()
    return status


def test_beyond_loopback_it_wants_a_token(keyring: Keyring) -> None:
    with pytest.raises(InvalidSettings, match="Without a token everybody"):
        CodecServer(("0.0.0.0", 0), keyring, Access())
    CodecServer(("0.0.0.0", 0), keyring, Access("the-token")).server_close()


def test_a_port_that_is_taken_is_told(ask: Ask, keyring: Keyring) -> None:
    port = int(ask.url.rpartition(":")[2])  # type: ignore[attr-defined]  # see `served`
    with pytest.raises(InvalidSettings, match=f"Nothing can listen on 127.0.0.1:{port}"):
        CodecServer(("127.0.0.1", port), keyring, Access())
