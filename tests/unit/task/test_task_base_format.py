"""The format as people know it, and the written-out example, parse exactly as the design says."""

from pathlib import Path

import pytest

from taskmark.task import check_file, check_text, parse_text
from taskmark.task.model import FORMAT_VERSION, Output, Phase, Requirement, Retry, Step, TaskDefinition

ROOT = Path(__file__).parents[3]

BASE = """\
# Task Name

```yaml
name: Task Name
description: Task description
version: 1.0.0
maxExecutionTime: 5 minutes
retry:
  maxAttempts: 3
  backoffMs: 2000  # Exponential backoff
requirements:
  field1: string
  field2: number
```

## Phase: First Look
parallel: true

### Steps
- Step description
- agent: agent-id - Agent query step
- validation: inputs.field2 > 0 - The number must be positive

### Agents
- agent-id-1
- agent-id-2

### Outputs
- output-name

## Phase: Decision
dependsOn: [First Look]

### Steps
- aggregate: consensus - Combine what the agents said
"""

FIRST_LOOK = Phase(
    name="First Look",
    slug="first_look",
    parallel=True,
    steps=(
        Step(id="first_look_plain_1", kind="plain", description="Step description"),
        Step(id="first_look_agent_2", kind="agent", value="agent-id", description="Agent query step"),
        Step(
            id="first_look_validation_3",
            kind="validation",
            value="inputs.field2 > 0",
            description="The number must be positive",
        ),
    ),
    agents=("agent-id-1", "agent-id-2"),
    outputs=(Output(name="output-name"),),
)
DECISION = Phase(
    name="Decision",
    slug="decision",
    depends_on=("first_look",),
    steps=(
        Step(
            id="decision_aggregate_1",
            kind="aggregate",
            value="consensus",
            description="Combine what the agents said",
        ),
    ),
)


def test_the_base_format_parses_as_written() -> None:
    checked = check_text(BASE)
    assert checked.diagnostics == ()
    definition = checked.definition
    assert definition is not None
    assert definition == TaskDefinition(
        id="task_name",
        name="Task Name",
        description="Task description",
        version="1.0.0",
        format_version=FORMAT_VERSION,
        sha256=definition.sha256,
        max_execution_time=300,
        retry=Retry(max_attempts=3, backoff_ms=2000),
        requirements=(Requirement(name="field1", type="string"), Requirement(name="field2", type="number")),
        phases=(FIRST_LOOK, DECISION),
    )


def test_blank_lines_between_the_parts_mean_nothing() -> None:
    lines = BASE.split("\n")
    dense = "\n".join(line for line in lines if line) + "\n"
    airy = "\n".join(f"\n{line}\n" if line.startswith("#") else line for line in lines)
    for text in (dense, airy):
        assert without_sha(parse_text(text)) == without_sha(parse_text(BASE))


@pytest.mark.parametrize("change", [("\n", "\r\n"), ("\n", "\r"), ("# Task Name", "\ufeff# Task Name")])
def test_line_ends_and_byte_order_marks_change_neither_the_task_nor_its_hash(change: tuple[str, str]) -> None:
    text = BASE.replace(*change, 1) if "ufeff" in ascii(change) else BASE.replace(*change)
    assert parse_text(text) == parse_text(BASE)


def test_any_other_change_of_the_text_changes_its_hash() -> None:
    assert parse_text(BASE + "\nProse.\n").sha256 != parse_text(BASE).sha256


def test_the_written_out_example_parses_as_the_design_says() -> None:
    checked = check_file(ROOT / "tasks" / "example.md")
    assert checked.diagnostics == ()
    definition = checked.definition
    assert definition is not None
    measure, report = definition.phases
    assert (definition.id, definition.name) == ("example", "Example")
    assert measure.steps == (
        Step(
            id="count",
            kind="tool",
            value="shell",
            description="Count the lines",
            timeout=30,
            arguments={"command": ["wc", "-l", "{{ inputs.file }}"]},
        ),
    )
    assert measure.outputs == (Output(name="lines", expression="steps.count.output.stdout.split()[0] | int"),)
    assert report.steps == (
        Step(
            id="report_validation_1",
            kind="validation",
            value="phases.measure.outputs.lines > 0",
            description="The file is empty",
            reads_phases=("measure",),
        ),
        Step(
            id="report_tool_2",
            kind="tool",
            value="write-file",
            description="Write the report",
            arguments={
                "path": "report.md",
                "content": "{{ inputs.file }} has {{ phases.measure.outputs.lines }} lines.",
            },
            reads_phases=("measure",),
        ),
    )
    assert (report.depends_on, report.reads_phases, report.reads_steps) == (("measure",), ("measure",), ())
    assert definition.outputs == (Output(name="lines", expression="phases.measure.outputs.lines"),)


def without_sha(definition: TaskDefinition) -> TaskDefinition:
    return definition.model_copy(update={"sha256": ""})
