"""What was left for later, and how long ago."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from tasks.repo_health.area import Area, counted, table
from tasks.repo_health.git import Deadline, GitFailed, Repository, shown
from tasks.repo_health.history import DAY, age

MARK: Final = re.compile(
    r"(?:#|//|/\*|<!--|--|;|%|^[ \t]{0,40}\*)[ \t]{0,8}(?P<text>(?:TODO|FIXME|XXX|HACK)\b.{0,200})"
)
"""A word in capitals at the beginning of a comment."""
TEXT: Final = re.compile(r"\"(?:\\.|[^\"\\])*(?:\"|$)|`[^`]*(?:`|$)|(?<!\w)'(?:\\.|[^'\\])*'")
"""Something in quotes, to its end or that of the line; an apostrophe in a word begins nothing."""
READING_SECONDS: Final = 30.0
BLAMING_SECONDS: Final = 45.0
MOST_FILES: Final = 60
"""Asked for the age of their lines; those with most marks first."""
MOST_LINES: Final = 50
"""Asked for per file."""
OLD_DAYS: Final = 365


@dataclass(frozen=True)
class Todo:
    """One mark in a comment."""

    path: str
    line: int
    text: str


def examine(repo: str, commit: str) -> Area:
    """Looks for TODO, FIXME, XXX and HACK in comments, and asks git how old they are."""
    repository, deadline = Repository.open(repo, commit), Deadline(READING_SECONDS)
    found: list[Todo] = []
    lines = 0
    for blob, text in repository.texts(repository.files(), deadline):
        lines += text.count("\n")
        found += marks(blob.path, text)
    ages = ages_of(repository, found)
    old = sum(days > OLD_DAYS for days in ages.values())
    dated = sorted(found, key=lambda one: -ages.get(one, -1.0))
    return Area(
        "TODOs",
        score(len(found), old, lines) if lines else None,
        f"{counted(len(found), 'mark')} in {counted(lines, 'line')}, {old:,} older than a year"
        + (f" (age of {len(ages):,} known)" if len(ages) < len(found) else ""),
        ["Do the oldest, or turn them into issues that somebody sees"] if old else [],
        ("where", "age", "what"),
        **table(
            [(f"{shown(one.path)}:{one.line}", said_age(ages, one), shown(one.text, 80)) for one in dated]
        ),
        cut=deadline.cut,
        facts={"found": len(found), "older_than_a_year": old, "lines": lines},
    )


def marks(path: str, text: str) -> Iterator[Todo]:
    """Yields the marks in one file."""
    for number, line in enumerate(text.split("\n"), 1):
        if (found := MARK.search(line)) is not None and not in_text(line, found.start("text")):
            yield Todo(path, number, found["text"].rstrip())


def in_text(line: str, place: int) -> bool:
    """Whether a place of a line is in quotes: a program writes it, and nobody is to do it."""
    return any(found.start() < place < found.end() for found in TEXT.finditer(line))


def ages_of(repository: Repository, found: Sequence[Todo]) -> dict[Todo, float]:
    """Returns the age in days of as many marks as can be asked for in the time there is."""
    by_path: dict[str, list[Todo]] = {}
    for one in found:
        by_path.setdefault(one.path, []).append(one)
    deadline = Deadline(BLAMING_SECONDS)
    now = datetime.now(UTC).timestamp()
    ages: dict[Todo, float] = {}
    for path, here in sorted(by_path.items(), key=lambda item: -len(item[1]))[:MOST_FILES]:
        if not deadline.left:
            break
        times = blame(repository, path, [one.line for one in here[:MOST_LINES]], deadline)
        ages |= {one: (now - times[one.line]) / DAY for one in here if one.line in times}
    return ages


def blame(repository: Repository, path: str, lines: Sequence[int], deadline: Deadline) -> dict[int, int]:
    """Returns when lines of a file were written, as far as git says so in time."""
    ranges = [word for line in lines for word in ("-L", f"{line},{line}")]
    words = ("blame", "--line-porcelain", "--no-textconv", *ranges, repository.commit, "--", path)
    try:
        said = repository.ask(*words, seconds=min(deadline.left, 15.0)).decode("utf-8", "replace")
    except GitFailed:
        return {}
    found: dict[int, int] = {}
    line = 0
    for words_of_line in (one.split(" ") for one in said.split("\n") if not one.startswith("\t")):
        if len(words_of_line) >= 3 and len(words_of_line[0]) in (40, 64) and words_of_line[2].isdigit():
            line = int(words_of_line[2])
        elif words_of_line[0] == "author-time":
            found[line] = int(words_of_line[1])
    return found


def score(found: int, old: int, lines: int) -> int:
    """Half for how thick they are (ten per thousand lines earn nothing), half for how few are old."""
    thick = min(found * 1000 / lines / 10, 1.0)
    return round(100 - 50 * thick - (50 * old / found if found else 0) * min(found / 10, 1.0))


def said_age(ages: Mapping[Todo, float], todo: Todo) -> str:
    """Returns the age in words."""
    return age(ages[todo]) if todo in ages else "unknown"
