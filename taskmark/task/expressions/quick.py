"""The expressions that nearly every step has, read at a small part of what Jinja's parser takes.

    inputs.limit > 3 and not steps.count.output.ok       {{ inputs.file }} has {{ phases.a.outputs.n }} lines
    steps.count.output.stdout.split()[0] | int           inputs.names | length == 2

To check a task only two things are asked of an expression: whether it can be read, and what it refers
to. What is matched here can be read in one way only; anything else is left to `grammar`. A test holds the
two against each other.
"""

from __future__ import annotations

import re

from taskmark.task.expressions.filters import FILTERS, METHODS
from taskmark.task.expressions.grammar import Reference

_LONGEST = 2_000
"""Characters; with at most nine operands between braces no limit of the grammar is near."""

_RESERVED = r"(?:and|or|not|in|is|if|else|for|self|true|false|none|True|False|None)\b"
_CONSTANT = r"(?:true|false|none|True|False|None)\b"
_TEXT = r"(?:'[^'\\{}\r\n]*'|\"[^\"\\{}\r\n]*\")"
_WHOLE = r"(?:0|[1-9][0-9]{0,14})"
_NUMBER = rf"{_WHOLE}(?:\.[0-9]{{1,15}})?(?![\w.])"
_KEY = r"[A-Za-z][A-Za-z0-9_]*(?![\w(])"
_CALL = rf"[a-z]+\({_TEXT}?\)"
_LINKS = rf"(?:\.{_CALL}|\.{_KEY}|\[(?:{_WHOLE}|{_TEXT})\]){{0,8}}(?![\w.\[(])"
_CHAIN = rf"(?!{_RESERVED}){_KEY}{_LINKS}"
_FILTER = r" *\| *[a-z]+\b(?! *\()"
_OPERAND = rf"(?:{_TEXT}|{_NUMBER}|{_CONSTANT}|{_CHAIN})(?:{_FILTER}){{0,3}}"
_JOIN = r"(?: +(?:and|or) +(?:not +)?| +in +| *(?:==|!=|<=|>=|<|>|\+|-|\*(?!\*)|/(?!/)) *)"
_SOURCE = rf" *(?:not +)?{_OPERAND}(?:{_JOIN}{_OPERAND}){{0,8}}"

_BEGINNING = re.compile(_SOURCE)
_END = re.compile(r" *\Z")
_CLOSING = re.compile(r" *\}\}")
_PROSE = re.compile(r"(?:[^{\r]|\{(?![{%#]))*+")
_PART = re.compile(rf"{_TEXT}|{_NUMBER}|\| *(?P<filter>[a-z]+)|(?P<chain>{_CHAIN})|{_KEY}")
_LINK = re.compile(rf"\.([a-z]+)\({_TEXT}?\)|\.({_KEY})|\[(?:({_WHOLE})|'([^']*)'|\"([^\"]*)\")\]")
_WORD_BEHIND = re.compile(r" +(?!(?:and|or|not|in|is|if|else)\b)[A-Za-z0-9_]")


class _Unsure(Exception):
    """This is for the grammar."""


def read_quickly(source: str, *, template: bool) -> tuple[Reference, ...] | None:
    """Returns what a source refers to if it can surely be read, or None if only the grammar can tell."""
    if len(source) > _LONGEST:
        return None
    found: list[Reference] = []
    try:
        if template:
            _read_template(source, found)
        else:
            _read(source, 0, _END, found)
    except _Unsure:
        return None
    return tuple(found)


def is_prose(source: str) -> bool:
    """Whether a source surely is no expression: a readable one, and then a word that cannot go on."""
    match = _BEGINNING.match(source)
    return match is not None and _WORD_BEHIND.match(source, match.end()) is not None


def _read_template(source: str, found: list[Reference]) -> None:
    position = 0
    while match := _PROSE.match(source, position):
        position = match.end()
        if position == len(source):
            return
        if not source.startswith("{{", position):
            raise _Unsure
        position = _read(source, position + 2, _CLOSING, found)


def _read(source: str, start: int, end: re.Pattern[str], found: list[Reference]) -> int:
    """Adds what the expression from `start` up to `end` refers to; returns where the end is passed."""
    match = _BEGINNING.match(source, start)
    behind = end.match(source, match.end()) if match else None
    if match is None or behind is None:
        raise _Unsure
    for part in _PART.finditer(source, start, match.end()):
        if part.lastgroup == "chain":
            found.append(Reference(_path(part["chain"]), part.start()))
        elif part.lastgroup == "filter" and part["filter"] not in FILTERS:
            raise _Unsure
    return behind.end()


def _path(chain: str) -> tuple[str, ...]:
    """Returns the keys of a chain up to the first method that is called."""
    if "(" not in chain and "[" not in chain:
        return tuple(chain.split("."))
    links = list(_LINK.finditer(chain))
    path = [chain[: links[0].start()]]
    called = False
    for link in links:
        if link[1] is not None and link[1] not in METHODS:
            raise _Unsure
        called = called or link[1] is not None
        if not called:
            path.append(next(group for group in link.groups() if group is not None))
    return tuple(path)
