"""Reads files of past results: what each one says as records, or where and why it cannot be understood."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias

from taskmark.past import others, own
from taskmark.past.problems import Misfit
from taskmark.records import Record
from taskmark.task.model import Json

LARGEST = 4 * 2**20
"""Bytes of a file; a result of more is a mistake, or belongs into a file of its own beside it."""

TOO_DEEP = "it is nested too deeply"

Place: TypeAlias = tuple[str | int, ...]


@dataclass(frozen=True)
class Past:
    """One result, and where it was found."""

    file: Path
    line: int
    execution: str
    records: tuple[Record, ...]
    content: int
    """A hash of what it said, to tell copies from other results of the same id."""


@dataclass(frozen=True)
class Unread:
    """What could not be understood, where, and why."""

    file: Path
    line: int
    reason: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.reason}"


def result_files(folder: Path) -> list[Path]:
    """Returns every `*.json` in the folder and below it, in order. Raises `OSError`."""
    if not folder.is_dir():
        os.listdir(folder)  # says what is wrong with it
    return sorted(path for path in folder.rglob("*.json") if path.is_file())


def read_results(file: Path) -> Iterator[Past | Unread]:
    """Yields what a file holds: one result, or a list of them. Never raises for what is in the file."""
    try:
        text, changed = _text(file)
        document = json.loads(text, parse_constant=_nothing)
    except _Unreadable as error:
        yield Unread(file, error.line, error.reason)
        return
    except json.JSONDecodeError as error:
        yield Unread(file, error.lineno, f"this is no JSON: {error.msg} in column {error.colno}")
        return
    except RecursionError:
        yield Unread(file, 1, TOO_DEEP)
        return
    for place, one in _results(document):
        yield _understood(file, text, place, one, changed)


class _Unreadable(Exception):
    def __init__(self, line: int, reason: str) -> None:
        self.line, self.reason = line, reason


def _text(file: Path) -> tuple[str, datetime]:
    """Returns what the file holds, and when it was changed last."""
    content = b""
    try:
        found = file.stat()
        if found.st_size > LARGEST:
            raise _Unreadable(1, f"it has {found.st_size} bytes; {LARGEST} are the most")
        content = file.read_bytes()
        return content.decode("utf-8-sig"), datetime.fromtimestamp(found.st_mtime, UTC)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise _Unreadable(line, "this is no text in UTF-8") from error
    except OSError as error:
        raise _Unreadable(1, f"it cannot be read: {error.strerror}") from error


def _nothing(_constant: str) -> None:
    """NaN and the infinities, which Python writes though JSON knows none: no database keeps them as JSON."""


def _results(document: Json) -> Sequence[tuple[Place, Json]]:
    if isinstance(document, list):
        return [((number,), one) for number, one in enumerate(document)]
    return [((), document)]


def _understood(file: Path, text: str, place: Place, document: Json, changed: datetime) -> Past | Unread:
    try:
        if not isinstance(document, dict):
            raise Misfit("a result is an object")
        form = own if own.is_own(document) else others
        execution, records = form.records_in(document, changed)
        content = hash(json.dumps(document, sort_keys=True))
    except Misfit as misfit:
        return Unread(file, line_of(text, (*place, *misfit.place)), misfit.reason)
    except RecursionError:
        return Unread(file, line_of(text, place), TOO_DEEP)
    return Past(file, line_of(text, place) if place else 1, execution, tuple(records), content)


# --- lines ----------------------------------------------------------------------------------------

_SPACE = re.compile(r"[\s,:]*")
_decoder = json.JSONDecoder()


def line_of(text: str, place: Place) -> int:
    """Returns the line on which a value begins in a JSON text; of an absent one, the line of what should
    hold it."""
    position = _skipped(text, 0)
    for part in place:
        inner = _member(text, position, part)
        if inner is None:
            break
        position = inner
    return text.count("\n", 0, position) + 1


def _member(text: str, position: int, part: str | int) -> int | None:
    """Returns where a member of the object or list at the position begins."""
    is_object = text[position] == "{"
    if text[position] not in "{[":
        return None
    position, number = _skipped(text, position + 1), 0
    while text[position] not in "}]":
        key: Any = number
        if is_object:
            key, position = _decoder.raw_decode(text, position)
            position = _skipped(text, position)
        if key == part:
            return position
        position, number = _skipped(text, _decoder.raw_decode(text, position)[1]), number + 1
    return None


def _skipped(text: str, position: int) -> int:
    found = _SPACE.match(text, position)
    return found.end() if found else position
