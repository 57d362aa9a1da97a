"""`fmt`: rewrites, checks or shows, and says in one line what it did."""

import io
import sys
from pathlib import Path

import pytest
from cli_project import taskmark

from starter.cli.entry import run

MESSY = "# T\n## Phase: A\n### Steps\n*   wait:  5s\n"
NEAT = "# T\n\n## Phase: A\n\n### Steps\n- wait: 5s\n"
BAD = "# T\n## Phase: A\n### Steps\n-  tool: nothing\n"


@pytest.fixture
def drafts(project: Path) -> Path:
    folder = project / "drafts"
    folder.mkdir()
    (folder / "messy.md").write_text(MESSY)
    (folder / "neat.md").write_text(NEAT)
    return folder


def given(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


def test_files_are_rewritten_in_place_and_a_second_time_nothing_is(drafts, capsys):
    assert run(["fmt", "drafts"]) == 0
    assert (drafts / "messy.md").read_text() == NEAT
    assert capsys.readouterr() == ("", "1 file reformatted, 1 file left unchanged\n")
    assert run(["fmt", "drafts"]) == 0
    assert capsys.readouterr() == ("", "2 files left unchanged\n")


def test_check_names_the_files_writes_nothing_and_exits_with_1(drafts, capsys):
    assert run(["fmt", "drafts", "--check"]) == 1
    told = capsys.readouterr()
    assert told == ("drafts/messy.md\n", "1 file would be reformatted, 1 file already formatted\n")
    assert (drafts / "messy.md").read_text() == MESSY
    assert run(["fmt", "drafts/neat.md", "--check"]) == 0


def test_diff_is_a_patch_and_writes_nothing(drafts, capsys):
    assert run(["fmt", "drafts/messy.md", "--diff"]) == 1
    patch = capsys.readouterr().out
    assert patch.startswith("--- drafts/messy.md\n+++ drafts/messy.md\n@@ ")
    assert "-*   wait:  5s\n+- wait: 5s\n" in patch
    assert (drafts / "messy.md").read_text() == MESSY


def test_a_patch_says_that_a_file_has_no_last_line_end(drafts, capsys):
    (drafts / "messy.md").write_text(NEAT.removesuffix("\n"))
    run(["fmt", "drafts/messy.md", "--diff"])
    assert "-- wait: 5s\n\\ No newline at end of file\n+- wait: 5s\n" in capsys.readouterr().out


def test_a_patch_for_a_person_has_colours_and_no_escape_sequences_of_the_file(drafts, monkeypatch, capsys):
    (drafts / "messy.md").write_text(MESSY.replace("# T", "# T \x1b[2J"))
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    run(["fmt", "drafts/messy.md", "--diff"])
    shown = capsys.readouterr().out
    assert "\x1b[32m+- wait: 5s" in shown
    assert "\x1b[2J" not in shown


def test_a_file_with_errors_stays_says_why_and_exits_with_2_while_others_are_formatted(drafts, capsys):
    (drafts / "bad.md").write_text(BAD)
    assert run(["fmt", "drafts"]) == 2
    told = capsys.readouterr()
    assert "drafts/bad.md:4:10: error[unknown-tool]" in told.err
    assert "1 file reformatted, 1 file left unchanged, 1 file with errors left as they are" in told.err
    assert told.out == ""
    assert (drafts / "bad.md").read_text() == BAD
    assert (drafts / "messy.md").read_text() == NEAT


def test_a_file_that_cannot_be_written_is_named(drafts, monkeypatch, capsys):
    monkeypatch.setattr("os.access", lambda *_: False)
    assert run(["fmt", "drafts/messy.md"]) == 2
    assert "drafts/messy.md cannot be written: Permission denied" in capsys.readouterr().err


def test_stdin_goes_to_stdout(project, monkeypatch, capsys):
    given(monkeypatch, MESSY.replace("\n", "\r\n").encode())
    assert run(["fmt", "-"]) == 0
    assert capsys.readouterr() == (NEAT.replace("\n", "\r\n"), "")


def test_stdin_can_be_checked_and_compared(project, monkeypatch, capsys):
    given(monkeypatch, MESSY.encode())
    assert run(["fmt", "-", "--check"]) == 1
    assert capsys.readouterr().out == "<stdin>\n"
    given(monkeypatch, MESSY.encode())
    assert run(["fmt", "-", "--diff"]) == 1
    assert capsys.readouterr().out.startswith("--- <stdin>\n")
    given(monkeypatch, NEAT.encode())
    assert run(["fmt", "-", "--check"]) == 0


@pytest.mark.parametrize("data", [BAD.encode(), b"# \xff\n", b""])
def test_stdin_with_errors_gives_nothing_on_stdout(project, monkeypatch, capsys, data):
    given(monkeypatch, data)
    assert run(["fmt", "-"]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert "<stdin>:1:" in told.err or "<stdin>:4:10" in told.err


def test_stdin_stands_alone(project, capsys):
    assert run(["fmt", "-", "example"]) == 2
    assert "the only file" in capsys.readouterr().err


def test_a_folder_without_files_says_so(project, capsys):
    (project / "empty").mkdir()
    assert run(["fmt", "empty"]) == 0
    assert capsys.readouterr().err == "no files to format\n"


def test_a_file_named_twice_is_formatted_once(drafts, capsys):
    assert run(["fmt", "drafts/messy.md", "drafts"]) == 0
    assert capsys.readouterr().err == "1 file reformatted, 1 file left unchanged\n"


def test_in_a_pipe_the_bytes_are_the_files(project):
    ended = taskmark(project, "fmt", "-", input=MESSY, stdin=None)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, NEAT, "")
