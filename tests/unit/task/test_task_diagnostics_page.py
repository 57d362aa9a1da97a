"""Every diagnostic has an example, and every example its diagnostic."""

import re
from pathlib import Path

import pytest

from taskmark.registry import load
from taskmark.task import check_text
from taskmark.task.catalog import Catalog
from taskmark.task.codes import Code
from taskmark.task.diagnostics import Severity

PAGE = (Path(__file__).parents[3] / "docs" / "diagnostics.md").read_text()
EXAMPLES = re.findall(r"^### `([a-z0-9-]+)`\n\n````text\n(.*?)````$", PAGE, re.MULTILINE | re.DOTALL)
ABOUT_FILES = re.findall(
    r"`([a-z0-9-]+)`", PAGE.partition("codes are about files")[2].partition("## The text")[0]
)
CATALOG = Catalog(tools=load(()).schemas())


def whole(example: str) -> str:
    """Returns the file that an example stands for."""
    if example.startswith(("# ", "---")):
        return example
    if example.startswith("## "):
        return f"# T\n\n{example}"
    if example.startswith("- "):
        return f"# T\n\n## Phase: A\n\n### Steps\n{example}"
    return f"# T\n\n```yaml\n{example}```\n\n## Phase: A\n\n### Steps\n- validation: 1 - True\n"


def test_every_code_has_one_example_or_is_said_to_be_about_files() -> None:
    assert sorted([*(code for code, _ in EXAMPLES), *ABOUT_FILES]) == sorted(Code)


@pytest.mark.parametrize(("code", "example"), EXAMPLES, ids=[code for code, _ in EXAMPLES])
def test_an_example_gives_its_diagnostic_and_no_other_error(code: str, example: str) -> None:
    text = example if code == "missing-name" else whole(example)
    checked = check_text(text, catalog=CATALOG)
    found = {error.code for error in checked.diagnostics if error.code == code}
    assert found == {code}, [str(error) for error in checked.diagnostics]
    assert {error.code for error in checked.diagnostics if error.severity is Severity.ERROR} <= {code}
