"""Every code has an entry on the page of diagnostics, and its example really has that problem."""

import re
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from taskmark.registry import load
from taskmark.task.catalog import Catalog
from taskmark.task.codes import WARNINGS, Code
from taskmark.task.model import Agent
from taskmark.task.parser import check_source

PAGE = (Path(__file__).parents[3] / "docs" / "diagnostics.md").read_text()
ENTRY = re.compile(
    r"^### `([a-z0-9-]+)`\n\n(Error|Warning)\. .+\n(?:\n````markdown\n([\s\S]*?)\n````\n)?", re.MULTILINE
)
NOT_SHOWN = {"unreadable-file", "not-utf8", "file-too-large", "too-many-steps"}
"""What a readable page cannot show."""
ENTRIES = {code: (severity.lower(), example) for code, severity, example in ENTRY.findall(PAGE)}
REGISTRY = load()


def catalog(text: str) -> Catalog:
    """Returns a catalog with two agents, and tasks that run themselves or ever deeper ones."""
    deeper = count()

    def task(reference: str, referrer: Path | None) -> tuple[Path, str] | None:
        if reference == "deeper":
            return Path(f"deeper{next(deeper)}.md"), text
        return (Path("example.md"), text) if reference == "example" else None

    return replace(
        Catalog.default(),
        tools={**REGISTRY.schemas(), "pay": None},
        misfits=REGISTRY.misfits,
        effects=frozenset({"pay"}),
        agent={
            "reviewer": Agent(id="reviewer"),
            "coder": Agent(id="coder", model="cli:claude", tools=("Read", "Write", "Bash")),
        }.get,
        task=task,
    )


def test_every_code_has_one_entry_with_its_severity() -> None:
    assert len(ENTRIES) == len(ENTRY.findall(PAGE))
    severities = {code.value: "warning" if code in WARNINGS else "error" for code in Code}
    assert {code: severity for code, (severity, _) in ENTRIES.items()} == severities


def test_every_entry_has_an_example_where_one_can_be_shown() -> None:
    assert {code for code, (_, example) in ENTRIES.items() if not example} == NOT_SHOWN


@pytest.mark.parametrize("code", sorted(ENTRIES.keys() - NOT_SHOWN))
def test_an_example_has_the_problem_it_is_for(code: str) -> None:
    text = ENTRIES[code][1] + "\n"
    found = check_source(text, Path("example.md"), catalog=catalog(text)).diagnostics
    assert code in {problem.code for problem in found}
    # What else it has must not hide what it is for.
    assert {problem.code for problem in found if problem.severity == "error"} <= {code, "missing-argument"}
