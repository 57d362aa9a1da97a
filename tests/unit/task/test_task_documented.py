"""The documentation of the format is complete, and its examples are right."""

import os
import re
from pathlib import Path
from typing import Any, get_args

import pytest

from taskmark.task import check_text, parse_duration
from taskmark.task.catalog import BUILT_IN_AGGREGATES, BUILT_IN_TOOLS
from taskmark.task.codes import WARNINGS, Code
from taskmark.task.fences import Fences
from taskmark.task.metadata import METADATA_FIELDS
from taskmark.task.model import InputType
from taskmark.task.options import BUILT_IN_KINDS
from taskmark.task.outline import read_outline
from taskmark.task.phases import PHASE_KEYS, option_sources
from taskmark.task.source_text import Findings
from taskmark.task.steps import STEP_KEYS, _split_body
from taskmark.task.yaml_nodes import read_mapping

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


@pytest.mark.parametrize("word", sorted(METADATA_FIELDS))
def test_every_key_of_the_metadata_is_documented(word: str) -> None:
    assert f"`{word}`" in PAGE


def test_one_example_has_every_key_kind_and_aggregate() -> None:
    [example] = [example for example in examples() if example.startswith("# Every key")]
    outline, findings = read_outline(example, Findings("")), Findings("")
    metadata = read_mapping(outline.metadata, findings) if outline.metadata else None
    assert metadata is not None
    assert set(metadata.value) == set(METADATA_FIELDS)
    assert {_type(field) for field in metadata.value["requirements"].values()} == set(get_args(InputType))
    options = [read_mapping(source, findings) for phase in outline.phases for source in option_sources(phase)]
    assert {key for option in options if option for key in option.value} == PHASE_KEYS
    items = [item for phase in outline.phases for item in phase.items("steps")]
    bodies = [_split_body(item, BUILT_IN_KINDS, findings) for item in items]
    mappings = [read_mapping(body.mapping, findings) for body in bodies if body.mapping]
    assert {key for mapping in mappings if mapping for key in mapping.value} == STEP_KEYS
    texts = [item.text.value for item in items]
    kinds = {text.partition(":")[0] for text in texts}
    assert kinds >= BUILT_IN_KINDS
    aggregates = {text.split()[1] for text in texts if text.startswith("aggregate:")}
    assert aggregates == BUILT_IN_AGGREGATES


def _type(field: Any) -> str:
    found: str = field["type"] if isinstance(field, dict) else field
    return found


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("5 minutes", 300), ("30s", 30), ("1h 30m", 5_400), ("1.5 hours", 5_400), ("500ms", 0.5),
        ("2 days", 172_800), ("1 week", 604_800), ("PT5M", 300), ("P1DT2H", 93_600), ("300000", 300),
    ],
)  # fmt: skip
def test_every_documented_form_of_a_duration_is_read(written: str, seconds: float) -> None:
    section = PAGE.partition("### Durations")[2].partition("## ")[0]
    assert f"`{written}`" in section
    assert parse_duration(written) == pytest.approx(seconds)


def test_no_documented_form_of_a_duration_is_untested() -> None:
    section = PAGE.partition("### Durations")[2].partition("## ")[0]
    assert len(re.findall(r"`[^`]+`", section)) == 10


def test_what_is_shown_from_python_holds() -> None:
    [block] = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    before = Path.cwd()
    os.chdir(ROOT)
    try:
        exec(compile(block, "docs/task-format.md", "exec"), {})
    finally:
        os.chdir(before)


def test_there_are_examples() -> None:
    assert len(examples()) >= 3


@pytest.mark.parametrize("example", examples(), ids=lambda example: example.split("\n")[0])
def test_every_example_has_no_diagnostics(example: str) -> None:
    found = check_text(example).diagnostics
    assert [str(problem) for problem in found if problem.code != "not-in-effect"] == []


def test_built_in_tools_are_those_that_task_files_rely_on() -> None:
    names = "shell python read-file write-file edit-file copy-file move-file delete-file "
    names += "list-files search-files read-csv json http sql sql-write "
    names += "web-search mail webhook chat browser mcp"
    assert names.split() == list(BUILT_IN_TOOLS)
