"""`lint`: every problem with its place, for people and for programs."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from starter.cli.entry import run
from starter.cli.failing import show_diagnostics
from taskmark.task.diagnostics import Diagnostic

BAD = """# Bad

```yaml
name: Bad
retry:
  maxAttempt: 3
```

## Phase: A
dependsOn: [B]
### Steps
- note
"""


def shown(diagnostics: list[Diagnostic], width: int = 200) -> str:
    console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: SIM115 # recorded
    show_diagnostics(diagnostics, console)
    return console.export_text()


def diagnostic(file: str, line: int, column: int, **fields: object) -> Diagnostic:
    return Diagnostic.model_validate(
        {"file": file, "line": line, "column": column, "code": "x", "message": "wrong", **fields}
    )


def test_a_clean_file_says_so(project, capsys):
    assert run(["lint", "tasks/example.md"]) == 0
    assert capsys.readouterr().err == "1 file: no problems\n"


def test_every_problem_is_shown_in_one_pass_and_errors_exit_with_2(project, capsys):
    (project / "bad.md").write_text(BAD)
    assert run(["lint", "bad.md"]) == 2
    told = capsys.readouterr()
    assert "bad.md:6:3: error[unknown-key]" in told.out
    assert "bad.md:10:13: error[unknown-phase]" in told.out
    assert "did you mean `maxAttempts`?" in told.out
    assert "2 errors" in told.err


def test_json_is_a_list_with_place_code_and_hint(project, capsys):
    (project / "bad.md").write_text(BAD)
    assert run(["lint", "bad.md", "-o", "json"]) == 2
    rows = json.loads(capsys.readouterr().out)
    assert set(rows[0]) == {"file", "line", "column", "code", "severity", "message", "hint"}
    assert (rows[0]["line"], rows[0]["column"], rows[0]["code"]) == (6, 3, "unknown-key")


def test_jsonl_is_one_problem_per_line(project, capsys):
    (project / "bad.md").write_text(BAD)
    run(["lint", "bad.md", "-o", "jsonl"])
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line)["code"] for line in lines][:2] == ["unknown-key", "unknown-phase"]


def test_warnings_alone_exit_with_0(project, capsys):
    (project / "note.md").write_text("# Note\n## Phase: A\n### Steps\n- Only a note\n")
    assert run(["lint", "note.md"]) == 0
    assert "1 warning" in capsys.readouterr().err


def test_a_folder_means_its_files_and_an_id_its_file(project, capsys):
    assert run(["lint", "tasks"]) == 0
    assert run(["lint", "example"]) == 0
    assert capsys.readouterr().err.count("1 file: no problems") == 2


def test_a_file_that_is_not_there_is_one_problem_among_the_others(project, capsys):
    (project / "bad.md").write_text(BAD)
    assert run(["lint", "nowhere.md", "exampl", "bad.md", "-o", "json"]) == 2
    told = capsys.readouterr()
    assert [(row["file"], row["code"]) for row in json.loads(told.out)][:3] == [
        ("nowhere.md", "unreadable-file"),
        ("exampl", "unknown-task"),
        ("bad.md", "unknown-key"),
    ]
    assert told.err.startswith("3 files: 4 errors, 1 warning")


def test_a_folder_is_searched_below_for_tasks_and_documentation_is_none(project, capsys):
    (project / "docs" / ".hidden").mkdir(parents=True)
    (project / "docs" / "page.md").write_text("# A page\n\n## Steps of a dance\n")
    (project / "docs" / ".hidden" / "bad.md").write_text(BAD)
    assert run(["lint", "docs"]) == 0
    assert capsys.readouterr().err == "docs: no task files here\n"
    (project / "docs" / "deep").mkdir()
    (project / "docs" / "deep" / "bad.md").write_text(BAD)
    assert run(["lint", "docs", "docs/deep/bad.md"]) == 2
    told = capsys.readouterr()
    assert told.out.count("error[unknown-key]") == 1
    assert told.err.startswith("1 file: ")


def test_standard_input_is_a_file_called_stdin(project, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(BAD.encode())))
    assert run(["lint", "-"]) == 2
    told = capsys.readouterr()
    assert "<stdin>:6:3: error[unknown-key] [*] unknown key `maxAttempt`" in told.out
    assert "    6 │   maxAttempt: 3\n      │   ^^^^^^^^^^\n" in told.out


def test_what_can_be_fixed_is_marked_and_counted(project, capsys):
    (project / "bad.md").write_text(BAD)
    run(["lint", "bad.md"])
    told = capsys.readouterr()
    assert told.out.count("[*]") == 1
    assert told.err.endswith("[*] 1 fixable with `--fix`\n")


def test_fix_writes_the_file_and_shows_what_is_left(project, capsys):
    file = project / "bad.md"
    file.write_bytes(b"\xef\xbb\xbf" + BAD.replace("\n", "\r\n").encode())
    file.chmod(0o640)
    assert run(["lint", "--fix", "bad.md"]) == 2
    told = capsys.readouterr()
    assert "unknown-key" not in told.out
    assert "unknown-phase" in told.out
    assert told.err.startswith("fixed 1 problem\n1 file: 1 error")
    fixed = b"\xef\xbb\xbf" + BAD.replace("maxAttempt:", "maxAttempts:").replace("\n", "\r\n").encode()
    assert file.read_bytes() == fixed
    assert file.stat().st_mode & 0o777 == 0o640
    assert [path.name for path in project.iterdir() if path.suffix == ".tmp"] == []


def test_fix_of_standard_input_writes_the_text_to_stdout(project, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(BAD.encode())))
    assert run(["lint", "--fix", "-"]) == 2
    told = capsys.readouterr()
    assert told.out == BAD.replace("maxAttempt:", "maxAttempts:")
    assert "<stdin>:10:13: error[unknown-phase]" in told.err


def test_a_fix_that_would_uncover_another_error_is_left_to_people(project, capsys):
    text = "# T\n## Phase: A\ndepends_on: [B]\n### Steps\n- tool: read-file\n  with: {path: a}\n"
    (project / "bad.md").write_text(text)
    assert run(["lint", "--fix", "bad.md"]) == 2
    assert "[*] 1 not fixed" in capsys.readouterr().err
    assert (project / "bad.md").read_text() == text


def test_a_folder_that_cannot_be_written_is_a_problem_of_the_file(project, capsys, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("starter.linting.rewrite", refuse)
    (project / "bad.md").write_text(BAD)
    assert run(["lint", "--fix", "bad.md"]) == 2
    assert "this file cannot be written: Permission denied" in capsys.readouterr().out


def test_literal_arguments_are_checked_by_the_tool_itself(project, capsys):
    head = "# T\n## Phase: A\n### Steps\n- tool: http\n  with:\n"
    (project / "a.md").write_text(head + '    url: a\n    method: post\n    timeout: "{{ project }}"\n')
    assert run(["lint", "a.md"]) == 0
    (project / "a.md").write_text(head + "    url: [a]\n    method: fetch\n")
    assert run(["lint", "a.md", "-o", "json"]) == 2
    rows = json.loads(capsys.readouterr().out)
    assert [(row["line"], row["column"], row["code"]) for row in rows] == [
        (6, 10, "invalid-argument"),
        (7, 13, "invalid-argument"),
    ]


@pytest.mark.parametrize(("line", "column"), [("ab中文cd", 5), ("\tab", 2), ("x" * 500, 300)])
def test_the_caret_stands_under_the_place(tmp_path, line, column):
    from rich.cells import cell_len

    file = tmp_path / "a.md"
    file.write_text(line)
    _, excerpt, caret = shown([diagnostic(str(file), 1, column)]).splitlines()[:3]
    before = caret[: caret.index("^")]
    assert cell_len(before) == next(
        cell_len(excerpt[:end])
        for end in range(len(excerpt))
        if excerpt[end:].startswith(line.replace("\t", " ")[column - 1 :][:3])
        and cell_len(excerpt[:end]) >= cell_len(before)
    )


def test_escape_sequences_of_a_file_do_not_reach_the_terminal(tmp_path):
    file = tmp_path / "a.md"
    file.write_text("\x1b[2Jhello")
    assert "\x1b" not in shown([diagnostic(str(file), 1, 2, message="\x1b[0m")])


def test_every_problem_of_a_file_is_shown(project, capsys):
    steps = "".join(f"- tool: nothing{number}\n" for number in range(50))
    (project / "many.md").write_text(f"# T\n## Phase: A\n### Steps\n{steps}")
    assert run(["lint", "many.md"]) == 2
    assert capsys.readouterr().out.count("error[unknown-tool]") == 50


def test_many_problems_are_counted(tmp_path):
    assert "… and 70 more" in shown([diagnostic("gone.md", 1, 1)] * 100)


def test_the_schema_for_editors_is_printed_as_it_is_kept(capsys):
    assert run(["schema"]) == 0
    kept = Path(__file__).parents[2] / "docs" / "schema" / "task.schema.json"
    assert capsys.readouterr().out == kept.read_text()


def test_a_terminal_wraps_no_excerpt_so_the_mark_stands_under_its_place(tmp_path):
    (tmp_path / "long.md").write_text("a" * 100 + " here " + "b" * 100)
    console = Console(width=80, record=True, force_terminal=True, file=open("/dev/null", "w"))  # noqa: SIM115 # recorded
    show_diagnostics([diagnostic(str(tmp_path / "long.md"), 1, 102)], console)
    _, excerpt, mark = console.export_text().splitlines()
    assert len(excerpt) <= 80
    assert excerpt[mark.index("^") : mark.rindex("^") + 1] == "here"
