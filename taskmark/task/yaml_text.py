"""JSON values written as YAML that reads back as exactly the same values.

A text that YAML could take for anything else, here or in another reader (`yes`, `1.0`, `2026-01-01`),
gets double quotes; texts of several lines become blocks where nothing in them would be lost.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from taskmark.task.model import Json

COLUMNS = 100
"""A list of single values stays on one line up to here."""

_PLAIN = re.compile(r"[^\W\d_](?:[\w ./@+,;()!?'\"=%<>\u00a1-\U0010ffff-]|:(?=\S))*")
_PLAIN_IN_BRACKETS = re.compile(r"[^\W\d_][\w ./@+\u00a1-\U0010ffff-]*")
_VERSION_OR_AMOUNT = re.compile(
    r"\d+(?:\.\d+){2,}|\d+(?:\.\d+)?(?: [a-z]+|ms|[smhdw])(?: \d+(?:ms|[smhd]))*"
    r"|\d+ (?:[kMGT]|[KMGT]i)?B(?:/s)?",
    re.ASCII,
)
_NOT_TEXT = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf"})
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t"}
_LONGEST_KEY = 1000
"""Longer keys have to say that they are keys: YAML looks no further ahead for their colon."""
_MOST_OPEN_BRACKETS = 2
"""More than so many in a text are escaped: the reader counts them as nesting of the line."""


def entries(mapping: Mapping[str, Json], indent: int = 0) -> list[str]:
    """Returns the lines of a mapping, each key on a line of its own."""
    return [line for key, value in mapping.items() for line in entry(key, value, indent)]


def entry(key: str, value: Json, indent: int = 0) -> list[str]:
    """Returns the lines of one `key: value`."""
    margin = " " * indent
    head = f"{margin}{scalar(key)}:"
    if isinstance(value, Mapping) and value and not _has_long_keys(value):
        return [head, *entries(value, indent + 2)]
    if isinstance(value, list | tuple) and not _fits(f"{head} {inline(value)}", value):
        return [head, *(line for item in value for line in _item(item, indent + 2))]
    return _after(head, value, indent + 2)


def _item(value: Json, indent: int) -> list[str]:
    margin = " " * indent
    if isinstance(value, Mapping) and value and not _has_long_keys(value):
        first, *others = entries(value, indent + 2)
        return [f"{margin}- {first[indent + 2 :]}", *others]
    return _after(f"{margin}-", value, indent + 2)


def _after(head: str, value: Json, indent: int) -> list[str]:
    """Returns a value behind its key or dash: a block of lines, or the rest of the line."""
    if isinstance(value, str) and _fits_block(value):
        chomping = "" if value.endswith("\n") else "-"
        lines = value.removesuffix("\n").split("\n")
        return [f"{head} |{chomping}", *(f"{' ' * indent}{line}" if line else "" for line in lines)]
    return [f"{head} {scalar(value) if isinstance(value, str) else inline(value)}"]


def _fits(line: str, value: Any) -> bool:
    """Whether a list is easily read on one line."""
    flat = not any(isinstance(item, Mapping | list | tuple) and item for item in value)
    return not value or (flat and len(line) <= COLUMNS)


def _fits_block(text: str) -> bool:
    """Whether a text of several lines reads back from a block as it is."""
    lines = text.removesuffix("\n").split("\n")
    return (
        "\n" in text
        and bool(lines[0] and lines[-1])
        and not lines[0].startswith(" ")
        and all(line.isprintable() and line == line.rstrip() and not _opens(line) for line in lines)
    )


def _has_long_keys(mapping: Mapping[str, Json]) -> bool:
    return any(len(scalar(key)) > _LONGEST_KEY for key in mapping)


def inline(value: Json) -> str:
    """Returns a value on one line, in brackets if it is a list or mapping."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(key)}: {inline(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(inline, value)) + "]"
    return scalar(value, _PLAIN_IN_BRACKETS)


def _key(key: str) -> str:
    written = scalar(key, _PLAIN_IN_BRACKETS)
    return f"? {written}" if len(written) > _LONGEST_KEY else written


def scalar(value: Json, plain: re.Pattern[str] = _PLAIN) -> str:
    """Returns a single value: bare if it can be read in one way only, else quoted."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if not isinstance(value, str):
        return repr(value)
    bare = plain.fullmatch(value) or _VERSION_OR_AMOUNT.fullmatch(value)
    if bare and value.isprintable() and value == value.strip() and value.lower() not in _NOT_TEXT:
        return value
    return '"' + "".join(map(_escaped, _without_opening(value))) + '"'


def _opens(text: str) -> bool:
    opened = text.count("[") + text.count("{") - text.count("]") - text.count("}")
    return opened > _MOST_OPEN_BRACKETS


def _without_opening(text: str) -> list[str]:
    if not _opens(text):
        return list(text)
    return [f"\\x{ord(char):02x}" if char in "[{" else char for char in text]


def _escaped(char: str) -> str:
    if len(char) > 1:
        return char
    if char in _ESCAPES:
        return _ESCAPES[char]
    if char.isprintable():
        return char
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
