"""What the README and the docs show is true."""

from __future__ import annotations

import re
from pathlib import Path

from taskmark.settings import Settings, variable
from taskmark.task import check_text

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def test_the_task_in_the_readme_has_no_problem() -> None:
    """A newcomer's first file lints clean."""
    for text in blocks(README, "markdown"):
        assert check_text(text, file="hello.md").diagnostics == ()


def test_the_python_in_the_readme_compiles() -> None:
    """Its names exist."""
    from starter import TaskClient

    for text in blocks(README, "python"):
        compile(text, "README.md", "exec")
        for name in re.findall(r"client\.(\w+)\(", text):
            assert hasattr(TaskClient, name), name


def test_every_command_in_the_docs_exists() -> None:
    """`taskmark <command>` in README and docs names a command of ours."""
    from starter.cli.entry import app

    texts = [README, *(path.read_text() for path in (ROOT / "docs").glob("*.md"))]
    named = {name for text in texts for name in re.findall(r"(?:`|^)taskmark ([a-z]+)\b", text, re.MULTILINE)}
    known = {command.name for command in app.registered_commands}
    known |= {group.name for group in app.registered_groups}
    assert named - known == set()


def test_every_setting_in_the_docs_exists() -> None:
    """`TASKMARK_…` in README and docs is a setting, given to steps, or a secret that tasks name."""
    from taskmark.settings import GIVEN_TO_STEPS, SECRET_PREFIX

    known = {variable(name) for name in Settings.model_fields} | GIVEN_TO_STEPS
    texts = [README, *(path.read_text() for path in (ROOT / "docs").glob("*.md"))]
    named = {name for text in texts for name in re.findall(r"\bTASKMARK_[A-Z_]+[A-Z]\b", text)}
    named = {name for name in named if not name.startswith(SECRET_PREFIX)}
    assert named - known - {"TASKMARK_ATTEMPT"} == set()


def test_every_linked_file_exists() -> None:
    """No dead link in README and docs."""
    for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#:]+)\)", path.read_text()):
            assert (path.parent / target).exists(), f"{path.name}: {target}"
