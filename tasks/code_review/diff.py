"""Unified diffs: which files are small enough to be reviewed, and what stands at which line.

Also read by the reviewers, which any Python from 3.9 on may run: nothing but its standard library is used.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

HUNK: Final = re.compile(r"@@ -\d+(?:,(?P<old>\d+))? \+(?P<start>\d+)(?:,(?P<new>\d+))? @@")
GENERATED: Final = re.compile(
    r"(^|/)(vendor|third_party|node_modules|dist|build)/|(^|/)(go\.sum|[^/]+\.lock|[^/]+-lock\.(json|yaml))$"
    r"|\.(min\.(js|css)|map|svg|snap)$"
)
"""Paths of what no person wrote."""
CODE: Final = re.compile(
    r"\.(py|jsx?|tsx?|[mc]js|go|rs|java|kt|rb|php|cs|[ch]|cc|[ch]pp|swift|scala)$", re.IGNORECASE
)
TEST: Final = re.compile(
    r"(^|/)(tests?|__tests__|specs?|testing)/|(^|/)test_[^/]+$|(_test|_spec|\.test|\.spec)\.\w+$|(^|/)conftest\.py$"
)
ESCAPE: Final = re.compile(r"\\([0-7]{3}|.)")
ESCAPED: Final = {"t": 9, "n": 10, "r": 13, "a": 7, "b": 8, "v": 11, "f": 12}


@dataclass(frozen=True)
class Line:
    """A line of a hunk."""

    kind: str
    """`+` is new, `-` is gone, a blank is what stands around them."""
    number: int
    """In the new file; of a line that is gone, that of the line that stands there now."""
    text: str


@dataclass(frozen=True)
class Change:
    """What becomes of one file."""

    path: str
    hunks: tuple[tuple[Line, ...], ...]

    @property
    def is_test(self) -> bool:
        """Whether its path says that it is a test."""
        return bool(TEST.search(self.path))

    @property
    def is_code(self) -> bool:
        """Whether it is a program, and no test."""
        return bool(CODE.search(self.path)) and not self.is_test

    def lines(self, kind: str) -> Iterator[Line]:
        """Yields the lines of one kind."""
        return (line for hunk in self.hunks for line in hunk if line.kind == kind)


# --- what is reviewed -----------------------------------------------------------------------------


def choose(numstat: str, max_lines: int) -> dict[str, Any]:
    """Returns which files of `git diff --numstat -z` are reviewed: the smallest first, up to so many lines.

    `paths` are what to ask git for (of a renamed file both names), `files` what is reviewed and `left_out`
    what is not, with the reason.
    """
    files = list(_counted(numstat))
    left_out = [{"path": one["path"], "why": one["why"]} for one in files if one["why"]]
    chosen: list[dict[str, Any]] = []
    room = max_lines
    for one in sorted((one for one in files if not one["why"]), key=_size):
        if _size(one) > room:
            left_out.append(
                {"path": one["path"], "why": f"{_size(one):,} lines, more than there is room for"}
            )
        else:
            chosen.append(one)
            room -= _size(one)
    chosen.sort(key=lambda one: str(one["path"]))
    return {
        "paths": [name for one in chosen for name in one["names"]],
        "files": [{name: one[name] for name in ("path", "added", "deleted")} for one in chosen],
        "left_out": left_out,
    }


def _size(one: Mapping[str, Any]) -> int:
    return int(one["added"]) + int(one["deleted"])


def _counted(numstat: str) -> Iterator[dict[str, Any]]:
    """Yields each file with its lines; `why` says why it is not reviewed, if it is not."""
    fields = iter(numstat.split("\0"))
    for field in fields:
        if field.count("\t") < 2:
            continue
        added, deleted, path = field.split("\t", 2)
        names = [path] if path else [next(fields, ""), next(fields, "")]
        binary = added == "-"
        why = "binary" if binary else _unwanted(names)
        counts = {"added": 0 if binary else int(added), "deleted": 0 if binary else int(deleted)}
        yield {"path": names[-1], "names": names, "why": why, **counts}


def _unwanted(names: Sequence[str]) -> str:
    """Returns why a file of these names is not reviewed, if it is not."""
    if any("\ufffd" in name for name in names):
        return "its name is no UTF-8, so git cannot be asked for it"
    return "made by a program" if GENERATED.search(names[-1]) else ""


# --- reading --------------------------------------------------------------------------------------


def parse(diff: str) -> list[Change]:
    """Returns the files of a diff of git's, with what stands where. What is no hunk is passed over."""
    rows = diff.split("\n")
    found: dict[str, list[tuple[Line, ...]]] = {}
    path, at = "", 0
    while at < len(rows):
        row, at = rows[at], at + 1
        if row.startswith("diff --git "):
            path = ""
        elif row.startswith(("--- ", "+++ ")):
            path = _path(row[4:]) or path
        elif (head := HUNK.match(row)) is not None and path:
            hunk, at = _hunk(rows, at, head)
            found.setdefault(path, []).append(hunk)
    return [Change(path, tuple(hunks)) for path, hunks in found.items()]


def _hunk(rows: Sequence[str], at: int, head: re.Match[str]) -> tuple[tuple[Line, ...], int]:
    """Reads as many lines as the hunk's head says, so that no line of a file passes for one of the diff."""
    old, new = (int(1 if head[name] is None else head[name]) for name in ("old", "new"))
    number = int(head["start"]) + (new == 0)  # of a hunk without new lines git names the line before it
    lines: list[Line] = []
    while (old > 0 or new > 0) and at < len(rows):
        kind, text = rows[at][:1] or " ", rows[at][1:].rstrip("\r")
        at += 1
        if kind in " +-":
            lines.append(Line(kind, number, text))
            old -= kind != "+"
            new -= kind != "-"
            number += kind != "-"
    return tuple(lines), at


def _path(word: str) -> str:
    """Returns a path without git's prefix and quotes; nothing for a file that is not there."""
    word = word.rstrip("\t\r")
    if word.startswith('"') and word.endswith('"'):
        word = _unquoted(word[1:-1])
    return "" if word == "/dev/null" else word[2:]


def _unquoted(text: str) -> str:
    """Returns what git wrote in the manner of C."""

    def plain(found: re.Match[str]) -> str:
        code = found[1]
        return chr(int(code, 8) if len(code) == 3 else ESCAPED.get(code, ord(code)))

    raw = ESCAPE.sub(plain, text)
    try:
        return raw.encode("latin-1").decode("utf-8", "replace")
    except UnicodeEncodeError:  # it has letters beyond bytes, so none of them were written as numbers
        return raw
