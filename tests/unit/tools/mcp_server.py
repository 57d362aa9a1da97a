"""An MCP server for tests, made with the official package.

    mcp_server.py stdio
    mcp_server.py http FILE

In the file it writes the port on which it listens.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from mcp.server.mcpserver import Context, Image, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import (
    ElicitRequest,
    ElicitRequestFormParams,
    EmbeddedResource,
    InputRequiredResult,
    ResourceLink,
    TextResourceContents,
    ToolAnnotations,
)

server = MCPServer("garden", log_level="ERROR")
GUESTS: list[asyncio.Event] = []


@server.tool(annotations=ToolAnnotations(read_only_hint=True))
def add(a: int, b: int = 1) -> int:
    """Adds two numbers."""
    return a + b


@server.tool(structured_output=False)
def echo(text: str) -> str:
    return text


@server.tool()
def environment() -> dict[str, Any]:
    """Tells where it runs."""
    return {"variables": dict(os.environ), "cwd": os.getcwd(), "pid": os.getpid()}


@server.tool(structured_output=False)
async def count(to: int, pause: float, ctx: Context[Any, Any]) -> str:
    for number in range(1, to + 1):
        await ctx.report_progress(number, to, f"row {number}")
        await asyncio.sleep(pause)
    return "counted"


@server.tool(structured_output=False)
async def meet(guests: int) -> str:
    """Answers nobody before so many have called."""
    GUESTS.append(asyncio.Event())
    if len(GUESTS) == guests:
        for guest in GUESTS:
            guest.set()
    await GUESTS[-1].wait()
    return "met"


@server.tool(structured_output=False)
def fail(why: str) -> str:
    raise ToolError(why)


@server.tool(structured_output=False)
def large(size: int) -> str:
    return "x" * size


@server.tool(structured_output=False)
def pictures(sizes: list[int]) -> list[Any]:
    return ["here:", *(Image(data=b"x" * size, format="png") for size in sizes)]


@server.tool(structured_output=False)
def files() -> list[Any]:
    inner = TextResourceContents(uri="file:///a.txt", text="hello", mime_type="text/plain")
    link = ResourceLink(type="resource_link", uri="file:///b.bin", name="b", mime_type="application/x")
    return [EmbeddedResource(type="resource", resource=inner), link]


@server.tool(structured_output=False)
def key(ctx: Context[Any, Any]) -> str:
    return json.dumps(dict(ctx.request_context.meta or {}))


@server.tool(structured_output=False)
async def hang(file: str) -> str:
    """Starts a process that would outlive it, writes both ids to a file and never answers."""
    child = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    Path(file).write_text(f"{os.getpid()} {child.pid}")
    await asyncio.sleep(1000)
    return "never"


@server.tool(structured_output=False)
async def question() -> InputRequiredResult:
    """Asks back, as servers of 2026 may."""
    asked = ElicitRequestFormParams(message="who?", requested_schema={"type": "object", "properties": {}})
    return InputRequiredResult(input_requests={"who": ElicitRequest(params=asked)}, request_state="1")


@server.tool(structured_output=False)
async def die(words: str) -> str:
    sys.stderr.write(words + "\n")
    sys.stderr.flush()
    os._exit(3)


@server.tool(structured_output=False)
async def grow(ctx: Context[Any, Any]) -> str:
    """Has one more tool from now on."""
    server.add_tool(echo, name="grown", structured_output=False)
    await ctx.notify_tools_changed()
    return "grown"


def serve(file: str) -> None:
    import uvicorn

    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    Path(file).with_suffix(".new").write_text(str(listener.getsockname()[1]))
    Path(file).with_suffix(".new").rename(file)
    application = server.streamable_http_app()
    running = uvicorn.Server(uvicorn.Config(application, log_level="error", timeout_graceful_shutdown=1))
    running.run(sockets=[listener])


if __name__ == "__main__":
    serve(sys.argv[2]) if sys.argv[1] == "http" else server.run("stdio")
