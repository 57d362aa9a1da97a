"""`lint`: every problem with its place, for people and for programs."""

import json

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


def test_an_unknown_file_exits_with_2(project, capsys):
    assert run(["lint", "nowhere.md"]) == 2
    assert "there is no task" in capsys.readouterr().err


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


def test_many_problems_are_counted(tmp_path):
    assert "… and 70 more" in shown([diagnostic("gone.md", 1, 1)] * 100)
