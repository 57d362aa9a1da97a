"""Where fenced blocks begin and end."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

_OPENER = re.compile(r" {0,3}(`{3,}(?=[^`]*$)|~{3,})[ \t]*(\S*)")
_CLOSER = re.compile(r" {0,3}(`{3,}|~{3,})[ \t]*$")
_COMMENT_OPENER = re.compile(r" {0,3}<!--")


@dataclass(frozen=True)
class Fence:
    """A fenced block: its first word of info, and the rows of its content."""

    info: str
    start: int
    """The row after the opening line."""
    stop: int
    """The row of the closing line, or the end of the text."""
    closed: bool

    @property
    def is_yaml(self) -> bool:
        """Whether it says that it holds YAML."""
        return self.info.lower() in ("yaml", "yml")


@dataclass
class Fences:
    """Finds the end of each fenced block in linear time altogether: what failed once is not tried again."""

    lines: Sequence[str]
    _unclosed: dict[str, int] = field(default_factory=dict)
    """Shortest fence of each character that is known to have no end in what follows."""
    _nested_fails: bool = False
    _comments_fail: bool = False

    def at(self, row: int) -> Fence | None:
        """Returns the block that opens at a row, or None if none does."""
        match = _OPENER.match(self.lines[row])
        if match is None:
            return None
        marker, info = match[1], match[2].strip("{}")
        stop = self._end_around_nested(row, marker) if info.lower() in ("markdown", "md") else None
        if stop is None:
            stop = self._end(row, marker)
        end = len(self.lines) if stop is None else stop
        return Fence(info, row + 1, end, closed=stop is not None)

    def comment_end(self, row: int) -> int | None:
        """Returns the last row of the HTML comment that opens at a row, or None if none does.

        A comment that never ends is none: its first line is prose.
        """
        line = self.lines[row]
        if self._comments_fail or _COMMENT_OPENER.match(line) is None:
            return None
        if "-->" in line[line.index("<!--") + 4 :]:
            return row
        for index in range(row + 1, len(self.lines)):
            if "-->" in self.lines[index]:
                return index
        self._comments_fail = True
        return None

    def _end(self, row: int, marker: str) -> int | None:
        if len(marker) >= self._unclosed.get(marker[0], len(marker) + 1):
            return None
        for index in range(row + 1, len(self.lines)):
            if _closes(self.lines[index], marker):
                return index
        self._unclosed[marker[0]] = len(marker)
        return None

    def _end_around_nested(self, row: int, marker: str) -> int | None:
        """A document shown inside a markdown fence has fences of its own, often of the same length."""
        if self._nested_fails:
            return None
        open_markers = [marker]
        for index in range(row + 1, len(self.lines)):
            line = self.lines[index]
            opener = _OPENER.match(line)
            if _closes(line, open_markers[-1]):
                open_markers.pop()
                if not open_markers:
                    return index
            elif opener is not None and opener[2] and (len(open_markers) == 1 or _is_markdown(opener[2])):
                open_markers.append(opener[1])
        self._nested_fails = True
        return None


def _is_markdown(info: str) -> bool:
    return info.lower() in ("markdown", "md")


def _closes(line: str, marker: str) -> bool:
    match = _CLOSER.match(line)
    return match is not None and match[1][0] == marker[0] and len(match[1]) >= len(marker)
