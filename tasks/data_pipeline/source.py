"""What a source holds: raw records and where each of them stands."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

COLUMNS = ("station", "time", "temperature", "unit", "humidity")


class UnreadableSource(ValueError):
    """The document is neither CSV with the columns nor a JSON list."""

    category = "logic"
    """Tells the engine that trying again cannot help."""


@dataclass(frozen=True)
class RawRecord:
    """One record as the source spells it."""

    place: str
    """`line 7` of CSV, `item 3` of JSON; both count from 1."""
    fields: Any
    """A mapping from column to value, or whatever else stands there."""


def records(document: Any) -> Iterator[RawRecord]:
    """Reads a document: JSON as data or as text, else CSV. Raises `UnreadableSource`."""
    if not isinstance(document, str):
        return _items(document)
    text = document.removeprefix("\ufeff")
    if text.lstrip()[:1] not in ("[", "{"):
        return _lines(text)
    try:
        return _items(json.loads(text))
    except (ValueError, RecursionError) as error:
        raise UnreadableSource(f"the source begins like JSON, but cannot be read: {error}") from error


def _items(data: Any) -> Iterator[RawRecord]:
    if not isinstance(data, list):
        raise UnreadableSource(f"the source is JSON, but no list of records: it is a {type(data).__name__}")
    return (RawRecord(f"item {number}", fields) for number, fields in enumerate(data, 1))


def _lines(text: str) -> Iterator[RawRecord]:
    reader = csv.reader(io.StringIO(text, newline=""))
    header = [name.strip() for name in next(reader, [])]
    missing = [name for name in COLUMNS if name not in header]
    if missing:
        raise UnreadableSource(
            f"the first line must name the columns {', '.join(COLUMNS)}; it lacks {', '.join(missing)}"
        )
    return _rows(reader, header)


def _rows(reader: Any, header: list[str]) -> Iterator[RawRecord]:
    while True:
        place = f"line {reader.line_num + 1}"
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise UnreadableSource(f"{place}: {error}") from error
        if row:
            # A row of another length cannot be told what its values mean, so it stays a list.
            yield RawRecord(place, dict(zip(header, row, strict=True)) if len(row) == len(header) else row)
