"""The documentation of the format is complete, and its examples are right."""

import re
from pathlib import Path

import pytest

from taskmark.task import check_text
from taskmark.task.catalog import BUILT_IN_AGGREGATES, BUILT_IN_TOOLS
from taskmark.task.codes import WARNINGS, Code
from taskmark.task.fences import Fences
from taskmark.task.options import BUILT_IN_KINDS
from taskmark.task.phases import PHASE_KEYS
from taskmark.task.steps import STEP_KEYS

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "task-format.md").read_text()


def examples() -> list[str]:
    lines, fences, found, row = PAGE.split("\n"), None, [], 0
    fences = Fences(lines)
    while row < len(lines):
        fence = fences.at(row)
        if fence is not None and fence.info == "markdown":
            found.append("\n".join(lines[fence.start : fence.stop]) + "\n")
        row = row + 1 if fence is None else fence.stop + 1
    return found


def test_every_code_is_documented_with_its_severity_and_every_documented_code_exists() -> None:
    rows = re.findall(r"^\| `([a-z0-9-]+)` \| (error|warning) \|", PAGE, re.MULTILINE)
    assert sorted(rows) == sorted((code.value, "warning" if code in WARNINGS else "error") for code in Code)


def test_every_code_is_noted_somewhere_in_the_parser() -> None:
    sources = "".join(
        path.read_text() for path in (ROOT / "taskmark" / "task").glob("*.py") if path.name != "codes.py"
    )
    assert [code.name for code in Code if f"Code.{code.name}" not in sources] == []


@pytest.mark.parametrize("word", sorted(STEP_KEYS | PHASE_KEYS | BUILT_IN_KINDS | BUILT_IN_AGGREGATES))
def test_every_key_kind_and_aggregate_is_documented(word: str) -> None:
    assert f"`{word}`" in PAGE


def test_there_are_examples() -> None:
    assert len(examples()) >= 3


@pytest.mark.parametrize("example", examples(), ids=lambda example: example.split("\n")[0])
def test_every_example_has_no_diagnostics(example: str) -> None:
    found = check_text(example).diagnostics
    assert [str(problem) for problem in found if problem.code != "not-in-effect"] == []


def test_built_in_tools_are_those_that_task_files_rely_on() -> None:
    names = "shell python read-file write-file list-files search-files read-csv http"
    assert names.split() == list(BUILT_IN_TOOLS)
