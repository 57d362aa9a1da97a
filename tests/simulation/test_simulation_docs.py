"""What docs/testing-tasks.md shows is true."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from starter.simulation.declarations import WORDS, Decision, Expected, Fails, Mock, Mocks, Surroundings
from starter.simulation.suite import Suite

PAGE = (Path(__file__).parents[2] / "docs" / "testing-tasks.md").read_text()


def block(language: str) -> str:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)[0]


def test_the_tests_in_the_docs_pass(suite: Callable[[str, str], Suite]) -> None:
    task = block("markdown").removeprefix("# Hello")
    outcomes = list(suite(task, block("yaml")).run(lambda _: True))
    assert {outcome.name: outcome.problems for outcome in outcomes if outcome.problems} == {}
    assert [outcome.unused for outcome in outcomes] == [(), (), ()]


def test_every_key_and_word_is_in_the_docs() -> None:
    models = (Surroundings, Mocks, Mock, Fails, Decision, Expected)
    keys = {key for model in models for key in model.model_fields} | set(WORDS)
    assert {key for key in keys if not re.search(rf"`(?:{{)?{key}\b", PAGE)} == set()
