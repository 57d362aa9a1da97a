"""Reading task and agent files: bounded, decoded, contained. Writing them: wholly or not at all."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from taskmark.task.codes import Code
from taskmark.task.source_text import Findings, Place

SIZE_LIMIT = 1024 * 1024
"""Bytes of a file."""

_START = Place(1, 1)


def read_source(path: Path, findings: Findings) -> str | None:
    """Returns the text of a file with LF line ends and without BOM; None after noting why not."""
    text = read_exactly(path, findings)
    return None if text is None else normalised(text)


def read_exactly(path: Path, findings: Findings) -> str | None:
    """Returns the text of a file with its own line ends and BOM; None after noting why not."""
    try:
        with path.open("rb") as file:
            data = file.read(SIZE_LIMIT + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        findings.add(Code.UNREADABLE_FILE, _START, f"this file cannot be read: {reason}")
        return None
    return decoded(data, findings)


def decoded(data: bytes, findings: Findings) -> str | None:
    """Returns what bytes say, as it stands there; None after noting that they are too many or no UTF-8."""
    if is_too_large(len(data), findings):
        return None
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        before = normalised(data[: error.start].decode("utf-8"))
        place = Place(before.count("\n") + 1, len(before) - before.rfind("\n"))
        message = f"byte 0x{data[error.start]:02x} is not UTF-8"
        findings.add(Code.NOT_UTF8, place, message, "save the file as UTF-8")
        return None


def is_too_large(size: int, findings: Findings) -> bool:
    """Whether a text of so many bytes is above the limit; notes it."""
    if size <= SIZE_LIMIT:
        return False
    findings.add(
        Code.FILE_TOO_LARGE, _START, f"this file is larger than {SIZE_LIMIT} bytes", "split the task"
    )
    return True


def normalised(text: str) -> str:
    """Returns a text with LF line ends and without byte order mark."""
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def sha256_of(text: str) -> str:
    """Returns the SHA-256 of a normalised text, which identifies a version of a task."""
    return hashlib.sha256(text.encode()).hexdigest()


def contained(root: Path, path: Path) -> Path | None:
    """Returns the real path if it lies under the root once every link is followed, else None."""
    try:
        real = path.resolve()
        return real if real.is_relative_to(root.resolve()) else None
    except (OSError, ValueError, RuntimeError):
        return None


def replace_text(path: Path, text: str) -> None:
    """Gives a file another text, at once: whoever reads it, or finds it after a crash, sees the old or the
    new one. Its mode stays, and a link to it stays a link. Raises `OSError`, such as for a read-only file."""
    target = path.resolve(strict=True)
    if not os.access(target, os.W_OK):
        raise PermissionError(13, "Permission denied", str(path))
    descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}-")
    try:
        with open(descriptor, "wb") as file:
            os.fchmod(descriptor, stat.S_IMODE(target.stat().st_mode))
            file.write(text.encode())
            file.flush()
            os.fsync(descriptor)
        os.replace(temporary, target)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise
