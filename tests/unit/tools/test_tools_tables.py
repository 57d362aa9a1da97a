from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from taskmark.errors import Category, StepFailed
from taskmark.tools.tables import ReadCsv

Call = Callable[..., Awaitable[Any]]


async def test_numbers_are_numbers_by_column(root: Path, call: Call) -> None:
    """Codes with leading zeros and mixed columns stay text, empty cells among numbers are null."""
    (root / "t.csv").write_text(
        'name, count,price,zip,mixed\n"a, b",1,1.5,01234,1\n\nc, -2 ,2e3,99999,x\nd,,,1,\n',
        encoding="utf-8-sig",
    )
    table = await call(ReadCsv(), path="t.csv")
    assert table["columns"] == ["name", "count", "price", "zip", "mixed"]
    assert table["rows"] == [
        {"name": "a, b", "count": 1, "price": 1.5, "zip": "01234", "mixed": "1"},
        {"name": "c", "count": -2, "price": 2000.0, "zip": "99999", "mixed": "x"},
        {"name": "d", "count": None, "price": None, "zip": "1", "mixed": ""},
    ]


async def test_text_stays_text_when_wanted(root: Path, call: Call) -> None:
    (root / "t.csv").write_text("a;b\n1;2\n")
    table = await call(ReadCsv(), path="t.csv", delimiter=";", types=False)
    assert table == {"columns": ["a", "b"], "rows": [{"a": "1", "b": "2"}]}


async def test_tabs_are_known_by_the_name(root: Path, call: Call) -> None:
    (root / "t.tsv").write_text("a\tb\n1\t2\n")
    assert (await call(ReadCsv(), path="t.tsv"))["rows"] == [{"a": 1, "b": 2}]


async def test_a_table_without_rows_is_a_table(root: Path, call: Call) -> None:
    (root / "t.csv").write_text("a,b\n")
    assert await call(ReadCsv(), path="t.csv") == {"columns": ["a", "b"], "rows": []}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("a,a\n", "two columns are named 'a'"),
        ("a,,b\n", "column 2 has no name"),
        ("a,b\n1,2\n1\n", "t.csv:3: 1 cells, but 2 columns"),
        ('a\n"x\n', "no CSV"),
    ],
)
async def test_what_does_not_fit_is_named_with_its_line(
    text: str, reason: str, root: Path, call: Call
) -> None:
    (root / "t.csv").write_text(text)
    with pytest.raises(StepFailed, match=reason) as caught:
        await call(ReadCsv(), path="t.csv")
    assert caught.value.category is Category.LOGIC


async def test_a_table_that_is_too_large_is_refused(root: Path, call: Call) -> None:
    (root / "t.csv").write_text("column\n" + "value\n" * 30_000)
    with pytest.raises(StepFailed, match=r"t\.csv returned") as caught:
        await call(ReadCsv(), path="t.csv")
    assert caught.value.category is Category.RESOURCE


async def test_reading_tables_is_healthy() -> None:
    assert (await ReadCsv().health_check()).healthy
    assert ReadCsv().estimate_duration(ReadCsv().validate({"path": "x"}))
