"""How data is written to stdout."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Collection, Iterable, Sequence
from enum import StrEnum
from typing import Annotated, Any

import typer

from starter.cli.printable import printable
from starter.cli.terminal import stdout


class Format(StrEnum):
    """What `-o` takes."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"


FormatOption = Annotated[
    Format, typer.Option("-o", "--output", metavar="FORMAT", help="table, json or jsonl.", show_default=True)
]


def write_json(value: Any) -> None:
    """Writes one JSON document for people and programs to read."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def write_line(value: Any) -> None:
    """Writes a JSON value on a line of its own and makes it visible at once."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def write_document(value: Any, format: Format) -> None:
    """Writes one JSON document as the format, which is no table, has it."""
    write = write_json if format is Format.JSON else write_line
    write(value)


def write_rows(rows: Sequence[Any], format: Format, table: Callable[[], None]) -> None:
    """Writes rows in the wanted format; `table` shows them to people."""
    match format:
        case Format.JSON:
            write_json(list(rows))
        case Format.JSONL:
            for row in rows:
                write_line(row)
        case Format.TABLE:
            table()


def write_table(headings: Sequence[str], rows: Iterable[Sequence[str]], *, first: bool = True) -> None:
    """Writes a table without rules, which also cuts and greps well. The `first` column is never cut."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for place, heading in enumerate(headings):
        kept = first and place == 0
        table.add_column(heading, no_wrap=kept, overflow="ignore" if kept else "fold")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    stdout().print(table)


def write_aligned(
    headings: Sequence[str], rows: Iterable[Sequence[str]], *, texts: Collection[str] = ()
) -> None:
    """Writes a table whose numbers stand below each other; the first column is text, and those with one of
    these headings."""
    lines = [headings, *rows]
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    numbers = {place for place, heading in enumerate(headings) if place and heading not in texts}
    aligned = [
        [cell.rjust(widths[place]) if place in numbers else cell for place, cell in enumerate(line)]
        for line in lines
    ]
    write_table(aligned[0], aligned[1:], first=False)
