"""Amounts of data are read as people write them, exactly, and only if they mean one thing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskmark.task.amounts import LARGEST, parse_rate, parse_size, rate_text, size_text

UNITS = st.sampled_from([1000**power for power in range(5)] + [1024**power for power in range(5)])


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("512 MB", 512_000_000),
        ("2GiB", 2 * 1024**3),
        ("1.5 GB", 1_500_000_000),
        ("64 kb", 64_000),
        ("0.5 KiB", 512),
        ("12 bytes", 12),
        ("100", 100),
        (100, 100),
    ],
)
def test_a_size_is_read_as_people_write_it(text: str | int, amount: int) -> None:
    assert parse_size(text) == amount


@pytest.mark.parametrize(
    "text", ["512M", "2G", "1.5", "-1 MB", "MB", "", "1 MBit", "1 MB/s", True, "9" * 40, "9999 TiB"]
)
def test_what_is_no_size_or_could_mean_two_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a size|more than any machine"):
        parse_size(text)


@pytest.mark.parametrize("text", ["1 MB", "1000", "1 MB/h", "fast/s", "", 1000])
def test_a_rate_says_that_it_is_per_second(text: str) -> None:
    with pytest.raises(ValueError, match="is not a rate"):
        parse_rate(text)


@given(st.one_of(st.integers(0, LARGEST), st.builds(lambda n, unit: n * unit, st.integers(0, 8000), UNITS)))
def test_an_amount_that_is_written_is_read_again_to_the_byte(amount: int) -> None:
    assert parse_size(size_text(amount)) == amount
    assert parse_rate(rate_text(amount)) == amount
