"""The report: a page for people, the same for the same readings however often they are loaded."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tasks.data_pipeline.database import opened
from tasks.data_pipeline.readings import utc

MOST_REJECTED = 50
"""Rejected records that the page lists; all of them are in the file beside it."""
STATIONS = """SELECT station, count(*), min(time), max(time), min(temperature), avg(temperature),
    max(temperature), max(dew_point)
    FROM readings WHERE time BETWEEN ? AND ? GROUP BY station ORDER BY station"""


def render(
    database: str,
    source: str,
    readings: Sequence[Mapping[str, Any]],
    rejected: Sequence[Mapping[str, Any]],
) -> str:
    """Writes the page about the period that the source covers. Raises `UnusableDatabase`."""
    shown = source.partition("?")[0]  # the query of a URL is where secrets are
    return f"""# Weather readings

{len(readings) + len(rejected)} records in `{shown}`: {len(readings)} loaded, {len(rejected)} set aside.

## Stations

{_stations(database, readings)}

## Set aside

{_rejected(rejected)}
"""


def _stations(database: str, readings: Sequence[Mapping[str, Any]]) -> str:
    if not readings:
        return "The source has no readings."
    times = [utc(reading["time"]) for reading in readings]
    with opened(database) as connection:
        rows = connection.execute(STATIONS, (min(times), max(times))).fetchall()
    columns = (
        "station",
        "readings",
        "first",
        "last",
        "lowest °C",
        "mean °C",
        "highest °C",
        "dew point up to °C",
    )
    shown = ([*row[:4], *(f"{value:.1f}" for value in row[4:])] for row in rows)
    return f"All that the database has from {min(times)} to {max(times)}.\n\n{table(columns, shown)}"


def _rejected(rejected: Sequence[Mapping[str, Any]]) -> str:
    if not rejected:
        return "None."
    rows = [
        (one["place"], one["reason"], json.dumps(one["record"], ensure_ascii=False))
        for one in rejected[:MOST_REJECTED]
    ]
    more = len(rejected) - len(rows)
    return table(("where", "why", "record"), rows) + (f"\n\nAnd {more} more." if more else "")


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A markdown table."""
    lines = [columns, ["---"] * len(columns), *([_cell(value) for value in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: Any) -> str:
    """One cell, without what would end it."""
    return str(value).replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ").replace("\r", " ")
