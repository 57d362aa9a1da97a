"""Agents' files as people keep them for Claude Code, and what language models need of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from taskmark.errors import InvalidTask
from taskmark.task import check_text, parse_text, render, render_agent
from taskmark.task.agent_files import load_agent, parse_agent
from taskmark.task.agent_tools import tool_name, unknown_tools
from taskmark.task.catalog import Catalog
from taskmark.task.model import Agent
from taskmark.task.source_text import Findings

HEAD = "# T\n\n## Phase: A\n### Steps\n"


def read(front: str, prompt: str = "Be.") -> Agent:
    """Returns the agent of a file's text, which must be right."""
    findings = Findings("a.md")
    agent = parse_agent(f"---\n{front}\n---\n{prompt}\n", "a", findings)
    assert not findings.diagnostics
    return agent


def catalog(folder: Path, **agents: str) -> Catalog:
    """Returns a catalog of agents by their front matter."""
    (folder / "agents").mkdir(exist_ok=True)
    for name, front in agents.items():
        (folder / "agents" / f"{name}.md").write_text(f"---\n{front}\n---\nBe.\n")
    return Catalog.for_folders(folder, folder, folder / "agents")


@pytest.mark.parametrize(
    ("front", "tools"),
    [
        ("tools: Read, Grep", ("Read", "Grep")),
        ("tools: [Read, Grep]", ("Read", "Grep")),
        ("tools:\n  - Read\n  - Grep", ("Read", "Grep")),
        ("tools: Read", ("Read",)),
        ("tools: Bash(git log:*), Read", ("Bash(git log:*)", "Read")),
        ("tools:", ()),
        ("name: a", ()),
    ],
)
def test_tools_are_a_list_or_names_with_commas(front: str, tools: tuple[str, ...]) -> None:
    assert read(front).tools == tools


@pytest.mark.parametrize("model", ["sonnet", "opus", "haiku", "inherit", "anthropic:claude-haiku-4-5"])
def test_models_are_named_as_such_files_name_them(model: str) -> None:
    assert read(f"model: {model}").model == model
    assert read(f"model: {model}").is_language_model


@pytest.mark.parametrize("model", ["python:a:b", "command:claude -p", "cli:claude"])
def test_programs_and_functions_are_no_language_models(model: str) -> None:
    assert not read(f"model: {model}").is_language_model


@pytest.mark.parametrize(
    "front",
    [
        "name: A\ndescription: Use it when; often\nmodel: opus\ntools: Read, Grep\ncolor: red",
        "memory: project\nhooks: {stop: [a, {b: 1}]}\nskills: [x, y]\npermissionMode: plan",
        'odd key: 1\n"colon: key": [null, true, 1.5]\ndescription: "line\\nline: ü"',
        "schema: {type: object, required: [a]}\ntimeout: 5m\nfallback: b",
        "",
    ],
)
def test_rendering_an_agent_gives_it_back_with_all_that_is_not_ours(front: str) -> None:
    """And the prompt, whatever is in it."""
    agent = read(front, "Do.\n\n---\nname: nobody\n---\n# Not a heading of ours")
    findings = Findings("a.md")
    assert parse_agent(render_agent(agent), "a", findings) == agent
    assert not findings.diagnostics


def test_what_says_how_it_is_asked_is_kept_and_read() -> None:
    agent = read("schema: {type: integer}\ntimeout: 5m\nfallback: b\nmaxTurns: 3")
    assert (agent.answer_schema, agent.timeout, agent.fallback) == ({"type": "integer"}, "5m", "b")
    assert agent.metadata["maxTurns"] == 3
    plain = read("name: a")
    assert (plain.answer_schema, plain.timeout, plain.fallback) == (None, None, None)


@pytest.mark.parametrize(
    ("front", "line"),
    [
        ("timeout: soon", 2),
        ("name: a\ntimeout: -3s", 3),
        ("maxTurns: 0", 2),
        ("maxTokens: many", 2),
        ("schema: 3", 2),
        ("schema: {type: strin}", 2),
        ("fallback: [a]", 2),
    ],
)
def test_what_cannot_be_is_told_at_its_place(front: str, line: int, tmp_path: Path) -> None:
    catalog(tmp_path, a=front)
    with pytest.raises(InvalidTask) as caught:
        load_agent(tmp_path / "agents", "a")
    assert [diagnostic.line for diagnostic in caught.value.diagnostics] == [line]


@pytest.mark.parametrize(
    ("written", "ours"),
    [
        ("Read", "read-file"),
        ("Write", "write-file"),
        ("Edit", "edit-file"),
        ("Glob", "list-files"),
        ("Grep", "search-files"),
        ("Bash", "shell"),
        ("WebFetch", "http"),
        ("WebSearch", "web-search"),
        ("AskUserQuestion", "ask-person"),
        (" read-file ", "read-file"),
        ("read", "read"),
        ("Bash(ls:*)", "Bash(ls:*)"),
    ],
)
def test_tools_of_claude_code_are_ours_by_another_name(written: str, ours: str) -> None:
    """Those that we have; a limit in brackets is none that we could keep."""
    assert tool_name(written) == ours


def test_tools_that_there_are_not_are_named() -> None:
    assert unknown_tools(("Read", "NotebookEdit", "Bash(a)", "ask-person"), ("read-file", "shell")) == (
        "NotebookEdit",
        "Bash(a)",
    )


def test_the_linter_warns_of_tools_that_a_model_will_not_have(tmp_path: Path) -> None:
    """Not of those of other programs, which have their own."""
    found = catalog(tmp_path, llm="tools: Read, NotebookEdit", cli="model: cli:claude\ntools: NotebookRead")
    checked = check_text(f"{HEAD}- agent: llm - x\n- agent: llm - y\n- agent: cli - z\n", catalog=found)
    assert [(d.line, d.code, d.severity) for d in checked.diagnostics] == [(5, "not-in-effect", "warning")]
    assert "NotebookEdit" in checked.diagnostics[0].message


def allowing(tmp_path: Path, steps: str, metadata: str = "") -> list[tuple[int, str]]:
    """Returns lines and codes of what is said of a task with a program that may do much, and others."""
    much = "tools: Read, Write, Bash(git log *), NotebookEdit"
    found = catalog(
        tmp_path,
        cli=f"model: cli:claude\n{much}",
        reads="model: cli:claude\ntools: Read",
        llm="tools: Write",
        back="model: python:a:b\nfallback: cli",
    )
    head = f"# T\n```yaml\n{metadata or 'name: T'}\n```\n## Phase: A\n"
    return [(d.line, d.code) for d in check_text(head + steps, catalog=found).diagnostics]


ALL = "[shell, write-file, edit-file]"


@pytest.mark.parametrize(
    ("steps", "line"),
    [
        ("### Steps\n- agent: cli - x\n", 7),
        ("### Steps\n- agent: cli - x\n  allow: [shell, edit-file]\n", 7),
        ("### Steps\n- agent: back - x\n", 7),
        ("### Steps\n- agent: reads - x\n  fallback: {agent: cli}\n", 7),
        ("### Steps\n- x\n### Agents\n- cli\n- reads\n", 7),
        ('### Steps\n- agent: "{{ item }}" - x\n  forEach: [reads]\n### Agents\n- cli\n- reads\n', 7),
    ],
)
def test_the_linter_warns_of_tools_of_programs_that_nothing_allows(
    tmp_path: Path, steps: str, line: int
) -> None:
    assert allowing(tmp_path, steps) == [(line, "tool-not-allowed")]


@pytest.mark.parametrize(
    ("steps", "metadata"),
    [
        (f"### Steps\n- agent: cli - x\n  allow: {ALL}\n", ""),
        ("### Steps\n- agent: cli - x\n", f"allow: {ALL}"),
        ("### Steps\n- agent: cli - x\n  allow: [Write, 'Bash(git log *)']\n", "allow: NotebookEdit"),
        ("### Steps\n- agent: llm - x\n- agent: reads - y\n", ""),
        (f"### Steps\n- x\n  allow: {ALL}\n### Agents\n- cli\n", ""),
    ],
)
def test_what_is_allowed_by_either_name_is_not_mentioned(tmp_path: Path, steps: str, metadata: str) -> None:
    """Language models ask a person."""
    assert allowing(tmp_path, steps, metadata) == []


def test_a_tool_that_is_allowed_and_that_no_program_lists_has_to_exist(tmp_path: Path) -> None:
    assert allowing(tmp_path, "### Steps\n- agent: reads - x\n  allow: [Task]\n") == [(8, "unknown-tool")]


def test_the_agent_that_another_falls_back_on_is_frozen_with_it(tmp_path: Path) -> None:
    """Once each, also where they name each other."""
    found = catalog(tmp_path, one="fallback: two", two="fallback: one")
    definition = parse_text(f"{HEAD}- agent: one - x\n", catalog=found)
    assert set(definition.agents) == {"one", "two"}


def test_a_fallback_that_there_is_not_is_an_error(tmp_path: Path) -> None:
    checked = check_text(f"{HEAD}- agent: one - x\n", catalog=catalog(tmp_path, one="fallback: gone"))
    assert [(d.line, d.code) for d in checked.diagnostics] == [(5, "unknown-agent")]


# --- what a step says -----------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["agent: one - x", "Look after the garden"])
def test_a_step_that_asks_agents_takes_a_schema_and_what_it_allows(step: str, tmp_path: Path) -> None:
    """And renders them back."""
    text = f"{HEAD}- {step}\n  schema: {{type: integer}}\n  allow: [write-file, shell]\n"
    definition = parse_text(
        text.replace("# T\n", "# T\n```yaml\nallow: http\nagents: one\n```\n"),
        catalog=catalog(tmp_path, one=""),
    )
    (found,) = definition.phases[0].steps
    assert (found.answer_schema, found.allow) == ({"type": "integer"}, ("write-file", "shell"))
    assert definition.allow == ("http",)
    again = parse_text(render(definition), catalog=catalog(tmp_path), task_id=definition.id)
    assert again.model_dump(exclude={"sha256"}) == definition.model_dump(exclude={"sha256"})


@pytest.mark.parametrize(
    ("step", "option"),
    [
        ("tool: shell", "schema: {type: integer}"),
        ("tool: shell", "allow: shell"),
        ("approval: ok - ?", "allow: shell"),
    ],
)
def test_others_take_neither(step: str, option: str, tmp_path: Path) -> None:
    more: Any = "\n  with: {command: [ls]}" if step.startswith("tool") else "\n  timeout: 1h"
    checked = check_text(f"{HEAD}- {step}{more}\n  {option}\n", catalog=catalog(tmp_path))
    assert [d.code for d in checked.diagnostics] == ["misplaced-key"]


def test_what_is_allowed_has_to_be_a_tool(tmp_path: Path) -> None:
    """A misspelt one would only have people asked."""
    text = (
        f"# T\n\n```yaml\nallow: wrte-file\n```\n{HEAD[4:]}- agent: one - x\n  allow: [shell, Write, shel]\n"
    )
    checked = check_text(text, catalog=catalog(tmp_path, one=""))
    assert [(d.line, d.code, d.hint) for d in checked.diagnostics] == [
        (4, "unknown-tool", "did you mean `write-file`?"),
        (10, "unknown-tool", "did you mean `shell`?"),
    ]
