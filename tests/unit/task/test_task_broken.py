"""Every broken file gives exactly the diagnostics that stand at its end, each at its place."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from taskmark.errors import InvalidTask
from taskmark.registry import load
from taskmark.task import check_file, parse_file
from taskmark.task.catalog import Catalog

CATALOG = replace(
    Catalog.default(),
    tools={**Catalog.default().tools, "pay": None},
    misfits=load().misfits,
    effects=frozenset({"pay"}),
)
"""The built-in names, with what the built-in tools would refuse, and a tool that may be called only once."""
BROKEN = sorted((Path(__file__).parents[2] / "broken").glob("*.md"))


def expected(path: Path) -> list[tuple[int, int, str]]:
    listed = path.read_text().rpartition("<!-- expected:")[2]
    return [
        (int(line), int(column), code)
        for line, column, code in re.findall(r"(\d+):(\d+) ([a-z0-9-]+)", listed)
    ]


@pytest.mark.parametrize("path", BROKEN, ids=lambda path: path.stem)
def test_a_broken_file_gives_exactly_its_diagnostics(path: Path) -> None:
    checked = check_file(path, catalog=CATALOG)
    assert [(found.line, found.column, found.code) for found in checked.diagnostics] == expected(path)
    assert (checked.definition is None) == bool(checked.errors)
    assert len(checked.errors) + len(checked.warnings) == len(checked.diagnostics)
    assert {found.file for found in checked.diagnostics} == {str(path)}
    assert all(found.message for found in checked.diagnostics)


def test_there_are_enough_broken_files_to_mean_something() -> None:
    assert len(BROKEN) >= 80
    assert all(expected(path) for path in BROKEN)


def test_parsing_raises_every_diagnostic_at_once_with_place_code_and_hint() -> None:
    path = next(path for path in BROKEN if path.stem == "snake-case")
    with pytest.raises(InvalidTask) as caught:
        parse_file(path, catalog=Catalog.default())
    assert len(caught.value.diagnostics) == 2
    assert f"{path}:4:1: error[unknown-key] unknown key `max_execution_time`" in str(caught.value)
    assert "did you mean `maxExecutionTime`?" in str(caught.value)
