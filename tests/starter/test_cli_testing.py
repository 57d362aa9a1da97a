"""`test`: what people and programs see of it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from starter.cli.entry import run

GOOD = """tests:
  - name: counts the lines
    inputs: {file: a.txt}
    mocks: {steps: {count: {output: {stdout: "2 a.txt"}}}}
    expect: {outputs: {lines: 2}}
"""
BAD = """  - name: counts too few
    inputs: {file: a.txt}
    mocks:
      steps: {count: {output: {stdout: "1 a.txt"}}}
      tools: {shell: {output: null}}
    expect:
      outputs: {lines: 2}
"""


@pytest.fixture
def tests(project: Path) -> Path:
    file = project / "tasks" / "example.tests.yaml"
    file.write_text(GOOD)
    return file


def test_passing_tests_exit_with_0_and_say_how_many(tests, capsys):
    assert run(["test", "tasks/example.md"]) == 0
    told = capsys.readouterr()
    assert told.out.splitlines()[0] == "tasks/example.tests.yaml"
    assert "✓ counts the lines" in told.out
    assert told.err.startswith("1 passed in ")


def test_a_failing_test_exits_with_1_and_shows_expected_got_and_place(tests, capsys):
    tests.write_text(GOOD + BAD)
    assert run(["test", "example"]) == 1
    told = capsys.readouterr()
    assert "✗ counts too few" in told.out
    assert "outputs lines" in told.out
    assert "example.tests.yaml:12:24" in told.out
    assert "expected: 2\n        got:      1\n" in told.out
    assert "unused: mocks.tools.shell answered nothing" in told.out
    assert "1 passed, 1 failed in" in told.err


def test_json_is_a_list_of_tests_with_their_problems(tests, capsys):
    tests.write_text(GOOD + BAD)
    assert run(["test", "tasks", "-o", "json"]) == 1
    good, bad = json.loads(capsys.readouterr().out)
    assert (good["test"], good["passed"], good["problems"]) == ("counts the lines", True, [])
    assert good["milliseconds"] > 0
    assert (bad["line"], bad["status"], bad["unused"]) == (6, "completed", ["mocks.tools.shell"])
    assert bad["problems"] == [
        {"what": "outputs lines", "expected": "2", "got": "1", "line": 12, "column": 24, "add": []}
    ]


def test_jsonl_is_one_test_per_line(tests, capsys):
    tests.write_text(GOOD + BAD)
    run(["test", "tasks/example.tests.yaml", "-o", "jsonl"])
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line)["passed"] for line in lines] == [True, False]


def test_a_part_of_the_name_chooses_tests(tests, capsys):
    tests.write_text(GOOD + BAD)
    assert run(["test", "example", "-k", "THE LINES"]) == 0
    assert "few" not in capsys.readouterr().out
    assert run(["test", "example", "-k", "nothing"]) == 2
    assert "no test has that in its name" in capsys.readouterr().err


def test_without_a_file_of_tests_one_to_begin_with_is_shown(project, capsys):
    assert run(["test", "tasks/example.md"]) == 2
    told = capsys.readouterr()
    assert "there is no tasks/example.tests.yaml" in told.err
    assert "taskmark test tasks/example.md --init" in told.err
    assert "count:  # tool shell" in told.out


def test_init_writes_it_once_and_never_over_another(project, capsys):
    assert run(["test", "tasks/example.md", "--init"]) == 0
    file = project / "tasks" / "example.tests.yaml"
    written = file.read_text()
    assert "count:  # tool shell" in written
    assert run(["test", "tasks/example.md", "--init"]) == 2
    assert "is there already" in capsys.readouterr().err
    assert file.read_text() == written


def test_init_of_a_folder_is_for_tasks_without_tests(tests, project, capsys):
    (project / "tasks" / "b.md").write_text("# B\n## Phase: A\n### Steps\n- wait: 1 day - W\n")
    assert run(["test", "tasks", "--init"]) == 0
    assert tests.read_text() == GOOD
    assert (project / "tasks" / "b.tests.yaml").is_file()
    assert run(["test", "tasks", "--init"]) == 2
    assert run(["test", "tasks"]) == 0


def test_a_wrong_file_of_tests_shows_the_line_and_exits_with_2(tests, capsys):
    tests.write_text(GOOD.replace("count:", "cuont:"))
    assert run(["test", "example"]) == 2
    told = capsys.readouterr()
    assert "example.tests.yaml:4:21: error[unknown-step]" in told.err
    assert "did you mean `count`?" in told.err
    assert "passed" not in told.err


def test_a_wrong_task_is_told_as_lint_tells_it(tests, project, capsys):
    (project / "tasks" / "example.md").write_text("# Example\n## Phase: A\n### Steps\n- tool: shel - S\n")
    assert run(["test", "example"]) == 2
    assert "error[unknown-tool]" in capsys.readouterr().err


def test_one_wrong_file_does_not_hide_the_others(tests, project, capsys):
    (project / "tasks" / "b.md").write_text("# B\n## Phase: A\n### Steps\n- wait: 1 day - W\n")
    (project / "tasks" / "b.tests.yaml").write_text("tests:\n  - name: waits\n")
    tests.write_text("tests: 1")
    assert run(["test", "tasks"]) == 2
    told = capsys.readouterr()
    assert "✓ waits" in told.out
    assert "example.tests.yaml:1:8" in told.err


def test_a_folder_without_tests_says_what_is_looked_for(project, capsys):
    assert run(["test", "tasks"]) == 2
    assert "x.tests.yaml" in capsys.readouterr().err


def test_marks_that_cannot_be_written_are_words(tests):
    line = [sys.executable, "-m", "starter.cli.entry", "test", "example"]
    environment = {"PYTHONIOENCODING": "ascii", "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(line, env=environment, capture_output=True, text=True, check=True)
    assert "ok counts the lines" in done.stdout


def test_it_makes_no_state_directory_and_starts_nothing(tests, project):
    assert run(["test", "example"]) == 0
    assert not (project / ".taskmark" / "temporal.db").exists()
