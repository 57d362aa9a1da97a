"""The page of the built-in tools has each with all its arguments, and its examples are right."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from taskmark.registry import load
from taskmark.settings import Settings
from taskmark.task import check_text

PAGE = (Path(__file__).parents[3] / "docs" / "tools.md").read_text(encoding="utf-8")
TOOLS = load().tools


@pytest.mark.parametrize("name", TOOLS)
def test_each_tool_has_a_row_with_its_arguments(name: str) -> None:
    row = next(line for line in PAGE.splitlines() if line.startswith(f"| `{name}` |"))
    if name != "sql-write":  # whose row says that they are those of `sql`
        keys = TOOLS[name].parameters.model_json_schema(by_alias=True)["properties"]
        assert [key for key in keys if f"`{key}`" not in row] == []


def test_no_other_tool_has_one() -> None:
    rows = set(re.findall(r"^\| `([a-z-]+)` \|", PAGE, re.MULTILINE))
    assert rows == set(TOOLS)


@pytest.mark.parametrize("steps", re.findall(r"```markdown\n(.*?)```", PAGE, re.DOTALL))
def test_its_examples_have_no_diagnostics(steps: str) -> None:
    inputs = "".join(f"  {name}: string\n" for name in sorted(set(re.findall(r"inputs\.(\w+)", steps))))
    text = f"# Example\n\n```yaml\nrequirements:\n{inputs}```\n\n## Phase: A\n### Steps\n{steps}"
    checked = check_text(text)
    assert [str(one) for one in checked.diagnostics] == []


def test_its_settings_are_settings() -> None:
    blocks = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    text = "\n".join(sorted(blocks, key=lambda block: block.startswith("[")))  # tables end what has none
    settings = Settings(**tomllib.loads(text))
    assert set(settings.sql_databases) == {"shop", "notes"}
    assert set(settings.mcp_servers) == {"notes", "search"}
    assert (set(settings.webhooks), set(settings.chat_channels)) == ({"billing"}, {"team"})
