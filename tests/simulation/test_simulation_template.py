"""The file of tests to begin with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from starter.simulation.suite import Outcome, Suite
from starter.simulation.template import OUTPUTS, template
from starter.wiring import Wiring
from taskmark.settings import Settings
from taskmark.task import parse_file, parse_text
from taskmark.task.catalog import BUILT_IN_TOOLS

Run = Callable[[str, str], list[Outcome]]
ROOT = Path(__file__).parents[2]
EVERYTHING = """
```yaml
requirements:
  text: {type: string, min: 9}
  number: {type: number, min: 2.5}
  integer: {type: integer, min: 3}
  boolean: boolean
  date: date
  duration: duration
  list: list
  object: object
  enum: {type: enum, values: [b, a]}
  given: {type: integer, default: 3}
```
## Phase: All
### Steps
- A plain step with an agent
- tool: shell - With a fallback
  id: shell
  with: {command: [echo]}
  fallback: {tool: http, with: {url: "https://example.org"}}
- agent: ann - Ask her
  id: ann
- agent: "{{ item }}" - Ask whoever is chosen
  id: chosen
  forEach: [bob]
- tool: python - Call it
  id: called
  with: {function: "m:f", args: ["{{ steps.ann.output.score }}"]}
- aggregate: sum - Add
  with: {over: "{{ steps.called.output.parts.values }}"}
  if: steps.called.output.parts is defined
- approval: release - Sure?
  timeout: 1h
- question: how-many - How many?
  timeout: 1h
  schema: {type: integer}
- question: which - Which?
  timeout: 1h
  schema: {enum: [x, y]}
### Agents
- bob
### Outputs
- ann
- parts: steps.called.output.parts

## Phase: Read
dependsOn: [All]
### Steps
- validation: phases.all.outputs.ann.vote != 'x' and phases.all.outputs.parts.first != 'x' - Fine
"""


def test_every_step_that_calls_something_has_a_mock_of_the_shape_that_is_read() -> None:
    text = template(parse_text("# It" + EVERYTHING), "it")
    assert '  ann:  # agent ann\n          output: {"score": null, "vote": null}' in text
    assert "chosen:  # agent {{ item }}" in text
    assert 'output: {"parts": {"values": null, "first": null}}' in text
    assert "        bob:\n          output: null" in text
    assert "release: approve" in text
    assert "how_many: {answer: 1}" in text
    assert 'which: {answer: "x"}' in text


def test_it_is_a_file_of_tests_and_its_inputs_fit(run: Run) -> None:
    """What is left to be filled in shows as a difference of the task, never as a file that is wrong."""
    task = EVERYTHING.replace("  if: steps.called.output.parts is defined", "  if: 1 > 2")
    [outcome] = run(task, template(parse_text("# It" + task), "it"))
    assert outcome.passed, outcome.problems
    assert outcome.unused == ()


@pytest.mark.parametrize("task", ["example", "investment-committee-meeting"])
def test_it_is_accepted_for_our_own_tasks(task: str, tmp_path: Path) -> None:
    wiring = Wiring(Settings(root=ROOT))
    definition = parse_file(ROOT / "tasks" / f"{task}.md", catalog=wiring.catalog)
    file = tmp_path / "it.tests.yaml"
    file.write_text(template(definition, task))
    assert Suite(file, definition, wiring.registry, wiring.compiler().limits)


def test_every_built_in_tool_but_python_has_a_sample() -> None:
    assert set(OUTPUTS) == set(BUILT_IN_TOOLS) - {"python"}
