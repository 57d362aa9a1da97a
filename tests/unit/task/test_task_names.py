"""Who may read whom, and what each reads."""

from taskmark.task import check_text, parse_text
from taskmark.task.graph import Graph

STEP = "### Steps\n- tool: shell - x\n"


def codes(text: str) -> list[str]:
    return [found.code for found in check_text(text).diagnostics]


CHAIN = """\
# T

## Phase: A
### Steps
- tool: shell - x
  id: a
- tool: shell - y
  id: b
  if: steps.a.output == 1
### Outputs
- o: steps.b.output

## Phase: B
dependsOn: A
### Steps
- tool: shell - x
  id: c

## Phase: C
dependsOn: B
if: phases.a.outputs.o and steps.a.status == 'completed'
forEach: phases.b.outputs
### Steps
- tool: shell - {{ not.a.template }}
  id: d
  with: {cwd: "{{ item }} {{ steps.b.output }}"}
- approval: go - Go with {{ steps.d.output }} and {{ index }}?
  timeout: 1h
### Outputs
- all: steps.d.output ~ item ~ phases.b.status
"""


def test_reads_are_listed_for_steps_and_for_phases_in_order_of_appearance() -> None:
    checked = check_text(CHAIN)
    assert [found.code for found in checked.diagnostics] == ["unfilled-template"]
    assert checked.definition is not None
    a, _, c = checked.definition.phases
    assert [step.reads_steps for step in a.steps] == [(), ("a",)]
    assert (a.reads_steps, a.reads_phases) == ((), ())
    assert [step.reads_steps for step in c.steps] == [("b",), ("d",)]
    assert (c.reads_steps, c.reads_phases) == (("a", "b"), ("a", "b"))


def test_a_computed_key_reads_everything_it_may_turn_out_to_read() -> None:
    text = CHAIN + "- any: phases[item].outputs ~ steps[item].output\n- tail: steps\n"
    c = parse_text(text).phases[2]
    assert (c.reads_steps, c.reads_phases) == (("a", "b", "c"), ("a", "b"))


def test_in_a_parallel_phase_steps_may_read_later_ones_and_computed_keys_read_other_phases() -> None:
    text = f"# T\n\n## Phase: A\n{STEP}  id: z\n\n## Phase: B\ndependsOn: A\nparallel: true\n"
    text += f"{STEP}  id: a\n  if: steps.b.output\n- tool: shell - y\n  id: b\n  if: steps[project]\n"
    a, b = parse_text(text).phases[1].steps
    assert (a.reads_steps, b.reads_steps) == (("b",), ("z",))


def test_a_sequential_step_with_a_computed_key_reads_the_steps_before_it() -> None:
    text = f"# T\n\n## Phase: A\n{STEP}  id: a\n- tool: shell - y\n  if: steps[project]\n- tool: shell - z\n"
    assert parse_text(text).phases[0].steps[1].reads_steps == ("a",)


def test_items_are_known_in_every_step_of_a_phase_that_runs_per_item_but_not_where_it_decides() -> None:
    text = (
        f"# T\n\n## Phase: A\nforEach: [1]\nif: item\n{STEP}  if: item == index\n- validation: item > 0 - x\n"
    )
    assert [(d.line, d.column, d.code) for d in check_text(text).diagnostics] == [(5, 5, "unknown-name")]


def test_the_inputs_as_a_whole_and_deep_keys_of_data_are_read_freely() -> None:
    text = "# T\n\n```yaml\nrequirements: {a: object}\n```\n## Phase: A\n"
    text += f"{STEP}  if: inputs and inputs.a.b.c[0]\n"
    assert codes(text) == []


def test_unreadable_requirements_make_no_input_unknown() -> None:
    for metadata in (
        "requirement: {a: string}",
        "requirements: {a: strng}",
        "a: [",
        "requirements: {a b: string}",
    ):
        text = f"# T\n\n```yaml\n{metadata}\n```\n\n## Phase: A\n{STEP}  if: inputs.a\n"
        assert len(codes(text)) == 1
        assert "unknown-input" not in codes(text)


def test_other_mistakes_in_the_metadata_do_not_hide_unknown_inputs() -> None:
    text = (
        f"# T\n\n```yaml\nversion:\nrequirements: {{a: string}}\n```\n\n## Phase: A\n{STEP}  if: inputs.b\n"
    )
    assert codes(text) == ["missing-value", "unknown-input"]


def test_one_cycle_of_phases_is_one_message_and_nobody_else_is_blamed() -> None:
    text = "# T\n"
    for name, needs in (
        ("A", "[B]"),
        ("B", "[A, C]"),
        ("C", "[B]"),
        ("D", "[D2]"),
        ("D2", "[D]"),
        ("E", "[A]"),
    ):
        text += f"\n## Phase: {name}\ndependsOn: {needs}\n{STEP}  if: phases.a.status\n"
    assert codes(text) == ["dependency-cycle", "dependency-cycle"]


def test_reach_follows_paths_of_any_length_without_recursion() -> None:
    graph = Graph({str(i): [str(i + 1)] for i in range(5000)} | {"5000": []})
    assert graph.cycles == []
    assert graph.reaches("0", "5000")
    assert not graph.reaches("5000", "0")
    assert graph.reachable("4998") == ["4999", "5000"]


def test_every_cycle_is_a_closed_path_along_edges() -> None:
    edges = {"a": ["b", "x"], "b": ["c"], "c": ["a", "c"], "d": ["d"]}
    cycles = Graph(edges).cycles
    assert cycles == [["c", "a", "b", "c"], ["d", "d"]]
