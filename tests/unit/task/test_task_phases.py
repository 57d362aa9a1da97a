"""Options, agents and outputs of phases, and the metadata of a task."""

import pytest

from taskmark.task import check_text, parse_text
from taskmark.task.model import Budget, Notification, Output, PausedTimeout, Phase, Retry, Schedule
from taskmark.task.slugs import slug

STEP = "### Steps\n- tool: shell - x\n"


def phase(options: str) -> Phase:
    return parse_text(f"# T\n\n## Phase: B\n{STEP}\n## Phase: A\n{options}{STEP}").phases[1]


LINES = """\
dependsOn: [B]   # first
parallel: true
if: "{{ execution.id != '' }}"
forEach: [1, 2]
maxConcurrent: 3
timeout: 1h
retry:
  maxAttempts: 2
  backoffMs: 100
onFailure: continue
checkpoint: half way
"""


@pytest.mark.parametrize("options", [LINES, f"```yaml\n{LINES}```\n", f"\nProse.\n\n{LINES}\nMore prose.\n"])
def test_options_are_lines_under_the_heading_or_a_yaml_block(options: str) -> None:
    found = phase(options)
    assert found == Phase(
        name="A",
        slug="a",
        depends_on=("b",),
        parallel=True,
        condition="execution.id != ''",
        for_each=[1, 2],
        max_concurrent=3,
        timeout=3600,
        retry=Retry(max_attempts=2, backoff_ms=100),
        on_failure="continue",
        checkpoint="half way",
        steps=found.steps,
    )


@pytest.mark.parametrize(
    "line", ["dependsOn: B", "dependsOn: b", "dependsOn: [b]", "dependsOn:\n- B", "dependsOn:\n  - B"]
)
def test_a_dependency_is_named_by_name_or_slug_alone_or_in_a_list(line: str) -> None:
    assert phase(f"{line}\n").depends_on == ("b",)


def test_no_dependencies_and_an_empty_list_are_the_same() -> None:
    assert phase("dependsOn: []\n").depends_on == phase("").depends_on == ()


def test_dependencies_may_come_later_in_the_file_and_have_blanks_in_their_names() -> None:
    text = f"# T\n\n## Phase: A\ndependsOn: [Later On]\n{STEP}\n## Phase: Later On\n{STEP}"
    assert parse_text(text).phases[0].depends_on == ("later_on",)


@pytest.mark.parametrize(
    "line", ["Note: prose here.", "Prose goes on,\nsay: like this.", "see https://example.org", "*a*: b"]
)
def test_prose_under_a_heading_is_documentation(line: str) -> None:
    assert check_text(f"# T\n\n## Phase: A\n{line}\n\n{STEP}").diagnostics == ()


def test_a_known_option_counts_also_after_prose() -> None:
    assert phase("Some prose\nparallel: true\n").parallel


def test_a_broken_option_leaves_the_others_known_and_invents_no_problems() -> None:
    text = f"# T\n\n## Phase: A\n{STEP}### Outputs\n- o\n\n## Phase: B\n"
    text += f"if: a: b\ndependsOn: [A\n{STEP}  if: phases.a.outputs.o\n"
    assert [(d.line, d.code) for d in check_text(text).diagnostics] == [
        (10, "yaml-syntax"),
        (11, "yaml-syntax"),
    ]
    text = text.replace("if: a: b\ndependsOn: [A\n", "dependsOn: {a: b}\n")
    assert [(d.line, d.code) for d in check_text(text).diagnostics] == [(10, "wrong-type")]
    text = text.replace("dependsOn: {a: b}\n", "depends_on: [A]\n")
    assert [(d.line, d.code) for d in check_text(text).diagnostics] == [(10, "unknown-key")]
    text = text.replace("depends_on: [A]\n", "if: [a]\ndependsOn:\n")
    assert [d.code for d in check_text(text).diagnostics] == [
        "wrong-type",
        "missing-value",
        "not-a-dependency",
    ]


def test_agents_may_be_described_and_are_named_once() -> None:
    text = "### Agents\n- one - the first\n- `two`: the second\n- three.v2\n- one\n* [ ] four — d\n\nProse.\n"
    assert phase(text).agents == ("one", "two", "three.v2", "four")


def test_outputs_are_names_or_expressions_and_prose_becomes_a_slug() -> None:
    text = (
        '### Outputs\nWhat comes out:\n\n- a\n- b-c: execution.id\n- `d`: "{{ project }}"\n- e - described\n'
        "- A list of files\n- f: {{ execution.id }}\n"
    )
    assert phase(text).outputs == (
        Output(name="a"),
        Output(name="b-c", expression="execution.id"),
        Output(name="d", expression='"{{ project }}"'),
        Output(name="e"),
        Output(name="a_list_of_files"),
        Output(name="f", expression="execution.id"),
    )


def test_a_bare_task_output_is_a_phase_output_of_that_name_else_a_step() -> None:
    text = (
        f"# T\n\n## Phase: A\n{STEP}  id: run\n### Outputs\n- o\n- p-q\n\n## Phase: B\n{STEP}"
        "### Outputs\n- o\n\n"
        "## Outputs\n- o\n- p-q\n- run\n- all: phases.a.status ~ steps.run.status ~ inputs\n"
    )
    assert parse_text(text).outputs == (
        Output(name="o", expression="phases.b.outputs.o"),
        Output(name="p-q", expression="phases.a.outputs['p-q']"),
        Output(name="run", expression="steps.run.output"),
        Output(name="all", expression="phases.a.status ~ steps.run.status ~ inputs"),
    )


def test_every_key_of_the_metadata_reaches_its_field() -> None:
    definition = parse_text(
        f"""\
# T

```yaml
name: Full
description: >
  All
  keys
version: 2
maxExecutionTime: 1h
retry: {{maxAttempts: 5}}
agents: [one, two]
maxConcurrentPhases: 2
maxConcurrentSteps: 3
project: p
secrets: TOKEN
budget: {{tokens: 1000, cost: 2.5, agentCalls: 7}}
pausedTimeout: {{after: 2 days, then: abort}}
schedule: {{cron: "*/5 * * * *", timezone: Europe/Berlin, overlap: bufferOne, catchUp: 1h}}
notify: [{{on: [failed, waiting], tool: shell, with: {{command: [mail, "{{{{ event.message }}}}"]}}}}]
onComplete: {{task: other}}
```

## Phase: A
{STEP}"""
    )
    assert (definition.name, definition.description, definition.version) == ("Full", "All keys", "2")
    assert (definition.max_execution_time, definition.retry) == (3600, Retry(max_attempts=5))
    assert definition.default_agents == ("one", "two")
    assert (definition.max_concurrent_phases, definition.max_concurrent_steps) == (2, 3)
    assert (definition.project, definition.secrets) == ("p", ("TOKEN",))
    assert definition.budget == Budget(tokens=1000, cost=2.5, agent_calls=7)
    assert definition.paused_timeout == PausedTimeout(after=172_800, then="abort")
    assert definition.schedule == Schedule(
        cron="*/5 * * * *", timezone="Europe/Berlin", overlap="bufferOne", catch_up=3600
    )
    told = {"command": ["mail", "{{ event.message }}"]}
    assert definition.notify == (Notification(on=("failed", "waiting"), tool="shell", arguments=told),)
    assert definition.on_complete == {"task": "other"}


@pytest.mark.parametrize("cron", ["'@daily'", "0 6 * * 1-5", "0 0 6 ? * MON,TUE", "'*/10 * * * *'"])
def test_a_schedule_takes_cron_expressions(cron: str) -> None:
    text = f"# T\n\n```yaml\nschedule:\n  cron: {cron}\n  timezone: UTC\n```\n\n## Phase: A\n{STEP}"
    schedule = parse_text(text).schedule
    assert schedule is not None
    assert schedule.cron == cron.strip("'")


def test_the_tasks_agents_do_plain_steps_of_phases_without_their_own() -> None:
    text = "# T\n\n```yaml\nagents: one\n```\n\n## Phase: A\n### Steps\n- Do it\n"
    assert check_text(text).diagnostics == ()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("First Look", "first_look"),
        ("  a--b__c!! ", "a_b_c"),
        ("Größe & Maß", "größe_maß"),
        ("日本語 テスト", "日本語_テスト"),
        ("हिन्दी", "हिन्दी"),
        ("２nd", "2nd"),
        ("!?", ""),
    ],
)
def test_a_slug_is_lower_case_with_underscores_and_keeps_every_script(name: str, expected: str) -> None:
    assert slug(name) == expected
    assert slug(expected) == expected
