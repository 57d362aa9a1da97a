"""Words that name files mean the same to every command."""

import os

import pytest

from starter.cli.entry import run
from tests.starter.cli_project import GATE

SEVERAL = ("lint", "fmt", "test")


@pytest.fixture
def nested(project):
    """A folder with documentation, and a task with tests deep below it, not in the canonical form."""
    deep = project / "work" / "deep"
    deep.mkdir(parents=True)
    (project / "work" / "README.md").write_text("# About\n\n*  A list\n")
    (deep / "gate.md").write_text(GATE)
    (deep / "gate.tests.yaml").write_text(
        "tests:\n  - name: both\n    decisions: {release: approve, region: {answer: eu}}\n"
    )
    return project / "work"


@pytest.mark.parametrize("command", SEVERAL)
def test_a_folder_means_the_tasks_below_it_and_no_documentation(nested, command, capsys):
    assert run([command, "work"]) == 0
    told = capsys.readouterr()
    assert "1 file" in told.err or "1 passed" in told.err
    assert (nested / "README.md").read_text() == "# About\n\n*  A list\n"


def test_tests_to_begin_with_are_written_for_tasks_only(nested, capsys):
    (nested / "deep" / "gate.tests.yaml").unlink()
    assert run(["test", "work", "--init"]) == 0
    assert [path.name for path in nested.rglob("*.tests.yaml")] == ["gate.tests.yaml"]


@pytest.mark.parametrize("command", SEVERAL)
def test_a_word_that_means_nothing_does_not_hide_the_others(nested, command, capsys):
    assert run([command, "nowhere.md", "work"]) == 2
    told = capsys.readouterr()
    assert "nowhere.md:1:1: error[unreadable-file] there is no such file" in told.out + told.err
    assert "1 file reformatted" in told.err or "1 passed" in told.err or "2 files: 1 error" in told.err


@pytest.mark.parametrize("command", [*SEVERAL, "plan", "run"])
@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("nowhere.md", "error[unreadable-file] there is no such file"),
        ("work/nowhere", "error[unreadable-file] there is no such file"),
        ("exampl", "error[unknown-task] there is no task “exampl”"),
        ("", "error[unknown-task] there is no task “”"),
    ],
)
def test_what_is_not_there_is_told_alike(project, command, word, said, capsys):
    assert run([command, word]) == 2
    told = capsys.readouterr()
    assert said in told.out + told.err


@pytest.mark.parametrize("command", ["plan", "run"])
def test_a_folder_is_no_task(project, command, capsys):
    assert run([command, "tasks"]) == 2
    assert "tasks:1:1: error[unreadable-file] this is a folder" in capsys.readouterr().err


@pytest.mark.parametrize("command", SEVERAL)
def test_a_pipe_is_not_waited_for(nested, command, capsys):
    os.mkfifo(nested / "pipe.md")
    assert run([command, "work"]) == 0
    assert run([command, "work/pipe.md"]) == 2


@pytest.mark.parametrize("command", SEVERAL)
def test_a_file_here_is_meant_before_one_under_the_root(project, command, capsys, monkeypatch):
    here = project / "here"
    here.mkdir()
    (here / "hello.md").write_text(GATE)
    (project / "hello.md").write_text("# Nothing\n")
    (here / "hello.tests.yaml").write_text(
        "tests:\n  - name: both\n    decisions: {release: approve, region: {answer: eu}}\n"
    )
    monkeypatch.setenv("TASKMARK_ROOT", str(project))
    monkeypatch.chdir(here)
    assert run([command, "hello.md"]) == 0
    assert "no-phases" not in capsys.readouterr().out


def test_an_id_is_shown_as_the_file_that_a_person_would_name(project, capsys):
    (project / "tasks" / "bad.md").write_text("# Bad\n## Phase: A\n### Steps\n- tool: shel - List\n")
    assert run(["lint", "bad"]) == 2
    assert capsys.readouterr().out.startswith("tasks/bad.md:4:9: error[unknown-tool]")
