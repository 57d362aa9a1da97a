"""Workflows of a type share their modules, so what decides keeps nothing in globals."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("workflows", "taskmark/plan")
MODULES = sorted(str(path.relative_to(ROOT)) for part in FOLDERS for path in (ROOT / part).rglob("*.py"))
ALLOWED = {"_waiting", "__all__"}
"""The first is keyed by the workflow, and gone with it (workflows/recording.py)."""


def variables(tree: ast.Module) -> set[str]:
    """Returns the names that a module's body gives a value, except constants and types."""
    names = set()
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return {name for name in names if not name.strip("_")[:1].isupper()} - ALLOWED


@pytest.mark.parametrize("module", MODULES)
def test_a_module_that_decides_has_no_variables(module: str) -> None:
    tree = ast.parse((ROOT / module).read_text())
    assert not variables(tree)
    nodes = list(ast.walk(tree))
    assert not [node for node in nodes if isinstance(node, ast.Global)]
    assert not [node for node in nodes if isinstance(node, ast.Name) and node.id in ("cache", "lru_cache")]
