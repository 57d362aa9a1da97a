"""Daily prices: the series the committee can discuss, read from `data/`."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

DATA = Path(__file__).parent / "data"


class UnknownTicker(ValueError):
    """No price series of that name is in the data folder."""

    category = "logic"
    """Tells the engine that trying again cannot help."""


@dataclass(frozen=True)
class Listing:
    """What a ticker stands for."""

    name: str
    unit: str
    """Unit of a price."""


LISTINGS = {
    "SP500": Listing("S&P 500 index, price only", "index points"),
    "NASDAQ": Listing("NASDAQ Composite index, price only", "index points"),
    "WTI": Listing("West Texas Intermediate crude oil, spot at Cushing", "USD per barrel"),
}


@dataclass(frozen=True)
class Series:
    """One instrument's daily closes, oldest first. `volumes` is absent where the source has none."""

    ticker: str
    dates: tuple[date, ...]
    closes: tuple[float, ...]
    volumes: tuple[float, ...] | None = None

    @property
    def listing(self) -> Listing:
        """The instrument's name and unit."""
        return LISTINGS[self.ticker]

    @property
    def as_of(self) -> date:
        """Date of the last price: everything is computed as of it."""
        return self.dates[-1]

    @property
    def last(self) -> float:
        """The last close."""
        return self.closes[-1]

    def until(self, last: date) -> Series:
        """Returns the series as it was known at the end of that day."""
        kept = sum(1 for day in self.dates if day <= last)
        volumes = None if self.volumes is None else self.volumes[:kept]
        return Series(self.ticker, self.dates[:kept], self.closes[:kept], volumes)


def check(ticker: str) -> None:
    """Raises `UnknownTicker`, naming those there are, unless there are prices for it."""
    if ticker not in LISTINGS:
        known = ", ".join(LISTINGS)
        raise UnknownTicker(f"no prices for ticker {ticker!r}; the data folder has {known}")


@cache
def load(ticker: str) -> Series:
    """Reads one series. Raises `UnknownTicker` naming those there are."""
    check(ticker)
    with (DATA / f"{ticker.lower()}.csv").open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    return Series(
        ticker=ticker,
        dates=tuple(date.fromisoformat(row[0]) for row in rows),
        closes=tuple(float(row[1]) for row in rows),
        volumes=tuple(float(row[2]) for row in rows) if "volume" in header else None,
    )


def describe(ticker: str) -> dict[str, Any]:
    """Says what the committee is going to look at. Raises `UnknownTicker`."""
    series = load(ticker)
    return {
        "ticker": ticker,
        "name": series.listing.name,
        "unit": series.listing.unit,
        "first_date": series.dates[0].isoformat(),
        "as_of": series.as_of.isoformat(),
        "observations": len(series.closes),
        "last_close": series.last,
        "has_volume": series.volumes is not None,
    }
