"""YAML as nodes that know their places, within limits that hold before anything is built.

Only the events of the YAML library are used: it neither constructs values nor recurses, so aliases,
tags and deep nesting are refused at the first event that shows them. Scalars follow YAML 1.2, where
`no`, `on` and `1:30` are text.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.events import (
    AliasEvent,
    CollectionStartEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
)
from ruamel.yaml.reader import ReaderError

from taskmark.task.codes import Code
from taskmark.task.diagnostics import Fix
from taskmark.task.source_text import Findings, Place, replacing, shown, without_tabs
from taskmark.task.yaml_quick import read_quickly
from taskmark.task.yaml_tree import Entry, Items, Mapping, Node, Scalar, YamlSource, scalars

__all__ = ["Entry", "Items", "Mapping", "Node", "Scalar", "YamlSource", "read_mapping", "scalars"]

NESTING_LIMIT = 32
_DEEP = 500
"""Levels of brackets on one line that nobody writes, not even in a text in quotes."""

_BARE_TEMPLATE = re.compile(r"""\{\{[^{}"\\]*\}\}(?=[ \t]*(?:$|[,\]}#]))""")
_SPACES = "indent with spaces, not tabs"
_KEY = re.compile(r"[ \t]*[\w-]+")
_INDENTED = (
    "this line is not indented as those above it",
    "begin all keys of one mapping in the same column",
)
_SYNTAX = {
    "<document start>": _INDENTED,
    "'<block mapping start>'": _INDENTED,
    "mapping values are not allowed": _INDENTED,
    "expected <block end>, but found '-'": (
        "a list item cannot stand here",
        "write it under a key of its own",
    ),
    "expected ',' or ']'": (
        "this list does not end",
        "close it with `]`, or put quotes around the text before",
    ),
    "expected ',' or '}'": (
        "this mapping does not end",
        "close it with `}`, or put quotes around the text before",
    ),
    "unexpected end of stream": ("this text does not end", "close it with the quote that begins it"),
}
"""What the YAML library says, and what it means to a person: message and hint."""


class _Refused(Exception):
    """The YAML breaks a rule of ours."""

    def __init__(self, code: Code, at: tuple[int, int], message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.code, self.at, self.message, self.hint = code, at, message, hint


def read_mapping(source: YamlSource, findings: Findings) -> Mapping | None:
    """Returns the mapping that the lines hold, empty for no content; None after noting a problem."""
    if findings.gave_up:
        return None
    try:
        _refuse_brackets(source)
        quick = read_quickly(source)
        if quick is not None:
            return quick
        node = _Builder(source, findings).build()
    except _Refused as refused:
        tabbed = refused.hint == _SPACES
        fix = without_tabs(source.lines, source.first_line) if tabbed else None
        findings.add(refused.code, source.place(*refused.at), refused.message, refused.hint, fix)
        # Nobody nests so deep by mistake: whatever else such a file has may cost as much again.
        findings.gave_up = refused.code is Code.NESTING_TOO_DEEP
        return None
    if node is None:
        return Mapping((), source.place(0, 0))
    if not isinstance(node, Mapping):
        findings.add(Code.WRONG_TYPE, node.place(), "here must be `key: value` lines")
        return None
    return node


def _refuse_brackets(source: YamlSource) -> None:
    """The scanner looks ahead to the end of a line at quadratic cost per open bracket: refuse it before."""
    for row, line in enumerate(source.lines):
        if len(line) <= NESTING_LIMIT:
            continue
        opened = line.count("[") + line.count("{")
        closed = line.count("]") + line.count("}")
        if opened - closed > NESTING_LIMIT or (opened > _DEEP and _depth(line) > _DEEP):
            raise _Refused(Code.NESTING_TOO_DEEP, (row, 0), f"more than {NESTING_LIMIT} levels of nesting")


def _depth(line: str) -> int:
    """Returns how deep brackets are nested, those within quotes too."""
    return max(accumulate((char in "[{") - (char in "]}") for char in line))


class _Builder:
    """Builds nodes from events, with a stack of its own instead of recursion."""

    def __init__(self, source: YamlSource, findings: Findings) -> None:
        self._source = source
        self._findings = findings
        self._open: list[tuple[Place, bool, list[Any]]] = []
        self._root: Node | None = None
        self._documents = 0
        self._text = "\n".join(source.lines) + "\n"
        self._starts = [0, *(index + 1 for index, char in enumerate(self._text) if char == "\n")]

    def _at(self, mark: Any) -> tuple[int, int]:
        # YAML also ends lines at characters that end no line of ours, so its own line numbers do not serve.
        return self._row_and_column(mark.index)

    def _row_and_column(self, index: int) -> tuple[int, int]:
        row = bisect_right(self._starts, index) - 1
        return row, index - self._starts[row]

    def build(self) -> Node | None:
        """Returns the root node, or None for no content. Raises `_Refused`."""
        for event in self._events():
            match event:
                case DocumentStartEvent():
                    self._documents += 1
                    if self._documents > 1:
                        raise _Refused(
                            Code.YAML_SYNTAX, self._at(event.start_mark), "only one YAML document fits here"
                        )
                case AliasEvent():
                    hint = "write the value out, or put quotes around a text that begins with `*`"
                    raise _Refused(
                        Code.YAML_ALIAS, self._at(event.start_mark), "YAML aliases are not accepted", hint
                    )
                case ScalarEvent() | CollectionStartEvent():
                    self._begin(event)
                case MappingEndEvent() | SequenceEndEvent():
                    self._close()
        return self._root

    def _events(self) -> Iterator[Any]:
        try:
            yield from YAML(typ="safe", pure=True, plug_ins=[]).parse(self._text)
        except MarkedYAMLError as error:
            raise self._syntax(error) from None
        except ReaderError as error:
            at = self._row_and_column(error.position)
            raise _Refused(Code.YAML_SYNTAX, at, "a control character cannot stand in YAML") from None
        except MemoryError:
            raise
        except Exception as error:  # a bug of the YAML library on odd text is that text's problem
            raise _Refused(Code.YAML_SYNTAX, (0, 0), f"this is not YAML: {error}") from None

    def _syntax(self, error: MarkedYAMLError) -> _Refused:
        """Returns what is wrong in the words of people who write YAML, not of those who parse it."""
        problem = str(error.problem or error.context)
        unended = "end of stream" in problem or "'<stream end>'" in problem
        at = self._at((unended and error.context_mark) or error.problem_mark or error.context_mark)
        message, hint = (
            f"this is not YAML: {shown(problem)}",
            "put quotes around texts with special characters",
        )
        if "\\t" in problem:
            hint = _SPACES
        elif "mapping values are not allowed" in problem and not self._begins_line(at):
            hint = "put quotes around a text that contains `: `"
        else:
            message, hint = next((said for sign, said in _SYNTAX.items() if sign in problem), (message, hint))
        return _Refused(Code.YAML_SYNTAX, at, message, hint)

    def _begins_line(self, at: tuple[int, int]) -> bool:
        """Whether only a key stands before the place."""
        return _KEY.fullmatch(self._source.lines[at[0]][: at[1]]) is not None

    def _begin(self, event: Any) -> None:
        at = self._at(event.start_mark)
        if event.anchor is not None:
            hint = "write the value out, or put quotes around a text that begins with `&`"
            raise _Refused(Code.YAML_ALIAS, at, "YAML anchors are not accepted", hint)
        if event.tag is not None:
            hint = "put quotes around a text that begins with `!`"
            raise _Refused(
                Code.YAML_TAG, at, f"YAML tags such as `{shown(str(event.tag))}` are not accepted", hint
            )
        if isinstance(event, ScalarEvent):
            end = self._at(event.end_mark)
            self._take(Scalar(event.value, event.implicit[0], self._source, at, end))
            return
        if len(self._open) >= NESTING_LIMIT:
            raise _Refused(Code.NESTING_TOO_DEEP, at, f"more than {NESTING_LIMIT} levels of nesting")
        self._open.append((self._source.place(*at), isinstance(event, MappingStartEvent), []))

    def _close(self) -> None:
        place, is_mapping, parts = self._open.pop()
        self._take(self._mapping(parts, place) if is_mapping else Items(tuple(parts), place))

    def _take(self, node: Node) -> None:
        if self._open:
            self._open[-1][2].append(node)
        else:
            self._root = node

    def _mapping(self, parts: list[Node], place: Place) -> Mapping:
        entries: dict[str, Entry] = {}
        for key, node in zip(parts[::2], parts[1::2], strict=True):
            if not isinstance(key, Scalar):
                hint = 'put quotes around an expression: "{{ … }}"'
                fix = self._quoted_template(key.place())
                self._findings.add(Code.WRONG_TYPE, key.place(), "a key must be a plain word", hint, fix)
            elif key.text in entries:
                first = entries[key.text].key.place().line
                message = f"`{shown(key.text)}` stands here a second time, after line {first}"
                self._findings.add(Code.DUPLICATE_KEY, key.place(), message)
            else:
                entries[key.text] = Entry(key, node)
        return Mapping(tuple(entries.values()), place)

    def _quoted_template(self, place: Place) -> Fix | None:
        """Returns the fix that puts quotes around `{{ … }}`, which YAML reads as a mapping in a mapping."""
        line = self._source.lines[place.line - self._source.first_line]
        found = _BARE_TEMPLATE.match(line, place.column - 2) if place.column > 1 else None
        at = Place(place.line, place.column - 1)
        return replacing(at, found[0], f'"{found[0]}"') if found else None
