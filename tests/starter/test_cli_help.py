"""Help: at once, complete, with examples."""

import subprocess
import sys

import pytest
from typer.main import get_command, get_group

from starter.cli.entry import app, db, eta, record, run, schedule

HEAVY = (
    "temporalio",
    "sqlmodel",
    "sqlalchemy",
    "alembic",
    "rich",
    "taskmark.settings",
    "jinja2",
    "httpx2",
    "psutil",
)
LOADED = """
import sys
from starter.cli.entry import run
code = run({words!r})
print([name for name in {heavy!r} if name in sys.modules], code, file=sys.stderr)
"""
COMMANDS = [[name] for name in get_command(app).commands] + [
    [group, name]
    for group, typed in (("db", db), ("eta", eta), ("record", record), ("schedule", schedule))
    for name in get_group(typed).commands
]


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["run", "--help"]])
def test_help_and_version_load_nothing_heavy(words):
    script = LOADED.format(words=words, heavy=HEAVY)
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ended.stderr.strip() == "[] 0"


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_explains_itself_with_an_example_of_itself(command, capsys):
    assert run([*command, "--help"]) == 0
    shown = capsys.readouterr().out
    assert "Example" in shown
    assert f"  taskmark {' '.join(command)}" in shown


def test_help_lists_every_command_in_a_group(capsys):
    run(["--help"])
    shown = capsys.readouterr().out
    assert all(f"\n  {command[0]} " in shown for command in COMMANDS)
    assert "\nDecide:\n" in shown


def test_descriptions_are_not_cut_in_eighty_columns(capsys):
    run(["--help"])
    assert "..." not in capsys.readouterr().out.partition("Options:")[2]


def test_no_command_or_a_wrong_one_is_misuse_and_says_what_was_meant(capsys):
    assert run([]) == 2
    assert run(["pauze", "x"]) == 2
    assert "Did you mean 'pause'" in capsys.readouterr().err


def test_the_version_is_that_of_the_package(capsys):
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("taskmark 0.")
