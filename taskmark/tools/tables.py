"""`read-csv`: a table as a list of rows."""

from __future__ import annotations

import asyncio
import csv
import io
import re
from collections.abc import Sequence

from pydantic import Field

from taskmark.errors import Category, StepFailed
from taskmark.ports import StepContext
from taskmark.task.model import Json
from taskmark.tools.files import FileTool, decoded, read_bytes
from taskmark.tools.sizes import capped
from taskmark.tools.validation import Arguments

LARGEST = 16 * 1024**2
TOO_LARGE = "reduce it with shell or python first"
# No leading zeros: 007 and 01234 are codes, not numbers.
_INTEGER = re.compile(r"[+-]?(0|[1-9][0-9]{0,17})", re.ASCII)
_DECIMAL = re.compile(r"[+-]?((0|[1-9][0-9]{0,17})(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,2})?", re.ASCII)


class ReadCsvParameters(Arguments):
    """What to read, and how."""

    path: str = Field(description="A file under the root, with the columns' names in its first row")
    delimiter: str | None = Field(
        default=None, min_length=1, max_length=1, description="A comma, for .tsv a tab, unless given"
    )
    types: bool = Field(default=True, description="Read columns of numbers as numbers")


class ReadCsv(FileTool[ReadCsvParameters]):
    """Reads a CSV file."""

    name = "read-csv"
    parameters = ReadCsvParameters
    effects = False

    async def execute(self, parameters: ReadCsvParameters, context: StepContext) -> Json:
        """Returns `columns` and `rows`, one object per row. Raises `StepFailed`."""
        return await asyncio.to_thread(read_table, parameters, context)


def read_table(parameters: ReadCsvParameters, context: StepContext) -> Json:
    """Returns the table. A column is of numbers if every cell that is not empty is one; then empty cells
    are null. Raises `StepFailed` (logic) for rows that do not fit the columns."""
    path = parameters.path
    text = decoded(read_bytes(context, path, LARGEST), path)
    delimiter = parameters.delimiter or ("\t" if path.endswith(".tsv") else ",")
    columns, cells = _split(text, delimiter, path)
    if parameters.types:
        by_column = [_typed([row[place] for row in cells]) for place in range(len(columns))]
        rows = [dict(zip(columns, row, strict=True)) for row in zip(*by_column, strict=True)]
    else:
        rows = [dict(zip(columns, row, strict=True)) for row in cells]
    return capped({"columns": columns, "rows": rows}, source=path, advice=TOO_LARGE)


def _split(text: str, delimiter: str, path: str) -> tuple[list[str], list[list[str]]]:
    """Returns the columns' names and the rows' cells; empty lines are left out. Raises `StepFailed`."""
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        columns = [name.strip() for name in next(reader, [])]
        _check_columns(columns, path)
        rows = []
        for row in reader:
            if row and len(row) != len(columns):
                raise StepFailed(
                    f"{path}:{reader.line_num}: {len(row)} cells, but {len(columns)} columns", Category.LOGIC
                )
            if row:
                rows.append(row)
    except (csv.Error, TypeError) as error:
        raise StepFailed(f"{path}: no CSV: {error}", Category.LOGIC, hint="check `delimiter`") from error
    return columns, rows


def _check_columns(columns: Sequence[str], path: str) -> None:
    """Raises `StepFailed` (logic) unless each column has a name of its own."""
    if not columns:
        raise StepFailed(f"{path}: empty, without a row of column names", Category.LOGIC)
    for place, name in enumerate(columns):
        if not name:
            raise StepFailed(f"{path}:1: column {place + 1} has no name", Category.LOGIC)
        if name in columns[:place]:
            raise StepFailed(f"{path}:1: two columns are named {name!r}", Category.LOGIC)


def _typed(cells: Sequence[str]) -> list[Json]:
    """Returns a column's values."""
    stripped = [cell.strip() for cell in cells]
    filled = [cell for cell in stripped if cell]
    if filled and all(_INTEGER.fullmatch(cell) for cell in filled):
        return [int(cell) if cell else None for cell in stripped]
    if filled and all(_DECIMAL.fullmatch(cell) for cell in filled):
        return [float(cell) if cell else None for cell in stripped]
    return list(cells)
