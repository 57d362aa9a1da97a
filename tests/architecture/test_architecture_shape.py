"""The shape that the design promises, checked on the code itself."""

from __future__ import annotations

import ast
import re
import statistics
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("taskmark", "activities", "workflows", "starter")
MANY_LINES = 35
LONG_FUNCTIONS = 30
"""So many functions are longer than 35 lines; the number may fall, not rise."""


def modules() -> list[Path]:
    return [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def lengths() -> Iterator[tuple[str, int]]:
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno is not None
                start = node.body[0].lineno
                if isinstance(node.body[0], ast.Expr) and ast.get_docstring(node):
                    start = node.body[0].end_lineno or start
                yield f"{path.relative_to(ROOT)}:{node.name}", node.end_lineno - start + 1


def test_functions_are_short() -> None:
    """The median function has fewer than ten lines, and few have more than 35."""
    found = dict(lengths())
    assert statistics.median(found.values()) < 10
    long = {name: length for name, length in found.items() if length > MANY_LINES}
    assert len(long) <= LONG_FUNCTIONS, long


def test_no_module_hides_its_owner_behind_a_vague_name() -> None:
    """There are no `utils`, `helpers` or `common`."""
    vague = {"utils", "util", "helpers", "helper", "common", "misc"}
    assert not [path for path in modules() if path.stem in vague or path.parent.name in vague]


def test_packages_that_workflow_instances_import_are_empty() -> None:
    """What they imported, each workflow instance would pay for."""
    for package in ("workflows", "activities", "taskmark/plan"):
        assert not (ROOT / package / "__init__.py").read_text().strip(), package


def test_every_line_of_the_semantics_has_a_test_and_every_test_a_line() -> None:
    """docs/semantics.md and the tests name the same lines."""
    lines = re.findall(r"^- `([A-Z]\d+)` ", (ROOT / "docs/semantics.md").read_text(), re.MULTILINE)
    assert len(lines) == len(set(lines))
    proven = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for marks in re.findall(r"semantics\(([^)]*)\)", path.read_text())
        for name in re.findall(r"[\"']([A-Z]\d+)[\"']", marks)
    }
    assert sorted(set(lines) - proven) == []
    assert sorted(proven - set(lines)) == []


def test_every_exception_to_a_rule_carries_its_reason() -> None:
    """A `noqa` or `type: ignore` says why."""
    pattern = re.compile(r"# (?:noqa: [A-Z0-9, ]+|type: ignore\[[a-z-]+\])(?P<reason>.*)$")
    bare = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in modules()
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if re.search(r"# *(noqa|type: *ignore)", line)
        and not ((found := pattern.search(line)) and len(found["reason"].split()) > 2)
    ]
    assert bare == []
