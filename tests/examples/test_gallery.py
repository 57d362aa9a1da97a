"""The gallery: every example is in it, with a picture that is what `graph` draws of it now."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from starter.cli.entry import app

ROOT = Path(__file__).parents[2]
TASKS = sorted(path.stem for path in (ROOT / "tasks").glob("*.md") if path.stem != "example")


@pytest.mark.parametrize("task", TASKS)
def test_the_picture_of_an_example_is_the_one_that_graph_draws(
    task: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    drawn = CliRunner().invoke(app, ["graph", f"tasks/{task}.md", "--format", "svg"])
    assert drawn.stdout == (ROOT / "docs" / "images" / f"{task}.svg").read_text()


@pytest.mark.parametrize("page", ["README.md", "docs/examples.md"])
def test_every_example_is_in_the_gallery(page: str) -> None:
    shown = re.findall(r"\((?:\.\./)?tasks/([a-z-]+)\.md\)", (ROOT / page).read_text())
    assert sorted(set(shown)) == TASKS
