"""`plan`: what a run would do, without a server and without leaving a trace."""

import json
import re
from pathlib import Path

import pytest
from cli_project import taskmark
from rich.console import Console

from starter.cli.entry import run
from taskmark.contracts import ExecutionStatus, StepStatus
from taskmark.records import AttemptRecord, ExecutionRecord
from taskmark.store.schema import open_store
from taskmark.store.writing import apply

SHIP = """# Ship
```yaml
requirements:
  env: string
  hosts: list
```
## Phase: Build
### Steps
- tool: shell - Build for {{ inputs.env }}
  with: {command: [make, "{{ inputs.env }}"]}
- tool: broken-tool - Not to be used
  critical: false
## Phase: Release
dependsOn: [Build]
if: inputs.env == "prod"
### Steps
- approval: release - Release to {{ inputs.env }}?
  timeout: 2 days
  approvers: [ann]
- tool: write-file - On each host
  forEach: inputs.hosts
  with: {path: "{{ item }}", content: x}
"""
PLUGIN = """
from pydantic import BaseModel
from taskmark.ports import Health, Tool
from taskmark.registry import tool

class Nothing(BaseModel):
    pass

@tool
class Broken(Tool[Nothing]):
    name = "broken-tool"
    parameters = Nothing
    effects = False

    async def execute(self, parameters, context):
        return None

    async def health_check(self):
        return Health(healthy=False, message="the licence has run out", hint="renew it")
"""


@pytest.fixture
def ship(project, monkeypatch):
    (project / "tasks" / "ship.md").write_text(SHIP)
    (project / "ship_plugin.py").write_text(PLUGIN)
    monkeypatch.setenv("TASKMARK_PLUGINS", "ship_plugin")
    return project


def document(capsys, *words):
    assert run(["plan", *words, "-o", "json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_plan_leaves_nothing_behind_and_needs_no_server(project, capsys, monkeypatch):
    monkeypatch.setenv("TEMPORAL_ADDRESS", "127.0.0.1:1")
    before = sorted(project.rglob("*"))
    assert run(["plan", "example", "-i", "file=notes.txt"]) == 0
    assert sorted(project.rglob("*")) == before
    assert capsys.readouterr().err == ""


def test_people_see_waves_calls_gates_and_what_is_in_the_way(ship, capsys):
    assert run(["plan", "ship", "-i", "env=prod", "-i", 'hosts=["a", "b"]']) == 0
    shown = capsys.readouterr().out
    for part in (
        "Ship · 2 phases in 2 waves · 4 steps",
        "critical path  Build → Release",
        "Wave 2",
        'command: ["make", "prod"]',
        "for 2 items",
        "approval: release - Release to prod? · decided by ann · for 2 d 0 h, then fails",
        "✗ tool broken-tool cannot be used: the licence has run out; "
        "it is used by step build_tool_2 of Build, which has no fallback",
        "hint for broken-tool: renew it",
    ):
        assert part in shown


def test_an_agent_without_a_key_is_in_the_way(project, capsys, monkeypatch):
    """What to set is said before anything starts."""
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    (project / "agents").mkdir(exist_ok=True)
    (project / "agents" / "llm.md").write_text("---\nmodel: haiku\n---\nBe.\n")
    (project / "tasks" / "ask.md").write_text("# Ask\n\n## Phase: A\n### Steps\n- agent: llm - Well?\n")
    assert document(capsys, "ask")["problems"] == [
        "agent llm cannot be asked: anthropic:claude-haiku-5-5 needs a key, and ANTHROPIC_API_KEY is not set"
        "; set ANTHROPIC_API_KEY for the workers; it is used by step a_agent_1 of A, which has no fallback"
    ]
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-of-mine")
    assert document(capsys, "ask")["problems"] == []
    assert run(["plan", "ask"]) == 0
    assert "sk-of-mine" not in capsys.readouterr().out


def test_missing_inputs_are_named_and_leave_the_rest_as_written(ship, capsys):
    plan = document(capsys, "ship", "-i", "env=dev")
    assert plan["missing_inputs"] == ["hosts"]
    assert plan["phases"][1]["decision"] == "skipped"
    assert plan["gates"] == []
    assert run(["plan", "ship"]) == 0
    assert "input env is missing" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words", [["-i", "envi=prod"], ["-i", "hosts=3"], ["-i", "env"], ["--inputs", "gone.json"]]
)
def test_wrong_inputs_are_refused_as_run_refuses_them(ship, capsys, words):
    assert run(["plan", "ship", *words]) == 2
    assert "error: " in capsys.readouterr().err


def test_an_invalid_file_and_an_unknown_task_are_refused_as_run_refuses_them(project, capsys):
    (project / "bad.md").write_text("# Bad\n## Phase: A\ndependsOn: [B]\n### Steps\n- note\n")
    assert run(["plan", "bad.md"]) == 2
    assert "error[unknown-phase]" in capsys.readouterr().err
    assert run(["plan", "nothing"]) == 2


def test_earlier_runs_are_the_basis_once_there_are_some(project, capsys):
    (project / ".taskmark").mkdir()
    engine = open_store(f"sqlite:///{project}/.taskmark/taskmark.db")
    apply(engine, [record for n in range(3) for record in ran(f"exec-{n}", 40.0 + n)])
    engine.dispose()
    plan = document(capsys, "example", "-i", "file=notes.txt")
    assert (plan["basis"], plan["samples"], plan["expected_seconds"]) == (
        "history",
        3,
        pytest.approx(41, abs=0.1),
    )
    run(["plan", "example"])
    assert "3 earlier runs of this task" in capsys.readouterr().out


def ran(id, seconds):
    from datetime import UTC, datetime, timedelta

    start = datetime(2026, 1, 1, tzinfo=UTC)
    times = {"started_at": start, "finished_at": start + timedelta(seconds=seconds)}
    yield ExecutionRecord(execution_id=id, task_id="example", status=ExecutionStatus.COMPLETED, **times)
    yield AttemptRecord(
        execution_id=id, phase="measure", step="count", kind="tool", status=StepStatus.COMPLETED, **times
    )


def test_a_store_that_does_not_answer_is_left_out(project, capsys, monkeypatch):
    (project / "history.db").write_text("this is no database, and long enough to be taken for one" * 100)
    monkeypatch.setenv("TASKMARK_DATABASE_URL", f"sqlite:///{project}/history.db")
    assert run(["plan", "example"]) == 0
    told = capsys.readouterr()
    assert "earlier runs are left out" in told.err
    assert "no earlier runs" in told.out


def test_large_phases_are_shortened_and_shown_whole_on_request(project, capsys):
    steps = "".join(f'- tool: read-file - Read {n}\n  with: {{path: "f{n}"}}\n' for n in range(50))
    (project / "tasks" / "large.md").write_text(f"# Large\n## Phase: Read\n### Steps\n{steps}")
    run(["plan", "large"])
    short = capsys.readouterr().out
    assert "… 40 more steps (40 tool read-file); --all shows them" in short
    assert "path: f9\n" in short
    assert "path: f10" not in short
    run(["plan", "large", "--all"])
    assert "path: f49" in capsys.readouterr().out


def test_many_phases_are_shortened_too(project, capsys):
    phases = "".join(f"## Phase: P{n}\n### Steps\n- wait: 1s - Wait\n" for n in range(60))
    (project / "tasks" / "wide.md").write_text(f"# Wide\n{phases}")
    run(["plan", "wide"])
    assert "… 25 more phases; --all shows them" in capsys.readouterr().out


def test_a_terminal_of_eighty_columns_is_never_exceeded(ship, capsys):
    from starter.cli.plan_view import show_plan
    from taskmark.plan.previewing import preview
    from taskmark.task import parse_text

    long = SHIP.replace("Build for", "Build " + "and build again " * 20).replace("broken-tool", "shell")
    definition = parse_text(long.replace("critical: false", "with: {command: [x]}\n  critical: false"))
    console = Console(width=80, record=True, file=open("/dev/null", "w"))  # noqa: SIM115 # recorded
    show_plan(
        preview(definition, {"env": "e" * 500}, ["hosts"]), definition.requirements, console, every=True
    )
    assert max(map(len, console.export_text().split("\n"))) <= 80


def test_no_escape_sequence_reaches_a_pipe(project):
    ended = taskmark(project, "plan", "example", "-i", "file=\x1b[31mred\x1b]0;title\x07")
    assert ended.returncode == 0
    assert "�[31mred" in ended.stdout
    assert "\x1b" not in ended.stdout + ended.stderr


def test_what_the_docs_show_is_what_the_commands_write(project, capsys):
    """docs/planning.md: the task in it, and what each command writes about it."""
    page = (Path(__file__).parents[2] / "docs" / "planning.md").read_text()
    (task,) = re.findall(r"^````markdown\n(.*?)^````", page, re.MULTILINE | re.DOTALL)
    (project / "tasks" / "release.md").write_text(task)
    shown = re.findall(r"^```sh\ntaskmark (.*?)\n```\n\n```text\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert len(shown) == 2
    for words, text in shown:
        assert run(words.split()) == 0
        assert capsys.readouterr().out == text


def test_a_step_that_chooses_its_agent_shows_among_whom(tmp_path: Path) -> None:
    (tmp_path / "agents").mkdir()
    for name in ("ann", "bob"):
        (tmp_path / "agents" / f"{name}.md").write_text(f"---\nname: {name}\n---\nBe {name}.\n")
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "ask.md").write_text(
        "# Ask\n## Phase: A\n### Agents\n- ann\n- bob\n### Steps\n"
        '- agent: "{{ item }}" - Well?\n  forEach: ["bob", "bob"]\n'
        "- agent: \"{{ 'a' ~ execution.id }}\" - Well?\n"
    )
    shown = " ".join(taskmark(tmp_path, "plan", "ask").stdout.split())
    assert "? agent: {{ item }} - Well? → among bob · for 2 items" in shown
    assert "? agent: {{ 'a' ~ execution.id }} - Well? → among ann, bob" in shown
    assert "3 calls to 2 agents" in shown


ASKS = "# Ask\n## Phase: A\n### Steps\n- agent: coder - Do it\n"


@pytest.fixture
def asks(project, monkeypatch):
    """A task whose agent is a program that is not there."""
    (project / "tasks" / "ask.md").write_text(ASKS)
    (project / "agents").mkdir()
    (project / "agents" / "coder.md").write_text("---\nname: Coder\nmodel: cli:claude\n---\nCode.\n")
    monkeypatch.setenv("TASKMARK_CLI_AGENTS", '{"claude": {"program": "no-such-claude"}}')
    return project


def test_an_agent_whose_program_is_not_there_is_in_the_way(asks, capsys):
    plan = document(capsys, "ask")
    (problem,) = plan["problems"]
    assert problem == (
        "agent coder cannot be asked: no-such-claude: command not found; "
        "npm install -g @anthropic-ai/claude-code, on every worker; "
        "it is used by step a_agent_1 of A, which has no fallback"
    )
    assert plan["agents"][0]["model"] == "cli:claude"


def test_a_start_warns_of_an_agent_whose_program_is_not_there(asks):
    """It begins all the same: the program may come, and other phases may not need it."""
    started = taskmark(asks, "start", "ask")
    assert started.returncode == 0
    assert "warning: agent coder cannot be asked: no-such-claude: command not found" in started.stderr
    assert "hint: npm install -g @anthropic-ai/claude-code" in started.stderr
