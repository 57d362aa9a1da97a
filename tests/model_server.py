"""A server that speaks the protocols of Anthropic and OpenAI over real HTTP, and says what a test wants.

It stands where a provider would: `POST /v1/messages` and `POST /v1/chat/completions`, whole or streamed.
What it says is made by a function of the request; every request is kept.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Reply:
    """What a model says, or what goes wrong."""

    text: str = ""
    calls: tuple[tuple[str, Any], ...] = ()
    """Tools and their arguments; arguments that are a text go out as they are, malformed or not."""
    usage: tuple[int, int] | None = (100, 20)
    """Tokens read and written; None: nothing is said of it."""
    finish: str = ""
    """Why it ended, if not as usual: `length`."""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    error: str = "something is wrong"
    error_type: str = "api_error"
    before: float = 0.0
    """Seconds until anything is said …"""
    pause: float = 0.0
    """… and between two pieces."""
    cut: bool = False
    """Whether the connection ends in the middle."""
    raw: bytes | None = None
    """Said in place of everything."""


@dataclass(frozen=True)
class Asked:
    """A request."""

    protocol: str
    body: dict[str, Any]
    headers: dict[str, str]
    at: float

    @property
    def key(self) -> str:
        """The key that it came with."""
        return self.headers.get("x-api-key") or self.headers.get("authorization", "").removeprefix("Bearer ")

    @cached_property
    def text(self) -> str:
        """Everything that was said so far, instructions included."""
        return json.dumps([self.body.get("system"), self.body["messages"]], ensure_ascii=False)

    @property
    def last(self) -> str:
        """What was said last."""
        return json.dumps(self.body["messages"][-1], ensure_ascii=False)

    @property
    def turns(self) -> int:
        """How often the model has spoken before."""
        return sum(message["role"] == "assistant" for message in self.body["messages"])

    @property
    def tools(self) -> list[str]:
        """The tools that it may use."""
        return [tool.get("name") or tool["function"]["name"] for tool in self.body.get("tools", [])]


Say = Callable[[Asked], Reply]


class ModelServer:
    """The server: `url` is where it listens, `say` decides what it says."""

    def __init__(self, say: Say = lambda _: Reply(text="yes")) -> None:
        self.say = say
        self.asked: list[Asked] = []
        self.answered: list[tuple[Asked, float]] = []
        """Requests whose whole answer was written, and when."""
        owner = self

        class Handler(_Handler):
            server_owner = owner

        self._server = _Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends it."""
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def model_server(say: Say = lambda _: Reply(text="yes")) -> Iterator[ModelServer]:
    """Runs a server for a while."""
    server = ModelServer(say)
    try:
        yield server
    finally:
        server.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Who hangs up is no error here."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server_owner: ModelServer

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""

    def do_POST(self) -> None:
        """Answers a request."""
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        protocol = "anthropic" if self.path.endswith("/messages") else "openai"
        headers = {name.lower(): value for name, value in self.headers.items()}
        asked = Asked(protocol, body, headers, time.time())
        self.server_owner.asked.append(asked)
        reply = self.server_owner.say(asked)
        time.sleep(reply.before)
        with suppress(ConnectionError):
            self._reply(asked, reply)

    def _reply(self, asked: Asked, reply: Reply) -> None:
        if reply.raw is not None:
            self._send(reply.raw, reply.status, reply.headers)
        elif reply.status >= 400:
            error = {"type": "error", "error": {"type": reply.error_type, "message": reply.error}}
            self._send(json.dumps(error).encode(), reply.status, reply.headers)
        elif asked.body.get("stream"):
            self._stream(_EVENTS[asked.protocol](asked, reply), reply)
            self.server_owner.answered.append((asked, time.time()))
        else:
            self._send(json.dumps(_WHOLE[asked.protocol](asked, reply)).encode(), 200, {})
            self.server_owner.answered.append((asked, time.time()))

    def _send(self, content: bytes, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"content-type": "application/json", **headers}.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        self.wfile.flush()

    def _stream(self, events: Iterator[str], reply: Reply) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        told = list(events)
        for event in told[: len(told) // 2] if reply.cut else told:
            data = event.encode()
            self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
            if reply.pause:
                self.wfile.flush()
                time.sleep(reply.pause)
        if reply.cut:
            self.wfile.flush()
            self.close_connection = True
            return
        self.wfile.write(b"0\r\n\r\n")
        self.wfile.flush()


def _pieces(text: str, length: int = 24) -> list[str]:
    return [text[at : at + length] for at in range(0, len(text), length)]


def _arguments(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


# --- Anthropic ------------------------------------------------------------------------------------


def _anthropic_whole(asked: Asked, reply: Reply) -> dict[str, Any]:
    content: list[dict[str, Any]] = [{"type": "text", "text": reply.text}] if reply.text else []
    content += [
        {"type": "tool_use", "id": f"toolu_{asked.turns}_{n}", "name": name, "input": value}
        for n, (name, value) in enumerate(reply.calls)
    ]
    return _anthropic_message(asked, reply) | {
        "content": content,
        "stop_reason": _stop(reply, "tool_use", "end_turn", "max_tokens"),
    }


def _anthropic_message(asked: Asked, reply: Reply) -> dict[str, Any]:
    read, written = reply.usage or (0, 0)
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": asked.body["model"],
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": read, "output_tokens": written},
    }


def _stop(reply: Reply, calls: str, text: str, length: str) -> str:
    return length if reply.finish == "length" else calls if reply.calls else text


def _anthropic_events(asked: Asked, reply: Reply) -> Iterator[str]:
    def event(type: str, **fields: Any) -> str:
        return f"event: {type}\ndata: {json.dumps({'type': type, **fields})}\n\n"

    yield event("message_start", message=_anthropic_message(asked, reply))
    index = 0
    if reply.text:
        yield event("content_block_start", index=0, content_block={"type": "text", "text": ""})
        for piece in _pieces(reply.text):
            yield event("content_block_delta", index=0, delta={"type": "text_delta", "text": piece})
        yield event("content_block_stop", index=0)
        index = 1
    for number, (name, value) in enumerate(reply.calls):
        block = {"type": "tool_use", "id": f"toolu_{asked.turns}_{number}", "name": name, "input": {}}
        yield event("content_block_start", index=index, content_block=block)
        for piece in _pieces(_arguments(value)):
            delta = {"type": "input_json_delta", "partial_json": piece}
            yield event("content_block_delta", index=index, delta=delta)
        yield event("content_block_stop", index=index)
        index += 1
    stop = _stop(reply, "tool_use", "end_turn", "max_tokens")
    written = (reply.usage or (0, 0))[1]
    yield event(
        "message_delta", delta={"stop_reason": stop, "stop_sequence": None}, usage={"output_tokens": written}
    )
    yield event("message_stop")


# --- OpenAI ---------------------------------------------------------------------------------------


def _openai_usage(reply: Reply) -> dict[str, Any] | None:
    if reply.usage is None:
        return None
    read, written = reply.usage
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}


def _openai_calls(asked: Asked, reply: Reply) -> list[dict[str, Any]]:
    return [
        {
            "index": n,
            "id": f"call_{asked.turns}_{n}",
            "type": "function",
            "function": {"name": name, "arguments": _arguments(value)},
        }
        for n, (name, value) in enumerate(reply.calls)
    ]


def _openai_whole(asked: Asked, reply: Reply) -> dict[str, Any]:
    message = {"role": "assistant", "content": reply.text or None}
    if reply.calls:
        message["tool_calls"] = _openai_calls(asked, reply)
    stop = _stop(reply, "tool_calls", "stop", "length")
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": asked.body["model"],
        "choices": [{"index": 0, "message": message, "finish_reason": stop}],
        "usage": _openai_usage(reply),
    }


def _openai_events(asked: Asked, reply: Reply) -> Iterator[str]:
    def chunk(delta: dict[str, Any], finish: str | None = None, **fields: Any) -> str:
        data = {
            "id": "chatcmpl-1",
            "object": "chat.completion.chunk",
            "created": 1_700_000_000,
            "model": asked.body["model"],
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
            **fields,
        }
        return f"data: {json.dumps(data)}\n\n"

    yield chunk({"role": "assistant", "content": ""})
    for piece in _pieces(reply.text):
        yield chunk({"content": piece})
    for call in _openai_calls(asked, reply):
        arguments = call["function"]["arguments"]
        head = {**call, "function": {**call["function"], "arguments": ""}}
        yield chunk({"tool_calls": [head]})
        for piece in _pieces(arguments):
            yield chunk({"tool_calls": [{"index": call["index"], "function": {"arguments": piece}}]})
    yield chunk({}, _stop(reply, "tool_calls", "stop", "length"))
    if reply.usage is not None:
        yield chunk({}, choices=[], usage=_openai_usage(reply))
    yield "data: [DONE]\n\n"


_WHOLE = {"anthropic": _anthropic_whole, "openai": _openai_whole}
_EVENTS = {"anthropic": _anthropic_events, "openai": _openai_events}


def _served(thinking: float) -> None:
    """Serves in a process of its own until its input ends: it says where, and answers after so long."""
    with model_server(lambda asked: _usual(asked, thinking)) as server:
        print(server.url, flush=True)
        sys.stdin.read()


def _usual(asked: Asked, thinking: float) -> Reply:
    if "final-answer" in asked.tools:
        return Reply(calls=(("final-answer", {"value": 1}),), before=thinking)
    if asked.tools and not asked.turns:
        return Reply(calls=((asked.tools[0], {"path": "beds.txt"}),), before=thinking)
    return Reply(text="water the beans " * 10, before=thinking)


if __name__ == "__main__":
    _served(float(sys.argv[1]))
