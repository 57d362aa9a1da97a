"""An MCP server as a program of ours: under the launcher, with limits, and gone when the conversation ends.

The official client starts servers too, but what they start may outlive them there, and they get no limits.
So only its messages are used here; the process is one of `processes.py`, which runs as long as this is open.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import anyio
from mcp.shared.message import SessionMessage
from mcp.types import jsonrpc_message_adapter
from pydantic import ValidationError

from taskmark.errors import Category, StepFailed
from taskmark.ports import StepContext
from taskmark.tools.mcp_start import NOT_EXECUTABLE, NOT_FOUND
from taskmark.tools.pipes import TwoPipes, two_pipes
from taskmark.tools.processes import Command, Ended, ProcessLimits, run

if TYPE_CHECKING:
    from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

    from taskmark.tools.mcp_servers import Server

STARTER: Final = (sys.executable, "-I", "-S", str(Path(__file__).with_name("mcp_start.py")))
LONGEST_MESSAGE: Final = 16 * 1024**2
"""Bytes in one line of a server's; pictures are in it, in Base64."""
LAST_WORDS: Final = 500
"""Characters of what it has printed beside the conversation, for messages."""
FAREWELL: Final = 0.5
"""Seconds a server has to end by itself once nobody will say anything more to it."""


@dataclass
class _Ends(TwoPipes):
    """What both sides read and write."""

    their_input: int
    our_output: int
    our_input: int
    their_output: int

    def lend(self, name: str) -> Any:
        """Returns an end as a file, which closes it from now on."""
        descriptor = getattr(self, name)
        setattr(self, name, -1)
        return os.fdopen(descriptor, "rb" if name == "our_input" else "wb", buffering=0)


def _no_pipe(error: OSError) -> StepFailed:
    return StepFailed(f"no pipe for the server: {error.strerror}", Category.RESOURCE)


class StdioConnection:
    """A program that is spoken to over its standard input and output."""

    def __init__(
        self, server: Server, root: Path, limits: ProcessLimits | None, over: asyncio.Event, worker_id: str
    ) -> None:
        self._server = server
        # A server runs as long as it is used: what it logs in that time is no reason to end it.
        self._limits = replace(limits or ProcessLimits(), output=0)
        self._over = over
        self._context = StepContext(root=root, worker_id=worker_id, timeout=float("inf"), say=self._heard)
        self._said = ""
        self._leaving = False
        """Whether it is to end because nobody needs it any more."""
        self._failure: StepFailed | None = None

    def problem(self) -> StepFailed | None:
        """Returns why the program cannot go on, or None."""
        return self._failure

    def remark(self) -> str:
        """Returns the last line that it printed beside the conversation, or nothing."""
        return self._said[:LAST_WORDS]

    def _heard(self, line: str) -> None:
        self._said = line

    @asynccontextmanager
    async def streams(self) -> AsyncIterator[tuple[Any, Any]]:
        """Lends the conversation. When it is given back, nothing that the program started is left."""
        farewell = 0.0
        with two_pipes(_Ends, _no_pipe) as ends:
            running = asyncio.create_task(self._run(ends))
            try:
                async with _joined(ends) as (reader, writer), anyio.create_task_group() as tasks:
                    inward, heard = anyio.create_memory_object_stream[SessionMessage | Exception](0)
                    said, outward = anyio.create_memory_object_stream[SessionMessage](0)
                    tasks.start_soon(self._listen, reader, inward)
                    tasks.start_soon(_speak, outward, writer)
                    with inward, heard, said, outward:
                        yield heard, said
                        farewell = FAREWELL
                        tasks.cancel_scope.cancel()
            finally:
                self._leaving = True
                await _end(running, farewell)

    async def _run(self, ends: _Ends) -> None:
        """Runs the program, and says so when it has ended."""
        theirs = (ends.their_input, ends.their_output)
        words = (*STARTER, ",".join(str(one) for one in theirs), *self._server.command)
        command = Command(words, self._server.directory, self._server.environment, descriptors=theirs)
        try:
            ended = await run(command, self._context, self._limits)
            self._failure = self._failure or (None if self._leaving else _told(ended))
        except StepFailed as failure:
            self._failure = self._failure or failure
        finally:
            # Whoever listens finds the end now, after all that was said before it.
            ends.close("their_input", "their_output")

    async def _listen(
        self,
        reader: asyncio.StreamReader,
        inward: MemoryObjectSendStream[SessionMessage | Exception],
    ) -> None:
        """Passes on what the program says, until it says nothing more."""
        with inward, suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            while line := await self._line(reader):
                try:
                    message = jsonrpc_message_adapter.validate_json(line, by_name=False)
                except ValidationError:
                    self._heard(line.decode(errors="replace").strip())
                    continue
                await inward.send(SessionMessage(message))
        self._over.set()

    async def _line(self, reader: asyncio.StreamReader) -> bytes:
        """Returns the next line, or nothing if there is none that can be read."""
        try:
            return await reader.readuntil(b"\n")
        except asyncio.IncompleteReadError:
            return b""
        except asyncio.LimitOverrunError:
            self._failure = StepFailed(
                f"it said more than {LONGEST_MESSAGE:,} bytes at once",
                Category.RESOURCE,
                hint="ask it for less",
            )
            return b""


def _told(ended: Ended) -> StepFailed:
    """Returns what it means that the program has ended by itself."""
    how, colon, said = ended.reason.partition(": ")
    reason = how + colon + said[-LAST_WORDS:]
    if ended.exit_code in (NOT_EXECUTABLE, NOT_FOUND):
        hint = "install it on every worker, or correct the server's `command`"
        return StepFailed(f"it cannot be started, {reason}", Category.CONFIGURATION, hint=hint)
    return StepFailed(f"it has ended, {reason}")


@asynccontextmanager
async def _joined(ends: _Ends) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Lends our ends as streams; without ours, the program reads to the end of its input."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=LONGEST_MESSAGE)
    reading, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), ends.lend("our_input")
    )
    try:
        writing, protocol = await loop.connect_write_pipe(
            lambda: asyncio.StreamReaderProtocol(asyncio.StreamReader()), ends.lend("our_output")
        )
        writer = asyncio.StreamWriter(writing, protocol, None, loop)
        try:
            yield reader, writer
        finally:
            writing.abort()  # what was not taken yet is of no use to anybody
    finally:
        reading.close()


async def _speak(outward: MemoryObjectReceiveStream[SessionMessage], writer: asyncio.StreamWriter) -> None:
    """Passes on what is said to the program; that it does not hear it any more is told by its end."""
    with outward, suppress(ConnectionError):
        async for message in outward:
            text = message.message.model_dump_json(by_alias=True, exclude_unset=True)
            writer.write(text.encode() + b"\n")
            await writer.drain()


async def _end(running: asyncio.Task[None], farewell: float) -> None:
    """Waits until the program has ended, by itself or by force."""
    try:
        await asyncio.wait({running}, timeout=farewell)
    finally:
        running.cancel()
        await asyncio.wait({running})
