"""docs/history.md tells of every table and column there is, and of no other."""

from __future__ import annotations

import re
from pathlib import Path

from taskmark.store.tables import Stored

DOCUMENT = Path(__file__).parents[2] / "docs/history.md"


def documented() -> dict[str, set[str]]:
    sections = re.split(r"^## (\w+)$", DOCUMENT.read_text(), flags=re.MULTILINE)[1:]
    names = zip(sections[::2], sections[1::2], strict=True)
    return {name: set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)) for name, text in names}


def test_every_table_and_column_is_documented() -> None:
    known = {table.name: {column.name for column in table.columns} for table in Stored.metadata.sorted_tables}
    assert documented() == known
