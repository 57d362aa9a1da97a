"""From readings as stations send them to rows as the database has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log
from typing import Any

from tasks.data_pipeline.readings import celsius, utc

MAGNUS_FACTOR, MAGNUS_CELSIUS = 17.62, 243.12
"""Constants of the Magnus formula over water, as the World Meteorological Organization gives them."""


def convert(readings: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Converts a batch: time in UTC, degrees Celsius to hundredths, and the dew point to tenths."""
    return [_row(reading) for reading in readings]


def _row(reading: Mapping[str, Any]) -> dict[str, Any]:
    temperature = celsius(reading["temperature"], reading["unit"])
    return {
        "station": reading["station"],
        "time": utc(reading["time"]),
        "temperature": round(temperature, 2),
        "humidity": reading["humidity"],
        "dew_point": round(dew_point(temperature, reading["humidity"]), 1),
    }


def dew_point(temperature: float, humidity: float) -> float:
    """Degrees Celsius at which air of this temperature (Celsius) and humidity (percent) is saturated."""
    strength = log(humidity / 100) + MAGNUS_FACTOR * temperature / (MAGNUS_CELSIUS + temperature)
    return MAGNUS_CELSIUS * strength / (MAGNUS_FACTOR - strength)
