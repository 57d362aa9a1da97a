"""Which records are readings, and what is wrong with the others."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from tasks.data_pipeline.source import COLUMNS, RawRecord, records

COLDEST, HOTTEST = -90.0, 60.0
"""Degrees Celsius beyond which a thermometer is broken: somewhat more than was ever measured outdoors."""
SCALES = ("C", "F")
MOST_RECORDS = 2_000
"""What steps pass on to each other has to stay below 256 KiB."""


class TooManyRecords(ValueError):
    """The source has more records than one run takes."""

    category = "logic"
    """Tells the engine that trying again cannot help."""


class Malformed(ValueError):
    """A record that cannot be a reading; the message says why."""


def separate(document: Any) -> dict[str, Any]:
    """Parts the records of a document into readings and rejected ones, each of those with place and reason.

    Raises `UnreadableSource` if the document has no records at all that could be looked at, and
    `TooManyRecords`.
    """
    found = list(records(document))
    if len(found) > MOST_RECORDS:
        raise TooManyRecords(
            f"the source has {len(found):,} records and one run takes {MOST_RECORDS:,}; "
            "ask for a shorter period"
        )
    readings: dict[tuple[str, str], dict[str, Any]] = {}
    rejected: list[dict[str, Any]] = []
    places: dict[tuple[str, str], str] = {}
    for record in found:
        try:
            reading = check(record)
            key = identity(reading)
            if key in places:
                raise Malformed(f"{places[key]} is of the same station and time")
        except Malformed as error:
            rejected.append({"place": record.place, "reason": str(error), "record": record.fields})
        else:
            readings[key], places[key] = reading, record.place
    total = len(readings) + len(rejected)
    return {
        "readings": list(readings.values()),
        "rejected": rejected,
        "total": total,
        "rejected_percent": round(100 * len(rejected) / total, 2) if total else 0.0,
        "summary": _summary(rejected, total),
    }


def _summary(rejected: Sequence[Mapping[str, Any]], total: int) -> str:
    """How many are malformed, and the first of them as an example."""
    first = f"; {rejected[0]['place']}: {rejected[0]['reason']}" if rejected else ""
    return f"{len(rejected)} of {total}{first}"


def identity(reading: Mapping[str, Any]) -> tuple[str, str]:
    """What makes two readings the same one: the station, and the moment whatever its offset."""
    return reading["station"], utc(reading["time"])


def check(record: RawRecord) -> dict[str, Any]:
    """Returns the reading with its numbers as numbers. Raises `Malformed`."""
    fields = record.fields
    if not isinstance(fields, Mapping):
        count = f"it has {len(fields)} values" if isinstance(fields, list) else "it is no object"
        raise Malformed(f"{count}; a record has {len(COLUMNS)}: {', '.join(COLUMNS)}")
    station, unit = _text(fields, "station"), _text(fields, "unit").upper()
    if not re.fullmatch(r"[\w-]{1,40}", station):
        raise Malformed(f"station is {station!r}; it is letters, digits, - and _, at most 40")
    if unit not in SCALES:
        raise Malformed(f"unit is {unit!r}; it is C or F")
    temperature, humidity = _number(fields, "temperature"), _number(fields, "humidity")
    if not COLDEST <= celsius(temperature, unit) <= HOTTEST:
        raise Malformed(f"temperature is {temperature:g} {unit}, which no weather has")
    if not 0 < humidity <= 100:
        raise Malformed(f"humidity is {humidity:g}; it is a percentage above 0")
    time = _text(fields, "time")
    utc(time)
    return {
        "station": station,
        "time": time,
        "temperature": temperature,
        "unit": unit,
        "humidity": humidity,
    }


def celsius(temperature: float, unit: str) -> float:
    """Degrees Celsius of a temperature in C or F."""
    return (temperature - 32) / 1.8 if unit == "F" else temperature


def utc(time: str) -> str:
    """The moment in UTC, in the one spelling that sorts by time. Raises `Malformed`."""
    try:
        moment = datetime.fromisoformat(time)
        if moment.tzinfo is None:
            raise Malformed(f"time is {time!r}, without an offset from UTC such as Z or +02:00")
        return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except Malformed:
        raise
    except (ValueError, OverflowError) as error:
        raise Malformed(f"time is {time!r}; it is a moment such as 2024-03-01T06:00:00+01:00") from error


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    if value is None or value == "":
        raise Malformed(f"{name} is missing")
    if not isinstance(value, str):
        raise Malformed(f"{name} is {value!r}, which is no text")
    return value.strip()


def _number(fields: Mapping[str, Any], name: str) -> float:
    value = fields.get(name)
    if value is None or value == "":
        raise Malformed(f"{name} is missing")
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise Malformed(f"{name} is {value!r}, which is no number")
    return number
