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
        r"\bexec-(?:\d+|key-[0-9a-f]{16})-[\w.-]+",
        r"\bexec-[\w.-]{1,200}-\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ",
        r"\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b",
        r"\b0x[0-9a-f]+\b",
        r"(?<![\w.])(?=[a-f]*\d)[0-9a-f]{8,}(?!\w)",
        r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d[\d:.]*(?:Z|[+-]\d\d:?\d\d)?",
        r"\b(?:tmp|temp|pytest-of-)[\w-]*\d[\w-]*|\btmp[a-z0-9_]{8}\b",
    )
)
"""Ids, addresses, moments, temporary names."""
_NUMBER = re.compile(r"(?<!\w)\d+(?:[.:]\d+)*")
"""One that is no part of a name."""
_PATH = re.compile(r"(?:\b[A-Za-z]:)?(?<![\w<])[\\/](?:[^\s\\/'\"():,<>]+[\\/])*(?P<tail>[^\s\\/'\"():,<>]*)")


# --- messages -------------------------------------------------------------------------------------

_MARGIN = re.compile(r"\s*\|\s?")
"""What stands before the lines of a group of exceptions."""
_CODE = ("    ", "\t", '  File "', 'File "', "at ")
"""How frames and the code in them begin: what they name belongs to the program."""
_EXECUTION = re.compile(
    r"\bexec-(?:(?:\d+|key-[0-9a-f]{16})-[\w.-]+|[\w.-]{1,200}?-\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)"
    r"(?:/[\w.-]+(?:\[\d+\])?(?:#\d+)?)*"
)
_QUOTED = re.compile(r"(?<!\w)(?P<mark>['\"`])(?P<inner>[^'\"`\n]{1,1000})(?P=mark)(?!\w)")
_QUOTED_PATH = re.compile(
    r"(?:[A-Za-z]:|\.{1,2})?[\\/].*\w"  # from a root or a folder on
    r"|(?=.*[^\W\d])(?!(?:application|audio|font|image|message|model|multipart|text|video)/)"
    r"[^\s\\/:]+(?:[\\/]+[^\s\\/:]+)+[\\/]?"  # below one, but no type of content
    r"|[^\\/:]+(?:[\\/]+[^\\/:]+)+\.\w{1,8}"  # the same with blanks
    r"|[\w .-]+\.(?:csv|tsv|json|jsonl|ya?ml|toml|xml|html?|md|txt|log|py|ini|cfg|conf|env|lock|pem|parquet"
    r"|db|sqlite3?|xlsx?|docx?|pdf|png|jpe?g|gif|svg|zip|gz|tar|tgz|whl|tmp|bak)",
    re.IGNORECASE,
)
_MESSAGE_PATH = re.compile(
    r"(?:\b[A-Za-z]:)?(?:(?<![\w<.])\.{1,2})?(?<![\w<])[\\/]+"
    r"(?:[^\s\\/'\"():,<>]+[\\/]+)*[^\s\\/'\"():,<>]*"
)
_WORD = re.compile(r"(?<![^\W_])[A-Za-z0-9]+(?![^\W_])")
_PIECE = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|[0-9]+")


def stack_hash(stack: str) -> str:
    """Returns the SHA-256 of what a stack says of the bug: the functions and lines of code it went through,
    the types of its errors and their messages.

    Line numbers, ids, addresses, folders above a module and temporary files do not count; in messages no
    numbers and paths do.
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
    is_message = not frame and _is_message(line)
    if is_message:
        line = _without_paths(line)
    line = _PATH.sub(lambda found: _module(found[0]), line)
    for pattern in _VARIES:
        line = pattern.sub("<n>", line)
    if is_message:
        line = _WORD.sub(lambda found: "<n>" if _is_id(found) else found[0], line)
    line = _NUMBER.sub("<n>", line)
    return " ".join(line.split())


def _is_message(line: str) -> bool:
    return not _MARGIN.sub("", line, count=1).startswith(_CODE)


def _without_paths(line: str) -> str:
    """Returns a line of a message without paths and those ids of executions that look like some."""
    line = _QUOTED.sub(_quoted_path_left_out, _EXECUTION.sub("<n>", line))
    return _MESSAGE_PATH.sub(lambda found: "<path>" if found[0].strip("\\/.") else "", line)


def _quoted_path_left_out(quoted: re.Match[str]) -> str:
    return f"{quoted['mark']}<path>{quoted['mark']}" if _QUOTED_PATH.fullmatch(quoted["inner"]) else quoted[0]


def _is_id(found: re.Match[str]) -> bool:
    """Whether a word, or a part of a name between underscores, was drawn or counted rather than given: it is
    a number, begins with one, or changes between letters, cases and digits all the time."""
    word, is_part = found[0], found.string[found.start() - 1 : found.start()] == "_"
    if is_part and (word.isdigit() or (word[0].isdigit() and len(word) >= 4)):
        return True
    pieces = _PIECE.findall(word)
    numbers = sum(piece.isdigit() for piece in pieces)
    if len(word) < 8 or not (numbers or is_part):
        return False
    longest = 3 if numbers else 2.4
    return len(word) <= longest * len(pieces) or (len(word) >= 16 and numbers >= 3)


def _module(path: str) -> str:
    """Returns the end of a path that is the same on every machine."""
    path = path.replace("\\", "/")
    if installed := _INSTALLED.match(path):
        return path[installed.end() :]
    parts = [part for part in path.split("/") if part]
    package = len(parts) > 1 and parts[-1].startswith(("__init__.", "__main__.", "index."))
    return "/".join(parts[-2:] if package else parts[-1:])
