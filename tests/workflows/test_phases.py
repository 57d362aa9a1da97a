"""Semantics, section P: when a phase starts, in which order its steps run, what comes out of it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from engine import Engine
from inspecting import most_at_once
from observing import unique

FAILS = "- tool: flaky - It fails\n  with: {category: logic}"
"""A step that fails at once and is not retried."""


def statuses(result: Any) -> dict[str, str]:
    """Returns the status of each phase."""
    return {slug: phase.status.value for slug, phase in result.phases.items()}


def order(engine: Engine, execution: str) -> list[tuple[str, str]]:
    """Returns what happened and to which call, in order."""
    return [(t["what"], t["name"]) for t in engine.traces(execution)]


# --- P1: starting -----------------------------------------------------------------------------------


@pytest.mark.semantics("P1")
async def test_phases_without_dependencies_start_at_once(engine: Engine) -> None:
    """Three phases that hold are all seen running before one of them is let go."""
    names = [unique() for _ in range(3)]
    phases = [
        f"## Phase: P{i}\n### Steps\n- tool: hold\n  with: {{name: {name}}}\n" for i, name in enumerate(names)
    ]
    execution = await engine.start("\n".join(phases))
    for name in names:
        await engine.until_trace(execution, "start", name)
    assert "end" not in {t["what"] for t in engine.traces(execution)}
    engine.release(*names)
    assert (await engine.wait(execution)).status == "completed"


@pytest.mark.semantics("P1")
async def test_a_phase_waits_for_every_phase_it_depends_on(engine: Engine) -> None:
    fast, slow, last = unique("fast"), unique("slow"), unique("last")
    execution = await engine.start(
        f"""
        ## Phase: Last
        dependsOn: [Fast, Slow]
        ### Steps
        - tool: effect
          with: {{name: {last}}}

        ## Phase: Fast
        ### Steps
        - tool: effect
          with: {{name: {fast}}}

        ## Phase: Slow
        ### Steps
        - tool: hold
          with: {{name: {slow}}}
        """
    )
    await engine.until(execution, lambda p: [v.status for v in p.phases][1] == "completed")
    await engine.until_trace(execution, "start", slow)
    assert last not in engine.names(execution)
    engine.release(slow)
    assert (await engine.wait(execution)).status == "completed"
    assert engine.names(execution)[-1] == last
    assert order(engine, execution).index(("end", slow)) < order(engine, execution).index(("start", last))


@pytest.mark.semantics("P1")
async def test_never_more_than_the_allowed_phases_run(engine: Engine) -> None:
    """With `maxConcurrentPhases: 1` the second phase begins after the first has ended."""
    first, second = unique(), unique()
    execution = await engine.start(
        f"""
        # Test

        ```yaml
        maxConcurrentPhases: 1
        ```

        ## Phase: One
        ### Steps
        - tool: hold
          with: {{name: {first}}}

        ## Phase: Two
        ### Steps
        - tool: effect
          with: {{name: {second}}}
        """
    )
    await engine.until_trace(execution, "start", first)
    progress = await engine.until_status(execution, "running")
    assert [p.status for p in progress.phases] == ["running", "pending"]
    engine.release(first)
    await engine.wait(execution)
    assert order(engine, execution) == [
        ("start", first),
        ("end", first),
        ("start", second),
        ("end", second),
    ]


@pytest.mark.semantics("P1")
async def test_a_skipped_phase_takes_no_place_from_others(engine: Engine) -> None:
    result = await engine.run(
        """
        # Test

        ```yaml
        maxConcurrentPhases: 1
        ```

        ## Phase: One
        if: 1 > 2
        ### Steps
        - A note

        ## Phase: Two
        ### Steps
        - A note

        ## Phase: Three
        dependsOn: [Two]
        ### Steps
        - A note
        """
    )
    assert statuses(result) == {"one": "skipped", "two": "completed", "three": "completed"}


@pytest.mark.semantics("P1")
async def test_no_phase_starts_while_the_task_is_paused(engine: Engine) -> None:
    first, second = unique(), unique()
    execution = await engine.start(
        f"""
        ## Phase: One
        ### Steps
        - tool: hold
          with: {{name: {first}}}

        ## Phase: Two
        dependsOn: [One]
        ### Steps
        - tool: effect
          with: {{name: {second}}}
        """
    )
    await engine.until_trace(execution, "start", first)
    await engine.client.pause(execution)
    engine.release(first)
    progress = await engine.until_status(execution, "paused")
    assert [p.status for p in progress.phases] == ["completed", "pending"]
    assert second not in engine.names(execution)
    await engine.client.resume(execution)
    assert (await engine.wait(execution)).status == "completed"
    assert engine.names(execution) == [first, second]


@pytest.mark.semantics("P1")
async def test_no_phase_starts_once_the_task_is_stopped(engine: Engine) -> None:
    """A critical failure elsewhere stops the task; what was not begun is skipped and says why."""
    held = unique()
    result = await engine.start(
        f"""
        ## Phase: Bad
        ### Steps
        {FAILS.replace(chr(10), chr(10) + " " * 8)}

        ## Phase: Held
        ### Steps
        - tool: hold
          with: {{name: {held}}}

        ## Phase: After
        dependsOn: [Held]
        ### Steps
        - tool: effect
          with: {{name: never}}
        """
    )
    execution = result
    await engine.until_trace(execution, "start", held)
    await engine.until(execution, lambda p: p.phases[0].status == "failed")
    engine.release(held)
    ended = await engine.wait(execution)
    assert statuses(ended) == {"bad": "failed", "held": "completed", "after": "skipped"}
    assert ended.phases["after"].reason
    assert "never" not in engine.names(execution)


@pytest.mark.semantics("P1", "P8")
async def test_a_phase_without_steps_completes(engine: Engine) -> None:
    result = await engine.run("## Phase: Empty\n\n## Phase: Next\ndependsOn: [Empty]\n### Steps\n- A note")
    assert statuses(result) == {"empty": "completed", "next": "completed"}


# --- P2 to P4: skipping and conditions ----------------------------------------------------------------

CHAIN = f"""
## Phase: Bad
onFailure: continue
### Steps
{FAILS}
### Outputs
- value: steps.bad_tool_1.output.calls

## Phase: Needs
dependsOn: [Bad]
### Steps
- tool: effect
  id: inner
  with: {{name: never}}

## Phase: Further
dependsOn: [Needs]
### Steps
- tool: effect
  with: {{name: never}}

## Phase: Off
if: 1 > 2
### Steps
- A note

## Phase: After Off
dependsOn: [Off]
### Steps
- tool: effect
  with: {{name: never}}
"""


@pytest.mark.semantics("P2")
async def test_what_depends_on_a_failed_or_skipped_phase_is_skipped_with_its_steps(engine: Engine) -> None:
    result = await engine.run(CHAIN)
    assert statuses(result) == {
        "bad": "failed",
        "needs": "skipped",
        "further": "skipped",
        "off": "skipped",
        "after_off": "skipped",
    }
    assert "bad" in result.phases["needs"].reason
    assert "needs" in result.phases["further"].reason
    assert "off" in result.phases["after_off"].reason
    assert result.steps["inner"].status == "skipped"
    assert "bad" in result.steps["inner"].reason
    assert "never" not in engine.names(result.execution_id)


@pytest.mark.semantics("P2")
async def test_what_depends_on_a_phase_cancelled_from_outside_is_skipped(engine: Engine) -> None:
    held = unique()
    execution = await engine.start(
        f"""
        ## Phase: Held
        onFailure: continue
        ### Steps
        - tool: hold
          with: {{name: {held}}}

        ## Phase: Needs
        dependsOn: [Held]
        ### Steps
        - tool: effect
          with: {{name: never}}
        """
    )
    await engine.until_trace(execution, "start", held)
    await engine.client.client.get_workflow_handle(f"{execution}/held").cancel()
    result = await engine.wait(execution)
    assert result.phases["needs"].status == "skipped"
    assert "held" in result.phases["needs"].reason
    assert "never" not in engine.names(execution)


@pytest.mark.semantics("P3")
async def test_a_phase_whose_condition_is_false_is_skipped_and_calls_nothing(engine: Engine) -> None:
    result = await engine.run(
        """
        ## Phase: Look
        ### Steps
        - tool: effect
          id: look
          with: {name: look, value: 1}

        ## Phase: Off
        dependsOn: [Look]
        if: steps.look.output.value > 1
        ### Steps
        - tool: effect
          with: {name: never}

        ## Phase: On
        dependsOn: [Look]
        if: "{{ steps.look.output.value == 1 }}"
        ### Steps
        - tool: effect
          with: {name: 'on'}
        """
    )
    assert statuses(result) == {"look": "completed", "off": "skipped", "on": "completed"}
    assert "condition" in result.phases["off"].reason
    assert sorted(engine.names(result.execution_id)) == ["look", "on"]
    assert result.status == "completed"


@pytest.mark.semantics("P3")
async def test_a_condition_decides_also_after_a_dependency_that_did_not_complete(engine: Engine) -> None:
    result = await engine.run(
        f"""{CHAIN}
## Phase: Cleanup
dependsOn: [Bad]
if: phases.bad.status == "failed"
### Steps
- tool: effect
  with: {{name: cleanup}}

## Phase: Otherwise
dependsOn: [Bad]
if: phases.bad.status == "completed"
### Steps
- tool: effect
  with: {{name: never}}
"""
    )
    assert statuses(result)["cleanup"] == "completed"
    assert statuses(result)["otherwise"] == "skipped"
    assert engine.names(result.execution_id)[-1] == "cleanup"


@pytest.mark.semantics("P4")
async def test_a_condition_that_cannot_be_evaluated_fails_the_phase(engine: Engine) -> None:
    result = await engine.run(
        """
        # Test

        ```yaml
        requirements:
          data: {type: object, default: {}}
        ```

        ## Phase: Odd
        if: inputs.data.missing > 1
        ### Steps
        - tool: effect
          id: inner
          with: {name: never}
        """
    )
    assert (result.status, statuses(result)) == ("failed", {"odd": "failed"})
    assert result.error.type == "expression_failed"
    assert "missing" in result.error.message
    assert result.steps["inner"].status == "skipped"
    assert engine.names(result.execution_id) == []


@pytest.mark.semantics("P4")
async def test_after_a_failed_dependency_a_condition_that_cannot_be_evaluated_skips(engine: Engine) -> None:
    result = await engine.run(
        f"""{CHAIN}
## Phase: Wants
dependsOn: [Bad]
if: phases.bad.outputs.value > 1
### Steps
- tool: effect
  with: {{name: never}}
"""
    )
    assert statuses(result)["wants"] == "skipped"
    assert "bad" in result.phases["wants"].reason
    assert result.status == "completed_with_errors"


# --- P5: order --------------------------------------------------------------------------------------


@pytest.mark.semantics("P5")
async def test_steps_run_in_the_order_of_the_file_each_after_the_one_before(engine: Engine) -> None:
    steps = "\n".join(f"- tool: effect\n  with: {{name: s{n}, seconds: {0.05 * (3 - n)}}}" for n in range(4))
    result = await engine.run(f"## Phase: A\n### Steps\n{steps}")
    wanted = [(what, f"s{n}") for n in range(4) for what in ("start", "end")]
    assert order(engine, result.execution_id) == wanted


@pytest.mark.semantics("P5")
async def test_steps_of_a_parallel_phase_run_at_once(engine: Engine) -> None:
    names = [unique() for _ in range(4)]
    steps = "\n".join(f"- tool: hold\n  with: {{name: {name}}}" for name in names)
    execution = await engine.start(f"## Phase: A\nparallel: true\n### Steps\n{steps}")
    for name in names:
        await engine.until_trace(execution, "start", name)
    engine.release(*names)
    assert (await engine.wait(execution)).status == "completed"


@pytest.mark.semantics("P5")
async def test_in_a_parallel_phase_an_aggregate_comes_after_all_others(engine: Engine) -> None:
    """Also one that stands first; and what reads the aggregate comes after it."""
    result = await engine.run(
        """
        ## Phase: A
        parallel: true
        ### Steps
        - aggregate: sum - Add up
          id: total
          with: {field: value}
        - tool: effect
          with: {name: slow, seconds: 0.2, value: 1}
        - tool: effect
          with: {name: fast, value: 2}
        - tool: effect
          with: {name: "after {{ steps.total.output }}"}
        """
    )
    assert result.status == "completed", result.error
    assert result.steps["total"].output == 3
    assert engine.names(result.execution_id)[-1] == "after 3"


@pytest.mark.semantics("P5")
async def test_in_a_parallel_phase_a_step_comes_after_those_it_reads(engine: Engine) -> None:
    result = await engine.run(
        """
        ## Phase: A
        parallel: true
        ### Steps
        - tool: effect
          id: second
          with: {name: "second {{ steps.first.output.value }}"}
        - tool: effect
          id: first
          with: {name: first, seconds: 0.1, value: 7}
        - tool: effect
          id: aside
          with: {name: aside}
        """
    )
    happened = order(engine, result.execution_id)
    assert happened.index(("end", "first")) < happened.index(("start", "second 7"))
    assert happened.index(("start", "aside")) < happened.index(("end", "first"))


# --- P6: limits -------------------------------------------------------------------------------------


def _limited(options: str, phases: int, names: list[str], phase_options: str = "") -> str:
    """Returns a task of parallel phases whose steps hold, with the names shared out among them."""
    share = len(names) // phases
    parts = [f"# Test\n\n```yaml\nversion: '1'\n{options}\n```\n"]
    for index in range(phases):
        steps = [f"- tool: hold\n  with: {{name: {n}}}" for n in names[index * share : (index + 1) * share]]
        parts.append(f"## Phase: P{index}\nparallel: true\n{phase_options}\n### Steps\n" + "\n".join(steps))
    return "\n\n".join(parts)


async def _drained(engine: Engine, execution: str, names: list[str], at_once: int) -> None:
    """Lets go one after the other and fails if ever more or fewer than `at_once` run, as far as there are."""
    for gone in range(len(names)):
        running = min(at_once, len(names) - gone)
        await _until_running(engine, execution, running)
        started = [t["name"] for t in engine.traces(execution) if t["what"] == "start"]
        ended = [t["name"] for t in engine.traces(execution) if t["what"] == "end"]
        engine.release(next(name for name in started if name not in ended))
        while len([t for t in engine.traces(execution) if t["what"] == "end"]) == len(ended):
            await asyncio.sleep(0.01)
    assert most_at_once(engine.traces(execution), names) == at_once


async def _until_running(engine: Engine, execution: str, count: int) -> None:
    async with asyncio.timeout(10):
        while len(engine.names(execution)) - len(engine.names(execution, "end")) != count:
            await asyncio.sleep(0.01)


@pytest.mark.semantics("P6")
async def test_never_more_than_the_allowed_steps_of_a_phase_run(engine: Engine) -> None:
    names = [unique() for _ in range(5)]
    execution = await engine.start(_limited("", 1, names, "maxConcurrent: 2"))
    await _drained(engine, execution, names, 2)
    assert (await engine.wait(execution)).status == "completed"


@pytest.mark.semantics("P6")
async def test_phases_side_by_side_share_the_steps_of_the_task_equally(engine: Engine) -> None:
    """Of four steps at once each of two phases gets two, however many it has."""
    names = [unique() for _ in range(6)]
    execution = await engine.start(_limited("maxConcurrentSteps: 4", 2, names))
    await _until_running(engine, execution, 4)
    running = engine.names(execution)
    assert len(set(running) & set(names[:3])) == len(set(running) & set(names[3:])) == 2
    engine.release(*names)
    assert (await engine.wait(execution)).status == "completed"
    assert most_at_once(engine.traces(execution), names) == 4


@pytest.mark.semantics("P6")
async def test_more_phases_than_allowed_steps_wait_for_their_turn(engine: Engine) -> None:
    names = [unique() for _ in range(4)]
    execution = await engine.start(_limited("maxConcurrentSteps: 2", 4, names))
    await _drained(engine, execution, names, 2)
    assert (await engine.wait(execution)).status == "completed"


@pytest.mark.semantics("P6", "T3")
async def test_items_of_a_step_count_as_steps(engine: Engine) -> None:
    names = [unique() for _ in range(4)]
    execution = await engine.start(
        f"""
        ## Phase: A
        maxConcurrent: 3
        ### Steps
        - tool: hold
          forEach: [{", ".join(names)}]
          with: {{name: "{{{{ item }}}}"}}
        """
    )
    await _drained(engine, execution, names, 3)
    assert (await engine.wait(execution)).status == "completed"


# --- P7: forEach of a phase ---------------------------------------------------------------------------

ITEMS = """
## Phase: Each
forEach: [10, 20, 30]
### Steps
- tool: effect
  id: double
  with: {name: "double {{ item }}", value: "{{ item * 2 }}"}
- validation: steps.double.output.value == item * 2 - Another item's output
- tool: effect
  id: place
  if: index != 1
  with: {name: "place {{ index }}", value: "{{ steps.double.output.value }}"}
### Outputs
- doubled: steps.double.output.value
- placed: steps.place.output.value

## Phase: After
dependsOn: [Each]
### Steps
- validation: phases.each.outputs.doubled == [20, 40, 60] - Not all
- validation: steps.double.output[2].value == 60 - Not the third
"""


@pytest.mark.semantics("P7")
async def test_a_phase_with_for_each_runs_its_steps_once_per_item(engine: Engine) -> None:
    result = await engine.run(ITEMS)
    assert result.status == "completed", result.error
    assert {f"double[{n}]" for n in range(3)} <= set(result.steps)
    assert [result.steps[f"double[{n}]"].output["value"] for n in range(3)] == [20, 40, 60]
    assert [value["value"] for value in result.steps["double"].output] == [20, 40, 60]


@pytest.mark.semantics("P7", "P9")
async def test_the_outputs_of_a_phase_with_for_each_are_lists_over_the_items(engine: Engine) -> None:
    """An item without the output has null in its place, so that places stay places."""
    result = await engine.run(ITEMS)
    assert result.phases["each"].outputs == {"doubled": [20, 40, 60], "placed": [20, None, 60]}
    assert result.steps["place[1]"].status == "skipped"


@pytest.mark.semantics("P7")
async def test_the_items_of_a_phase_run_side_by_side_within_the_limits(engine: Engine) -> None:
    names = [unique() for _ in range(4)]
    execution = await engine.start(
        f"""
        ## Phase: Each
        forEach: [{", ".join(names)}]
        maxConcurrent: 2
        ### Steps
        - tool: hold
          with: {{name: "{{{{ item }}}}"}}
        """
    )
    await _drained(engine, execution, names, 2)
    assert (await engine.wait(execution)).status == "completed"


@pytest.mark.semantics("P7")
async def test_a_phase_over_an_empty_list_completes_at_once(engine: Engine) -> None:
    steps = "- tool: effect\n  id: one\n### Outputs\n- all: steps.one.output"
    result = await engine.run(f"## Phase: Each\nforEach: []\n### Steps\n{steps}")
    assert (result.status, result.phases["each"].outputs) == ("completed", {"all": []})
    assert result.steps["one"].output == []
    assert engine.names(result.execution_id) == []


@pytest.mark.semantics("P7")
@pytest.mark.parametrize("source", ["inputs.data", "inputs.data.missing", "1 // 0"])
async def test_a_phase_over_what_is_no_list_fails(engine: Engine, source: str) -> None:
    result = await engine.run(
        f"""
        # Test

        ```yaml
        requirements:
          data: {{type: object, default: {{}}}}
        ```

        ## Phase: Each
        forEach: {source}
        ### Steps
        - tool: effect
          with: {{name: never}}
        """
    )
    assert (result.status, result.error.type) == ("failed", "expression_failed")
    assert engine.names(result.execution_id) == []


# --- P8 to P10: completing, outputs -------------------------------------------------------------------


@pytest.mark.semantics("P8")
async def test_outputs_are_evaluated_when_all_steps_have_ended(engine: Engine) -> None:
    held = unique()
    execution = await engine.start(
        f"""
        ## Phase: A
        parallel: true
        ### Steps
        - tool: effect
          id: quick
          with: {{value: 1}}
        - tool: hold
          id: slow
          with: {{name: {held}, value: 2}}
        ### Outputs
        - sum: steps.quick.output.value + steps.slow.output.value
        """
    )
    await engine.until(execution, lambda p: p.phases[0].counts.get("completed") == 1)
    assert (await engine.client.progress(execution)).phases[0].status == "running"
    engine.release(held)
    assert (await engine.wait(execution)).phases["a"].outputs == {"sum": 3}


@pytest.mark.semantics("P8")
async def test_a_failed_step_that_is_not_critical_lets_its_phase_complete(engine: Engine) -> None:
    steps = f"{FAILS}\n  critical: false\n- tool: effect\n  id: next\n  with: {{value: 5}}"
    result = await engine.run(f"## Phase: A\n### Steps\n{steps}\n### Outputs\n- got: steps.next.output.value")
    assert statuses(result) == {"a": "completed"}
    assert result.phases["a"].outputs == {"got": 5}
    result = await engine.run(f"## Phase: A\n### Steps\n{FAILS}")
    assert statuses(result) == {"a": "failed"}


@pytest.mark.semantics("P9")
async def test_an_output_that_needs_a_step_without_one_is_left_out(engine: Engine) -> None:
    result = await engine.run(
        f"""## Phase: A
### Steps
{FAILS}
  id: bad
  critical: false
- tool: effect
  id: off
  if: 1 > 2
- tool: effect
  id: good
  with: {{value: 1}}
### Outputs
- good: steps.good.output.value
- bad: steps.bad.output.calls
- off: steps.off.output.value + 1
- either: (steps.off.output | default({{'value': 9}})).value
- quoted: steps["bad"].output
"""
    )
    assert statuses(result) == {"a": "completed"}
    assert result.phases["a"].outputs == {"good": 1, "either": 9}


@pytest.mark.semantics("P9")
@pytest.mark.parametrize(
    "expression", ["steps.good.output.wrong", "1 // 0", "steps.good.output.value + 'a'", "'x' * 99999999"]
)
async def test_an_output_that_is_wrong_in_another_way_fails_the_phase(
    engine: Engine, expression: str
) -> None:
    """Also in a phase that has a step without output whose id is a part of the expression's text."""
    result = await engine.run(
        f"""
        ## Phase: A
        ### Steps
        - tool: effect
          id: o
          if: 1 > 2
        - tool: effect
          id: good
          with: {{value: 1}}
        ### Outputs
        - odd: {expression}
        """
    )
    assert (result.status, statuses(result)) == ("failed", {"a": "failed"})
    assert result.error.type == "expression_failed"
    assert "odd" in result.error.message


@pytest.mark.semantics("P10")
async def test_an_output_without_expression_is_that_of_the_step_or_agent_of_its_name(engine: Engine) -> None:
    result = await engine.run(
        """
        ## Phase: A
        ### Steps
        - tool: effect
          id: numbers
          with: {value: 1}
        - agent: bob - What do you say?
        - What do you all say?
        - tool: effect
          id: last
          with: {value: 3}
        ### Agents
        - ann
        - cid
        ### Outputs
        - numbers
        - bob
        - cid
        - something
        """
    )
    outputs = result.phases["a"].outputs
    assert outputs["numbers"]["value"] == 1
    assert outputs["bob"] == {"vote": "yes", "agent": "bob"}
    assert outputs["cid"] == {"vote": "no", "agent": "cid"}
    assert outputs["something"]["value"] == 3


@pytest.mark.semantics("P10")
async def test_else_it_is_that_of_the_last_step_that_has_one(engine: Engine) -> None:
    result = await engine.run(
        """
        ## Phase: A
        ### Steps
        - tool: effect
          with: {value: 1}
        - tool: effect
          if: 1 > 2
          with: {value: 2}
        - A note
        ### Outputs
        - result

        ## Phase: B
        ### Steps
        - A note
        ### Outputs
        - result
        """
    )
    assert result.phases["a"].outputs["result"]["value"] == 1
    assert result.phases["b"].outputs == {}


# --- P11 and P12: failing ----------------------------------------------------------------------------


@pytest.mark.semantics("P11")
@pytest.mark.parametrize("parallel", ["true", "false"])
async def test_a_phase_all_of_whose_agents_failed_has_failed(engine: Engine, parallel: str) -> None:
    ask = "- agent: dud - What do you say?"
    text = f"## Phase: A\nparallel: {parallel}\n### Steps\n{ask}\n{ask}"
    result = await engine.run(text)
    assert (result.status, statuses(result)) == ("failed", {"a": "failed"})
    assert (result.error.type, result.error.category) == ("agents_failed", "logic")
    assert not result.steps["a_agent_1"].error.will_retry


@pytest.mark.semantics("P11")
async def test_a_note_is_no_agent_whose_failure_fails_the_phase(engine: Engine) -> None:
    """Nobody was asked, so nobody failed to answer."""
    text = "## Phase: A\n### Steps\n- Only a note\n  critical: false\n  if: ([] | first) > 0\n"
    result = await engine.run(text)
    assert (result.status, result.phases["a"].status) == ("completed_with_errors", "completed")


@pytest.mark.semantics("P11")
async def test_a_phase_one_of_whose_agents_answered_completes(engine: Engine) -> None:
    text = "## Phase: A\n### Steps\n- agent: dud - What do you say?\n- agent: ann - And you?"
    result = await engine.run(text)
    assert (result.status, statuses(result)) == ("completed_with_errors", {"a": "completed"})


@pytest.mark.semantics("P12")
async def test_a_phase_that_takes_too_long_has_failed_as_timed_out(engine: Engine) -> None:
    """What runs is cancelled, what has not begun is skipped, what has ended stays."""
    held = unique()
    execution = await engine.start(
        f"""
        ## Phase: Slow
        timeout: 700ms
        onFailure: continue
        ### Steps
        - tool: effect
          id: before
        - tool: hold
          id: during
          with: {{name: {held}}}
        - tool: effect
          id: after
          with: {{name: never}}

        ## Phase: Other
        ### Steps
        - A note
        """
    )
    result = await engine.wait(execution)
    assert statuses(result) == {"slow": "failed", "other": "completed"}
    assert result.phases["slow"].error.type == "timed_out"
    told = {name: step.status.value for name, step in result.steps.items()}
    assert (told["before"], told["during"], told["after"]) == ("completed", "cancelled", "skipped")
    await engine.until_trace(execution, "cancelled", held)
    assert "never" not in engine.names(execution)


@pytest.mark.semantics("P12")
async def test_the_timeout_of_a_phase_fails_the_task_unless_it_says_otherwise(engine: Engine) -> None:
    held = unique()
    text = f"## Phase: Slow\ntimeout: 300ms\n### Steps\n- tool: hold\n  with: {{name: {held}}}"
    result = await engine.run(text)
    assert (result.status, result.error.type) == ("failed", "timed_out")
