"""Errors: one clear message with the next step, and the right exit code."""

import asyncio
import inspect
import subprocess
import sys

import pytest

from starter.cli import control
from starter.cli.control import _fitting
from starter.cli.entry import _exited, run
from starter.cli.failing import explain
from taskmark.errors import (
    Category,
    InvalidExpression,
    InvalidInputs,
    InvalidSettings,
    StepFailed,
    TaskmarkError,
    UnknownExecution,
    Unreachable,
)


class Refused(TaskmarkError):
    """As an execution refuses a decision."""


def refused(reason: str) -> Refused:
    class Cause(Exception):
        cause = type("ApplicationError", (), {"type": reason})()

    error = Refused("no")
    error.__cause__ = Cause()
    return error


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (StepFailed("x"), 1),
        (RuntimeError("x"), 1),
        (InvalidInputs(["x"]), 2),
        (InvalidSettings("x"), 2),
        (InvalidExpression("x"), 2),
        (UnknownExecution("x"), 2),
        (refused("NotWaiting"), 2),
        (Unreachable("x"), 3),
        (StepFailed("x", Category.PERMISSION), 4),
        (refused("NotAllowed"), 4),
        (KeyboardInterrupt(), 130),
        (asyncio.CancelledError(), 130),
    ],
)
def test_each_error_has_its_exit_code(error, code):
    assert explain(error) == code


def test_an_error_says_what_to_do_and_shows_no_traceback(capsys):
    explain(Unreachable("nobody there", hint="start it"))
    shown = capsys.readouterr()
    assert shown.err == "error: nobody there\n  hint: start it\n"
    assert shown.out == ""


def test_debug_shows_where_it_happened(capsys, monkeypatch):
    monkeypatch.setenv("TASKMARK_LOG_LEVEL", "debug")
    try:
        raise ValueError("deep inside")
    except ValueError as error:
        explain(error)
    assert "Traceback" in capsys.readouterr().err


def test_an_unexpected_error_says_how_to_see_more(capsys):
    explain(ValueError("deep inside"))
    shown = capsys.readouterr().err
    assert "ValueError: deep inside" in shown
    assert "TASKMARK_LOG_LEVEL=debug" in shown


def test_escape_sequences_in_messages_do_not_reach_the_terminal(capsys):
    explain(Unreachable("\x1b[2J\x07evil", hint="\x1b]0;title\x07"))
    assert "\x1b" not in capsys.readouterr().err


def test_a_missing_input_ends_before_any_server_is_started(project, capsys):
    assert run(["run", "example"]) == 2
    shown = capsys.readouterr()
    assert "`file` is missing" in shown.err
    assert "--input file=" in shown.err
    assert not (project / ".taskmark" / "server.json").exists()


def test_an_unknown_task_names_the_known_ones(project, capsys):
    assert run(["run", "exmple"]) == 2
    assert "example" in capsys.readouterr().err


def test_an_invalid_file_shows_where(project, capsys):
    (project / "tasks" / "bad.md").write_text(
        "# Bad\n\n## Phase: A\n### Steps\n- tol: shell - x\n  with: {}\n"
    )
    assert run(["start", "bad"]) == 2
    shown = capsys.readouterr().err
    assert "bad.md:5:3: error[unknown-kind]" in shown
    assert "    5 │ - tol: shell - x\n      │   ^^^\n" in shown


def test_a_wrong_setting_is_misuse(project, capsys, monkeypatch):
    monkeypatch.setenv("TASKMARK_WINDOW", "many")
    assert run(["list"]) == 2
    assert "TASKMARK_WINDOW" in capsys.readouterr().err


def test_temporal_that_does_not_answer_is_code_3(project, capsys, monkeypatch):
    monkeypatch.setenv("TEMPORAL_ADDRESS", "127.0.0.1:1")
    assert run(["start", "example", "-i", "file=notes.txt"]) == 3
    assert "TEMPORAL_ADDRESS" in capsys.readouterr().err


def test_a_reader_that_has_seen_enough_is_no_error(project):
    line = f"for i in 1 2 3; do {sys.executable} -m starter.cli.entry tools -o jsonl; done | head -n 1"
    piped = subprocess.run(
        ["bash", "-o", "pipefail", "-c", line], capture_output=True, text=True, check=False
    )
    assert (piped.returncode, piped.stderr) == (0, "")
    assert piped.stdout.count("\n") == 1


def test_the_end_of_completion_keeps_its_code():
    assert _exited(SystemExit(1)) == 1
    assert _exited(SystemExit(None)) == 0


def test_a_phase_and_a_checkpoint_are_not_both_where_to_go_on_from(project, capsys):
    assert run(["retry", "exec-1", "--from", "a", "--checkpoint", "b"]) == 2
    assert "name a phase or a checkpoint, not both" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("words", "value"),
    [
        (["-5"], "-5"),
        (["-0.5", "--by", "ann"], "-0.5"),
        (["--by", "ann", "-.5e3"], "-.5e3"),
        (["--by", "ann", "--", "-x"], "-x"),
    ],
)
def test_a_negative_number_is_an_answer_and_no_option(monkeypatch, project, words, value):
    given = []
    monkeypatch.setattr(
        control, "_decide", lambda _, ask: given.append(inspect.getclosurevars(ask).nonlocals)
    )
    assert run(["answer", "exec-1", "offset", *words]) == 0
    assert given[0]["value"] == value
    assert given[0]["by"] in ("ann", "")
    assert run(["answer", "exec-1", "offset", "-x"]) == 2


@pytest.mark.parametrize(
    ("text", "schema", "value"),
    [
        ("5", {}, "5"),
        ("5", {"type": "string"}, "5"),
        ("5", {"type": "integer"}, 5),
        ("many", {"type": "integer"}, "many"),
        ("eu", {"enum": ["eu", 5]}, "eu"),
        ("5", {"enum": ["eu", 5]}, 5),
        ('["a"]', {"type": "array"}, ["a"]),
    ],
)
def test_an_answer_becomes_what_its_question_wants(text, schema, value):
    assert _fitting(text, schema) == value
