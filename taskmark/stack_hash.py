"""One hash per bug: of a stack, without what differs from run to run and from machine to machine."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator

_INSTALLED = re.compile(r".*(?:site-packages|dist-packages|node_modules|/lib/python3\.\d+)/")
"""Below such a folder a path names a module; above it, a machine."""
_FRAME = re.compile(r'File "(?P<path>[^"]*)", line \d+')
_MARKS = re.compile(r"[\s^~]*")
"""Python points at the part of a line that failed; how, depends on its version."""
_VARIES = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"\bexec-\d+-[\w.-]+",
        r"\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b",
        r"\b0x[0-9a-f]+\b",
        r"(?<![\w.])(?=[a-f]*\d)[0-9a-f]{8,}(?!\w)",
        r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d[\d:.]*(?:Z|[+-]\d\d:?\d\d)?",
        r"\b(?:tmp|temp|pytest-of-)[\w-]*\d[\w-]*|\btmp[a-z0-9_]{8}\b",
        r"(?<!\w)\d+(?:[.:]\d+)*",
    )
)
"""Ids, addresses, moments, temporary names, numbers that are no part of a name."""
_PATH = re.compile(r"(?:\b[A-Za-z]:)?(?<![\w<])[\\/](?:[^\s\\/'\"():,<>]+[\\/])*(?P<tail>[^\s\\/'\"():,<>]*)")


def stack_hash(stack: str) -> str:
    """Returns the SHA-256 of what a stack says of the bug: the functions and lines of code it went through,
    the types of its errors and their messages.

    Line numbers, ids, addresses, numbers in messages, folders above a module and temporary files do not
    count.
    """
    return hashlib.sha256("\n".join(_lines(stack)).encode(errors="replace")).hexdigest()


def _lines(stack: str) -> Iterator[str]:
    for line in stack.splitlines():
        if not _MARKS.fullmatch(line):
            yield _normal(line)


def _normal(line: str) -> str:
    frame = _FRAME.search(line)
    if frame:
        line = f'{line[: frame.start()]}File "{_module(frame["path"])}"{line[frame.end() :]}'
    line = _PATH.sub(lambda found: _module(found[0]), line)
    for pattern in _VARIES:
        line = pattern.sub("<n>", line)
    return " ".join(line.split())


def _module(path: str) -> str:
    """Returns the end of a path that is the same on every machine."""
    path = path.replace("\\", "/")
    if installed := _INSTALLED.match(path):
        return path[installed.end() :]
    parts = [part for part in path.split("/") if part]
    package = len(parts) > 1 and parts[-1].startswith(("__init__.", "__main__.", "index."))
    return "/".join(parts[-2:] if package else parts[-1:])
