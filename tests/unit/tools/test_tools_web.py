"""The tool `http` against real servers on loopback, and against everything it must not reach."""

import asyncio
import gzip
import json
import shutil
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from taskmark.contracts import ADAPTER_LIMIT
from taskmark.errors import Category, StepFailed
from taskmark.tools.network import NetworkPolicy, resolve
from taskmark.tools.web import Http

Call = Callable[..., Awaitable[Any]]
LOCAL = Http(NetworkPolicy(allow_private=True))


@dataclass
class Server:
    """A server that counts connections, keeps requests and says what it is told to."""

    answers: list[bytes] = field(default_factory=list)
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0
    port: int = 0

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        head = await reader.readuntil(b"\r\n\r\n")
        size = next(
            (int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0
        )
        self.requests.append(head + await reader.readexactly(size))
        writer.write(self.answers[min(len(self.requests), len(self.answers)) - 1])
        writer.close()

    def url(self, path: str = "/", host: str = "127.0.0.1", scheme: str = "http") -> str:
        return f"{scheme}://{host}:{self.port}{path}"


def answer(status: str = "200 OK", body: bytes = b"", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@asynccontextmanager
async def serving(
    *answers: bytes, host: str | None = "127.0.0.1", tls: ssl.SSLContext | None = None
) -> AsyncIterator[Server]:
    server = Server(list(answers) or [answer()])
    listener = await asyncio.start_server(server.handle, host, 0, ssl=tls)
    server.port = listener.sockets[0].getsockname()[1]
    async with listener:
        yield server


async def test_json_is_asked_for_and_answered(call: Call) -> None:
    body = json.dumps({"a": [1]}).encode()
    async with serving(
        answer("200 OK", body, "Content-Type: application/json; charset=utf-8", "X-Y: z")
    ) as server:
        output = await call(
            LOCAL, method="post", url=server.url("/p?q=1"), json={"b": 2}, headers={"X-Mine": 1}
        )
    assert (output["status"], output["json"], output["headers"]["x-y"]) == (200, {"a": [1]}, "z")
    head, _, sent = server.requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /p?q=1 HTTP/1.1\r\n")
    assert json.loads(sent) == {"b": 2}
    lines = head.lower().split(b"\r\n")
    assert {b"idempotency-key: key-1", b"x-mine: 1", b"content-type: application/json"} <= set(lines)


async def test_text_is_text_by_the_encoding_it_names(call: Call) -> None:
    cases = [
        ("text/plain; charset=latin-1", "ü".encode("latin-1"), "ü"),
        ("text/plain; charset=no", b"x", "x"),
    ]
    cases += [("application/json", b"{", "{"), ("", "ü".encode(), "ü"), ("text/html", b"\xff", "�")]
    for media_type, body, text in cases:
        async with serving(answer("200 OK", body, f"Content-Type: {media_type}")) as server:
            assert (await call(LOCAL, url=server.url()))["text"] == text


async def test_a_body_is_sent_as_it_is_and_a_key_of_ones_own_is_kept(call: Call) -> None:
    async with serving() as server:
        await call(LOCAL, method="PUT", url=server.url(), body="raw", headers={"Idempotency-Key": "mine"})
        await call(LOCAL, url=server.url())
    assert server.requests[0].endswith(b"\r\n\r\nraw")
    assert b"idempotency-key: mine\r\n" in server.requests[0]
    assert b"idempotency-key" not in server.requests[1].lower()


@pytest.mark.parametrize(
    ("status", "category"),
    [
        *((status, Category.TRANSIENT) for status in (408, 425, 429, 500, 502, 503, 599)),
        *((status, Category.PERMISSION) for status in (401, 403)),
        *((status, Category.LOGIC) for status in (400, 404, 409, 410, 422, 451)),
    ],
)
async def test_each_status_has_its_category(status: int, category: Category, call: Call) -> None:
    """And the message says what the server says, with when to come back."""
    async with serving(answer(f"{status} Sorry", b"because", "Retry-After: 7")) as server:
        with pytest.raises(
            StepFailed, match=rf"127.0.0.1 answers {status} Sorry; retry after 7; because"
        ) as caught:
            await call(LOCAL, url=server.url())
        assert caught.value.category is category
        for choice in ({"raiseForStatus": False}, {"allowFailure": True}):
            assert (await call(LOCAL, url=server.url(), **choice))["status"] == status


async def test_an_error_without_a_word_is_told_by_its_number(call: Call) -> None:
    async with serving(answer("500")) as server:
        with pytest.raises(StepFailed, match=r"^127\.0\.0\.1 answers 500$"):
            await call(LOCAL, url=server.url())


async def test_an_answer_that_is_too_large_is_not_read_to_its_end(call: Call) -> None:
    """Neither when it is small on the wire and large unpacked."""
    bomb = gzip.compress(b"\0" * 50_000_000)
    for body, header in ((b"x" * (ADAPTER_LIMIT + 1), "X: y"), (bomb, "Content-Encoding: gzip")):
        async with serving(answer("200 OK", body, header)) as server:
            with pytest.raises(StepFailed, match="more than 262,144 bytes") as caught:
                await call(LOCAL, url=server.url())
            assert caught.value.category is Category.RESOURCE


async def test_a_server_that_is_silent_gone_or_odd_is_transient(call: Call) -> None:
    async with serving(b"nonsense\r\n\r\n") as server:
        with pytest.raises(StepFailed, match="GET http://127") as caught:
            await call(LOCAL, url=server.url("/?token=hunter2"))
    assert "hunter2" not in caught.value.message
    with pytest.raises(StepFailed) as refused:
        await call(LOCAL, url=server.url())
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        pytest.raises(StepFailed, match=r"within 0\.2 s") as late,
    ):
        await call(LOCAL, url=f"http://127.0.0.1:{silent.getsockname()[1]}/", timeout="200ms")
    with pytest.raises(StepFailed, match="cannot be resolved") as unknown:
        await call(LOCAL, url="http://no-such-host.invalid/")
    for error in (caught, refused, late, unknown):
        assert error.value.category is Category.TRANSIENT


@pytest.mark.parametrize(
    "arguments",
    [
        {"url": "http://x/", "json": 1, "body": "x"},
        {"url": "http://x/", "method": "CONNECT"},
        {"url": "http://x/", "method": 5},
        {"url": "http://x/", "headers": {"Host": "y"}},
        {"url": "http://x/", "headers": {"Transfer-Encoding": "chunked"}},
        {"url": "http://x/", "headers": {"A": "b\r\nC: d"}},
        {"url": "http://x/", "headers": {"": "b"}},
        {"url": "http://x/", "timeout": 0},
        {"url": "http://x/", "timeout": "soon"},
        {},
    ],
)
def test_arguments_that_cannot_be_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(StepFailed) as caught:
        Http().validate(arguments)
    assert caught.value.category is Category.CONFIGURATION


@pytest.mark.parametrize(
    "url",
    [
        "",
        "x",
        "//x/",
        "ftp://x/",
        "file:///etc/passwd",
        "gopher://127.0.0.1:70/",
        "http://",
        "http:///p",
        "http://[/",
        "http://user@127.0.0.1/",
        "http://u:secret@127.0.0.1/",
        "http://:p@x/",
        "http://x:99999/",
        "unix:///run/docker.sock",
    ],
)
async def test_a_url_that_is_none_is_configuration(url: str, call: Call) -> None:
    """And what is secret in it is not repeated."""
    with pytest.raises(StepFailed) as caught:
        await call(LOCAL, url=url)
    assert caught.value.category is Category.CONFIGURATION
    assert "secret" not in caught.value.message


# --- where it may not go; hostile URLs are in `test_tools_hostile_urls.py` --------------------------


async def test_allowing_private_addresses_does_not_allow_metadata(call: Call) -> None:
    for host in ("169.254.169.254", "[fe80::1]", "0.0.0.0", "224.0.0.1"):
        with pytest.raises(StepFailed, match="no address for a task"):
            await call(LOCAL, url=f"http://{host}/")


@pytest.mark.parametrize(
    ("entry", "allowed"),
    [
        ("127.0.0.1", True),
        ("127.0.0.1:{port}", True),
        ("127.0.0.1:1", False),
        ("*.0.0.1", True),
        ("*.27.0.0.1", False),
        ("example.org", False),
        ("27.0.0.1", False),
        ("[::1]", False),
    ],
)
async def test_only_hosts_that_are_allowed_are_called(entry: str, allowed: bool, call: Call) -> None:
    async with serving() as server:
        policy = NetworkPolicy(allow_hosts=(entry.format(port=server.port),), allow_private=True)
        if allowed:
            assert (await call(Http(policy), url=server.url()))["status"] == 200
        else:
            with pytest.raises(StepFailed, match="not among the allowed hosts"):
                await call(Http(policy), url=server.url())
    assert server.connections == int(allowed)


async def test_allowed_names_fit_in_any_case_and_with_a_dot_at_the_end(call: Call) -> None:
    async with serving() as server:
        tool = Http(NetworkPolicy(allow_hosts=("Some.Test.",), allow_private=True), resolver=local)
        assert (await call(tool, url=server.url(host="sOME.test.")))["status"] == 200


async def test_a_redirect_is_followed_with_what_the_other_host_may_know(call: Call) -> None:
    """Headers that were given for one host are not carried to another one; the same host gets them again."""
    async with serving(answer("200 OK", b"there")) as there:
        away = answer("307 Temporary Redirect", b"", f"Location: {there.url('/x')}")
        async with serving(answer("302 Found", b"", "Location: /again"), away) as here:
            headers = {"Authorization": "Bearer hunter2", "X-Api-Key": "hunter2", "Accept": "text/plain"}
            output = await call(LOCAL, url=here.url(), headers=headers)
    assert output["text"] == "there"
    assert here.requests[1].startswith(b"GET /again")
    assert here.requests[1].count(b"hunter2") == 2
    assert b"hunter2" not in there.requests[0]
    assert b"accept: text/plain" in there.requests[0].lower()


@pytest.mark.parametrize(
    "location",
    [
        "http://169.254.169.254/",
        "http://localhost:{port}/",
        "file:///etc/passwd",
        "http://u:p@127.0.0.1:{port}/",
        "//localhost:{port}/",
        "http://2130706433:{port}/",
        "gopher://127.0.0.1:{port}/",
    ],
)
async def test_a_redirect_is_checked_like_the_first_call(location: str, call: Call) -> None:
    """An allowed host cannot send a task to one that is not."""
    async with serving() as server:
        server.answers = [answer("302 Found", b"", f"Location: {location.format(port=server.port)}")]
        policy = NetworkPolicy(allow_hosts=("127.0.0.1",), allow_private=True)
        with pytest.raises(StepFailed) as caught:
            await call(Http(policy), url=server.url())
    assert caught.value.category is Category.CONFIGURATION
    assert server.connections == 1


async def test_redirects_end(call: Call) -> None:
    async with serving(answer("302 Found", b"", "Location: /")) as server:
        with pytest.raises(StepFailed, match="more than 5 redirects") as caught:
            await call(LOCAL, url=server.url())
    assert caught.value.category is Category.LOGIC
    assert server.connections == 6


async def test_a_name_that_changes_its_address_leads_nowhere(call: Call) -> None:
    """It is resolved once; the connection goes to the address that was checked, with the name as Host."""
    asked: list[str] = []

    async def rebinding(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["169.254.169.254"]

    async with serving() as server:
        tool = Http(NetworkPolicy(allow_private=True), resolver=rebinding)
        await call(tool, url=server.url(host="rebind.test"))
    assert asked == ["rebind.test"]
    assert f"host: rebind.test:{server.port}".encode() in server.requests[0].lower()


async def test_a_name_with_one_private_address_among_others_is_refused(call: Call) -> None:
    async def mixed(host: str, port: int) -> list[str]:
        return ["1.1.1.1", "127.0.0.1"]

    async with serving() as server:
        with pytest.raises(StepFailed, match=r"127\.0\.0\.1 is a private address"):
            await call(Http(resolver=mixed), url=server.url(host="mixed.test"))
    assert server.connections == 0


async def test_the_next_address_is_tried_when_one_does_not_answer(call: Call) -> None:
    async def several(host: str, port: int) -> list[str]:
        return ["127.0.0.2", "127.0.0.1"]

    async def none(host: str, port: int) -> list[str]:
        return []

    async with serving() as server:
        assert (await call(Http(NetworkPolicy(allow_private=True), resolver=several), url=server.url()))[
            "status"
        ] == 200
    with pytest.raises(StepFailed, match="has no address"):
        await call(Http(resolver=none), url="http://x.test/")


async def test_the_machines_proxies_are_not_used(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving() as proxy, serving() as server:
        monkeypatch.setenv("http_proxy", proxy.url())
        await call(LOCAL, url=server.url())
    assert (proxy.connections, server.connections) == (0, 1)


async def test_names_are_resolved_by_the_system() -> None:
    assert "127.0.0.1" in await resolve("127.1", 80)


# --- TLS ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for `tls.test` that only its owner trusts."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl makes the certificate")
    place = tmp_path_factory.mktemp("tls") / "both.pem"
    command = f"{openssl} req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=tls.test"
    command += " -addext subjectAltName=DNS:tls.test"
    subprocess.run(
        [*command.split(), "-keyout", place, "-out", f"{place}.crt"], check=True, capture_output=True
    )
    place.write_bytes(place.read_bytes() + Path(f"{place}.crt").read_bytes())
    return place


async def local(host: str, port: int) -> list[str]:
    return ["127.0.0.1"]


async def test_certificates_are_checked_for_the_name_not_the_address(certificate: Path, call: Call) -> None:
    """And one that nobody trusts is configuration: another attempt will not help."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    trust = ssl.create_default_context(cafile=f"{certificate}.crt")
    policy = NetworkPolicy(allow_private=True)
    async with serving(answer(), answer(), tls=context) as server:
        trusting = Http(policy, certificates=trust, resolver=local)
        url = server.url(scheme="https", host="tls.test")
        assert (await call(trusting, url=url))["status"] == 200
        for tool, host in ((trusting, "other.test"), (Http(policy, resolver=local), "tls.test")):
            with pytest.raises(StepFailed, match=r"certificate|tls.test|self-signed") as caught:
                await call(tool, url=server.url(scheme="https", host=host))
            assert caught.value.category is Category.CONFIGURATION
        server.answers = [answer("302 Found", b"", "Location: http://tls.test/")]
        with pytest.raises(StepFailed, match="unencrypted"):
            await call(trusting, url=url)


async def test_its_health_says_where_it_may_call() -> None:
    assert (await Http().health_check()).message == "may call any public host"
    health = await Http(NetworkPolicy(allow_hosts=("a.b", "*.c"), allow_private=True)).health_check()
    assert health.healthy
    assert health.message == "may call a.b, *.c, private addresses too"
    assert Http().estimate_duration(Http().validate({"url": "http://x/"})) == 1.0
