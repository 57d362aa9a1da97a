"""The expressions that nearly every step has, read at a small part of what Jinja's parser takes.

    inputs.limit > 3 and not steps.count.output.ok         {{ inputs.file }} has {{ phases.a.outputs.n }} lines
    steps.count.output.stdout.split()[0] | int             inputs.names | length == 2

To check a task only two things are asked of an expression: whether it can be read, and what it refers
to. What is matched here can be read in one way only; anything else is left to `grammar`. A test holds the
two against each other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

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
_CALL = rf"(?:{'|'.join(sorted(METHODS))})\({_TEXT}?\)"
_LINKS = rf"(?:\.{_CALL}|\.{_KEY}|\[(?:{_WHOLE}|{_TEXT})\]){{0,8}}(?![\w.\[(])"
_CHAIN = rf"(?!{_RESERVED}){_KEY}{_LINKS}"
_FILTER = rf" *\| *(?:{'|'.join(name for name in sorted(FILTERS) if name[0] != ' ')})\b(?! *\()"
_OPERAND = rf"(?:{_TEXT}|{_NUMBER}|{_CONSTANT}|{_CHAIN})(?:{_FILTER}){{0,3}}"
_JOIN = r"(?: +(?:and|or) +(?:not +)?| +in +| *(?:==|!=|<=|>=|<|>|\+|-|\*(?!\*)|/(?!/)) *)"
_SOURCE = rf" *(?:not +)?{_OPERAND}(?:{_JOIN}{_OPERAND}){{0,8}}"

_BEGINNING = re.compile(_SOURCE)
_EXPRESSION = re.compile(rf"{_SOURCE} *")
_BRACES = re.compile(rf"\{{\{{{_SOURCE} *\}}\}}")
_PROSE = re.compile(r"(?:[^{\r]|\{(?![{%#]))*+")
_PART = re.compile(rf"{_TEXT}|{_NUMBER}|\| *{_KEY}|(?P<chain>{_CHAIN})|{_KEY}")
_LINK = re.compile(rf"\.(?:{_CALL}|({_KEY}))|\[(?:({_WHOLE})|'([^']*)'|\"([^\"]*)\")\]|{_KEY}")
_WORD_BEHIND = re.compile(r" +(?!(?:and|or|not|in|is|if|else)\b)[A-Za-z0-9_]")


def read_quickly(source: str, *, template: bool) -> tuple[Reference, ...] | None:
    """Returns what a source refers to if it can surely be read, or None if only the grammar can tell."""
    if len(source) > _LONGEST:
        return None
    if template:
        return _read_template(source)
    return tuple(_references(source, 0, len(source))) if _EXPRESSION.fullmatch(source) else None


def is_prose(source: str) -> bool:
    """Whether a source surely is no expression: a readable one, and then a word that cannot go on."""
    match = _BEGINNING.match(source)
    return match is not None and _WORD_BEHIND.match(source, match.end()) is not None


def _read_template(source: str) -> tuple[Reference, ...] | None:
    found: list[Reference] = []
    position = 0
    while match := _PROSE.match(source, position):
        position = match.end()
        if position == len(source):
            break
        braces = _BRACES.match(source, position)
        if braces is None:
            return None
        found.extend(_references(source, position, braces.end()))
        position = braces.end()
    return tuple(found)


def _references(source: str, start: int, stop: int) -> Iterator[Reference]:
    for part in _PART.finditer(source, start, stop):
        if part["chain"]:
            yield Reference(_path(part["chain"]), part.start())


def _path(chain: str) -> tuple[str, ...]:
    """Returns the keys of a chain up to the first method that is called."""
    root, *links = _LINK.finditer(chain)
    path = [root[0]]
    for link in links:
        key = next((group for group in link.groups() if group is not None), None)
        if key is None:
            break
        path.append(key)
    return tuple(path)
