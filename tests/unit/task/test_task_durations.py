"""Durations as people write them."""

import pytest

from taskmark.task import parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("5 minutes", 300),
        ("30 seconds", 30),
        ("30s", 30),
        ("1h 30m", 5400),
        ("1h30m", 5400),
        ("1.5 hours", 5400),
        ("500ms", 0.5),
        ("2 Days", 172_800),
        ("1 week", 604_800),
        ("1 min", 60),
        ("PT5M", 300),
        ("P1DT2H", 93_600),
        ("P2W", 1_209_600),
        ("PT0.5S", 0.5),
        ("pt5m", 300),
        ("300000", 300),
        (300_000, 300),
        (1500, 1.5),
        (0, 0),
    ],
)
def test_a_duration_is_read_in_seconds_and_bare_numbers_are_milliseconds(
    text: str | int, seconds: float
) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "", "soon", "5 fortnights", "-5s", -1, "1.5", "P", "PT", "P1M", "P1Y", "5m 5m", "5m 1h",
        "1h and 5m", "1h,5m", "s", "5 5s", "9" * 5000, "1e3s", "200 weeks 90000 days", 10**20, True,
        None, 1.5, "٣s", "5s!",
    ],
)  # fmt: skip
def test_anything_else_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match=r"duration|years"):
        parse_duration(text)  # type: ignore[arg-type] # wrong types are part of the promise
