"""`new`: every template runs as it is written."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from starter.cli.entry import run
from starter.creating import TEMPLATES, CannotCreate, files, id_of, title, write
from starter.gateway import TaskClient
from taskmark.settings import Settings
from taskmark.task import check_text

DECIDED = {"approval": "release"}


def contents(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): p.read_text() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
async def client(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[TaskClient]:
    """A project with one task per template, and a server and worker for all of them."""
    root = tmp_path_factory.mktemp("new")
    settings = Settings(
        root=root,
        tasks_dir=root / "tasks",
        agents_dir=root / "agents",
        state_dir=root / ".taskmark",
        grace_seconds=1,
    )
    for template in TEMPLATES:
        write(files(settings, template, f"my-{template}"), force=False)
    async with TaskClient.open(settings, worker=True) as client:
        yield client


@pytest.mark.parametrize("template", TEMPLATES)
async def test_a_task_from_each_template_completes_as_it_is(client: TaskClient, template: str) -> None:
    execution = await client.start(f"my-{template}")
    if template in DECIDED:
        while not (await client.progress(execution)).waiting:
            await asyncio.sleep(0.05)
        await client.approve(execution, DECIDED[template], decision="approved", by="maria", comment="")
    result = await client.wait(execution, timeout=60)
    assert result.status == "completed", result.error
    assert all(value not in (None, [], "") for value in result.outputs.values())
    assert result.outputs


@pytest.mark.parametrize("template", TEMPLATES)
def test_each_template_lints_clean_and_its_own_tests_pass(project, capsys, template):
    assert run(["new", "weekly-report", "--template", template]) == 0
    told = capsys.readouterr()
    assert told.out == "tasks/weekly-report.md\n"
    assert "taskmark run tasks/weekly-report.md" in told.err
    assert run(["lint", "weekly-report"]) == 0
    assert run(["test", "weekly-report"]) == 0
    told = capsys.readouterr()
    assert "no problems" in told.err
    assert "unused" not in told.out
    assert "__" not in "".join(contents(project / "tasks").values())


def test_nothing_is_overwritten_unless_forced(project, capsys):
    assert run(["new", "report"]) == 0
    file = project / "tasks" / "report.md"
    file.write_text("mine")
    (project / "tasks" / "report.tests.yaml").unlink()
    assert run(["new", "report", "-t", "agents"]) == 2
    assert "--force" in capsys.readouterr().err
    assert file.read_text() == "mine"
    assert not (project / "tasks" / "report.tests.yaml").exists(), "nothing else was written either"
    assert run(["new", "report", "-t", "agents", "--force"]) == 0
    assert "reviewers" in file.read_text()


def test_without_a_name_and_a_terminal_the_template_gives_it(project):
    assert run(["new"]) == 0
    assert run(["new", "--template", "fan-out"]) == 0
    assert {"minimal.md", "fan-out.md"} <= {path.name for path in (project / "tasks").iterdir()}


def test_the_list_names_every_template(project, capsys):
    assert run(["new", "--list"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown and about in shown for name, about in TEMPLATES.items())
    assert run(["new", "--list", "-o", "json"]) == 0
    assert [row["name"] for row in json.loads(capsys.readouterr().out)] == list(TEMPLATES)


def test_an_unknown_template_is_a_usage_error_with_the_near_one(project, capsys):
    assert run(["new", "x", "-t", "pipline"]) == 2
    assert "did you mean `pipeline`?" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["../x", "a/b", "a\\b", "x.md", "", "!!!", "a\nb", "x" * 81, "/etc/passwd"])
def test_a_name_that_is_none_is_refused(name):
    with pytest.raises(CannotCreate):
        id_of(name)


@pytest.mark.parametrize(
    "name", ["Käse & Brot: 'neu'", 'say "hi"', "True", "- a", "2026", "日報", "# x", "{{ a }}"]
)
def test_any_name_gives_a_task_that_is_called_so(project, name):
    """Whatever is special in markdown and YAML."""
    [text, *_] = files(Settings(), "minimal", name).values()
    checked = check_text(text)
    assert checked.definition is not None, checked.diagnostics
    assert checked.definition.name == name


def test_a_slug_becomes_a_heading():
    assert title("weekly-report") == "Weekly report"
    assert title("Weekly-Report") == "Weekly-Report"


def test_functions_need_a_folder_that_python_can_import(project, monkeypatch, capsys):
    monkeypatch.setenv("TASKMARK_TASKS_DIR", "my tasks")
    assert run(["new", "x", "-t", "agents"]) == 2
    assert "TASKMARK_TASKS_DIR" in capsys.readouterr().err
    assert run(["new", "x"]) == 0


def test_a_folder_that_cannot_be_written_is_told(project, monkeypatch, capsys):
    monkeypatch.setenv("TASKMARK_TASKS_DIR", "notes.txt")
    assert run(["new", "x"]) == 2
    assert "cannot be written" in capsys.readouterr().err
