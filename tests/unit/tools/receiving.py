"""A real HTTP server on loopback that keeps what it gets and answers what it is told to, and certificates."""

from __future__ import annotations

import asyncio
import json
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest


@dataclass
class Received:
    """One request."""

    line: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Receiver:
    """Who gets it; of the answers each is given once, and the last one ever after."""

    answers: list[bytes]
    requests: list[Received] = field(default_factory=list)
    port: int = 0

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        line, *lines = head.strip().split("\r\n")
        headers = {name.lower(): value for name, value in (one.split(": ", 1) for one in lines)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        self.requests.append(Received(line, headers, body))
        writer.write(self.answers[min(len(self.requests), len(self.answers)) - 1])
        writer.close()

    @property
    def place(self) -> str:
        return f"127.0.0.1:{self.port}"


def answer(status: str = "200 OK", body: bytes | dict[str, Any] = b"", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", "Connection: close", *headers]
    if isinstance(body, dict):
        body, lines = json.dumps(body).encode(), [*lines, "Content-Type: application/json"]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}"]).encode() + b"\r\n\r\n" + body


@asynccontextmanager
async def receiving(*answers: bytes, tls: ssl.SSLContext | None = None) -> AsyncIterator[Receiver]:
    receiver = Receiver(list(answers) or [answer()])
    listener = await asyncio.start_server(receiver.handle, "127.0.0.1", 0, ssl=tls)
    receiver.port = listener.sockets[0].getsockname()[1]
    async with listener:
        yield receiver


def certificate(place: Path, *names: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Returns what a server needs that has these names, and what a client needs to trust it."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl makes the certificate")
    command = f"{openssl} req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN={names[0]}"
    command += f" -addext subjectAltName={','.join(f'DNS:{name}' for name in names)}"
    key, public = place / "key.pem", place / "public.pem"
    subprocess.run([*command.split(), "-keyout", key, "-out", public], check=True, capture_output=True)
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(public, key)
    return server, ssl.create_default_context(cafile=str(public))
