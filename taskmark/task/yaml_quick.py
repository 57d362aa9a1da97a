"""The YAML that nearly every step has, read at a small part of what the YAML library takes.

    key: words                  key: "text"               key: [a, "b"]
    key:                        key:                      key: {a: 1, b: [c]}
      inner: words                - item

What is read here can be read in one way only: one line per value, no comment, no escape, no tag, nothing
folded, no key twice. Anything else is left to the library, which also says what is wrong with it. The
nodes are those that the library would give, to the last place; a test holds the two against each other.
"""

from __future__ import annotations

import re

from taskmark.task.yaml_tree import Entry, Items, Mapping, Node, Scalar, YamlSource

_DEEPEST = 8

# All of this is for printable characters, so it has to exclude those that mean something, not all odd ones.
_KEY = r"[A-Za-z_][A-Za-z0-9_-]*"
"""Of any length: the library refuses one above 1,024 characters as no YAML, and `unknown-key` says more."""
_FIRST = r"-{0,2}[^\x00-\x2d:-@\[-^`{-\x7f]"
"""An ASCII letter or digit, `_`, `.`, `/`, or anything that is not ASCII."""
_WORDS = rf"{_FIRST}[^ :#]*(?:(?: +|:)[^ :#]+)*"
_WORDS_IN_FLOW = rf"{_FIRST}[^ :#,?\[\]{{}}]*(?: +[^ :#,?\[\]{{}}]+)*"
_QUOTED = r"\"(?P<double>[^\"\\]*)\"|'(?P<single>[^']*)'"
_VALUE = rf"(?:(?P<words>{_WORDS})|{_QUOTED}|(?P<flow>[\[{{].*)) *"

_ENTRY = re.compile(rf"( *)({_KEY}):(?: +{_VALUE}| *)")
_ITEM = re.compile(rf"( *)- +{_VALUE}")
_FLOW_KEY = re.compile(r"([A-Za-z_][A-Za-z0-9_-]{0,99}): +")
_FLOW_SCALAR = re.compile(rf"(?:(?P<words>{_WORDS_IN_FLOW})|{_QUOTED}) *")
_OPENED_LIST, _CLOSED_LIST, _OPENED_MAPPING, _CLOSED_MAPPING, _COMMA = (
    re.compile(rf"\{mark} *") for mark in "[]{},"
)


class _Unsure(Exception):
    """This is for the library."""


def read_quickly(source: YamlSource) -> Mapping | None:
    """Returns the mapping that the lines hold, or None if only the YAML library can tell."""
    if not all(map(str.isprintable, source.lines)):
        return None
    try:
        return _Lines(source).read()
    except _Unsure:
        return None


class _Lines:
    """Reads whole lines, one after the other."""

    def __init__(self, source: YamlSource) -> None:
        self._source = source
        self._lines = source.lines
        self._row = 0

    def read(self) -> Mapping:
        match = self._next(_ENTRY)
        mapping = None if match is None else self._mapping(match, 0)
        if mapping is None or self._row < len(self._lines):
            raise _Unsure
        return mapping

    def _next(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """Returns the match of the next line that is not blank, None at the end or if it does not match."""
        while self._row < len(self._lines):
            line = self._lines[self._row]
            match = pattern.fullmatch(line)
            if match is not None or line.strip(" "):
                return match
            self._row += 1
        return None

    def _mapping(self, match: re.Match[str] | None, depth: int) -> Mapping:
        assert match is not None
        indent = match.end(1)
        at = self._source.place(self._row, indent)
        entries: dict[str, Entry] = {}
        while match is not None and match.end(1) == indent:
            key = self._scalar(match, 2, plain=True)
            if key.text in entries or depth > _DEEPEST:
                raise _Unsure
            entries[key.text] = Entry(key, self._value(match, indent, depth))
            match = self._next(_ENTRY)
        self._check_end(match, indent)
        return Mapping(tuple(entries.values()), at)

    def _check_end(self, match: re.Match[str] | None, indent: int) -> None:
        """A block ends at the end of the lines, or before a key further left."""
        at_end = self._row >= len(self._lines)
        if not at_end and (match is None or match.end(1) >= indent):
            raise _Unsure

    def _value(self, match: re.Match[str], indent: int, depth: int) -> Node:
        if match.lastgroup is not None:
            return self._inline(match)
        self._row += 1
        inner = self._next(_ENTRY)
        if inner is not None and inner.end(1) > indent:
            return self._mapping(inner, depth + 1)
        item = self._next(_ITEM)
        if item is None or item.end(1) < indent:
            raise _Unsure
        return self._items(item)

    def _items(self, match: re.Match[str] | None) -> Items:
        assert match is not None
        indent = match.end(1)
        at = self._source.place(self._row, indent)
        nodes: list[Node] = []
        while match is not None and match.end(1) == indent:
            nodes.append(self._inline(match))
            match = self._next(_ITEM)
        self._check_end(self._next(_ENTRY), indent + 1)
        return Items(tuple(nodes), at)

    def _inline(self, match: re.Match[str]) -> Node:
        """Returns the value that stands on the line itself."""
        group = match.lastgroup
        assert group is not None
        if group == "flow":
            node: Node = _Flow(self._source, self._row).read(match.start(group))
        else:
            node = self._scalar(match, group, plain=group == "words")
        self._row += 1
        return node

    def _scalar(self, match: re.Match[str], group: int | str, *, plain: bool) -> Scalar:
        return _scalar(self._source, self._row, match, group, plain=plain)


def _scalar(source: YamlSource, row: int, match: re.Match[str], group: int | str, *, plain: bool) -> Scalar:
    quote = not plain
    start, end = match.span(group)
    return Scalar(match[group], plain, source, (row, start - quote), (row, end + quote))


class _Flow:
    """Reads lists and mappings in brackets on one line."""

    def __init__(self, source: YamlSource, row: int) -> None:
        self._source = source
        self._row = row
        self._line = source.lines[row]
        self._column = 0

    def read(self, column: int) -> Node:
        """Returns the node that begins at a column and ends the line."""
        self._column = column
        node = self._node(0)
        if self._column < len(self._line):
            raise _Unsure
        return node

    def _node(self, depth: int) -> Node:
        """Returns the node that begins here; passes it and the blanks behind it."""
        match = _FLOW_SCALAR.match(self._line, self._column)
        if match is not None:
            group = match.lastgroup
            assert group is not None
            self._column = match.end()
            return _scalar(self._source, self._row, match, group, plain=group == "words")
        if depth > _DEEPEST:
            raise _Unsure
        at = self._source.place(self._row, self._column)
        if self._passes(_OPENED_LIST):
            return Items(self._nodes(depth), at)
        if self._passes(_OPENED_MAPPING):
            return Mapping(self._entries(depth), at)
        raise _Unsure

    def _passes(self, mark: re.Pattern[str]) -> bool:
        """Whether a mark stands here; passes it and the blanks behind it."""
        match = mark.match(self._line, self._column)
        if match is not None:
            self._column = match.end()
        return match is not None

    def _nodes(self, depth: int) -> tuple[Node, ...]:
        nodes: list[Node] = []
        while not self._passes(_CLOSED_LIST):
            if nodes and not self._passes(_COMMA):
                raise _Unsure
            nodes.append(self._node(depth + 1))
        return tuple(nodes)

    def _entries(self, depth: int) -> tuple[Entry, ...]:
        entries: dict[str, Entry] = {}
        while not self._passes(_CLOSED_MAPPING):
            if entries and not self._passes(_COMMA):
                raise _Unsure
            match = _FLOW_KEY.match(self._line, self._column)
            if match is None or match[1] in entries:
                raise _Unsure
            key = _scalar(self._source, self._row, match, 1, plain=True)
            self._column = match.end()
            entries[key.text] = Entry(key, self._node(depth + 1))
        return tuple(entries.values())
