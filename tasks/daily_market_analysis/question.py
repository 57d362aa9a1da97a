"""What a question asks: its words compared with lists, nothing cleverer.

What was recognised is reported with the word that told it, and so is what cannot be answered: who asked
must be able to see where the lists misunderstood.
"""

from __future__ import annotations

import re
from calendar import month_name
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from tasks.daily_market_analysis.words import (
    ANY_MARKET,
    CAPITALS,
    CAUTIONS,
    ELSEWHERE,
    MARKETS,
    NOT_IN_PRICES,
    TOPICS,
)
from tasks.investment_committee.market import LISTINGS, Series, check, load

YEARS_BEFORE = 2
"""Years of prices that the methods look back over."""


@dataclass(frozen=True)
class Reading:
    """A question as it was understood."""

    question: str
    subject: str
    """Ticker of the market that it is about."""
    compared: Sequence[str]
    """Tickers of other markets that it names."""
    months: Sequence[int]
    year: int | None
    """The year at whose end the answer is to be given; without one it is the date of the last price."""
    words: Mapping[str, str]
    """The topics, each with the word that told it; none if the question cannot be answered."""
    limits: Sequence[str]
    """What about it cannot be answered."""

    @property
    def topics(self) -> list[str]:
        """What it is about."""
        return list(self.words)

    def series(self) -> Series:
        """The prices that were known at the time the question is about."""
        series = load(self.subject)
        return series if self.year is None else series.until(date(self.year, 12, 31))


def classify(question: str, ticker: str | None = None) -> Reading:
    """Reads a question, about the market of `ticker` if one is given. Raises `UnknownTicker`."""
    if ticker is not None:
        check(ticker)
    text = " ".join(question.split())
    named = [market for market, words in MARKETS.items() if _found(words, text)]
    subject = ticker or (named[0] if named else "SP500")
    others = [market for market in named if market != subject]
    months, years = _months(text), _years(text)
    words = _topics(text, months, [subject, *others] if others else [], named)
    refusals = [*_refusals(text, ticker, named), *_years_without_prices(years, load(subject))]
    if not words and not refusals:
        refusals = _said(NOT_IN_PRICES, text) or [
            "Nothing that prices can tell was recognised in the question"
        ]
    limits = [*_beside(text, years, subject, named), *_said(NOT_IN_PRICES, text), *_said(CAUTIONS, text)]
    return Reading(
        question=text,
        subject=subject,
        compared=others,
        months=months,
        year=years[0] if years and not refusals else None,
        words={} if refusals else words,
        limits=refusals or limits,
    )


def _found(words: str, text: str) -> str | None:
    """The first of the words that the text has, as it is written there."""
    match = re.search(rf"(?<!\w)(?:{words})(?!\w)", text, re.IGNORECASE)
    return match and match[0]


def _said(table: Mapping[str, str], text: str) -> list[str]:
    return [sentence for words, sentence in table.items() if _found(words, text)]


def _topics(text: str, months: list[int], pair: list[str], named: list[str]) -> dict[str, str]:
    """The topics with the words that told them."""
    found = {topic: word for topic, words in TOPICS.items() if (word := _found(words, text))}
    if months:
        found.setdefault("season", month_name[months[0]])
    if pair:
        found.setdefault("correlation", " and ".join(pair))
    if not found and named and not _said(NOT_IN_PRICES, text):
        found = {"overview": str(_found(MARKETS[named[0]], text))}
    return found


def _months(text: str) -> list[int]:
    """The months that are named; not in lower case nor as the first word, as May and March can be verbs."""
    return [number for number in range(1, 13) if re.search(rf"(?<=.)\b{month_name[number]}\b", text)]


def _years(text: str) -> list[int]:
    return [
        int(year) for year in re.findall(r"(?<![\d$€.,])(?:19|20)\d\d(?![.,]?\d| (?:USD|dollars|days))", text)
    ]


def _unknown_instruments(text: str) -> Iterator[str]:
    """Instruments that have no prices here: well-known ones, and what looks like a ticker."""
    if word := _found(ELSEWHERE, text):
        yield word
    if text == text.upper():
        return  # everything is in capitals, so they say nothing
    known = (CAPITALS, ELSEWHERE, *MARKETS.values())
    for word in re.findall(r"\b[A-Z]{2,5}\b", text):
        if not any(_found(words, word) for words in known):
            yield word


def _refusals(text: str, ticker: str | None, named: list[str]) -> list[str]:
    """Why no market can be meant for which there are prices."""
    unknown = list(_unknown_instruments(text))
    if unknown and not named:
        return [_no_prices(unknown)]
    if not named and not ticker and not _found(ANY_MARKET, text):
        return ["The question names no market; name one in it, or give `ticker`"]
    return []


def _no_prices(unknown: list[str]) -> str:
    return f"There are no prices of {' and '.join(unknown)}, only of {', '.join(LISTINGS)}"


def _years_without_prices(years: list[int], series: Series) -> list[str]:
    first, last = series.dates[0].year + YEARS_BEFORE, series.as_of.year
    if all(first <= year <= last for year in years):
        return []
    return [
        f"The prices reach from {series.dates[0]} to {series.as_of}, which allows answers for the years "
        f"{first} to {last}"
    ]


def _beside(text: str, years: list[int], subject: str, named: list[str]) -> Iterator[str]:
    """What the question has beside that which is answered."""
    if named and subject not in named:
        yield f"The question names {' and '.join(named)}; this is about {subject}, as `ticker` says"
    if unknown := list(_unknown_instruments(text)):
        yield _no_prices(unknown)
    if len(set(years)) > 1:
        yield f"Only one year can be looked at; this is {years[0]}"


def reading_of(context: Mapping[str, Any]) -> Reading:
    """The reading in what an agent was given."""
    given = context["phases"]["question_classification"]["outputs"]["reading"]
    return Reading(**given)
