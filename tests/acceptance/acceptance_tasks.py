"""The task that processes are killed in, and what has to be there afterwards."""

from __future__ import annotations

from taskmark.contracts import TaskResult, idempotency_key

LINE = 6
FAN = 6
ITEMS = 4


def _steps(count: int, name: str, seconds: float) -> str:
    return "\n".join(
        f"- tool: effect - {name} {n}\n  id: {name}{n}\n  with: {{seconds: {seconds}, value: {n + 1}}}"
        for n in range(count)
    )


MANY = f"""\
# Many steps

## Phase: Line
### Steps
{_steps(LINE, "line", 0.12)}
### Outputs
- last: steps.line{LINE - 1}.output

## Phase: Fan
parallel: true
### Steps
{_steps(FAN, "fan", 0.5)}
- aggregate: sum - All of them
  id: sum
### Outputs
- sum: steps.sum.output

## Phase: Each
forEach: [10, 20, 30, 40]
### Steps
- tool: effect - Once per item of the phase
  id: each
  with: {{seconds: 0.3, value: "{{{{ item }}}}"}}
### Outputs
- each: steps.each.output

## Phase: Last
dependsOn: [Line, Fan, Each]
### Steps
- tool: effect - Once per item of the step
  id: items
  forEach: [1, 2, 3]
  with: {{seconds: 0.1, value: "{{{{ item * phases.line.outputs.last }}}}"}}
- tool: effect - The end
  id: end
  with: {{value: "{{{{ phases.fan.outputs.sum }}}}"}}

## Outputs
- each: phases.each.outputs.each
- items: steps.items.output
- end: steps.end.output
"""

OUTPUTS = {"each": [10, 20, 30, 40], "items": [6, 12, 18], "end": 21}


def expected_effects(execution: str) -> dict[str, str]:
    """Returns the steps that must have taken effect, by the key of each."""
    calls: list[tuple[str, str, int | None]] = [
        *(("line", f"line{n}", None) for n in range(LINE)),
        *(("fan", f"fan{n}", None) for n in range(FAN)),
        *(("each", f"each[{n}]", None) for n in range(ITEMS)),
        *(("last", "items", n) for n in range(3)),
        ("last", "end", None),
    ]
    return {idempotency_key(execution, phase, step, item): step for phase, step, item in calls}


def assert_complete(result: TaskResult) -> None:
    """The result is the one of a run in which nothing happened: values, states, and no attempt counted."""
    assert result.status == "completed", result.error
    assert result.outputs == OUTPUTS
    assert {name: step.attempts for name, step in result.steps.items() if step.attempts != 1} == {}


WAITING = """\
# Waiting

## Phase: Ask
### Steps
- tool: effect - Before
  id: before
- approval: go - Shall we go?
- tool: effect - After
  id: after
"""

BUDGET = """\
# Budget

```yaml
budget: {agentCalls: 2}
```

## Phase: Ask
### Steps
- agent: yes - Say yes
  id: asked
  forEach: [1, 2, 3, 4]
"""

LONG = """\
# Long

## Phase: Work
### Steps
- tool: effect - Takes its time
  id: long
  with: {seconds: 2, value: done}
- tool: effect - After
  id: after
"""

CHAIN = f"""\
# Chain

## Phase: Only
### Steps
{_steps(8, "chain", 0.6)}
"""
