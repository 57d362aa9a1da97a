"""Semantics, section T: what each kind of step does, and what comes of it."""

from __future__ import annotations

from typing import Any

import pytest
from engine import Engine
from inspecting import activities, children, no_task_failed, start_raw, summaries, timers
from observing import unique

from taskmark.contracts import INLINE_LIMIT, LOAD_ARTIFACT_ACTIVITY, is_artifact

DATA = """\
# Test

```yaml
requirements:
  data: {type: object, default: {}}
  items: {type: list, default: []}
  text: {type: string, default: ""}
```
"""


def task(body: str) -> str:
    """Returns a task with the inputs `data`, `items` and `text` and one phase `A` with these steps."""
    return f"{DATA}\n## Phase: A\n### Steps\n{body}"


def told(result: Any) -> dict[str, str]:
    """Returns the status of each step."""
    return {name: step.status.value for name, step in result.steps.items()}


# --- T1 and T2: skipping -----------------------------------------------------------------------------


@pytest.mark.semantics("T1")
@pytest.mark.parametrize(
    "step",
    [
        "tool: effect\n  with: {name: never}",
        "agent: ann - Say yes",
        "shout: never",
        "aggregate: longest\n  with: {over: [a]}",
        "approval: go",
        "validation: 1 > 2 - Never true",
        "wait: 1h",
        "tool: effect\n  forEach: [1, 2]\n  with: {name: never}",
    ],
)
async def test_a_step_whose_condition_is_false_is_skipped_and_calls_nothing(
    engine: Engine, step: str
) -> None:
    result = await engine.run(task(f"- {step}\n  id: it\n  if: inputs.text == 'yes'"))
    assert told(result) == {"it": "skipped"}
    assert "condition" in result.steps["it"].reason
    assert (result.status, result.steps["it"].attempts) == ("completed", 0)
    assert engine.traces(result.execution_id) == []
    assert await activities(engine, result.execution_id, phase="a") == []


@pytest.mark.semantics("T1")
async def test_a_step_whose_condition_is_true_runs(engine: Engine) -> None:
    result = await engine.run(
        task("- tool: effect\n  id: it\n  if: inputs.text == ''\n  with: {name: yes it is}")
    )
    assert told(result) == {"it": "completed"}
    assert engine.names(result.execution_id) == ["yes it is"]


@pytest.mark.semantics("T1")
async def test_what_stands_in_a_skipped_step_is_not_evaluated(engine: Engine) -> None:
    step = "- tool: effect\n  id: it\n  if: 1 > 2\n  with: {value: '{{ inputs.data.missing }}'}"
    assert told(await engine.run(task(step))) == {"it": "skipped"}


READERS = [
    "tool: effect\n  with: {name: '{{ steps.off.output.value }}'}",
    "validation: steps.off.output.value > 1 - Too small",
    "tool: effect\n  forEach: steps.off.output.value",
    "aggregate: sum\n  with: {over: steps.off.output}",
    "ann_says: x",
    "shout: x\n  with: {value: '{{ steps.off.output }}'}",
    "approval: go - Shall {{ steps.off.output }} go?",
    "tool: effect\n  if: steps.off.output.value > 1",
    "agent: ann - What about {{ steps.off.output }}?",
]


@pytest.mark.semantics("T2")
@pytest.mark.parametrize("step", [reader for reader in READERS if "ann_says" not in reader])
async def test_a_step_that_reads_a_step_without_output_is_skipped(engine: Engine, step: str) -> None:
    result = await engine.run(task(f"- tool: effect\n  id: off\n  if: 1 > 2\n- {step}\n  id: it"))
    assert (told(result)["it"], result.status) == ("skipped", "completed")
    assert "off" in result.steps["it"].reason
    assert result.steps["it"].attempts == 0
    assert engine.traces(result.execution_id) == []


@pytest.mark.semantics("T2")
async def test_a_step_that_reads_a_failed_step_is_skipped(engine: Engine) -> None:
    fails = "- tool: flaky\n  id: bad\n  critical: false\n  with: {category: logic}"
    result = await engine.run(
        task(f"{fails}\n- tool: effect\n  id: it\n  with: {{value: '{{{{ steps.bad.output }}}}'}}")
    )
    assert told(result) == {"bad": "failed", "it": "skipped"}
    assert "bad" in result.steps["it"].reason
    assert "it" in result.steps["bad"].error.affects


@pytest.mark.semantics("T2")
async def test_a_step_that_reads_a_phase_that_did_not_complete_is_skipped(engine: Engine) -> None:
    """Also where the phase completed and only the output is missing."""
    result = await engine.run(
        """
        ## Phase: Off
        if: 1 > 2
        ### Steps
        - tool: effect
          id: off
        ### Outputs
        - value: steps.off.output

        ## Phase: Partly
        ### Steps
        - tool: effect
          id: not_this
          if: 1 > 2
        ### Outputs
        - value: steps.not_this.output

        ## Phase: Reads
        dependsOn: [Off, Partly]
        if: 2 > 1
        ### Steps
        - tool: effect
          id: first
          with: {value: "{{ phases.off.outputs.value }}"}
        - tool: effect
          id: second
          with: {value: "{{ phases.partly.outputs.value }}"}
        - tool: effect
          id: third
          with: {value: "{{ steps.off.output }}"}
        - tool: effect
          id: fourth
          with: {value: "{{ phases.partly.outputs.value | default('none') }}"}
        """
    )
    assert result.status == "completed", result.error
    states = told(result)
    assert [states[name] for name in ("first", "second", "third", "fourth")] == [
        *["skipped"] * 3,
        "completed",
    ]
    assert "off" in result.steps["first"].reason
    assert "partly" in result.steps["second"].reason
    assert result.steps["fourth"].output["value"] == "none"


@pytest.mark.semantics("T2")
async def test_a_step_that_copes_with_the_absence_runs(engine: Engine) -> None:
    steps = """\
- tool: effect
  id: off
  if: 1 > 2
- tool: effect
  id: it
  with: {value: "{{ steps.off.output | default(7) }}"}
- tool: effect
  id: asks
  if: steps.off.status == 'skipped'
"""
    result = await engine.run(task(steps))
    assert (told(result)["it"], told(result)["asks"]) == ("completed", "completed")
    assert result.steps["it"].output["value"] == 7


# --- T3 and T4: forEach ------------------------------------------------------------------------------


@pytest.mark.semantics("T3")
async def test_for_each_gives_the_outputs_in_the_order_of_the_items(engine: Engine) -> None:
    """Whatever order they end in."""
    steps = """\
- tool: effect
  id: all
  forEach: "{{ inputs.items }}"
  with: {name: "n{{ index }}", seconds: "{{ (3 - index) * 0.1 }}", value: "{{ item * 10 }}"}
"""
    result = await engine.run(task(steps), {"items": [1, 2, 3, 4]})
    assert result.status == "completed", result.error
    assert [one["value"] for one in result.steps["all"].output] == [10, 20, 30, 40]
    assert sorted(engine.names(result.execution_id)) == ["n0", "n1", "n2", "n3"]
    ended = engine.names(result.execution_id, "end")
    assert ended.index("n3") < ended.index("n0")


@pytest.mark.semantics("T3")
async def test_the_items_of_a_step_run_side_by_side(engine: Engine) -> None:
    names = [unique() for _ in range(3)]
    step = f"- tool: hold\n  forEach: [{', '.join(names)}]\n  with: {{name: '{{{{ item }}}}'}}"
    execution = await engine.start(task(step))
    for name in names:
        await engine.until_trace(execution, "start", name)
    engine.release(*names)
    assert (await engine.wait(execution)).status == "completed"


@pytest.mark.semantics("T3")
@pytest.mark.parametrize("step", ["tool: effect", "agent: ann - Say", "shout: x", "aggregate: count"])
async def test_an_empty_list_completes_at_once_with_an_empty_list(engine: Engine, step: str) -> None:
    result = await engine.run(task(f"- {step}\n  id: it\n  forEach: inputs.items"))
    assert (told(result)["it"], result.steps["it"].output) == ("completed", [])
    assert engine.traces(result.execution_id) == []


@pytest.mark.semantics("T3")
@pytest.mark.parametrize("source", ["inputs.data", "inputs.text", "7"])
async def test_for_each_over_what_is_no_list_fails_the_step(engine: Engine, source: str) -> None:
    result = await engine.run(task(f"- tool: effect\n  id: it\n  forEach: {source}"))
    assert (told(result)["it"], result.steps["it"].error.type) == ("failed", "expression_failed")
    assert engine.traces(result.execution_id) == []


@pytest.mark.semantics("T3")
@pytest.mark.parametrize(
    "step", ["tool: effect", "agent: ann - Say", "shout: x", "aggregate: count", "task: once"]
)
async def test_items_are_no_attempts(engine: Engine, step: str) -> None:
    """What runs once for each of three items was tried once, whoever carries it out."""
    engine.file("tasks/once.md", "# Once\n\n## Phase: Only\n### Steps\n- wait: 1ms - A moment\n")
    result = await engine.run(task(f"- {step}\n  id: it\n  forEach: [1, 2, 3]"))
    assert (told(result)["it"], result.steps["it"].attempts) == ("completed", 1)


@pytest.mark.semantics("T3", "T13")
async def test_a_thousand_items_give_one_list(engine: Engine) -> None:
    """The list is larger than what travels inline, and is still whole for who looks into it."""
    steps = """\
- aggregate: list
  id: all
  forEach: inputs.items
  with: {over: ["{{ item }}", "{{ 'x' * 30 }}"]}
- validation: (steps.all.output | length) == 1200 and steps.all.output[1199][0] == 1199 - Not all
"""
    result = await engine.run(task(steps), {"items": list(range(1200))})
    assert result.status == "completed", result.error


@pytest.mark.semantics("T4")
async def test_a_failed_item_fails_a_critical_step_once_those_in_flight_have_ended(engine: Engine) -> None:
    """Two of five items run at once; the first fails while the second runs; the others never begin."""
    held = unique("held")
    steps = f"""\
maxConcurrent: 2
### Steps
- tool: mixed
  id: it
  forEach: [fail, {held}, never, never, never]
  with: {{name: "{{{{ item }}}}"}}
- tool: effect
  id: after
  with: {{name: never}}
"""
    execution = await engine.start(f"## Phase: A\n{steps}")
    await engine.until_trace(execution, "start", held)
    await engine.until_trace(execution, "start", "fail")
    await engine.until(execution, lambda p: p.in_flight == 1)
    assert (await engine.client.progress(execution)).phases[0].steps[0].status == "running"
    engine.release(held)
    result = await engine.wait(execution)
    assert told(result) == {"it": "failed", "after": "skipped"}
    assert sorted(engine.names(execution)) == ["fail", held]
    assert engine.names(execution, "end") == [held]


@pytest.mark.semantics("T4")
async def test_a_failed_item_of_a_step_that_is_not_critical_has_null_in_its_place(engine: Engine) -> None:
    steps = """\
- tool: mixed
  id: it
  critical: false
  forEach: [a, fail, c]
  with: {name: "{{ item }}"}
- validation: steps.it.output[1] is none and steps.it.output[2].name == "c" - Places moved
"""
    result = await engine.run(task(steps))
    assert (result.status, told(result)["it"]) == ("completed_with_errors", "completed")
    assert [one and one["name"] for one in result.steps["it"].output] == ["a", None, "c"]
    assert result.steps["it"].error.message


@pytest.mark.semantics("T4", "T12")
async def test_an_item_whose_templates_fail_is_a_failed_item(engine: Engine) -> None:
    with_ = "with: {value: '{{ 4 // item }}'}"
    step = f"- tool: effect\n  id: it\n  critical: false\n  forEach: [1, 0, 2]\n  {with_}"
    result = await engine.run(task(step))
    assert [one and one["value"] for one in result.steps["it"].output] == [4, None, 2]


# --- T5 and T6: plain steps --------------------------------------------------------------------------


@pytest.mark.semantics("T5")
async def test_a_plain_step_asks_each_agent_of_the_phase(engine: Engine) -> None:
    """The output is a mapping from agent to answer, without those that failed; others may read it."""
    text = "## Phase: A\n### Steps\n- Is this right?\n  id: ask\n\n### Agents\n- ann\n- dud\n- cid"
    result = await engine.run(f"{text}\n### Outputs\n- votes: steps.ask.output | length")
    assert result.steps["ask"].output == {
        "ann": {"vote": "yes", "agent": "ann"},
        "cid": {"vote": "no", "agent": "cid"},
    }
    assert (result.status, result.phases["a"].outputs) == ("completed_with_errors", {"votes": 2})
    asked = [t for t in engine.traces(result.execution_id) if t["what"] == "asked"]
    assert {t["name"] for t in asked} == {"ann", "dud", "cid"}
    assert {t["instruction"] for t in asked} == {"Is this right?"}


@pytest.mark.semantics("T5")
async def test_a_plain_step_without_agents_in_its_phase_asks_the_default_agents(engine: Engine) -> None:
    text = "# Test\n\n```yaml\nagents: [ann, bob]\n```\n\n## Phase: A\n### Steps\n- Is this right?\n  id: ask"
    result = await engine.run(text)
    assert set(result.steps["ask"].output) == {"ann", "bob"}


@pytest.mark.semantics("T5")
async def test_the_agents_of_a_plain_step_are_asked_side_by_side(engine: Engine) -> None:
    first, second = unique(), unique()
    for name in (first, second):
        engine.file(f"agents/{name}.md", f"---\nname: {name}\nmodel: probe:hold-{name}\n---\nWait.\n")
    execution = await engine.start(f"## Phase: A\n### Steps\n- Well?\n### Agents\n- {first}\n- {second}")
    for name in (first, second):
        await engine.until_trace(execution, "asked", name)
    engine.release(first, second)
    assert (await engine.wait(execution)).status == "completed"


@pytest.mark.semantics("T5")
async def test_a_plain_step_fails_if_all_its_agents_failed(engine: Engine) -> None:
    text = "## Phase: A\n### Steps\n- Is this right?\n  id: ask\n- tool: effect\n### Agents\n- dud"
    result = await engine.run(text)
    assert told(result)["ask"] == "failed"
    assert result.status == "failed"


@pytest.mark.semantics("T6")
async def test_a_plain_step_without_any_agent_is_a_note(engine: Engine) -> None:
    result = await engine.run(task("- Remember the milk\n  id: note"))
    assert (result.status, told(result)) == ("completed", {"note": "completed"})
    assert await activities(engine, result.execution_id, phase="a") == []


# --- T7: validations ---------------------------------------------------------------------------------


@pytest.mark.semantics("T7")
async def test_a_validation_that_is_true_completes_and_costs_no_activity(engine: Engine) -> None:
    result = await engine.run(task("- validation: 2 - 1 > 0 - Arithmetic is broken\n  id: it"))
    assert (told(result), result.steps["it"].output) == ({"it": "completed"}, True)
    assert await activities(engine, result.execution_id, phase="a") == []


@pytest.mark.semantics("T7")
async def test_a_validation_that_is_false_fails_with_its_description_and_is_never_retried(
    engine: Engine,
) -> None:
    step = (
        "- validation: inputs.text == 'b' - “{{ inputs.text }}” is not b\n  id: it\n  retry: {maxAttempts: 5}"
    )
    result = await engine.run(task(step), {"text": "a"})
    assert (result.status, told(result)) == ("failed", {"it": "failed"})
    assert (result.error.type, result.error.message) == ("validation_failed", "“a” is not b")
    assert (result.steps["it"].attempts, result.steps["it"].error.category) == (1, "logic")
    assert await timers(engine, result.execution_id, phase="a") == []


@pytest.mark.semantics("T7")
async def test_a_validation_without_description_fails_with_its_condition(engine: Engine) -> None:
    result = await engine.run(task("- validation: inputs.text == 'b'"))
    assert "inputs.text == 'b'" in result.error.message


# --- T8: aggregates ----------------------------------------------------------------------------------

SOURCES = """
## Phase: Outputs
### Steps
- tool: effect
  id: ignored
  with: {value: 100}
### Outputs
- one: 1
- two: 2
- ignored

## Phase: Answers
parallel: true
### Steps
- tool: effect
  id: ten
  with: {value: 10}
- tool: effect
  id: items
  forEach: [20, 30]
  with: {value: "{{ item }}"}
- validation: 1 > 0 - Not counted
- A note

## Phase: Elsewhere
### Steps
- tool: effect
  with: {value: 1000}
"""


@pytest.mark.semantics("T8")
async def test_an_aggregate_combines_what_it_is_given_over(engine: Engine) -> None:
    steps = """\
- tool: effect
  id: one
  with: {value: 1}
- aggregate: sum
  id: listed
  with: {over: "{{ [steps.one.output.value, 5] }}"}
- aggregate: max
  id: bare
  with: {over: inputs.items}
- aggregate: list
  id: mapping
  with: {over: "{{ {'a': 1, 'b': 2} }}"}
- aggregate: count
  id: nothing
  with: {over: []}
- aggregate: longest
  id: own
  with: {over: [a, ccc, bb]}
"""
    result = await engine.run(task(steps), {"items": [3, 9, 4]})
    outputs = {name: step.output for name, step in result.steps.items()}
    assert {k: outputs[k] for k in ("listed", "bare", "mapping", "nothing", "own")} == {
        "listed": 6,
        "bare": 9,
        "mapping": [1, 2],
        "nothing": 0,
        "own": "ccc",
    }


@pytest.mark.semantics("T8")
@pytest.mark.parametrize("over", ["inputs.text", "7", "inputs.data.missing"])
async def test_an_aggregate_over_what_is_no_list_fails(engine: Engine, over: str) -> None:
    result = await engine.run(task(f"- aggregate: count\n  id: it\n  with: {{over: {over}}}"))
    assert (told(result)["it"], result.steps["it"].error.category) == ("failed", "logic")


@pytest.mark.semantics("T8")
async def test_an_aggregate_combines_the_outputs_or_else_the_answers_of_the_phases_before(
    engine: Engine,
) -> None:
    """Of `Outputs` its expressions, of `Answers` what its steps said, of `Elsewhere` nothing."""
    result = await engine.run(
        f"{SOURCES}\n## Phase: All\ndependsOn: [Outputs, Answers]\n### Steps\n- aggregate: list\n  id: all"
    )
    found = [one["value"] if isinstance(one, dict) else one for one in result.steps["all"].output]
    assert found == [1, 2, 10, 20, 30]


@pytest.mark.semantics("T8")
async def test_an_aggregate_combines_what_steps_of_its_own_phase_answered_before_it(engine: Engine) -> None:
    steps = """\
- tool: effect
  with: {value: 1}
- tool: effect
  with: {value: 2}
- aggregate: sum
  id: sum
  with: {field: value}
- tool: effect
  with: {value: 4}
"""
    assert (await engine.run(task(steps))).steps["sum"].output == 3
    parallel = await engine.run(f"## Phase: A\nparallel: true\n### Steps\n{steps}")
    assert parallel.steps["sum"].output == 7


@pytest.mark.semantics("T8")
async def test_an_aggregate_over_agents_counts_each_answer(engine: Engine) -> None:
    steps = "- Yes or no?\n- aggregate: consensus\n  id: vote"
    text = f"## Phase: A\n### Steps\n{steps}\n### Agents\n- ann\n- bob\n- cid"
    output = (await engine.run(text)).steps["vote"].output
    assert (output["winner"], round(output["agreement"], 2)) == ("yes", 0.67)


# --- T9: sub-tasks -----------------------------------------------------------------------------------

CHILD = """\
# Child

```yaml
requirements:
  amount: number
```

## Phase: Inner
### Steps
- validation: inputs.amount > 0 - Not positive
- tool: effect
  id: work
  with: {name: "child {{ inputs.amount }}", value: "{{ inputs.amount }}"}

## Outputs
- doubled: steps.work.output.value * 2
"""


@pytest.mark.semantics("T9")
async def test_a_sub_task_runs_as_a_child_and_its_outputs_are_the_output(engine: Engine) -> None:
    engine.file("tasks/child.md", CHILD)
    steps = """\
- task: child
  id: sub
  with: {amount: "{{ 20 + 1 }}"}
- validation: steps.sub.output.doubled == 42 - Not doubled
"""
    result = await engine.run(task(steps))
    assert result.status == "completed", result.error
    assert result.steps["sub"].output == {"doubled": 42}
    child = f"{result.execution_id}/a/sub"
    assert await children(engine, result.execution_id, phase="a") == [child]
    assert (await engine.client.wait(child, timeout=5)).outputs == {"doubled": 42}
    assert engine.names(child) == ["child 21"]


@pytest.mark.semantics("T9")
async def test_a_sub_task_runs_once_per_item(engine: Engine) -> None:
    engine.file("tasks/child.md", CHILD)
    result = await engine.run(
        task("- task: child\n  id: sub\n  forEach: [1, 2]\n  with: {amount: '{{ item }}'}")
    )
    assert result.steps["sub"].output == [{"doubled": 2}, {"doubled": 4}]


@pytest.mark.semantics("T9")
async def test_the_failure_of_a_sub_task_is_the_failure_of_its_step(engine: Engine) -> None:
    engine.file("tasks/child.md", CHILD)
    result = await engine.run(
        task("- task: child\n  id: sub\n  with: {amount: -1}\n- tool: effect\n  id: after")
    )
    assert told(result) == {"sub": "failed", "after": "skipped"}
    error = result.steps["sub"].error
    assert (error.type, error.category) == ("validation_failed", "logic")
    assert "Not positive" in error.message


@pytest.mark.semantics("T9")
async def test_a_sub_task_has_its_own_limits(engine: Engine) -> None:
    """The child's time limit ends the child; the parent goes on."""
    held = unique()
    limit = "```yaml\nmaxExecutionTime: 300ms\n```"
    steps = f"- tool: hold\n  with: {{name: {held}}}"
    engine.file("tasks/brief.md", f"# Brief\n\n{limit}\n\n## Phase: A\n### Steps\n{steps}\n")
    result = await engine.run(
        task("- task: brief\n  id: sub\n  critical: false\n- tool: effect\n  id: after")
    )
    assert (result.status, told(result)) == ("completed_with_errors", {"sub": "failed", "after": "completed"})
    assert result.steps["sub"].error.type == "timed_out"


@pytest.mark.semantics("T9")
async def test_many_large_sub_tasks_of_one_phase_run(engine: Engine) -> None:
    """Five of 400 KiB each are more than the server takes as the input of their phase."""
    names = [f"large-{n}" for n in range(5)]
    for name in names:
        notes = "\n".join(f"- Note {n}: {'x' * 50_000}" for n in range(8))
        engine.file(f"tasks/{name}.md", f"# {name}\n\n## Phase: In\nparallel: true\n### Steps\n{notes}\n")
    result = await engine.run("## Phase: A\n### Steps\n" + "\n".join(f"- task: {name}" for name in names))
    assert (result.status, len(result.steps)) == ("completed", 5)
    await no_task_failed(engine.client.client.get_workflow_handle(result.execution_id))


@pytest.mark.semantics("T9", "S4")
async def test_inputs_that_do_not_fit_a_sub_task_fail_its_step(engine: Engine) -> None:
    engine.file("tasks/child.md", CHILD)
    result = await engine.run(task("- task: child\n  id: sub\n  with: {amount: '{{ inputs.text }}'}"))
    assert (told(result), result.steps["sub"].error.type) == ({"sub": "failed"}, "invalid_inputs")


# --- T10: waits --------------------------------------------------------------------------------------


@pytest.mark.semantics("T10")
async def test_a_wait_completes_after_its_time_and_calls_nothing(engine: Engine) -> None:
    result = await engine.run(task("- wait: 300ms - Have a break\n  id: pause"))
    step = result.steps["pause"]
    assert step.status == "completed"
    assert 0.29 < (step.finished_at - step.started_at).total_seconds() < 5
    assert await activities(engine, result.execution_id, phase="a") == []
    assert (await timers(engine, result.execution_id, phase="a"))[0] == 0.3
    assert "Have a break" in await summaries(engine, result.execution_id, "TIMER_STARTED", phase="a")


@pytest.mark.semantics("T10")
async def test_a_wait_of_no_time_completes_at_once(engine: Engine) -> None:
    assert told(await engine.run(task("- wait: 0s\n  id: it"))) == {"it": "completed"}


@pytest.mark.semantics("T10", "S2")
async def test_a_wait_of_a_hundred_years_can_be_ended(engine: Engine) -> None:
    execution = await engine.start(task("- wait: 36500 days\n  id: it"))
    await engine.until(execution, lambda p: p.in_flight >= 0 and p.phases[0].steps[0].status == "running")
    await engine.client.abort(execution)
    assert (await engine.wait(execution)).status == "cancelled"
    await no_task_failed(engine.client.client.get_workflow_handle(execution))


# --- T11: activities ---------------------------------------------------------------------------------


@pytest.mark.semantics("T11")
async def test_kinds_tools_aggregates_and_agents_run_as_activities_of_their_name(engine: Engine) -> None:
    steps = """\
- tool: effect
- shout: hello
  id: shouted
- aggregate: longest
  with: {over: [a, bb]}
- agent: ann - Say yes
"""
    result = await engine.run(task(steps))
    found = await activities(engine, result.execution_id, phase="a")
    assert found == ["tool.effect", "step.shout", "aggregate.longest", "agent.ask"]
    assert result.steps["shouted"].output == "HELLO"


@pytest.mark.semantics("T11")
async def test_a_broken_tool_fails_its_step_and_nothing_else(engine: Engine) -> None:
    steps = "- tool: broken\n  id: bad\n  critical: false\n- tool: effect\n  id: good"
    result = await engine.run(task(steps))
    assert (result.status, told(result)) == ("completed_with_errors", {"bad": "failed", "good": "completed"})
    error = result.steps["bad"].error
    assert (error.category, result.steps["bad"].attempts) == ("configuration", 1)
    assert "broken" in error.message


@pytest.mark.semantics("T11")
@pytest.mark.parametrize(
    ("kind", "value"),
    [("tool", "elsewhere"), ("aggregate", "elsewhere"), ("elsewhere", "x"), ("agent", "nobody")],
)
async def test_what_is_not_registered_on_the_worker_fails_its_step(
    engine: Engine, kind: str, value: str
) -> None:
    """A definition that was compiled elsewhere, with plugins that this worker lacks."""
    bad = {"id": "bad", "kind": kind, "value": value, "critical": False, "arguments": {"over": []}}
    good = {"id": "good", "kind": "tool", "value": "effect"}
    phase = {"name": "A", "slug": "a", "steps": [bad, good]}
    handle = await start_raw(engine, {"definition": {"id": "t", "name": "T", "phases": [phase]}})
    result = await engine.client.wait(handle.id, timeout=10)
    if kind == "agent":
        assert result.error.type == "agents_failed"
    else:
        assert told(result) == {"bad": "failed", "good": "completed"}
    error = result.steps["bad"].error
    assert (error.category, result.steps["bad"].attempts) == ("configuration", 1), error


# --- T12: expressions --------------------------------------------------------------------------------


LOOPS = "{% for a in 'x' * 9999 %}{% for b in 'x' * 9999 %}x{% endfor %}{% endfor %}"
LENGTH = "{value: '{{ steps.large.output.length }}'}"


@pytest.mark.semantics("T12")
@pytest.mark.parametrize(
    "step",
    [
        "tool: effect\n  with: {name: '{{ inputs.data.missing }}'}",
        "validation: 1 // 0 > 1 - No",
        "validation: ('x' * 999999999) | length > 1 - No",
        "validation: 9 ** 9999 > 1 - No",
        "tool: effect\n  if: inputs.data.missing > 1",
        "tool: effect\n  forEach: inputs.data.missing",
        f'tool: effect\n  with: {{name: "{LOOPS}"}}',
        "tool: effect\n  idempotencyKey: '{{ inputs.data.missing }}'",
        "approval: go - What of {{ inputs.data.missing }}?",
    ],
)
async def test_an_error_in_an_expression_fails_its_step_without_a_retry(engine: Engine, step: str) -> None:
    result = await engine.run(task(f"- {step}\n  id: it\n- tool: effect\n  id: after"))
    assert told(result) == {"it": "failed", "after": "skipped"}
    assert (result.error.type, result.error.category) == ("expression_failed", "logic")
    assert (result.error.step, result.steps["it"].attempts) == ("it", 1)
    assert engine.traces(result.execution_id) == []
    await no_task_failed(engine.client.client.get_workflow_handle(f"{result.execution_id}/a"))


@pytest.mark.semantics("T12")
async def test_expressions_see_only_completed_outputs(engine: Engine) -> None:
    """What runs, or failed, has a status and no output."""
    text = """\
- tool: flaky
  id: bad
  critical: false
  with: {category: logic}
- tool: effect
  id: look
  with: {value: "{{ [steps.bad.status, steps.bad.output is defined, steps.later is defined] }}"}
- tool: effect
  id: later
"""
    result = await engine.run(task(text.replace(", steps.later is defined", "")))
    assert result.steps["look"].output["value"] == ["failed", False]


@pytest.mark.semantics("T12")
async def test_expressions_keep_unicode_and_types(engine: Engine) -> None:
    steps = """\
- tool: effect
  id: schön
  with: {name: "{{ inputs.text }} 😀", value: "{{ {'ключ': [1, 2.5, none, true]} }}"}
- validation: steps.schön.output.value['ключ'][1] == 2.5 - Not kept
"""
    result = await engine.run(task(steps), {"text": "Ünïcode\u2028\U0001f600"})
    assert result.status == "completed", result.error
    assert engine.names(result.execution_id) == ["Ünïcode\u2028\U0001f600 😀"]


# --- T13: large outputs ------------------------------------------------------------------------------

LARGE = f"- tool: big\n  id: large\n  with: {{bytes: {3 * INLINE_LIMIT}}}"


@pytest.mark.semantics("T13")
async def test_an_output_above_32_kib_travels_by_reference(engine: Engine) -> None:
    """It is whole for the tool it is passed on to, and its content is nowhere in Temporal's history."""
    steps = f"{LARGE}\n- tool: measure\n  id: passed\n  with: {{value: '{{{{ steps.large.output }}}}'}}"
    result = await engine.run(task(steps))
    assert is_artifact(result.steps["large"].output)
    assert result.steps["passed"].output == {"length": 3 * INLINE_LIMIT}
    assert LOAD_ARTIFACT_ACTIVITY not in await activities(engine, result.execution_id, phase="a")
    for phase in (None, "a"):
        events = await engine.events(result.execution_id, phase=phase)
        assert sum(event.ByteSize() for event in events) < INLINE_LIMIT


@pytest.mark.semantics("T13")
async def test_an_output_of_less_than_32_kib_stays_where_it_is(engine: Engine) -> None:
    result = await engine.run(task(f"- tool: big\n  id: small\n  with: {{bytes: {INLINE_LIMIT - 100}}}"))
    assert result.steps["small"].output["length"] == INLINE_LIMIT - 100


@pytest.mark.semantics("T13")
@pytest.mark.parametrize(
    "step",
    [
        "validation: (steps.large.output.text | length) == SIZE - Not all",
        "validation: steps['large'].output.length == SIZE - Not all",
        "tool: effect\n  if: steps.large.output.length == SIZE\n  with: {name: x}",
        "tool: effect\n  forEach: '{{ [steps.large.output.length] }}'\n  with: {name: x}",
        "tool: effect\n  with: {value: '{{ steps.large.output.length }}', name: x}",
        "aggregate: count\n  with: {over: '{{ steps.lines.output }}'}",
        "aggregate: longest\n  with: {over: '{{ steps.lines.output }}'}",
        "shout: x\n  with: {value: '{{ steps.large.output.length }}'}",
        f"tool: flaky\n  with: {{category: logic}}\n  fallback: {LENGTH}",
        f"tool: flaky\n  with: {{category: logic}}\n  fallback: {{tool: effect, with: {LENGTH}}}",
    ],
)
async def test_an_expression_that_looks_into_a_large_output_gets_it(engine: Engine, step: str) -> None:
    lines = f"- tool: lines\n  id: lines\n  with: {{count: 5, bytes: {INLINE_LIMIT // 2}}}"
    step = step.replace("SIZE", str(3 * INLINE_LIMIT))
    result = await engine.run(task(f"{LARGE}\n{lines}\n- {step}\n  id: it"))
    assert told(result)["it"] == "completed", result.error
    if "count" in step:
        assert result.steps["it"].output == 5
    if "longest" in step:
        assert len(result.steps["it"].output) == INLINE_LIMIT // 2
    if "fallback: {value" in step:
        assert result.steps["it"].output == 3 * INLINE_LIMIT


@pytest.mark.semantics("T13", "P4")
async def test_other_phases_look_into_a_large_output_too(engine: Engine) -> None:
    """A later phase's steps, its condition, its forEach, and the task's outputs."""
    result = await engine.run(
        f"""## Phase: First
### Steps
{LARGE}
- tool: lines
  id: lines
  with: {{count: 3, bytes: {INLINE_LIMIT}}}
### Outputs
- all: steps.large.output
- length: steps.large.output.length
- lines: steps.lines.output

## Phase: Second
dependsOn: [First]
if: phases.first.outputs.all.length == {3 * INLINE_LIMIT} and steps.large.output.length > 1
forEach: phases.first.outputs.lines
### Steps
- tool: measure
  id: whole
  with: {{value: "{{{{ phases.first.outputs.all }}}}"}}
- validation: phases.first.outputs.all.length + index == phases.first.outputs.length + index - No
- tool: measure
  id: item
  with: {{value: "{{{{ {{'text': item}} }}}}"}}

## Outputs
- length: phases.first.outputs.all.length
- from_step: steps.large.output.text | length
- whole: phases.first.outputs.all
"""
    )
    assert result.status == "completed", result.error
    assert result.outputs["length"] == result.outputs["from_step"] == 3 * INLINE_LIMIT
    assert is_artifact(result.outputs["whole"])
    assert result.steps["whole"].output == [{"length": 3 * INLINE_LIMIT}] * 3
    assert result.steps["item[2]"].output == {"length": INLINE_LIMIT}


@pytest.mark.semantics("T13")
@pytest.mark.parametrize("step", ["validation: steps.large.output.length > 1 - No", "wait: 1s"])
async def test_an_artifact_that_is_gone_fails_what_looks_into_it_and_nothing_else(
    engine: Engine, step: str
) -> None:
    held, size = unique("held"), 3 * INLINE_LIMIT + len(step)
    large = f"- tool: big\n  id: large\n  with: {{bytes: {size}}}\n- tool: hold\n  with: {{name: {held}}}"
    execution = await engine.start(task(f"{large}\n- {step.replace('1s', '10ms')}\n  id: it"))
    await engine.until_trace(execution, "start", held)
    for file in engine.client.wiring.settings.artifacts_folder.glob("*/*"):
        if size < file.stat().st_size < size + 100:
            file.unlink()
    engine.release(held)
    result = await engine.wait(execution)
    if "wait" in step:
        assert result.status == "completed"
    else:
        assert (told(result)["it"], result.error.type) == ("failed", "artifact_failed")
        assert "is not there" in result.error.message


@pytest.mark.semantics("T13", "T9")
async def test_a_sub_task_gets_a_large_output_as_its_input(engine: Engine) -> None:
    text = (
        "# Reader\n\n```yaml\nrequirements:\n  text: string\n  more: object\n```\n\n## Phase: A\n### Steps\n"
    )
    check = (
        f"- validation: (inputs.text | length) == {3 * INLINE_LIMIT} and inputs.more.length > 1 - Cut off\n"
    )
    engine.file("tasks/reader.md", text + check)
    given = "{text: '{{ steps.large.output.text }}', more: '{{ steps.large.output }}'}"
    result = await engine.run(task(f"{LARGE}\n- task: reader\n  with: {given}"))
    assert result.status == "completed", result.error


@pytest.mark.semantics("T13")
async def test_an_agent_gets_a_large_output_in_its_context_and_its_instruction(engine: Engine) -> None:
    """An instruction is text: what stands in it is its content, however it is written."""
    steps = f"{LARGE}\n- agent: eve - {{{{ steps.large.output }}}}\n  id: ask"
    result = await engine.run(
        task(f"{steps}\n- validation: (steps.ask.output.instruction | length) > {3 * INLINE_LIMIT} - Cut off")
    )
    assert result.status == "completed", result.error


@pytest.mark.semantics("T13", "T3")
async def test_many_items_with_large_arguments_pass_in_portions(engine: Engine) -> None:
    """Forty-five calls of 100 KiB each are more than the server takes in one go."""
    step = (
        "- tool: measure\n  id: it\n  forEach: inputs.items\n  with: {value: {text: \"{{ 'x' * 100000 }}\"}}"
    )
    result = await engine.run(task(step), {"items": list(range(45))})
    assert result.status == "completed", result.error
    assert result.steps["it"].output == [{"length": 100_000}] * 45
    await no_task_failed(engine.client.client.get_workflow_handle(f"{result.execution_id}/a"))


@pytest.mark.semantics("T13", "T12")
async def test_arguments_too_large_for_any_call_fail_their_step(engine: Engine) -> None:
    texts = ", ".join("\"{{ 'x' * 200000 }}\"" for _ in range(9))
    result = await engine.run(task(f"- tool: effect\n  id: it\n  with: {{value: [{texts}]}}"))
    assert told(result) == {"it": "failed"}
    assert "KiB" in result.error.message
    await no_task_failed(engine.client.client.get_workflow_handle(f"{result.execution_id}/a"))


# --- T14: keys ---------------------------------------------------------------------------------------


@pytest.mark.semantics("T14")
async def test_every_attempt_of_a_call_has_one_key_and_every_other_call_another(engine: Engine) -> None:
    steps = """\
- tool: flaky
  id: thrice
  retry: {maxAttempts: 3, backoffMs: 1}
  with: {name: thrice, failures: 2}
- tool: effect
  id: items
  forEach: [1, 2]
  with: {name: "item {{ item }}"}
- tool: effect
  id: other
  with: {name: other}
- tool: flaky
  id: falls
  with: {name: falls, category: logic}
  fallback: {tool: effect, with: {name: fallback}}
- agent: ann - Say yes
- shout: hello
"""
    result = await engine.run(task(steps))
    traces = [t for t in engine.traces(result.execution_id) if t["what"] != "end"]
    keys: dict[str, set[str]] = {}
    for trace in traces:
        keys.setdefault(trace["name"], set()).add(trace["key"])
    assert [t["attempt"] for t in traces if t["name"] == "thrice"] == [1, 2, 3]
    assert all(len(found) == 1 for found in keys.values()), keys
    assert len({key for found in keys.values() for key in found}) == len(keys) == 8
    again = await engine.run(task("- tool: effect\n  id: other\n  with: {name: other}"))
    assert engine.traces(again.execution_id)[0]["key"] not in keys["other"]


@pytest.mark.semantics("T14")
async def test_the_agents_of_a_plain_step_have_keys_of_their_own(engine: Engine) -> None:
    result = await engine.run("## Phase: A\n### Steps\n- Well?\n### Agents\n- ann\n- bob")
    assert len({t["key"] for t in engine.traces(result.execution_id)}) == 2


@pytest.mark.semantics("T14")
async def test_a_key_of_the_files_own_replaces_the_derived_one(engine: Engine) -> None:
    step = "- tool: effect\n  idempotencyKey: 'order {{ inputs.text }}'\n  with: {name: x}"
    result = await engine.run(task(step), {"text": "7"})
    assert {t["key"] for t in engine.traces(result.execution_id)} == {"order 7"}
