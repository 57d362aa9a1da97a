"""What a list item under `### Steps` means."""

from typing import Any

import pytest

from taskmark.task import check_text, parse_text
from taskmark.task.catalog import Catalog
from taskmark.task.model import Fallback, Retry, Step

HEAD = "# T\n\n```yaml\nrequirements:\n  a: number\n  b: number\n```\n\n## Phase: Do\n"


def steps(text: str, options: str = "", **given: Any) -> tuple[Step, ...]:
    return parse_text(f"{HEAD}{options}### Steps\n{text}", **given).phases[0].steps


def step(text: str, options: str = "") -> Step:
    return steps(text, options)[0]


@pytest.mark.parametrize("bullet", ["-", "*", "+", "1.", "12)", "- [ ]", "- [x]"])
def test_any_list_item_is_a_step(bullet: str) -> None:
    found = step(f"{bullet} tool: shell - Count\n{' ' * len(bullet)} id: count\n")
    assert (found.kind, found.value, found.description, found.id) == ("tool", "shell", "Count", "count")


def test_value_and_description_part_at_the_first_separator() -> None:
    found = step("- tool: read-file - Read a file - quickly\n")
    assert (found.value, found.description) == ("read-file", "Read a file - quickly")
    assert step("- tool: shell -\n").value == "shell"
    assert step("- tool: shell\n").description == ""


@pytest.mark.parametrize(
    ("text", "value", "description"),
    [
        ("inputs.a > 0 - Must be positive", "inputs.a > 0", "Must be positive"),
        ("inputs.a - inputs.b > 0", "inputs.a - inputs.b > 0", ""),
        ("inputs.a - inputs.b > 0 - The rest - if any", "inputs.a - inputs.b > 0", "The rest - if any"),
        ("inputs.a - b", "inputs.a", "b"),
        ("inputs.a > 0 and\n  inputs.b > 0 - Both", "inputs.a > 0 and inputs.b > 0", "Both"),
        ("inputs.a > 0 - Must be\n  positive", "inputs.a > 0", "Must be positive"),
        ("true -", "true", ""),
    ],
)
def test_a_validation_is_the_longest_expression_over_known_names(
    text: str, value: str, description: str
) -> None:
    found = step(f"- validation: {text}\n")
    assert (found.value, found.description) == (value, description)


@pytest.mark.parametrize(
    "text",
    [
        "Read the file",
        "Note: read it",
        "See https://example.org/a",
        "TODO: ask",
        "agent",
        "a: b: c",
        "Goal: x",
    ],
)
def test_anything_that_opens_no_kind_is_a_plain_step(text: str) -> None:
    assert step(f"- {text}\n") == Step(id="do_plain_1", kind="plain", description=text)


def test_registered_kinds_open_steps_too() -> None:
    catalog = Catalog(kinds=frozenset({"deploy"}))
    found = steps("- deploy: production - Roll {{ inputs.a }} out\n  with: {a: 1}\n", catalog=catalog)[0]
    assert (found.kind, found.value, found.arguments) == ("deploy", "production", {"a": 1})


def test_every_key_reaches_its_field() -> None:
    found = step(
        """\
- tool: shell - Do it
  id: Do It
  with:
    command: [a, "{{ inputs.a }}"]
    env: {B: "{{ item }}{{ index }}"}
  if: "{{ inputs.a > 0 }}"
  forEach: [1, x]
  timeout: 5 minutes
  heartbeat: 10s
  retry: {maxAttempts: 5, backoffMs: 2s}
  critical: false
  fallback: {tool: python, with: {function: "a:b", args: ["{{ item }}"]}}
  cache: 0
  idempotencyKey: "{{ inputs.a }}-{{ index }}"
  complexity: high
  estimate: PT1H
"""
    )
    assert found == Step(
        id="do_it",
        kind="tool",
        value="shell",
        description="Do it",
        arguments={"command": ["a", "{{ inputs.a }}"], "env": {"B": "{{ item }}{{ index }}"}},
        condition="inputs.a > 0",
        for_each=[1, "x"],
        timeout=300,
        heartbeat=10,
        retry=Retry(max_attempts=5, backoff_ms=2000),
        critical=False,
        fallback=Fallback(kind="tool", name="python", arguments={"function": "a:b", "args": ["{{ item }}"]}),
        cache=0,
        idempotency_key="{{ inputs.a }}-{{ index }}",
        complexity="high",
        estimate=3600,
    )


def test_a_gate_has_its_name_as_id_and_its_own_keys() -> None:
    found = step(
        "- question: Which one - Which of {{ inputs.a }}?\n  timeout: 1h\n"
        "  onTimeout: pause\n  onReject: skip\n"
        "  approvers: ann\n  schema: {type: string}\n"
    )
    assert (found.id, found.value, found.timeout) == ("which_one", "Which one", 3600)
    assert (found.on_timeout, found.on_reject, found.approvers) == ("pause", "skip", ("ann",))
    assert found.answer_schema == {"type": "string"}
    assert step("- approval: go - Go?\n  id: other\n  timeout: 1h\n").id == "other"


def test_what_a_retry_leaves_out_is_the_tasks() -> None:
    text = "# T\n```yaml\nretry: {maxAttempts: 9, backoffMs: 50}\n```\n## Phase: A\nretry: {maxAttempts: 2}\n"
    phase = parse_text(
        f"{text}### Steps\n- tool: shell\n  retry: {{maxAttempts: 4}}\n- tool: shell\n"
    ).phases[0]
    assert phase.retry == Retry(max_attempts=2)
    assert [step.retry for step in phase.steps] == [Retry(max_attempts=4, backoff_ms=50), None]


@pytest.mark.parametrize(
    ("text", "fallback"),
    [
        ("tool: shell\n  fallback: python", Fallback(kind="tool", name="python")),
        ("agent: a - x\n  fallback: b", Fallback(kind="agent", name="b")),
        ("Say it\n  fallback: b", Fallback(kind="agent", name="b")),
        ("tool: shell\n  fallback: {agent: b}", Fallback(kind="agent", name="b")),
        ("tool: shell\n  fallback: {value: {a: [1]}}", Fallback(kind="value", value={"a": [1]})),
        ("tool: shell\n  fallback: {value: null}", Fallback(kind="value")),
    ],
)
def test_a_fallback_is_another_of_its_kind_or_written_out(text: str, fallback: Fallback) -> None:
    assert step(f"- {text}\n").fallback == fallback


def test_a_fallback_reads_what_its_templates_read() -> None:
    found = steps('- tool: shell\n  id: a\n- tool: shell\n  fallback: {value: "{{ steps.a.output }}"}\n')[1]
    assert found.reads_steps == ("a",)


@pytest.mark.parametrize(
    ("written", "over"),
    [
        ("steps.a.output", "{{ steps.a.output }}"),
        ('"{{ steps.a.output }}"', "{{ steps.a.output }}"),
        ('["{{ steps.a.output }}", 2]', ["{{ steps.a.output }}", 2]),
    ],
)
def test_what_an_aggregate_reads_is_an_expression(written: str, over: object) -> None:
    found = steps(f"- tool: shell\n  id: a\n- aggregate: sum\n  with: {{over: {written}}}\n")[1]
    assert found.arguments == {"over": over}
    assert found.reads_steps == ("a",)


def test_wrapped_lines_lists_and_fences_continue_the_text_until_the_first_key() -> None:
    found = step(
        """\
- agent: a - Look at
  the code:
  - the tests
  - the docs

  Then run
  ```sh
    id: is no key here
  ```
  id: look
  timeout: 30s

  This is documentation, with a key: in it.
  As is this.
"""
    )
    text = "Look at the code:\n- the tests\n- the docs\n\nThen run\n```sh\n  id: is no key here\n```"
    assert (found.description, found.id, found.timeout) == (text, "look", 30)


def test_an_unindented_line_right_under_an_item_continues_it() -> None:
    found = steps("- Read the file\nand say what is in it\n\nProse.\n\n- Next\n", "")
    assert [step.description for step in found] == ["Read the file and say what is in it", "Next"]


def test_text_in_a_mapping_may_look_like_markdown() -> None:
    found = steps(
        """\
- tool: write-file - Write
  with:
    path: a.md
    content: |
      # Heading

      ## Phase: not one
      ```yaml
      - tool: nothing
Prose at the margin ends it.
- tool: shell - Next
"""
    )
    assert found[0].arguments["content"] == "# Heading\n\n## Phase: not one\n```yaml\n- tool: nothing\n"
    assert [step.value for step in found] == ["write-file", "shell"]


def test_numbered_items_may_have_their_mapping_at_any_indent() -> None:
    found = steps("10. tool: shell - x\n  id: a\n  with:\n    command:\n    - b\n11. tool: shell - y\n")
    assert (found[0].id, found[0].arguments, found[1].id) == ("a", {"command": ["b"]}, "do_tool_2")


def test_a_heading_at_the_margin_or_slightly_in_ends_a_step() -> None:
    text = f"{HEAD}### Steps\n- tool: shell - x\n ## Phase: Next\n### Steps\n- tool: shell - y\n"
    assert [phase.slug for phase in parse_text(text).phases] == ["do", "next"]


def test_a_template_that_is_prose_is_an_error_only_where_it_is_filled_in() -> None:
    text = f"{HEAD}### Steps\n- tool: shell - Fill {{{{ braces\n- agent: a - Fill {{{{ braces\n"
    assert [(found.line, found.code) for found in check_text(text).diagnostics] == [
        (12, "invalid-expression")
    ]


def test_places_in_templates_are_exact_over_quotes_blocks_and_repeated_lines() -> None:
    text = (
        f"{HEAD}### Steps\n- tool: shell\n  with:\n    a: 'it''s {{{{ nope }}}}'\n"
        "    b: |\n      x {{ inputs.a }}\n"
        "      y {{ nope }}\n      y {{ nope }}\n    c: >\n      folded\n      {{ nope }}\n"
    )
    found = [(d.line, d.column) for d in check_text(text).diagnostics]
    assert found == [(13, 18), (16, 12), (17, 12), (20, 10)]


def test_a_broken_mapping_hides_no_other_problem_and_invents_none() -> None:
    text = f"{HEAD}### Steps\n- tool: shell\n  id: a: b\n- tool: shell\n  if: steps.a.output\n- tool: shel\n"
    assert [(d.line, d.code) for d in check_text(text).diagnostics] == [
        (12, "yaml-syntax"),
        (15, "unknown-tool"),
    ]
