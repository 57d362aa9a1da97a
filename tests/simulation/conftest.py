from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from starter.simulation.suite import Outcome, Suite
from taskmark.contracts import Limits
from taskmark.registry import load
from taskmark.task import parse_file

Run = Callable[[str, str], list[Outcome]]


@pytest.fixture
def suite(tmp_path: Path) -> Callable[[str, str], Suite]:
    """Reads a task and its tests, both given as indented text."""

    def read(task: str, tests: str) -> Suite:
        file = tmp_path / "it.md"
        file.write_text("# It\n" + textwrap.dedent(task))
        declared = tmp_path / "it.tests.yaml"
        declared.write_text(textwrap.dedent(tests).lstrip())
        return Suite(declared, parse_file(file), load(()), Limits())

    return read


@pytest.fixture
def run(suite: Callable[[str, str], Suite]) -> Run:
    """Runs a task's tests and returns their outcomes."""
    return lambda task, tests: list(suite(task, tests).run(lambda _name: True))
