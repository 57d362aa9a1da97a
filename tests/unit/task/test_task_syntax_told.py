"""YAML that cannot be read is told in the words of those who write it, and its consequences are not."""

import pytest

from taskmark.task import check_text
from taskmark.task.catalog import Catalog

HEAD = "# T\n## Phase: A\n### Steps\n- tool: shell - y\n"
CATALOG = Catalog(tools={"shell": {"properties": {"command": {}}, "required": ["command"]}})


@pytest.mark.parametrize(
    ("body", "place", "message", "hint"),
    [
        ("   id: a\n  with: {command: [ls]}\n", (6, 3), "not indented as those above", "same column"),
        ("  id: a\n    with: {command: [ls]}\n", (6, 9), "not indented as those above", "same column"),
        ("  with:\n      command: [ls]\n    env: {}\n", (7, 5), "not indented as those", "same column"),
        ("  id: a: b\n", (5, 8), "mapping values are not allowed", "contains `: `"),
        ("  with:\n    command: [ls\n  id: x\n", (7, 5), "this list does not end", "close it with `]`"),
        ("  with: {command: [ls]\n", (5, 9), "this mapping does not end", "close it with `}`"),
        ('  with:\n    command: "ls\n  id: x\n', (6, 14), "this text does not end", "the quote"),
        ("  id: x\n  - foo\n", (6, 3), "a list item cannot stand here", "under a key"),
        ("  id: @x\n", (5, 7), "cannot start any token", "put quotes"),
        ("\twith: {command: [ls]}\n", (5, 1), "a tab cannot indent YAML", "indent with spaces"),
    ],
)
def test_one_cause_is_one_diagnostic_that_says_what_to_do(body, place, message, hint) -> None:
    [found] = check_text(HEAD + body, catalog=CATALOG).diagnostics
    assert (found.line, found.column) == place
    assert message in found.message
    assert hint in (found.hint or "")


def test_a_mapping_that_can_be_read_must_give_what_the_tool_needs() -> None:
    found = check_text(f"{HEAD}  id: a\n", catalog=CATALOG).diagnostics
    assert [one.code for one in found] == ["missing-argument"]


@pytest.mark.parametrize(("value", "hinted"), [("{{ inputs.x }}", True), ("{a: b}", False)])
def test_quotes_are_advised_for_an_expression_and_not_for_any_mapping(value, hinted) -> None:
    found = check_text(f"{HEAD}  if: {value}\n  with: {{command: [ls]}}\n", catalog=CATALOG).diagnostics
    [wrong] = [one for one in found if one.message == "expected a text, found a mapping"]
    assert bool(wrong.hint) is hinted
