"""Readers of single values: each returns a value of its type, or None after noting what is wrong."""

from __future__ import annotations

import re
from collections.abc import Callable
from collections.abc import Mapping as MappingType
from typing import Any

from taskmark.task import amounts
from taskmark.task.codes import Code
from taskmark.task.durations import EXAMPLES, parse_duration
from taskmark.task.model import Json
from taskmark.task.source_text import Findings, replacing, shown
from taskmark.task.yaml_nodes import Entry, Items, Mapping, Node, Scalar

Reader = Callable[[Node, Findings], Any]
"""Takes a value's node; returns None only after noting a problem."""

Fields = MappingType[str, tuple[str, Reader]]
"""Key in the file → field of the model, and how to read it."""

Shape = MappingType[str, Any]
"""The JSON Schema of what a reader reads, for editors."""

LARGEST = 2.0**53
"""Numbers from here on are not told apart from their neighbours."""

_SHAPES: dict[Reader, Shape] = {}

_KINDS = {Scalar: "one value", Items: "a list", Mapping: "a mapping"}
_PLACEHOLDER = re.compile(r"<[^<>]*>|\[[^\]]*\]|\.\.\.|…|\?+")


def shaped(reader: Reader, shape: Shape) -> Reader:
    """Returns the reader, and remembers what it reads."""
    _SHAPES[reader] = shape
    return reader


def shape_of(reader: Reader) -> Shape:
    """Returns the JSON Schema of what a reader reads. Raises `KeyError` if nobody has said it."""
    return _SHAPES[reader]


def shape_of_fields(fields: Fields, others: MappingType[str, Shape] | None = None) -> Shape:
    """Returns the JSON Schema of a mapping with these keys and others of a given shape, and no more."""
    properties = {key: shape_of(reader) for key, (_, reader) in fields.items()} | dict(others or {})
    return {"type": "object", "properties": properties, "additionalProperties": False}


def read_fields(mapping: Mapping, fields: Fields, findings: Findings) -> dict[str, Any]:
    """Returns the fields of the model that a mapping gives; notes unknown keys and missing values."""
    values: dict[str, Any] = {}
    for entry in mapping.entries:
        if entry.key.text not in fields:
            refuse_key(entry, fields, findings)
        elif not is_missing(entry, findings):
            name, reader = fields[entry.key.text]
            value = reader(entry.node, findings)
            if value is not None:
                values[name] = value
    return values


def refuse_key(
    entry: Entry,
    known: MappingType[str, Any],
    findings: Findings,
    elsewhere: MappingType[str, str] | None = None,
) -> None:
    """Notes a key that nobody knows here; `elsewhere` says of other keys what they belong to."""
    key = entry.key.text
    hint = findings.guess(key, known)
    hint = f"`{key}` belongs to {elsewhere[key]}" if elsewhere and key in elsewhere else hint
    place = entry.key.place()
    fix = findings.respelled(place, key, known)
    findings.add(Code.UNKNOWN_KEY, place, f"unknown key `{shown(key)}`", hint, fix)


def is_missing(entry: Entry, findings: Findings) -> bool:
    """Whether a key has no value; notes it."""
    if not isinstance(entry.node, Scalar) or entry.node.value is not None:
        return False
    message = f"`{entry.key.text}` has no value"
    findings.add(Code.MISSING_VALUE, entry.key.place(), message, "give it one, or remove the line")
    return True


def one_of(reader: Callable[[Scalar, Findings], Any], what: str, shape: Shape) -> Reader:
    """Returns a reader that wants a single value, not a list or mapping."""

    def read(node: Node, findings: Findings) -> Any:
        if isinstance(node, Scalar):
            return reader(node, findings)
        message = f"expected {what}, found {_KINDS[type(node)]}"
        # YAML reads `{{ … }}` as a mapping whose key is none.
        braces = isinstance(node, Mapping) and not node.entries
        hint = 'put quotes around an expression: "{{ … }}"' if braces else None
        findings.add(Code.WRONG_TYPE, node.place(), message, hint)
        return None

    return shaped(read, shape)


def _text(node: Scalar, findings: Findings) -> str | None:
    if node.text.strip():
        return node.text.strip()
    findings.add(
        Code.MISSING_VALUE, node.place(), "this text is empty", "write something, or remove the line"
    )
    return None


def _boolean(node: Scalar, findings: Findings) -> bool | None:
    value = node.value
    if isinstance(value, bool):
        return value
    if not _is_placeholder(node, ("true", "false"), findings):
        message = f"expected true or false, found `{shown(node.text)}`"
        meant = {"yes": "true", "on": "true", "no": "false", "off": "false"}.get(node.text.lower())
        hint, place = f"write {meant}" if meant else None, node.place()
        fix = replacing(place, node.text, meant) if node.plain else None
        findings.add(Code.WRONG_TYPE, place, message, hint, fix)
    return None


def _is_placeholder(node: Scalar, choices: tuple[str, ...], findings: Findings) -> bool:
    """Whether a value was left as a template has it: `true/false`, `<duration>`, `...`; notes it."""
    parts = [part.strip() for part in re.split(r"[/|]", node.text)]
    if not ((len(parts) > 1 and all(part in choices for part in parts)) or _PLACEHOLDER.fullmatch(node.text)):
        return False
    message = f"`{shown(node.text)}` is a placeholder, not a value"
    hint = f"choose one: {', '.join(choices)}" if choices else "write the value itself"
    findings.add(Code.PLACEHOLDER, node.place(), message, hint)
    return True


def choice(*choices: str) -> Reader:
    """Returns a reader of one word out of a few."""

    def read(node: Scalar, findings: Findings) -> str | None:
        if node.text in choices:
            return node.text
        if not _is_placeholder(node, choices, findings):
            message = f"`{shown(node.text)}` is none of {', '.join(choices)}"
            hint, place = findings.guess(node.text, choices), node.place()
            fix = findings.respelled(place, node.text, choices)
            findings.add(Code.INVALID_VALUE, place, message, hint, fix)
        return None

    return one_of(read, f"one of {', '.join(choices)}", {"enum": list(choices)})


def duration(*, positive: bool = True) -> Reader:
    """Returns a reader of durations in seconds."""

    def read(node: Scalar, findings: Findings) -> float | None:
        if _is_placeholder(node, (), findings):
            return None
        value = node.value
        try:
            seconds = parse_duration(value if isinstance(value, int) else node.text)
        except ValueError:
            findings.add(
                Code.INVALID_DURATION,
                node.place(),
                f"`{shown(node.text)}` is not a duration",
                f"write it {EXAMPLES}",
            )
            return None
        if positive and seconds == 0:
            findings.add(Code.INVALID_DURATION, node.place(), "this duration must be above zero")
            return None
        return seconds

    return one_of(read, "a duration", DURATION)


def _amount(what: str, parse: Callable[[Any], int], examples: str) -> Callable[[Scalar, Findings], Any]:
    """Returns what reads an amount of data, which is above zero."""

    def read(node: Scalar, findings: Findings) -> int | None:
        if _is_placeholder(node, (), findings):
            return None
        try:
            found = parse(node.text)
        except ValueError:
            message, hint = f"`{shown(node.text)}` is not a {what}", f"write it {examples}"
            findings.add(Code.INVALID_SIZE, node.place(), message, hint)
            return None
        if not found:
            findings.add(Code.INVALID_SIZE, node.place(), f"this {what} must be above zero")
        return found or None

    return read


def whole(least: int, most: int = 2**53 - 1) -> Reader:
    """Returns a reader of whole numbers from `least` up, to `most`."""

    def read(node: Scalar, findings: Findings) -> int | None:
        if _is_placeholder(node, (), findings):
            return None
        value = node.value
        if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
            return value
        message = f"expected a whole number from {least} {reach}, found `{shown(node.text)}`"
        findings.add(Code.INVALID_NUMBER, node.place(), message)
        return None

    is_bounded = most < 2**53 - 1
    reach = f"to {most}" if is_bounded else "up"
    shape = {"type": "integer", "minimum": least, **({"maximum": most} if is_bounded else {})}
    return one_of(read, "a whole number", shape)


def _number(node: Scalar, findings: Findings) -> float | None:
    value = node.value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    findings.add(Code.INVALID_NUMBER, node.place(), f"expected a number, found `{shown(node.text)}`")
    return None


def _above_zero(node: Scalar, findings: Findings) -> float | None:
    value = _number(node, findings)
    if value is None or 0 < value < LARGEST:
        return value
    message = f"expected a number above zero, found `{shown(node.text)}`"
    findings.add(Code.INVALID_NUMBER, node.place(), message)
    return None


def _milliseconds(node: Node, findings: Findings) -> int | None:
    seconds = duration(positive=False)(node, findings)
    return None if seconds is None else round(seconds * 1000)


TEXT: Shape = {"type": ["string", "number", "boolean"]}
"""A number or a boolean is read as the text that stands there: `version: 1.0`."""
DURATION: Shape = {"type": ["string", "integer"], "description": f"A duration {EXAMPLES}."}
MAPPING: Shape = {"type": "object"}

SIZE: Shape = {"type": ["string", "integer"], "description": f"A size {amounts.EXAMPLES}."}
RATE: Shape = {"type": "string", "description": f"A rate {amounts.RATE_EXAMPLES}."}

text = one_of(_text, "a text", TEXT)
size = one_of(_amount("size", amounts.parse_size, amounts.EXAMPLES), "a size", SIZE)
rate = one_of(_amount("rate", amounts.parse_rate, amounts.RATE_EXAMPLES), "a rate", RATE)
boolean = one_of(_boolean, "true or false", {"type": "boolean"})
number = one_of(_number, "a number", {"type": "number"})
above_zero = one_of(_above_zero, "a number above zero", {"type": "number", "exclusiveMinimum": 0})
milliseconds = shaped(_milliseconds, DURATION)


def text_nodes(node: Node, findings: Findings) -> list[Scalar]:
    """Returns the texts of a list; a single text counts as a list of one."""
    nodes = node.nodes if isinstance(node, Items) else (node,)
    return [item for item in nodes if text(item, findings) is not None and isinstance(item, Scalar)]


def texts(node: Node, findings: Findings) -> tuple[str, ...]:
    """Reads a list of texts; a single text counts as a list of one."""
    return tuple(item.text.strip() for item in text_nodes(node, findings))


shaped(texts, {"anyOf": [TEXT, {"type": "array", "items": TEXT}]})


def mapping(node: Node, findings: Findings) -> Mapping | None:
    """Reads a mapping, as nodes."""
    if isinstance(node, Mapping):
        return node
    message = f"expected `key: value` lines, found {_KINDS[type(node)]}"
    findings.add(Code.WRONG_TYPE, node.place(), message)
    return None


def anything(node: Node, findings: Findings) -> Json:  # noqa: ARG001 - one signature for all readers
    """Reads any JSON value."""
    return node.value


shaped(anything, {})


def record(fields: Fields, build: Callable[..., Any], required: tuple[str, ...] = ()) -> Reader:
    """Returns a reader of a mapping with fixed keys, built into a model."""

    def read(node: Node, findings: Findings) -> Any:
        found = mapping(node, findings)
        if found is None:
            return None
        before = len(findings.diagnostics)
        values = read_fields(found, fields, findings)
        for key in required:
            if found.get(key) is None:
                findings.add(Code.MISSING_VALUE, found.place(), f"`{key}` is missing here")
        return build(**values) if len(findings.diagnostics) == before else None

    return shaped(read, {**shape_of_fields(fields), **({"required": list(required)} if required else {})})
