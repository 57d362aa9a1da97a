"""`read-file` and `write-file`."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import secrets
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from typing import BinaryIO, Final, TypeVar

from pydantic import Field

from taskmark.contracts import ADAPTER_LIMIT
from taskmark.errors import Category, StepFailed
from taskmark.ports import Health, StepContext, Tool
from taskmark.task.model import Json
from taskmark.tools.confinement import is_link, open_file, open_regular, parent_directory, reporting
from taskmark.tools.journal import remember
from taskmark.tools.room import check_room
from taskmark.tools.sizes import capped
from taskmark.tools.stoppable import check_wanted, in_thread
from taskmark.tools.validation import Arguments

TOO_LARGE = "read a part of it with search-files or shell"

_NEXT_TRY: Final = 0.02
"""Seconds between two tries to lock a file."""

Parameters = TypeVar("Parameters", bound=Arguments)


class FileTool(Tool[Parameters]):
    """A tool that touches files under the root."""

    def estimate_duration(self, parameters: Parameters) -> float:
        """Seconds: a disk is fast, but writing waits for it."""
        return 0.1

    async def health_check(self) -> Health:
        """Whether this system can open files relative to directories, which confinement rests on."""
        if os.open in os.supports_dir_fd and hasattr(os, "O_NOFOLLOW"):
            return Health(healthy=True)
        return Health(
            healthy=False,
            message="this system cannot open files relative to a directory, so the root cannot be guarded",
            hint="run workers on Linux or macOS",
        )


class ReadFileParameters(Arguments):
    """What to read."""

    path: str = Field(description="A file under the root, UTF-8 text")


class ReadFile(FileTool[ReadFileParameters]):
    """Reads a text file."""

    name = "read-file"
    parameters = ReadFileParameters
    effects = False

    async def execute(self, parameters: ReadFileParameters, context: StepContext) -> Json:
        """Returns `path`, `content` and `bytes`. Raises `StepFailed`."""
        content = await in_thread(read_bytes, context, parameters.path, ADAPTER_LIMIT)
        output = {
            "path": parameters.path,
            "content": decoded(content, parameters.path),
            "bytes": len(content),
        }
        return capped(output, source=parameters.path, advice=TOO_LARGE)

    def estimate_duration(self, parameters: ReadFileParameters) -> float:
        """Seconds: a disk is fast."""
        return 0.05


def read_bytes(context: StepContext, path: str, limit: int) -> bytes:
    """Returns a file's content. Raises `StepFailed`, with category resource above `limit` bytes."""
    with open(open_file(context.root, path), "rb") as file, reporting(path):
        content = file.read(limit + 1)
        size = os.fstat(file.fileno()).st_size
    if len(content) > limit:
        raise StepFailed(
            f"{path}: {size:,} bytes; at most {limit:,} are read", Category.RESOURCE, hint=TOO_LARGE
        )
    return content


def decoded(content: bytes, path: str) -> str:
    """Returns text, without a byte order mark. Raises `StepFailed` (logic) if it is not UTF-8."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise StepFailed(
            f"{path}: not UTF-8 text (byte {error.start:,})", Category.LOGIC, hint="convert it with shell"
        ) from error


class WriteFileParameters(Arguments):
    """What to write, and where."""

    path: str = Field(description="A file under the root")
    content: str | int | float | bool | list[Json] | dict[str, Json] = Field(
        description="Text as it is; anything else is written as JSON"
    )
    append: bool = Field(default=False, description="Add to the end instead of replacing")
    create_parents: bool = Field(default=True, description="Make missing directories")


class WriteFile(FileTool[WriteFileParameters]):
    """Writes a text file, whole or not at all.

    The new content goes to a file beside the old one and takes its place in one step, so that a reader or
    a crash sees the old content or the new, never a mixture.
    """

    name = "write-file"
    repeatable = True
    parameters = WriteFileParameters

    async def execute(self, parameters: WriteFileParameters, context: StepContext) -> Json:
        """Returns `path` and `bytes` written. Raises `StepFailed`."""
        content = _content(parameters.path, parameters.content)
        if parameters.append:
            await _append_in_turn(context, parameters.path, content, parameters.create_parents)
        else:
            await in_thread(replace, context, parameters.path, content, parameters.create_parents)
        return {"path": parameters.path, "bytes": len(content)}


def _content(path: str, content: Json) -> bytes:
    """Returns what is written for a value. Raises `StepFailed` (logic)."""
    text = content if isinstance(content, str) else json.dumps(content, indent=2, ensure_ascii=False)
    return encoded(text, path)


def encoded(text: str, path: str) -> bytes:
    """Returns text as it stands in a file. Raises `StepFailed` (logic) for half a character."""
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise StepFailed(
            f"{path}: no text that can be written (character {error.start:,})", Category.LOGIC
        ) from error


def replace(context: StepContext, path: str, content: bytes, create_parents: bool) -> None:
    """Puts a file's new content in place atomically, keeping its mode. Raises `StepFailed`."""
    remember(context, path)
    with parent_directory(context.root, path, create=create_parents) as (parent, name), reporting(path):
        check_room(parent, len(content), path)
        put(parent, name, lambda file: file.write(content), mode_of(parent, name, path))


def put(
    parent: int, name: str, fill: Callable[[BinaryIO], object], mode: int | None, *, overwrite: bool = True
) -> None:
    """Puts what `fill` writes in the place of a file, or leaves all as it is. Raises `OSError`, and without
    `overwrite` `FileExistsError` where there is a file already."""
    temporary = f".{secrets.token_hex(8)}.tmp"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    descriptor = os.open(temporary, flags, 0o666, dir_fd=parent)
    try:
        with open(descriptor, "wb") as file:
            if mode is not None:
                os.fchmod(descriptor, mode)
            fill(file)
            file.flush()
            os.fsync(descriptor)
        check_wanted()
        if overwrite:
            os.rename(temporary, name, src_dir_fd=parent, dst_dir_fd=parent)
        else:  # renaming would replace what another program made a moment ago
            os.link(temporary, name, src_dir_fd=parent, dst_dir_fd=parent, follow_symlinks=False)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=parent)
    os.fsync(parent)


def mode_of(parent: int, name: str, path: str) -> int | None:
    """Returns the permissions of the file to replace, or nothing if it is new. Raises `StepFailed`."""
    try:
        status = os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return None
    if stat.S_ISREG(status.st_mode):
        return stat.S_IMODE(status.st_mode)
    kind = "a link" if is_link(parent, name) else "not a regular file"
    raise StepFailed(f"{path}: {kind}, so it is not replaced", Category.CONFIGURATION)


async def _append_in_turn(context: StepContext, path: str, content: bytes, create_parents: bool) -> None:
    """Adds to a file's end as soon as nobody else on this machine does.

    Who waits holds no thread meanwhile: another program may keep the file locked for ever. Raises
    `StepFailed`, transient when the step's time is over.
    """
    end = time.monotonic() + context.timeout
    while not await in_thread(append, context, path, content, create_parents):
        if time.monotonic() >= end:
            raise StepFailed(f"{path}: another program keeps it locked")
        await asyncio.sleep(_NEXT_TRY)


def append(context: StepContext, path: str, content: bytes, create_parents: bool) -> bool:
    """Adds to a file's end, once per step, and all of it or nothing. Returns whether it could: not while
    somebody else does, so that the place that is kept as heartbeat is the true one. Raises `StepFailed`.

    A later attempt that finds the content at that place leaves it; one that finds its beginning at the file's
    end, because the attempt before was lost in the middle, goes on after it.
    """
    remember(context, path)
    with parent_directory(context.root, path, create=create_parents) as (parent, name), reporting(path):
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT
        with open(open_regular(parent, name, path, flags), "r+b", buffering=0) as file:
            _refuse_second_name(file.fileno(), path)
            try:
                fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            _add(file.fileno(), content, context)
    return True


def _add(descriptor: int, content: bytes, context: StepContext) -> None:
    """Adds the content, or what an earlier attempt has not added of it. Raises `OSError`."""
    size = os.fstat(descriptor).st_size
    start = _kept_place(context)
    there = b"" if start is None else os.pread(descriptor, len(content), start)
    if start is not None and there == content:
        return
    if start is None or not there or start + len(there) != size or not content.startswith(there):
        start, there = size, b""
    context.heartbeat({"offset": start})
    try:
        rest = memoryview(content)[len(there) :]
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    except OSError:
        with suppress(OSError):  # the next attempt goes on after what is there
            os.ftruncate(descriptor, start)
        raise


def _refuse_second_name(descriptor: int, path: str) -> None:
    """Raises `StepFailed` for a file with several names: one of them may be outside the root."""
    if os.fstat(descriptor).st_nlink > 1:
        raise StepFailed(f"{path}: has several hard links, so it is not appended to", Category.CONFIGURATION)


def _kept_place(context: StepContext) -> int | None:
    """Returns where an earlier attempt began to append, if one did."""
    resume = context.resume
    offset = resume.get("offset") if isinstance(resume, dict) else None
    return offset if isinstance(offset, int) else None
