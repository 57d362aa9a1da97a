"""An agent that is an expression: how it is read, checked, written and formatted."""

from pathlib import Path

import pytest

from taskmark.task import check_file, check_text, parse_text, render
from taskmark.task.formatting import format_text
from taskmark.task.model import Step, TaskDefinition

HEAD = (
    "# T\n\n```yaml\nrequirements:\n  who: list\n```\n\n## Phase: Ask\n### Agents\n- ann\n- bob\n### Steps\n"
)


def task(step: str) -> TaskDefinition:
    return parse_text(f"{HEAD}{step}\n")


def step(text: str) -> Step:
    return task(text).phases[0].steps[0]


def problems(text: str) -> list[tuple[str, int]]:
    """Codes and columns of everything that is wrong."""
    return [(found.code, found.column) for found in check_text(text).diagnostics]


@pytest.mark.parametrize(
    ("written", "value", "description"),
    [
        ('"{{ item }}" - Look at it', "{{ item }}", "Look at it"),
        ("'{{ item }}' - Look at it", "{{ item }}", "Look at it"),
        ("{{ item }} - Look at it", "{{ item }}", "Look at it"),
        ('"{{ item }}"', "{{ item }}", ""),
        ('"{{ item }}" -', "{{ item }}", ""),
        ('"{{ item }}" - Look - twice - at {{ item }}', "{{ item }}", "Look - twice - at {{ item }}"),
        ("\"{{ inputs.who[1 - 1] ~ ' - ' }}\" - Look", "{{ inputs.who[1 - 1] ~ ' - ' }}", "Look"),
        ("\"{{ {'a': {'b': item}}['a'].b }}\" - Look", "{{ {'a': {'b': item}}['a'].b }}", "Look"),
        ("{{ item ~ '}}' }} - Look", "{{ item ~ '}}' }}", "Look"),
        ("{{ item ~ '}}\" - ' }} - Look", "{{ item ~ '}}\" - ' }}", "Look"),
    ],
)
def test_an_agent_in_braces_is_an_expression_up_to_where_it_can_be_read(
    written: str, value: str, description: str
) -> None:
    found = task(f"- agent: {written}\n  forEach: inputs.who")
    [one] = found.phases[0].steps
    assert (one.value, one.description, one.agent_expression) == (value, description, value[2:-2].strip())
    assert parse_text(render(found)).phases == found.phases


def test_an_agent_that_is_named_is_no_expression() -> None:
    assert step("- agent: ann - Look").agent_expression is None
    assert step("- Say {{ inputs.who }}").agent_expression is None


def test_such_a_step_is_not_critical_unless_it_says_so() -> None:
    asked = '- agent: "{{ inputs.who[0] }}" - Look'
    assert not step(asked).is_critical
    assert step(f"{asked}\n  critical: true").is_critical


def test_what_the_expression_reads_is_known_like_that_of_any_other() -> None:
    text = (
        f'{HEAD}- agent: ann - Choose\n  id: choice\n- agent: "{{{{ steps.choice.output.name }}}}" - Look\n'
    )
    assert parse_text(text).phases[0].steps[1].reads_steps == ("choice",)
    later = (
        f'{text}\n## Phase: B\ndependsOn: [Ask]\n### Steps\n- agent: "{{{{ phases.ask.status }}}}" - Look\n'
    )
    assert parse_text(later + "### Agents\n- ann\n").phases[1].steps[0].reads_phases == ("ask",)


@pytest.mark.parametrize(
    ("step", "code", "column"),
    [
        ('- agent: "{{ itm }}" - Look\n  forEach: inputs.who', "unknown-name", 14),
        ('- agent: "{{ item }}" - Look', "unknown-name", 14),
        ('- agent: "{{ inputs.what }}" - Look', "unknown-input", 21),
        ('- agent: "{{ phases.nowhere.outputs.x }}" - Look', "unknown-phase", 21),
        ('- agent: "{{ phases.other.outputs.x }}" - Look', "not-a-dependency", 21),
        ('- agent: "{{ steps.itself.output }}" - Look\n  id: itself', "later-step", 20),
        ('- agent: "{{ item + }}" - Look\n  forEach: inputs.who', "invalid-expression", 19),
        ('- agent: "{{ item }}-{{ item }}" - Look\n  forEach: inputs.who', "invalid-expression", 19),
        ('- agent: "{{ item }}-watcher" - Look\n  forEach: inputs.who', "invalid-name", 10),
        ('- agent: "{{ item }} - Look', "invalid-name", 10),
    ],
)
def test_what_is_wrong_in_the_expression_is_said_at_its_place(step: str, code: str, column: int) -> None:
    other = (
        "\n## Phase: Other\n### Steps\n- tool: shell\n  id: y\n  with: {command: [ls]}\n### Outputs\n- x\n"
    )
    assert problems(f"{HEAD}{step}\n{other}") == [(code, column)]


def test_a_name_with_braces_in_it_is_told_how_to_be_an_expression() -> None:
    [found] = check_text(f'{HEAD}- agent: "{{{{ inputs.who }}}}-watcher" - Look\n').diagnostics
    assert found.hint == "an agent that is chosen is one expression: `agent: \"{{ item ~ '-watcher' }}\"`"


STEPS = '### Steps\n- agent: "{{ inputs.who }}" - Look\n'
INPUT = "requirements: {who: string}\n"


def test_without_a_list_of_agents_a_choice_is_an_error_with_a_hint() -> None:
    [found] = check_text(f"# T\n\n```yaml\n{INPUT}```\n\n## Phase: A\n{STEPS}").diagnostics
    assert (found.code, found.severity, found.line, found.column) == ("choice-without-agents", "error", 9, 11)
    assert found.hint == "list them under the phase's `### Agents`, or as `agents` of the task"


@pytest.mark.parametrize(
    ("metadata", "phase"),
    [("agents: [ann]\n", ""), ("", "### Agents\n- ann\n"), ("agents: [ann]\n", "### Agents\n- bob\n")],
)
def test_the_agents_of_the_phase_or_of_the_task_are_a_list_and_so_used(metadata: str, phase: str) -> None:
    other = "\n## Phase: B\n### Steps\n- Look\n" if metadata and phase else ""
    text = f"# T\n\n```yaml\n{INPUT}{metadata}```\n\n## Phase: A\n{phase}{STEPS}{other}"
    assert problems(text) == []


def test_the_agents_of_the_task_are_unused_if_the_only_choice_is_among_those_of_its_phase() -> None:
    text = f"# T\n\n```yaml\n{INPUT}agents: [ann]\n```\n\n## Phase: A\n### Agents\n- bob\n{STEPS}"
    assert [code for code, _ in problems(text)] == ["unused-agent"]


def test_every_agent_that_may_be_chosen_is_looked_up_and_frozen(tmp_path: Path) -> None:
    (tmp_path / "agents").mkdir()
    for name in ("ann", "bob"):
        (tmp_path / "agents" / f"{name}.md").write_text(f"---\nname: {name}\n---\nBe {name}.\n")
    file = tmp_path / "t.md"
    file.write_text(f'{HEAD}- agent: "{{{{ item }}}}" - Look\n  forEach: inputs.who\n')
    found = check_file(file)
    assert found.definition is not None
    assert set(found.definition.agents) == {"ann", "bob"}
    (tmp_path / "agents" / "bob.md").unlink()
    assert [one.code for one in check_file(file).diagnostics] == ["unknown-agent"]


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("agent:   '{{ item }}'   -   Look", 'agent: "{{ item }}" - Look'),
        ("agent: {{ item }} - Look", 'agent: "{{ item }}" - Look'),
        ("agent: {{item}}", 'agent: "{{item}}"'),
        ('agent: "{{ item }}" -', 'agent: "{{ item }}" -'),
    ],
)
def test_formatting_puts_the_expression_in_quotes(written: str, canonical: str) -> None:
    text = format_text(f"{HEAD}- {written}\n  forEach: inputs.who\n")
    assert f"- {canonical}\n" in text
    assert format_text(text) == text
