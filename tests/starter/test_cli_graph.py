"""`graph`: a task or an execution as a tree, Mermaid text or SVG."""

from xml.etree import ElementTree

import pytest

from starter.cli.entry import run
from taskmark.contracts import ExecutionStatus, StepStatus
from taskmark.records import DefinitionRecord, ExecutionRecord, PhaseRecord
from taskmark.store.schema import open_store
from taskmark.store.writing import apply
from taskmark.task import parse_text

TWO = """# Two
## Phase: First
### Steps
- wait: 1s - Wait
## Phase: Second "quoted" <b>
dependsOn: [First]
### Steps
- approval: go - Go?
  timeout: 1h
"""


@pytest.fixture
def two(project):
    (project / "tasks" / "two.md").write_text(TWO)
    return project


@pytest.fixture
def stored(two):
    """Two executions in the store: one that has ended, one that has not; no server runs."""
    (two / ".taskmark").mkdir()
    engine = open_store(f"sqlite:///{two}/.taskmark/taskmark.db")
    definition = parse_text(TWO)
    whole = definition.model_dump(mode="json")
    apply(engine, [DefinitionRecord(sha256="ab", task_id="two", name="Two", definition=whole)])
    apply(engine, [*executed("exec-1-two", "failed"), *executed("exec-2-two", "running")])
    failed = PhaseRecord(execution_id="exec-1-two", phase="second_quoted_b", status=StepStatus.FAILED)
    apply(engine, [failed])
    lost = ExecutionRecord(execution_id="lost", status=ExecutionStatus.COMPLETED, definition_sha256="cd")
    apply(engine, [lost])
    engine.dispose()
    return two


def executed(name, status):
    state = ExecutionStatus(status)
    yield ExecutionRecord(execution_id=name, task_id="two", status=state, definition_sha256="ab")
    yield PhaseRecord(execution_id=name, phase="first", status=StepStatus.COMPLETED)


def test_a_task_is_a_tree_by_default(two, capsys):
    assert run(["graph", "two"]) == 0
    assert capsys.readouterr().out == (
        "Two\n"
        "├─ Wave 1\n"
        "│  └─ First · 1 step\n"
        "└─ Wave 2\n"
        '   └─ Second "quoted" <b> · 1 step, 1 gate · after First\n'
    )


def test_mermaid_and_svg_go_to_stdout_or_into_a_file_by_its_suffix(two, capsys):
    assert run(["graph", "tasks/two.md", "--format", "mermaid"]) == 0
    text = capsys.readouterr().out
    assert "flowchart LR" in text
    assert run(["graph", "two", "-o", "two.mmd"]) == 0
    assert (two / "two.mmd").read_text() == text
    assert run(["graph", "two", "-o", "two.svg"]) == 0
    assert capsys.readouterr().err.endswith("wrote two.svg\n")
    ElementTree.parse(two / "two.svg")
    assert run(["graph", "two", "-o", "two.txt"]) == 0
    assert (two / "two.txt").read_text().startswith("Two\n├─ Wave 1")


def test_a_file_that_cannot_be_written_is_said(two, capsys):
    assert run(["graph", "two", "-o", "nowhere/two.svg"]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_an_invalid_file_is_refused_with_its_diagnostics(project, capsys):
    (project / "bad.md").write_text("# Bad\n## Phase: A\ndependsOn: [B]\n### Steps\n- note\n")
    assert run(["graph", "bad.md"]) == 2
    assert "error[unknown-phase]" in capsys.readouterr().err


def test_an_execution_that_ended_is_drawn_from_the_store(stored, capsys):
    assert run(["graph", "exec-1"]) == 0
    shown = capsys.readouterr().out
    assert "Two · failed" in shown
    assert "✓ First" in shown
    assert '✗ Second "quoted" <b>' in shown


def test_an_execution_that_has_not_ended_is_drawn_from_the_store_where_no_server_runs(stored, capsys):
    assert run(["graph", "exec-2"]) == 0
    shown = capsys.readouterr().out
    assert "Two · running" in shown
    assert "· Second" in shown


def test_a_server_that_does_not_answer_is_said_and_the_store_stands_in(stored, capsys, monkeypatch):
    monkeypatch.setenv("TEMPORAL_ADDRESS", "127.0.0.1:1")
    assert run(["graph", "exec-2", "--format", "mermaid"]) == 0
    told = capsys.readouterr()
    assert "class p1 completed" in told.out
    assert "the states are those of the history store" in told.err


@pytest.mark.parametrize(("subject", "reason"), [
    ("nothing", "There is no task and no execution"),
    ("exec-", "Several executions"),
    ("lost", "does not have what lost ran"),
])  # fmt: skip
def test_what_cannot_be_drawn_is_explained(stored, capsys, subject, reason):
    assert run(["graph", subject]) == 2
    told = capsys.readouterr().err
    assert reason in told
    assert "hint:" in told


def test_too_many_phases_for_a_picture_are_a_tree(project, capsys):
    phases = "".join(f"## Phase: P{n}\n### Steps\n- wait: 1s - Wait\n" for n in range(501))
    (project / "tasks" / "wide.md").write_text(f"# Wide\n{phases}")
    assert run(["graph", "wide", "--format", "svg"]) == 2
    assert "--format tree" in capsys.readouterr().err
    assert run(["graph", "wide"]) == 0
    assert capsys.readouterr().out.count("\n") == 503


def test_a_terminal_without_unicode_gets_plain_branches(stored, capsys, monkeypatch):
    monkeypatch.setattr("starter.cli.drawing.unicode_fits", lambda stream: False)
    assert run(["graph", "exec-1"]) == 0
    shown = capsys.readouterr().out
    assert "|- Wave 1" in shown
    assert shown.isascii()
