"""Checks across the parts of a task: what they find, and what they leave alone."""

from dataclasses import replace
from pathlib import Path

import pytest

from taskmark.ports import StepContext
from taskmark.registry import Registry, load
from taskmark.task import check_text
from taskmark.task.catalog import Catalog, Misfit
from taskmark.task.parser import check_source
from taskmark.tools.files import ReadFileParameters
from taskmark.tools.function_tool import FunctionDetails, function_tool

STEP = "- wait: 1s\n"
META = """\
# T

```yaml
requirements:
  amount: number
  count: {type: integer, optional: true}
  file: string
  since: date
  mode: {type: enum, values: [fast, careful]}
  level: {type: enum, values: [1, 2]}
  mixed: {type: enum, values: [1, one, true]}
  urgent: boolean
  names: list
  limits: object
  pause: duration
```

## Phase: A
### Steps
- question: size - Which?
  timeout: 1h
  schema: {type: integer}
- approval: go - Go?
  timeout: 1h
"""


def codes(text: str, **catalog: object) -> list[str]:
    return [
        found.code for found in check_text(text, catalog=replace(Catalog.default(), **catalog)).diagnostics
    ]


def call(parameters: ReadFileParameters, context: StepContext) -> None:
    """What a tool calls."""


def judged(expression: str) -> list[str]:
    found = codes(f"{META}- tool: shell - x\n  if: '{expression}'\n")
    return [code for code in found if code != "unused-input"]


@pytest.mark.parametrize(
    "expression",
    [
        'inputs.amount > "1"',
        "inputs.file < 1",
        "inputs.names > 1",
        "inputs.limits > inputs.limits",
        'inputs.urgent > "a"',
        "inputs.level > inputs.file",
        '1 < inputs.amount < "9"',
        "-1 > inputs.file",
        "inputs.file | length > inputs.file",
        'steps.size.output >= "3"',
        'inputs["amount"] > "1"',
        "(inputs.file ~ 1) > 3",
        "[1] > {1: 2}",
        "(inputs.file is defined) > inputs.file",
    ],
)
def test_values_without_an_order_cannot_be_compared(expression: str) -> None:
    assert "incomparable-types" in judged(expression)


@pytest.mark.parametrize(
    "expression",
    [
        'inputs.amount == "1"',
        'inputs.mode == "fst"',
        'inputs.mode != "fst"',
        'inputs.mode in ["fast", "fst"]',
        'inputs.mode not in ("fst",)',
        '"fst" == inputs.mode',
        "inputs.level == 3",
        "inputs.urgent == 'yes'",
        "steps.go.status == 'done'",
        "inputs.names == {}",
        "steps.size.output == 'three'",
        "1 == 2",
    ],
)
def test_a_comparison_with_one_outcome_is_noted(expression: str) -> None:
    expected = [] if expression == "1 == 2" else ["constant-comparison"]
    assert [code for code in judged(expression.replace("'", '"')) if code != "unreachable"] == expected


@pytest.mark.parametrize(
    "expression",
    [
        "inputs.amount > 1.5",
        "inputs.amount == inputs.count",
        "inputs.file < inputs.since",
        'inputs.file == "a"',
        'inputs.mode == "fast"',
        "inputs.level > 1",
        "inputs.mixed > 1",
        'inputs.mixed == "one"',
        "inputs.urgent == 1",
        "inputs.pause == 5",
        'inputs.pause == "5s"',
        "inputs.names | length > 1",
        "inputs.file | int > 1",
        "steps.go.output.approved == true",
        "inputs.names[0] > 1",
        "inputs.limits.max > 1",
        "1 in inputs.names",
        '"a" in inputs.file',
        "inputs.count == none",
        "inputs[inputs.file] > 1",
        "inputs.file in inputs.names",
        'inputs.names in [[], ["a"]]',
        "inputs.file * 2 > inputs.file",
        "steps.go.status == 'skipped'",
    ],
)
def test_a_comparison_that_may_turn_out_either_way_is_left_alone(expression: str) -> None:
    assert judged(expression.replace("'", '"')) == []


def test_a_place_in_a_template_is_that_of_the_literal() -> None:
    text = META + "- tool: shell - x\n  with:\n    cwd: \"{{ 1 if inputs.mode == 'fst' else 2 }}\"\n"
    (found,) = [one for one in check_text(text).diagnostics if one.code == "constant-comparison"]
    assert text.split("\n")[found.line - 1][found.column - 1 :].startswith("'fst'")


# --- answers, arguments ---------------------------------------------------------------------------


def test_the_schema_of_an_answer_is_checked_through_and_through() -> None:
    schema = (
        "{type: [string, nul], patern: a, title: x, properties: {a: {type: int}}, "
        "items: {minimun: 1}, enum: [1], default: 2}"
    )
    text = f"# T\n## Phase: A\n### Steps\n- question: a - x\n  timeout: 1h\n  schema: {schema}\n"
    found = check_text(text).diagnostics
    assert sorted((one.code, one.hint or "") for one in found) == [
        ("invalid-value", "did you mean `integer`?"),
        ("invalid-value", "did you mean `null`?"),
        ("not-in-effect", ""),
        ("not-in-effect", "did you mean `minimum`?"),
    ]


def test_inputs_of_a_task_are_checked_against_its_requirements() -> None:
    inner = "# I\n```yaml\nrequirements: {n: integer, m: {type: enum, values: [a]}}\n```\n## Phase: A\n"
    inner += "if: inputs.n > 1 and inputs.m\n### Steps\n- wait: 1s\n"
    outer = "# O\n## Phase: A\n### Steps\n- task: inner\n  with: {n: many, m: '{{ project }}'}\n"
    catalog = replace(Catalog.default(), task=lambda *_: (Path("inner.md"), inner))
    (found,) = check_source(outer, Path("outer.md"), catalog=catalog).diagnostics
    assert (found.code, found.line, found.column) == ("invalid-argument", 5, 13)


def test_what_a_template_gives_is_not_judged_and_each_value_is_noted_once() -> None:
    def misfits(name: str, arguments: object) -> list[Misfit]:
        return [
            Misfit(("a",), "no list"),
            Misfit(("a", "text"), "no text"),
            Misfit(("b", 1), "no"),
            Misfit((), "x"),
        ]

    head = "# T\n## Phase: A\n### Steps\n- tool: shell\n  with:\n"
    literal = check_text(
        f"{head}    a: 1\n    b: [2, 3]\n", catalog=replace(Catalog.default(), misfits=misfits)
    )
    assert [(one.line, one.column, one.message.partition(": ")[2]) for one in literal.diagnostics] == [
        (6, 5, "x"),
        (6, 8, "no list or no text"),
        (7, 12, "no"),
    ]
    filled = f'{head}    a: "{{{{ project }}}}"\n    b: [2, "{{% if 1 %}}{{% endif %}}"]\n'
    assert codes(filled, misfits=misfits) == []


def test_a_tool_whose_parameters_cannot_be_asked_refuses_nothing() -> None:
    assert Registry().misfits("absent", {}) == []
    broken = load()
    broken.tools["odd"] = object()  # type: ignore[assignment] # a plugin may be anything
    assert broken.misfits("odd", {"a": 1}) == []


def test_only_tools_with_effects_that_are_not_repeatable_repeat_them() -> None:
    registry = load()
    ours = registry.repeating()
    assert ours == {"edit-file", "sql-write", "mcp"}
    details = [
        FunctionDetails("pay"),
        FunctionDetails("look", effects=False),
        FunctionDetails("book", repeatable=True),
    ]
    registry.tools.update({one.name: function_tool(call, one) for one in details})
    assert registry.repeating() == ours | {"pay"}


# --- what documentation may say -------------------------------------------------------------------


@pytest.mark.parametrize(
    "prose",
    [
        "### Step by step\n\n- first\n",
        "### Notes\n- tool boxes are fine\n",
        "#### Output\n\nOnly words.\n",
        "### Agents of change\n\nWords.\n",
        "## Phases of the moon\n\n- new\n- full\n",
        "### Timeout: why\n",
        "Prose that goes on\ntimeout: is a word here\n",
        "> dependsOn: [B]\n",
        "```yaml\nname: an example\n```\n",
        "```markdown\n## Phases: x\n### Step\n- a\n```\n",
        "<!--\ndependsOn: [B]\n-->\n",
        "Note: this.\n",
        "### Sets\n- one\n",
        "## Outputs of old\n- none\n",
        "#hashtag\n",
    ],
)
def test_documentation_stays_legal_and_quiet(prose: str) -> None:
    before = f"# T\n\n{prose}\n## Phase: A\n### Steps\n{STEP}"
    within = f"# T\n\n## Phase: A\n### Steps\n{STEP}\n{prose}"
    assert codes(before) == codes(within) == []


@pytest.mark.parametrize(
    ("step", "kind"), [("**tool:** shell", "tool"), ("`Wait`: 1s", "wait"), ("_agent:_ a", "agent")]
)
def test_a_kind_in_bold_or_italics_is_an_error_with_a_fix(step: str, kind: str) -> None:
    found = check_text(f"# T\n## Phase: A\n### Steps\n- {step}\n").diagnostics[0]
    assert (found.code, found.line, found.column) == ("unknown-kind", 4, 3)
    assert found.fix is not None
    assert found.fix.edits[0].new == f"{kind}:"


def test_the_name_of_a_tool_is_no_kind() -> None:
    assert codes("# T\n## Phase: A\n### Steps\n- shell: ls\n") == ["unknown-kind", "note"]
    assert codes("# T\n## Phase: A\n### Steps\n- shell:ls\n") == ["note"]


# --- reachability, times, use ---------------------------------------------------------------------


def test_a_phase_with_a_condition_of_its_own_may_run_after_one_that_never_does() -> None:
    text = f"# T\n## Phase: A\nif: 1 > 2\n### Steps\n{STEP}"
    text += f"\n## Phase: B\ndependsOn: [A]\nif: true\n### Steps\n{STEP}"
    assert codes(text) == ["unreachable"]


def test_a_condition_that_reads_something_or_cannot_be_read_is_not_judged() -> None:
    head = "# T\n## Phase: A\nif: "
    assert codes(f"{head}project and false\n### Steps\n{STEP}") == []
    assert codes(f"{head}1 +\n### Steps\n{STEP}") == ["invalid-expression"]


@pytest.mark.parametrize(
    "rest",
    [
        "- agent: a - Look at it\n",
        "- wait: 1s\n  if: inputs[project]\n",
        "- Look\n### Agents\n- a\n",
        "- tool: shell\n  fallback: {agent: a}\n",
        "- custom: x\n",
        '- wait: 1s\n  if: inputs.a == "b"\n',
    ],
)
def test_an_input_is_used_if_anything_may_read_it(rest: str) -> None:
    text = f"# T\n```yaml\nrequirements: {{a: string}}\n```\n## Phase: A\n### Steps\n{rest}"
    assert codes(text, kinds=frozenset({"custom"})) == []


def test_times_that_fit_are_quiet_and_gates_do_not_count_against_the_task() -> None:
    text = (
        "# T\n```yaml\nmaxExecutionTime: 1h\nretry: {maxAttempts: 3, backoffMs: 1000}\n```\n"
        "## Phase: A\ntimeout: 20 minutes\nretry: {maxAttempts: 2}\n### Steps\n- wait: 10 minutes\n"
        "- tool: shell\n  timeout: 5 minutes\n\n## Phase: B\ndependsOn: [A]\ntimeout: 30 minutes\n"
        "### Steps\n- wait: 1s\n\n## Phase: C\nparallel: true\n"
        "### Steps\n- approval: go - x\n  timeout: 2 days\n"
    )
    assert codes(text) == []


def test_an_input_is_unknown_also_if_another_one_is_wrong() -> None:
    text = "# T\n```yaml\nrequirements: {a: strng, b: string}\n```\n## Phase: A\n### Steps\n"
    text += "- wait: 1s\n  if: inputs.zz or inputs.a or inputs.b\n"
    assert codes(text) == ["unknown-input-type", "unknown-input"]
