"""MCP servers, real ones, as programs and over HTTP: their tools are called, and nothing of them is left."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import ssl
import subprocess
import sys
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from taskmark.errors import Category, StepFailed
from taskmark.ports import StepContext
from taskmark.tools import mcp_http, mcp_stdio
from taskmark.tools.health import check_health
from taskmark.tools.mcp import Mcp
from taskmark.tools.mcp_servers import read_server
from taskmark.tools.network import NetworkPolicy
from taskmark.tools.processes import ProcessLimits

HERE = Path(__file__).parent
GARDEN = {"command": sys.executable, "args": [str(HERE / "mcp_server.py"), "stdio"]}
LOCAL = NetworkPolicy(allow_private=True)
QUICK = ProcessLimits(grace=0.3)

Call = Callable[..., Awaitable[Any]]
Serve = Callable[[asyncio.StreamWriter, dict[str, Any]], Awaitable[None]]


def odd(how: str, **more: Any) -> dict[str, Any]:
    return {"command": [sys.executable, "-I", "-S", str(HERE / "mcp_odd_server.py"), how], **more}


def lives(process: int) -> bool:
    try:
        return psutil.Process(process).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def until(condition: Callable[[], Any], seconds: float = 5.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)


@asynccontextmanager
async def using(**servers: dict[str, Any]) -> AsyncIterator[Mcp]:
    tool = Mcp(servers, policy=LOCAL, limits=QUICK, variables={"TOKEN": "s3cr3t-token", "HOME": "/home/me"})
    yield tool
    await tool.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the official package serves over HTTP."""
    file = tmp_path_factory.mktemp("mcp") / "port"
    serving = subprocess.Popen([sys.executable, str(HERE / "mcp_server.py"), "http", str(file)])
    deadline = time.monotonic() + 20
    while not file.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    yield f"http://127.0.0.1:{file.read_text()}/mcp"
    serving.terminate()
    serving.wait(10)


@pytest.fixture(scope="module", params=["stdio", "http"])
async def garden(request: pytest.FixtureRequest) -> AsyncIterator[Mcp]:
    """A server that behaves, in both ways; one conversation for all tests."""
    entry = GARDEN if request.param == "stdio" else {"url": request.getfixturevalue("address")}
    async with using(garden=entry) as tool:
        yield tool


@pytest.fixture
def call(context: StepContext) -> Call:
    async def call(used: Mcp, **arguments: Any) -> Any:
        return await used.execute(used.validate(arguments), context)

    return call


@pytest.fixture
def ask(garden: Mcp, context: StepContext, tmp_path_factory: pytest.TempPathFactory) -> Call:
    async def ask(tool: str, /, say: Callable[[str], None] = str, **arguments: Any) -> Any:
        where = replace(context, root=tmp_path_factory.getbasetemp(), say=say)
        return await garden.execute(garden.validate({"tool": tool, "arguments": arguments}), where)

    return ask


# --- what a tool returns --------------------------------------------------------------------------


async def test_text_is_the_content_and_data_is_structured(ask: Call) -> None:
    assert await ask("echo", text="hä") == {"content": "hä", "structured": None, "attachments": []}
    assert await ask("add", a=2, b=5) == {"content": "7", "structured": {"result": 7}, "attachments": []}


async def test_pictures_come_along_while_they_are_small_all_together(ask: Call) -> None:
    found = await ask("pictures", sizes=[3, 100_000, 3])
    small = {"type": "image", "mimeType": "image/png", "data": "eHh4"}
    left_out = {"type": "image", "mimeType": "image/png", "omitted": True}
    assert found == {"content": "here:", "structured": None, "attachments": [small, left_out, small]}


async def test_files_and_links_are_attachments(ask: Call) -> None:
    file, link = (await ask("files"))["attachments"]
    named = {"uri": "file:///a.txt", "mimeType": "text/plain"}
    assert file == {"type": "resource", "text": "hello", **named}
    assert link == {"type": "resource_link", "uri": "file:///b.bin", "name": "b", "mimeType": "application/x"}


async def test_more_than_an_output_may_be_is_a_failure(ask: Call) -> None:
    with pytest.raises(StepFailed, match=r"^garden: large returned 300,\d+ bytes") as caught:
        await ask("large", size=300_000)
    assert caught.value.category is Category.RESOURCE


async def test_a_tool_that_says_that_it_failed_fails_the_step_with_its_words(ask: Call) -> None:
    with pytest.raises(StepFailed, match=r"^garden: fail has failed: .*no seeds$") as caught:
        await ask("fail", why="no seeds")
    assert caught.value.category is Category.LOGIC


async def test_progress_is_said_to_who_watches(ask: Call) -> None:
    said: list[str] = []
    await ask("count", to=2, pause=0.05, say=said.append)
    assert said == ["row 1: 1 of 2", "row 2: 2 of 2"]


async def test_a_server_is_told_what_is_the_same_for_each_attempt(ask: Call) -> None:
    told = json.loads((await ask("key"))["content"])
    assert told["taskmark/idempotency-key"] == "key-1"


# --- which tool, with what ------------------------------------------------------------------------


async def test_an_unknown_tool_is_told_with_those_there_are(ask: Call) -> None:
    with pytest.raises(StepFailed, match=r"it has no tool 'ad' \(did you mean \"add\"\?\)$") as caught:
        await ask("ad")
    assert caught.value.category is Category.CONFIGURATION
    assert str(caught.value.hint).startswith("it has add, count, die, echo")


async def test_arguments_are_checked_before_the_call_and_not_repeated(ask: Call) -> None:
    with pytest.raises(StepFailed) as caught:
        await ask("add", b="s3cr3t")
    assert caught.value.message == 'garden: add: missing "a"; "b": it is to be of type integer'
    assert (caught.value.category, caught.value.hint) == (Category.CONFIGURATION, "it takes a, b")


async def test_a_tool_that_is_new_is_found(ask: Call) -> None:
    await ask("add", a=1)
    await ask("grow")
    assert (await ask("grown", text="x"))["content"] == "x"


async def test_data_without_text_is_the_text_too(call: Call) -> None:
    async with using(odd=odd("data-only")) as tool:
        output = await call(tool, tool="say")
    assert output == {"content": '{"sown": 3}', "structured": {"sown": 3}, "attachments": []}


async def test_arguments_that_a_tool_takes_by_now_are_taken(call: Call) -> None:
    """Before a call is refused, the server is asked whether its tools have changed."""
    async with using(odd=odd("changing")) as tool:
        assert (await call(tool, tool="say", arguments={"text": "a"}))["content"] == "a"
        assert (await call(tool, tool="say", arguments={"text": "b", "loud": True}))["content"] == "b"
        with pytest.raises(StepFailed, match=r'^odd: say: unknown key "quiet"$'):
            await call(tool, tool="say", arguments={"text": "b", "quiet": True})


async def test_a_tool_that_asks_for_more_than_arguments_fails(garden: Mcp, ask: Call) -> None:
    with pytest.raises(StepFailed, match=r"^garden: question asks for something that no step") as caught:
        await ask("question")
    assert caught.value.category is Category.LOGIC


async def test_tools_are_listed_with_what_they_say_of_themselves(garden: Mcp) -> None:
    found = {tool.name: tool for tool in await garden.tools_of("garden")}
    assert (found["add"].description, found["add"].read_only) == ("Adds two numbers.", True)
    assert found["add"].schema["required"] == ["a"]
    assert not found["hang"].read_only


async def test_which_server_has_to_be_said_and_known(call: Call) -> None:
    cases = [
        ({}, "no MCP server is configured"),
        ({"a": GARDEN, "b": GARDEN}, "which MCP server is not said"),
    ]
    for servers, message in cases:
        with pytest.raises(StepFailed, match=f"^{message}$") as caught:
            await call(Mcp(servers), tool="add")
        assert caught.value.category is Category.CONFIGURATION
    with pytest.raises(StepFailed, match=r"no MCP server 'gardn' \(did you mean \"garden\"\?\)"):
        await call(Mcp({"garden": GARDEN}), server="gardn", tool="add")


async def test_a_server_is_spoken_to_as_old_ones_are_too(call: Call) -> None:
    async with using(odd=odd("plain")) as tool:
        assert (await call(tool, tool="say", arguments={"text": "hello"}))["content"] == "hello"


# --- a server of ours -----------------------------------------------------------------------------


async def test_it_runs_in_the_root_with_a_clean_environment_and_what_the_entry_adds(
    call: Call, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOMETHING", "of the worker's")
    (root / "beds").mkdir()
    async with using(
        garden={**GARDEN, "env": {"PLACE": "${HOME}/x", "BED": "${BED:-3}"}, "cwd": "beds"}
    ) as tool:
        found = (await call(tool, tool="environment"))["structured"]
    assert found["cwd"] == str(root / "beds")
    assert {"PLACE": "/home/me/x", "BED": "3"}.items() <= found["variables"].items()
    assert "SOMETHING" not in found["variables"]


async def test_one_server_serves_many_calls_at_once_and_ends_when_nobody_calls(
    call: Call, left_behind: Callable[[], list[psutil.Process]]
) -> None:
    tool = Mcp({"odd": odd("plain")}, limits=QUICK, idle=0.3)
    texts = [str(number) for number in range(50)]
    found = await asyncio.gather(*(call(tool, tool="say", arguments={"text": text}) for text in texts))
    assert [one["content"] for one in found] == texts
    assert len(left_behind()) == 2  # the launcher and the server
    await until(lambda: not left_behind())
    assert (await call(tool, tool="say", arguments={"text": "again"}))["content"] == "again"
    await tool.close()
    assert not left_behind()


async def test_calls_do_not_wait_for_each_other(ask: Call) -> None:
    found = await asyncio.gather(*(ask("meet", guests=15) for _ in range(15)))
    assert {one["content"] for one in found} == {"met"}


async def test_one_that_dies_is_told_by_its_last_words_and_started_again(call: Call) -> None:
    async with using(garden=GARDEN) as tool:
        with pytest.raises(
            StepFailed, match=r"^garden: it has ended, exit code 3: .*the roof fell"
        ) as caught:
            await call(tool, tool="die", arguments={"words": "the roof fell"})
        assert caught.value.category is Category.TRANSIENT
        assert (await call(tool, tool="add", arguments={"a": 1}))["structured"] == {"result": 2}


async def test_what_it_said_before_it_ended_counts(call: Call) -> None:
    for text in ("one", "two", "three"):
        async with using(odd=odd("answer-and-exit")) as tool:
            assert (await call(tool, tool="say", arguments={"text": text}))["content"] == text


async def test_one_that_cannot_be_started_is_a_matter_of_configuration(call: Call, root: Path) -> None:
    (root / "text").write_text("no program")
    for command, reason in (
        ("no-such-program", "exit code 127: .*No such file"),
        ("./text", "exit code 126"),
    ):
        async with using(odd={"command": command}) as tool:
            with pytest.raises(StepFailed, match=f"^odd: it cannot be started, {reason}") as caught:
                await call(tool, tool="say")
        assert caught.value.category is Category.CONFIGURATION


async def test_a_call_that_is_late_leaves_nothing_running(
    call: Call, root: Path, left_behind: Callable[[], list[psutil.Process]]
) -> None:
    async with using(garden=GARDEN) as tool:
        await call(tool, tool="add", arguments={"a": 1})
        with pytest.raises(StepFailed, match=r"^garden: no answer within 0\.5 s$") as caught:
            await call(tool, tool="hang", arguments={"file": str(root / "ids")}, timeout="500ms")
        assert caught.value.category is Category.TRANSIENT
        assert not any(lives(int(one)) for one in (root / "ids").read_text().split())
        assert not left_behind()


async def test_a_call_that_is_cancelled_leaves_nothing_running(call: Call, root: Path) -> None:
    async with using(garden=GARDEN) as tool:
        calling = asyncio.ensure_future(call(tool, tool="hang", arguments={"file": str(root / "ids")}))
        await until((root / "ids").exists)
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling
        assert not any(lives(int(one)) for one in (root / "ids").read_text().split())


async def test_the_calls_of_others_go_on_when_one_is_cancelled(call: Call, root: Path) -> None:
    """What was given up ends with the last of them; who comes later gets a server of its own."""
    async with using(garden=GARDEN) as tool:
        calling = asyncio.ensure_future(call(tool, tool="hang", arguments={"file": str(root / "ids")}))
        await until((root / "ids").exists)
        other = asyncio.ensure_future(call(tool, tool="count", arguments={"to": 1, "pause": 2.5}))
        await asyncio.sleep(0.3)
        calling.cancel()
        with suppress(asyncio.CancelledError):
            await calling
        first, child = (int(one) for one in (root / "ids").read_text().split())
        later = (await call(tool, tool="environment"))["structured"]["pid"]
        assert (await other)["content"] == "counted"
        assert later != first
        await until(lambda: not lives(first) and not lives(child))


@pytest.mark.parametrize("how", ["silent", "deaf", "stop-reading"])
async def test_one_that_hangs_fails_in_time_and_is_ended(
    how: str, call: Call, left_behind: Callable[[], list[psutil.Process]]
) -> None:
    """Also if it takes no more of what it is told."""
    async with using(odd=odd(how)) as tool:
        began = time.monotonic()
        with pytest.raises(StepFailed, match=r"^odd: no answer within 1\.5 s") as caught:
            await call(tool, tool="say", arguments={"text": "x" * 1_000_000}, timeout="1500ms")
        assert time.monotonic() - began < 4
        assert how == "stop-reading" or caught.value.message.endswith("it said is: Listening on nothing")
        assert not left_behind()


async def test_one_that_says_too_much_at_once_is_ended(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mcp_stdio, "LONGEST_MESSAGE", 1_000_000)
    async with using(odd=odd("endless")) as tool:
        with pytest.raises(StepFailed, match=r"^odd: it said more than 1,000,000 bytes at once$") as caught:
            await call(tool, tool="say", arguments={"text": "x"})
    assert caught.value.category is Category.RESOURCE


async def test_an_answer_that_is_an_error_is_not_retried_and_the_server_is_kept(call: Call) -> None:
    for how, message in (
        ("refuse", "it answers: not with x"),
        ("nonsense", "its answer is none that MCP knows"),
    ):
        async with using(odd=odd(how)) as tool:
            for _ in range(2):
                with pytest.raises(StepFailed, match=f"^odd: {message}$") as caught:
                    await call(tool, tool="say", arguments={"text": "x"})
                assert caught.value.category is Category.LOGIC


async def test_with_the_worker_everything_ends(root: Path) -> None:
    program = (
        "import asyncio, json, sys; from pathlib import Path\n"
        "from taskmark.ports import StepContext; from taskmark.tools.mcp import Mcp, McpParameters\n"
        "tool = Mcp({'garden': json.loads(sys.argv[1])})\n"
        "asked = McpParameters(tool='hang', arguments={'file': 'ids'})\n"
        "asyncio.run(tool.execute(asked, StepContext(root=Path(sys.argv[2]))))\n"
    )
    worker = subprocess.Popen([sys.executable, "-c", program, json.dumps(GARDEN), str(root)])
    await until((root / "ids").exists, 20)
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    ids = [int(one) for one in (root / "ids").read_text().split()]
    await until(lambda: not any(lives(one) for one in ids))


# --- a server elsewhere ---------------------------------------------------------------------------


def response(body: Any, status: str = "200 OK", *headers: str) -> bytes:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(content)}", "Connection: close", *headers]
    if not any(line.lower().startswith("content-type") for line in headers):
        lines.append("Content-Type: application/json")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content


RESULTS = {
    "initialize": {
        "protocolVersion": "2025-06-18",
        "capabilities": {"tools": {}},
        "serverInfo": {"name": "odd", "version": "1"},
    },
    "tools/list": {"tools": [{"name": "say", "inputSchema": {"type": "object"}}]},
}


@asynccontextmanager
async def serving(serve: Serve, results: dict[str, Any] = RESULTS) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A server that knows what belongs to a beginning, and for the rest does what it is given."""
    heads: list[bytes] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            heads.append(head)
            found = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
            body = await reader.readexactly(int(found[0][15:])) if found else b"{}"
            request = json.loads(body or b"{}")
            method = request.get("method")
            if method in results:
                writer.write(response({"jsonrpc": "2.0", "id": request["id"], "result": results[method]}))
            elif method == "server/discover":
                writer.write(response(b"what?", "400 Bad Request", "Content-Type: text/plain"))
            elif "id" in request:
                await serve(writer, request)
            else:
                writer.write(response(b"", "405 Method Not Allowed" if method is None else "202 Accepted"))
        writer.close()

    listener = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with listener:
        yield f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/mcp", heads


async def silence(writer: asyncio.StreamWriter, request: dict[str, Any]) -> None:
    await asyncio.sleep(1000)


async def trickle(writer: asyncio.StreamWriter, request: dict[str, Any]) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
    while True:
        writer.write(b": still here\n")
        await writer.drain()
        await asyncio.sleep(0.05)


async def flood(writer: asyncio.StreamWriter, request: dict[str, Any]) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
    while True:
        writer.write(b"x" * 100_000)
        await writer.drain()


async def reset(writer: asyncio.StreamWriter, request: dict[str, Any]) -> None:
    writer.transport.abort()


async def echo(writer: asyncio.StreamWriter, request: dict[str, Any]) -> None:
    block = {"type": "text", "text": json.dumps(request["params"]["arguments"])}
    writer.write(response({"jsonrpc": "2.0", "id": request["id"], "result": {"content": [block]}}))


@pytest.mark.parametrize("serve", [silence, trickle])
async def test_one_elsewhere_that_hangs_or_trickles_fails_in_time(serve: Serve, call: Call) -> None:
    async with serving(serve) as (url, _), using(odd={"url": url}) as tool:
        began = time.monotonic()
        with pytest.raises(StepFailed, match=r"^odd: no answer within 0\.5 s$"):
            await call(tool, tool="say", timeout="500ms")
        assert time.monotonic() - began < 2


async def test_one_elsewhere_that_hangs_up_is_transient_and_called_again(call: Call) -> None:
    async with serving(reset) as (url, _), using(odd={"url": url}) as tool:
        for _ in range(2):
            with pytest.raises(StepFailed, match=r"^odd: it cannot be reached") as caught:
                await call(tool, tool="say", timeout="5s")
            assert caught.value.category is Category.TRANSIENT
    async with using(odd={"url": url}) as tool:
        with pytest.raises(StepFailed, match=r"^odd: it cannot be reached") as caught:
            await call(tool, tool="say", timeout="5s")
    assert caught.value.category is Category.TRANSIENT


async def test_an_answer_without_end_is_not_read_to_its_end(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mcp_http, "LONGEST_ANSWER", 1_000_000)
    async with serving(flood) as (url, _), using(odd={"url": url}) as tool:
        with pytest.raises(StepFailed, match=r"^odd: it answers with more than 1,000,000 bytes$") as caught:
            await call(tool, tool="say", timeout="5s")
    assert caught.value.category is Category.RESOURCE


async def test_an_answer_that_is_packed_is_not_unpacked(call: Call) -> None:
    async def packed(writer: asyncio.StreamWriter, request: dict[str, Any]) -> None:
        writer.write(response(b"x" * 10, "200 OK", "Content-Encoding: gzip"))

    async with serving(packed) as (url, _), using(odd={"url": url}) as tool:
        with pytest.raises(StepFailed, match=r"^odd: it answers packed, which it was not asked to$"):
            await call(tool, tool="say", timeout="5s")


@pytest.mark.parametrize(
    ("status", "category"),
    [
        ("429 Too Many Requests", Category.TRANSIENT),
        ("503 Service Unavailable", Category.TRANSIENT),
        ("401 Unauthorized", Category.PERMISSION),
        ("403 Forbidden", Category.PERMISSION),
        ("404 Not Found", Category.LOGIC),
        ("307 Temporary Redirect", Category.LOGIC),
    ],
)
async def test_each_status_has_its_category(status: str, category: Category, call: Call) -> None:
    async def refuse(writer: asyncio.StreamWriter, request: dict[str, Any]) -> None:
        more = ("Content-Type: text/plain", "Location: http://example.com/", "Retry-After: 7")
        writer.write(response(b"sorry", status, *more))

    for results in (RESULTS, {}):
        async with serving(refuse, results) as (url, _), using(odd={"url": url}) as tool:
            with pytest.raises(StepFailed, match=f"^odd: it answers {status}$") as caught:
                await call(tool, tool="say", timeout="5s")
            assert caught.value.category is category
            assert caught.value.retry_after == (7.0 if category is Category.TRANSIENT else None)


async def test_one_elsewhere_that_has_forgotten_the_conversation_is_met_anew(
    call: Call,
) -> None:
    """As after it was started again."""
    known = {"Mcp-Session-Id: 1"}

    async def forgetful(writer: asyncio.StreamWriter, request: dict[str, Any]) -> None:
        if request["method"] == "initialize":
            result = {"jsonrpc": "2.0", "id": request["id"], "result": RESULTS["initialize"]}
            writer.write(response(result, "200 OK", "Mcp-Session-Id: 1"))
        elif known:
            known.clear()
            writer.write(response(b"who?", "404 Not Found"))
        else:
            await echo(writer, request)

    results = {"tools/list": RESULTS["tools/list"]}
    async with serving(forgetful, results) as (url, _), using(odd={"url": url}) as tool:
        with pytest.raises(StepFailed, match="404 Not Found: it has forgotten the conversation") as caught:
            await call(tool, tool="say", arguments={"a": 1})
        assert caught.value.category is Category.TRANSIENT
        assert (await call(tool, tool="say", arguments={"a": 1}))["content"] == '{"a": 1}'


async def test_headers_go_along_and_to_no_other_host(call: Call) -> None:
    headers = {"Authorization": "Bearer ${TOKEN}"}
    async with serving(echo) as (url, heads), using(odd={"url": url, "headers": headers}) as tool:
        await call(tool, tool="say")
        assert all(b"authorization: bearer s3cr3t-token\r\n" in head.lower() for head in heads)
        assert len(heads) > 3


async def test_what_is_no_address_is_a_matter_of_configuration(call: Call) -> None:
    for url, reason in (("http://[::1", "its `url` is none"), ("ftp://a", "only http and https are spoken")):
        async with using(odd={"url": url}) as tool:
            with pytest.raises(StepFailed, match=f"^odd: .*{reason}") as caught:
                await call(tool, tool="say", timeout="5s")
        assert caught.value.category is Category.CONFIGURATION


async def test_a_header_that_cannot_be_sent_is_not_repeated(call: Call) -> None:
    async with (
        serving(echo) as (url, _),
        using(odd={"url": url, "headers": {"X-Key": "a\n${TOKEN}"}}) as tool,
    ):
        with pytest.raises(StepFailed, match=r"^odd: it cannot be called: a header or the address") as caught:
            await call(tool, tool="say", timeout="5s")
    assert caught.value.category is Category.CONFIGURATION
    assert "s3cr3t" not in "".join(traceback.format_exception(caught.value))


async def test_a_certificate_that_is_not_trusted_is_a_matter_of_configuration(
    call: Call, tmp_path: Path
) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl makes the certificate")
    make = f"{openssl} req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=a -keyout k -out c"
    subprocess.run(make.split(), check=True, capture_output=True, cwd=tmp_path)
    secured = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    secured.load_cert_chain(tmp_path / "c", tmp_path / "k")
    listener = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=secured)
    url = f"https://127.0.0.1:{listener.sockets[0].getsockname()[1]}/mcp"
    async with listener, using(odd={"url": url}) as tool:
        with pytest.raises(StepFailed, match=r"^odd: it cannot be called: .*self-signed") as caught:
            await call(tool, tool="say", timeout="5s")
    assert caught.value.category is Category.CONFIGURATION


async def test_the_policy_of_the_network_holds_for_servers_too(call: Call) -> None:
    async with serving(echo) as (url, heads):
        cases = [
            (NetworkPolicy(), "private address"),
            (NetworkPolicy(("example.com",)), "not among the allowed"),
        ]
        for policy, reason in cases:
            tool = Mcp({"odd": {"url": url}}, policy=policy)
            with pytest.raises(StepFailed, match=f"^odd: call to 127.* is refused: .*{reason}") as caught:
                await call(tool, tool="say", timeout="5s")
            assert caught.value.category is Category.CONFIGURATION
            assert caught.value.hint
            await tool.close()
        assert heads == []


# --- secrets --------------------------------------------------------------------------------------


async def test_secrets_are_hidden_wherever_a_server_shows_them(call: Call, root: Path) -> None:
    env = {"TOKEN": "${TOKEN}", "API_KEY": "k-8f3a9d2c71e4", "MODE": "careful"}
    async with using(garden={**GARDEN, "env": env}, odd=odd("exit", env=env)) as tool:
        output = await call(tool, server="garden", tool="environment")
        shown = output["structured"]["variables"]
        assert (shown["TOKEN"], shown["API_KEY"], shown["MODE"]) == ("[secret]", "[secret]", "careful")
        assert "s3cr3t" not in output["content"]
        with pytest.raises(StepFailed, match=r"fail has failed: .*\[secret\]"):
            await call(tool, server="garden", tool="fail", arguments={"why": "no s3cr3t-token"})
        with pytest.raises(
            StepFailed, match=r"^odd: it has ended, exit code 1: cannot open \[secret\]$"
        ) as caught:
            await call(tool, server="odd", tool="say")
        assert "s3cr3t" not in "".join(traceback.format_exception(caught.value))


def test_nothing_of_a_server_but_its_name_is_shown() -> None:
    entry = {"url": "https://example.com/mcp?key=abcdef", "headers": {"X-Key": "Bearer ${TOKEN}"}}
    server = read_server("odd", entry, {"TOKEN": "s3cr3t-token"})
    assert repr(server) == "Server(name='odd', directory='.')"
    assert server.hide("key=abcdef, Bearer s3cr3t-token, s3cr3t-token") == "[secret], [secret], [secret]"
    assert server.hide("abcdef") == "[secret]"


# --- entries --------------------------------------------------------------------------------------


def test_entries_are_read_as_people_know_them() -> None:
    entry = {"type": "stdio", "command": "npx", "args": ["-y", 1, "${A}", "${B:-two words}", "$C"]}
    assert read_server("odd", entry, {"A": "x"}).command == ("npx", "-y", "1", "x", "two words", "$C")
    for kind in ("http", "streamable-http", "streamableHttp"):
        assert read_server("odd", {"type": kind, "url": "https://${A}.example"}, {"A": "x"}).url == (
            "https://x.example"
        )


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ({}, 'give "command"'),
        ({"command": "a", "url": "https://b"}, "and not both"),
        ({"comand": "a"}, r'unknown key "comand" \(did you mean "command"\?\)'),
        ({"type": "sse", "url": "https://b"}, "the old SSE transport"),
        ({"type": "stdio", "url": "https://b"}, "says otherwise"),
        ({"type": "http", "command": "b"}, "says otherwise"),
        ({"url": "https://b", "env": {"A": "b"}}, '"headers" go with'),
        ({"url": "https://b", "headers": {"A": "${MISSING}"}}, "the environment variable MISSING is not set"),
        ({"command": "a", "args": ["${MISSING}"]}, "the environment variable MISSING is not set"),
    ],
)
def test_what_is_wrong_with_an_entry_is_told(entry: dict[str, Any], problem: str) -> None:
    with pytest.raises(StepFailed, match=f"server odd: .*{problem}") as caught:
        read_server("odd", entry, {})
    assert caught.value.category is Category.CONFIGURATION


# --- health ---------------------------------------------------------------------------------------


def test_health_is_told_in_time_for_each_server_and_keeps_none_of_them(
    left_behind: Callable[[], list[psutil.Process]],
) -> None:
    servers = {"good": odd("plain"), "silent": odd("silent"), "gone": {"command": "no-such-program"}}
    began = time.monotonic()
    health = check_health({"mcp": Mcp(servers, limits=QUICK)}, patience=9.0)["mcp"]
    assert time.monotonic() - began < 3.5  # and a little for a busy machine
    assert not health.healthy
    assert "gone: it cannot be started, exit code 127" in health.message
    assert "silent: no answer within" in health.message
    assert "good" not in health.message
    assert not left_behind()


def test_without_servers_or_without_the_package_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    health = asyncio.run(Mcp().health_check())
    assert (health.healthy, health.message) == (False, "no MCP server is configured")
    assert "TASKMARK_MCP_SERVERS" in str(health.hint)
    monkeypatch.setitem(sys.modules, "mcp", None)
    health = asyncio.run(Mcp({"odd": odd("plain")}).health_check())
    assert (health.healthy, health.hint) == (False, "pip install 'taskmark[mcp]'")


def test_a_server_that_can_be_used_is_healthy() -> None:
    health = asyncio.run(Mcp({"odd": odd("plain")}).health_check())
    assert (health.healthy, health.message) == (True, "can use odd")


async def test_with_fresh_credentials_the_conversation_begins_anew(context: StepContext) -> None:
    """A program of ours is started again, and so reads its own anew; without that it is kept."""
    environment = {"tool": "environment", "arguments": {}}
    async with using(garden=GARDEN) as tool:

        async def process(**fields: Any) -> int:
            output: Any = await tool.execute(tool.validate(environment), replace(context, **fields))
            return int(output["structured"]["pid"])

        first = await process()
        assert await process() == first
        second = await process(refresh_credentials=True)
        assert second != first
        assert await process() == second
        await until(lambda: not lives(first))
