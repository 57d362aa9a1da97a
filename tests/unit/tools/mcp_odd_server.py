"""An MCP server by hand, as old ones are, which behaves as its first argument says. It starts at once."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from typing import Any

TOOL = {"name": "say", "inputSchema": {"type": "object", "properties": {"text": {"type": "string"}}}}
TEXT, LOUD = {"text": {"type": "string"}}, {"loud": {"type": "boolean"}}
CHANGING = [
    {"name": "say", "inputSchema": {"type": "object", "properties": some, "additionalProperties": False}}
    for some in (TEXT, TEXT | LOUD, TEXT | LOUD)
]
"""What it says of its tool, each time it is asked."""


def answer(request: dict[str, Any], **content: Any) -> None:
    print(json.dumps({"jsonrpc": "2.0", "id": request["id"], **content}), flush=True)


def converse(request: dict[str, Any], how: str) -> None:
    method = request["method"]
    if method == "initialize":
        named = {"name": "odd", "version": "1"}
        answer(
            request,
            result={"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": named},
        )
    elif method == "tools/list":
        answer(request, result={"tools": [CHANGING.pop(0) if how == "changing" else TOOL]})
    elif method == "tools/call":
        call(request, how)
    elif "id" in request:
        answer(request, error={"code": -32601, "message": "no such method"})


def call(request: dict[str, Any], how: str) -> None:
    text = request["params"]["arguments"].get("text", "")
    if how == "endless":
        while True:
            sys.stdout.write("x" * 1_000_000)
    elif how == "refuse":
        answer(request, error={"code": -32602, "message": f"not with {text}"})
    elif how == "nonsense":
        answer(request, result={"content": [{"type": "smell", "strength": 3}]})
    elif how == "answer-and-exit":
        answer(request, result={"content": [{"type": "text", "text": text}]})
        os._exit(0)
    elif how == "data-only":
        answer(request, result={"content": [], "structuredContent": {"sown": 3}})
    elif how == "stop-reading":
        time.sleep(1000)
    else:
        answer(request, result={"content": [{"type": "text", "text": text}]})


def main(how: str) -> None:
    if how == "exit":
        sys.exit(f"cannot open {os.environ.get('TOKEN')}")
    if how == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if how in ("silent", "deaf"):
        print("Listening on nothing", flush=True)
        while True:
            time.sleep(1000)
    for line in sys.stdin:
        converse(json.loads(line), how)


if __name__ == "__main__":
    main(sys.argv[1])
