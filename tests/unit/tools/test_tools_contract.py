"""Every built-in tool does what the engine relies on, against real files, programs and servers."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session
from receiving import Receiver, answer

from taskmark.ports import Tool
from taskmark.registry import load
from taskmark.tools.browser import Browser
from taskmark.tools.browsing_chromium import find_program
from taskmark.tools.chat import Chat
from taskmark.tools.functions import Python
from taskmark.tools.mail import Mail
from taskmark.tools.mcp import Mcp
from taskmark.tools.network import NetworkPolicy
from taskmark.tools.outgoing import Outgoing
from taskmark.tools.sql import Sql, SqlWrite
from taskmark.tools.testing import examine_tool
from taskmark.tools.web import Http
from taskmark.tools.web_search import WebSearch
from taskmark.tools.webhook import Webhook

HERE = Path(__file__).parent
LOCAL = NetworkPolicy(allow_private=True)
FAST = Outgoing(per_minute=60_000)
FOREVER = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"
TIMES = "def once():\n    return 1\n\ndef long():\n    import time\n    time.sleep(60)\n"


@dataclass
class Case:
    """A tool, and how it is called."""

    tool: Tool[Any]
    arguments: Mapping[str, Any]
    slow: Mapping[str, Any] | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    observe: Callable[[Path], Any] | None = None

    def prepare(self, root: Path) -> None:
        for name, text in self.files.items():
            (root / name).write_text(text)


Made = AbstractAsyncContextManager[Case]
Make = Callable[[], Made]


def plainly(tool: str, arguments: Mapping[str, Any], slow: Any = None, **files: str) -> Make:
    """A tool that needs nothing but files."""

    @asynccontextmanager
    async def made() -> AsyncIterator[Case]:
        named = {name.replace("_", "."): text for name, text in files.items()}
        yield Case(load().tool(tool), arguments, slow, named)

    return made


# --- servers --------------------------------------------------------------------------------------


class Stalling(Receiver):
    """Says nothing to whoever says `slow`, until he goes."""

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        sizes = [line[15:] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        body = await reader.readexactly(int(sizes[0]) if sizes else 0)
        if b"slow" in head + body:
            await reader.read()
        else:
            self.requests.append(body)  # type: ignore[arg-type] # all that is asked is how many
            writer.write(self.answers[0])
        writer.close()


@asynccontextmanager
async def stalling(given: bytes | None = None) -> AsyncIterator[Stalling]:
    server = Stalling([given or answer("200 OK", {"results": [], "ok": True})])
    listener = await asyncio.start_server(server.handle, "127.0.0.1", 0)
    server.port = listener.sockets[0].getsockname()[1]
    async with listener:
        yield server


@asynccontextmanager
async def http() -> AsyncIterator[Case]:
    async with stalling() as server:
        url = f"http://{server.place}"
        yield Case(Http(LOCAL), {"url": url}, {"url": f"{url}/slow"})


@asynccontextmanager
async def web_search() -> AsyncIterator[Case]:
    async with stalling() as server:
        yield Case(WebSearch(f"searxng+http://{server.place}"), {"query": "rain"}, {"query": "slow"})


@asynccontextmanager
async def webhook() -> AsyncIterator[Case]:
    async with stalling() as server:
        tool = Webhook({"billing": {"url": f"http://{server.place}/hook"}}, LOCAL, outgoing=FAST)
        given = {"endpoint": "billing"}
        once = lambda _root: len(server.requests)  # noqa: E731 - one word for one thing
        yield Case(tool, {**given, "payload": 1}, {**given, "payload": "slow"}, observe=once)


@asynccontextmanager
async def chat() -> AsyncIterator[Case]:
    async with stalling() as server:
        tool = Chat({"team": f"ntfy+http://tk_s3cr3t@{server.place}/alerts"}, outgoing=FAST)
        yield Case(tool, {"text": "done"}, {"text": "slow"}, observe=lambda _root: len(server.requests))


class Mailbox:
    """Counts messages; a slow one takes a while."""

    def __init__(self) -> None:
        self.count = 0

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - so it is called
        self.count += 1
        await asyncio.sleep(0.4 if b"slow" in bytes(envelope.content or b"") else 0)
        return "250 OK"


@asynccontextmanager
async def mail() -> AsyncIterator[Case]:
    mailbox, loop = Mailbox(), asyncio.get_running_loop()
    listener = await loop.create_server(
        lambda: SMTP(mailbox, hostname="mail.test", loop=loop), "127.0.0.1", 0
    )
    async with listener:
        port = listener.sockets[0].getsockname()[1]
        tool = Mail(f"smtp://127.0.0.1:{port}", "robot@example.com", outgoing=FAST)
        given = {"to": "ann@example.org", "subject": "Done"}
        slow, once = {**given, "body": "slow"}, lambda _root: mailbox.count
        yield Case(tool, {**given, "body": "Well."}, slow, observe=once)


@asynccontextmanager
async def mcp() -> AsyncIterator[Case]:
    pytest.importorskip("mcp")
    tool = Mcp(
        {"garden": {"command": sys.executable, "args": [str(HERE / "mcp_server.py"), "stdio"]}}, policy=LOCAL
    )
    try:
        add = {"tool": "add", "arguments": {"a": 1}}
        yield Case(tool, add, {"tool": "count", "arguments": {"to": 100, "pause": 0.1}})
    finally:
        await tool.close()


@asynccontextmanager
async def browser() -> AsyncIterator[Case]:
    pytest.importorskip("playwright")
    if find_program(None) is None:
        pytest.skip("there is no Chromium")
    tool = Browser(LOCAL)
    try:
        async with stalling(answer("200 OK", b"<title>Shop</title>", "Content-Type: text/html")) as server:
            url = f"http://{server.place}"
            yield Case(tool, {"url": url}, {"url": f"{url}/slow"})
    finally:
        await tool.close()


# --- what needs none ------------------------------------------------------------------------------


@asynccontextmanager
async def python() -> AsyncIterator[Case]:
    yield Case(Python(), {"function": "times:once"}, {"function": "times:long"}, {"times.py": TIMES})


def database(kind: type[Sql], query: str) -> Make:
    @asynccontextmanager
    async def made() -> AsyncIterator[Case]:
        case = Case(kind({"shop": "sqlite:///shop.db"}), {"query": query}, {"query": FOREVER})
        case.prepare = lambda root: _filled(root / "shop.db")  # type: ignore[method-assign] # in this case
        yield case

    return made


def _filled(file: Path) -> None:
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE sold (day TEXT)")
    connection.close()


CASES: dict[str, Make] = {
    "read-file": plainly("read-file", {"path": "a.txt"}, a_txt="hello"),
    "write-file": plainly("write-file", {"path": "b.txt", "content": "x", "append": True}),
    "edit-file": plainly("edit-file", {"path": "a.txt", "find": "hello", "replace": "bye"}, a_txt="hello"),
    "copy-file": plainly("copy-file", {"path": "a.txt", "to": "b.txt"}, a_txt="hello"),
    "move-file": plainly("move-file", {"path": "a.txt", "to": "b.txt"}, a_txt="hello"),
    "delete-file": plainly("delete-file", {"path": "a.txt"}, a_txt="hello"),
    "list-files": plainly("list-files", {}, a_txt="hello"),
    "search-files": plainly("search-files", {"pattern": "h.llo"}, a_txt="hello"),
    "read-csv": plainly("read-csv", {"path": "a.csv"}, a_csv="x,y\n1,2\n"),
    "json": plainly("json", {"text": "[1]"}),
    "shell": plainly("shell", {"command": ["echo", "hi"]}, {"command": ["sleep", "60"]}),
    "python": python,
    "http": http,
    "web-search": web_search,
    "sql": database(Sql, "SELECT count(*) FROM sold"),
    "sql-write": database(SqlWrite, "INSERT INTO sold VALUES ('today')"),
    "mail": mail,
    "webhook": webhook,
    "chat": chat,
    "mcp": mcp,
    "browser": browser,
}
OVER_SOON = {name for name in CASES if name == "json" or "file" in name or "csv" in name}
"""Of the others a call that takes long is cancelled, of these one only where the machine is slow."""


@pytest.mark.parametrize("name", CASES)
async def test_a_built_in_tool_does_what_the_engine_relies_on(name: str) -> None:
    async with CASES[name]() as case:
        assert case.tool.name == name
        found = await examine_tool(
            case.tool,
            case.arguments,
            slow=case.slow,
            prepare=case.prepare,
            observe=case.observe,
            cancel_after=0.15,
            grace=5,
        )
    found.require()
    assert name in OVER_SOON or "cancellation" in found.passed, found
    assert ("repetition" in found.passed) == (case.tool.effects and case.tool.repeatable), found


def test_no_built_in_tool_is_left_out() -> None:
    assert set(CASES) == set(load().tools)
