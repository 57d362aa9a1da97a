"""`read-file` and `write-file`."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import secrets
import stat
from contextlib import suppress

from pydantic import Field

from taskmark.contracts import ADAPTER_LIMIT
from taskmark.errors import Category, StepFailed
from taskmark.ports import Health, StepContext, Tool
from taskmark.task.model import Json
from taskmark.tools.confinement import is_link, open_file, open_regular, parent_directory, reporting
from taskmark.tools.sizes import capped
from taskmark.tools.validation import Arguments

TOO_LARGE = "read a part of it with search-files or shell"


class ReadFileParameters(Arguments):
    """What to read."""

    path: str = Field(description="A file under the root, UTF-8 text")


class ReadFile(Tool[ReadFileParameters]):
    """Reads a text file."""

    name = "read-file"
    parameters = ReadFileParameters
    effects = False

    async def execute(self, parameters: ReadFileParameters, context: StepContext) -> Json:
        """Returns `path`, `content` and `bytes`. Raises `StepFailed`."""
        content = await asyncio.to_thread(read_bytes, context, parameters.path, ADAPTER_LIMIT)
        output = {
            "path": parameters.path,
            "content": decoded(content, parameters.path),
            "bytes": len(content),
        }
        return capped(output, source=parameters.path, advice=TOO_LARGE)

    def estimate_duration(self, parameters: ReadFileParameters) -> float:
        """Seconds: a disk is fast."""
        return 0.05

    async def health_check(self) -> Health:
        """Whether this system can open files relative to directories."""
        return confinement_health()


def confinement_health() -> Health:
    """Returns whether this system offers what confinement rests on."""
    if os.open in os.supports_dir_fd and hasattr(os, "O_NOFOLLOW"):
        return Health(healthy=True)
    return Health(
        healthy=False,
        message="this system cannot open files relative to a directory, so the root cannot be guarded",
        hint="run workers on Linux or macOS",
    )


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


class WriteFile(Tool[WriteFileParameters]):
    """Writes a text file, whole or not at all.

    The new content goes to a file beside the old one and takes its place in one step, so that a reader or
    a crash sees the old content or the new, never a mixture.
    """

    name = "write-file"
    repeatable = True
    parameters = WriteFileParameters

    async def execute(self, parameters: WriteFileParameters, context: StepContext) -> Json:
        """Returns `path` and `bytes` written. Raises `StepFailed`."""
        content = _text(parameters.content).encode()
        write = append if parameters.append else replace
        await asyncio.to_thread(write, context, parameters.path, content, parameters.create_parents)
        return {"path": parameters.path, "bytes": len(content)}

    def estimate_duration(self, parameters: WriteFileParameters) -> float:
        """Seconds: writing waits for the disk."""
        return 0.1

    async def health_check(self) -> Health:
        """Whether this system can open files relative to directories."""
        return confinement_health()


def _text(content: Json) -> str:
    """Returns what is written for a value."""
    return content if isinstance(content, str) else json.dumps(content, indent=2, ensure_ascii=False)


def replace(context: StepContext, path: str, content: bytes, create_parents: bool) -> None:
    """Puts a file's new content in place atomically, keeping its mode. Raises `StepFailed`."""
    with parent_directory(context.root, path, create=create_parents) as (parent, name), reporting(path):
        mode = _mode(parent, name, path)
        temporary = f".{secrets.token_hex(8)}.tmp"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        descriptor = os.open(temporary, flags, 0o666, dir_fd=parent)
        try:
            with open(descriptor, "wb") as file:
                if mode is not None:
                    os.fchmod(descriptor, mode)
                file.write(content)
                file.flush()
                os.fsync(descriptor)
            os.rename(temporary, name, src_dir_fd=parent, dst_dir_fd=parent)
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=parent)
            raise
        os.fsync(parent)


def _mode(parent: int, name: str, path: str) -> int | None:
    """Returns the permissions of the file to replace, or nothing if it is new. Raises `StepFailed`."""
    try:
        status = os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return None
    if stat.S_ISREG(status.st_mode):
        return stat.S_IMODE(status.st_mode)
    kind = "a link" if is_link(parent, name) else "not a regular file"
    raise StepFailed(f"{path}: {kind}, so it is not replaced", Category.CONFIGURATION)


def append(context: StepContext, path: str, content: bytes, create_parents: bool) -> None:
    """Adds to a file's end, once per step: the place is kept as heartbeat, and a later attempt that finds
    the content there already leaves it. Raises `StepFailed`."""
    with parent_directory(context.root, path, create=create_parents) as (parent, name), reporting(path):
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT
        with open(open_regular(parent, name, path, flags), "r+b", buffering=0) as file:
            _refuse_second_name(file.fileno(), path)
            # Other workers on this machine wait their turn, so that the kept place is the true one.
            fcntl.flock(file.fileno(), fcntl.LOCK_EX)
            place = _kept_place(context)
            if place is not None and os.pread(file.fileno(), len(content), place) == content:
                return
            context.heartbeat({"offset": os.fstat(file.fileno()).st_size})
            rest = memoryview(content)
            while rest:
                rest = rest[file.write(rest) :]
            os.fsync(file.fileno())


def _refuse_second_name(descriptor: int, path: str) -> None:
    """Raises `StepFailed` for a file with several names: one of them may be outside the root."""
    if os.fstat(descriptor).st_nlink > 1:
        raise StepFailed(f"{path}: has several hard links, so it is not appended to", Category.CONFIGURATION)


def _kept_place(context: StepContext) -> int | None:
    """Returns where an earlier attempt began to append, if one did."""
    resume = context.resume
    offset = resume.get("offset") if isinstance(resume, dict) else None
    return offset if isinstance(offset, int) else None
