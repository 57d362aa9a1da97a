"""`render`: the text of a definition, as a person would have written it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from taskmark.errors import InvalidDefinition
from taskmark.task import parse_duration, parse_text, render
from taskmark.task.catalog import Catalog
from taskmark.task.durations import duration_text
from taskmark.task.model import Output, Phase, Requirement, Step, TaskDefinition
from taskmark.task.source_text import Findings
from taskmark.task.yaml_nodes import YamlSource, read_mapping
from taskmark.task.yaml_text import entries, scalar

ROOT = Path(__file__).parents[3]
WHOLE = """# Release — 2.0

````yaml
name: Release — 2.0
description: |-
  Publishes it.

  ```
  twice
  ```
version: "1.0"
maxExecutionTime: 1h 30m
retry:
  maxAttempts: 2
  backoffMs: 500
requirements:
  version: string
  mode:
    type: enum
    description: "Which way: fast or not"
    default: "no"
    values: ["no", fast, 1.5, null]
agents: [reviewer]
maxConcurrentSteps: 4
budget:
  tokens: 1000
  cost: 2.5
pausedTimeout:
  after: 1 day
  then: abort
schedule:
  cron: "0 6 * * 1-5"
  timezone: Europe/Berlin
  catchUp: 10 minutes
onComplete:
  - to: team
    "on": [failed, "yes"]
````

## Phase: C #1 # #

### Steps
- Look at it twice
  - once now
  - once later

  and then decide
- tool: shell - Run the tests
  id: tests
  if: "1 > 0"
  timeout: 10 minutes
  retry: {maxAttempts: 5, backoffMs: 0}
  fallback: http
  with:
    command: [make, test]
    env:
      "2026-01-01": "null"
- approval: release - Publish {{ inputs.version }}?
  timeout: 2 days
  onTimeout: pause
  approvers: [maintainers]
  schema:
    type: object
- validation: inputs.version != "a - b" - It is not that
- agent: reviewer
  fallback: {value: null}

### Agents
- reviewer

### Outputs
- tests: steps.tests.output
- reviewer

## Phase: Publish
dependsOn: ["C #1 #"]
parallel: true
if: inputs.version != ''
forEach: ["a: b", "- c", 1, {d: [null]}]
maxConcurrent: 2
timeout: 500ms
retry: {maxAttempts: 2, backoffMs: 1000}
onFailure: continue
checkpoint: before

## Outputs
- tests: phases.c_1.outputs.tests
"""


def definition(**step: Any) -> TaskDefinition:
    """A definition with one step."""
    made = Step(**{"id": "a_plain_1", "kind": "plain", "description": "Do it"} | step)
    return TaskDefinition(id="t", name="T", phases=(Phase(name="A", slug="a", steps=(made,)),))


def test_a_text_in_canonical_form_renders_as_itself() -> None:
    assert render(parse_text(WHOLE)) == WHOLE


@pytest.mark.parametrize("path", sorted((ROOT / "tasks").glob("*.md")), ids=lambda path: path.stem)
def test_the_tasks_of_this_project_read_back(path: Path) -> None:
    task = parse_text(path.read_text())
    again = parse_text(render(task))
    assert again == task.model_copy(update={"sha256": again.sha256})


def test_rendering_needs_neither_agents_nor_tools_nor_other_tasks() -> None:
    task = definition(kind="send", value="a letter", id="a_send_1")
    assert "- send: a letter - Do it\n" in render(task)


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ({"description": " padded "}, "phases[0].steps[0].description"),
        ({"description": "tool: shell"}, "there is no tool `shell`"),
        ({"description": ""}, "this step is empty"),
        ({"kind": "tool", "value": "a - b", "id": "x"}, "there is no tool `a`"),
        ({"timeout": 0.0}, "must be above zero"),
        ({"timeout": 1 / 3}, "phases[0].steps[0].timeout"),
        ({"id": "Not A Slug"}, "phases[0].steps[0].id"),
        ({"kind": "tool", "value": "x", "id": "x", "arguments": {"a": float("inf")}}, "steps[0].arguments.a"),
        ({"reads_steps": ("b",)}, "phases[0].steps[0].reads_steps"),
        ({"condition": "nobody"}, "there is no name `nobody`"),
        ({"description": "a\nb"}, "phases[0].steps[0].description"),
    ],
)
def test_what_no_file_can_say_is_refused_by_name(step: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidDefinition) as refused:
        render(definition(**step))
    assert said in str(refused.value)


def test_the_format_version_of_another_release_is_refused() -> None:
    with pytest.raises(InvalidDefinition, match="format_version"):
        render(definition().model_copy(update={"format_version": 99}))


def test_a_long_line_that_is_refused_is_cut() -> None:
    with pytest.raises(InvalidDefinition, match=r"…`$"):
        render(definition(condition="nobody + " * 20 + "1"))


@pytest.mark.parametrize(
    "description",
    [
        "[ ] a box",
        "[x] another",
        "- -",
        "---",
        "- a list",
        "1. a number",
        "Note: prose",
        "a - b - c",
        "Do this: - one\n- two",
        "Run it ```\nmake   test\n  twice\n``` and go on",
        "One line\n\nand a paragraph\n\nand another",
    ],
)
def test_a_text_that_looks_like_something_else_stays_a_text(description: str) -> None:
    task = definition(description=description)
    assert parse_text(render(task)).phases[0].steps[0].description == description


def test_an_output_named_by_words_stays_named_by_words() -> None:
    steps, outputs = "### Steps\n- tool: shell\n", "### Outputs\n- 2 files\n## Outputs\n- 2 files\n"
    text = f"# T\n## Phase: A\n{steps}{outputs}"
    task = parse_text(text)
    assert render(task).endswith("### Outputs\n- 2_files\n\n## Outputs\n- 2_files\n")
    assert task.outputs == (Output(name="2_files", expression="phases.a.outputs['2_files']"),)


def test_whole_bounds_are_written_without_a_point() -> None:
    task = definition().model_copy(
        update={"requirements": (Requirement(name="n", type="number", min=1.0, max=2.5),)}
    )
    assert "    min: 1\n    max: 2.5\n" in render(task)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0s"),
        (1e-9, "0.000000001s"),
        (0.5, "500ms"),
        (1.0, "1 second"),
        (1.5, "1.5s"),
        (30.0, "30 seconds"),
        (60.0, "1 minute"),
        (5400.0, "1h 30m"),
        (604_800.0, "7 days"),
        (90_061.0, "1d 1h 1m 1s"),
    ],
)
def test_durations_are_written_as_people_do(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text
    assert parse_duration(text) == seconds


def test_a_duration_is_exact_to_the_nanosecond() -> None:
    assert parse_duration("1.1 hours") == 3960.0


@pytest.mark.parametrize(
    "value",
    ["yes", "No", "1.0", "0x1f", "2026-01-01", "1:30", "~", "null", "", " a", "a ", "- a", "a: b", "\ud800"],
)
def test_a_text_that_another_reader_may_take_for_something_else_is_quoted(value: str) -> None:
    assert scalar(value).startswith('"')


@pytest.mark.parametrize(
    "value", ["report.md", "1.0.0", "5 minutes", "1h 30m", "500ms", "a (b), it's", "é", "tasks.a:b", "wc -l"]
)
def test_a_text_that_can_be_read_in_one_way_is_bare(value: str) -> None:
    assert scalar(value) == value


@pytest.mark.parametrize(
    "value",
    [
        {"k" * 2000: 1},
        [{"a": [1, [2, {"b": "x\ny"}]]}, {}, []],
        "[" * 100,
        "a\n" + "[" * 50,
        "a\n\nb\n",
        "a\n b",
        " a\nb",
        "a\n\n",
        "a\tb\nc",
        "\u2028\x85\ufeff\x00\U000e0001",
        ["x" * 60, "y" * 60],
        10**299,
        -0.0,
        1e-7,
    ],
)
def test_any_value_reads_back_from_yaml(value: Any) -> None:
    findings = Findings("")
    read = read_mapping(YamlSource(entries({"key": value}), 1), findings)
    assert read is not None, findings.diagnostics
    assert repr(read.value) == repr({"key": value})


def test_a_catalog_is_not_asked_about_what_a_definition_names() -> None:
    task = parse_text(
        "# T\n## Phase: A\n### Steps\n- aggregate: ours - x\n",
        catalog=Catalog(aggregates=frozenset({"ours"})),
    )
    assert "- aggregate: ours - x" in render(task)


def test_a_validation_may_stand_under_its_kind() -> None:
    step = parse_text("# T\n## Phase: A\n### Steps\n- validation:\n  1 > 0 - It is so\n").phases[0].steps[0]
    assert (step.value, step.description) == ("1 > 0", "It is so")
