"""Semantics, T15 to T17: agents that an expression chooses."""

from __future__ import annotations

from typing import Any

import pytest
from engine import Engine
from inspecting import activities, no_task_failed, start_raw, summaries
from observing import stored_attempts, unique

DATA = """\
# Test

```yaml
requirements:
  who: {type: list, default: [cid, ann]}
%s```

## Phase: A
%s### Steps
"""
LISTED = "### Agents\n- ann\n- cid\n- dud\n"
EACH = '- agent: "{{ item }}" - Yes or no, {{ item }}?\n  id: it\n  forEach: inputs.who\n'


def task(steps: str, agents: str = LISTED, metadata: str = "") -> str:
    """Returns a task with one phase `A` of these steps, and an input `who`."""
    return DATA % (metadata, agents) + steps


def voters(output: Any) -> list[str | None]:
    """Returns who answered, in order."""
    return [one and one["agent"] for one in output]


@pytest.mark.semantics("T15", "T3")
async def test_each_item_asks_the_agent_that_it_chooses(engine: Engine) -> None:
    """In the order of the items; the same one twice is asked twice; nobody else is asked."""
    result = await engine.run(task(EACH), {"who": ["cid", "ann", "cid"]})
    assert (result.status, voters(result.steps["it"].output)) == ("completed", ["cid", "ann", "cid"])
    asked = [t for t in engine.traces(result.execution_id) if t["what"] == "asked"]
    assert sorted((t["name"], t["instruction"]) for t in asked) == [
        ("ann", "Yes or no, ann?"),
        ("cid", "Yes or no, cid?"),
        ("cid", "Yes or no, cid?"),
    ]
    assert await activities(engine, result.execution_id, phase="a") == ["agent.ask"] * 3


@pytest.mark.semantics("T15")
async def test_a_step_without_items_chooses_one_agent(engine: Engine) -> None:
    result = await engine.run(task('- agent: "{{ inputs.who | last }}" - Well?\n  id: it'))
    assert result.steps["it"].output == {"vote": "yes", "agent": "ann"}


@pytest.mark.semantics("T15")
async def test_a_step_of_a_phase_that_runs_per_item_chooses_by_its_item(engine: Engine) -> None:
    text = task('- agent: "{{ item }}" - Well?\n  id: it').replace(
        "## Phase: A\n", "## Phase: A\nforEach: inputs.who\n"
    )
    result = await engine.run(text)
    assert voters([result.steps[f"it[{lane}]"].output for lane in (0, 1)]) == ["cid", "ann"]


@pytest.mark.semantics("T15")
async def test_the_agents_of_the_task_may_be_chosen_where_the_phase_lists_none(engine: Engine) -> None:
    result = await engine.run(task(EACH, agents="", metadata="agents: [ann, cid]\n"))
    assert voters(result.steps["it"].output) == ["cid", "ann"]


@pytest.mark.semantics("T15", "T16")
async def test_the_agents_of_the_task_may_not_be_chosen_where_the_phase_lists_others(engine: Engine) -> None:
    text = task(
        EACH + "\n## Phase: B\n### Steps\n- Well?\n", agents="### Agents\n- cid\n", metadata="agents: [ann]\n"
    )
    result = await engine.run(text)
    assert voters(result.steps["it"].output) == ["cid", None]
    assert (
        '`{{ item }}` gives "ann", and only these agents may be chosen: cid'
        in result.steps["it"].error.message
    )


@pytest.mark.semantics("T15", "T13")
async def test_a_choice_may_look_into_a_large_output(engine: Engine) -> None:
    large = "- tool: big\n  id: large\n  with: {bytes: 50000}\n"
    chosen = "- agent: \"{{ 'ann' if steps.large.output.length == 50000 else 'cid' }}\" - Well?\n  id: it"
    result = await engine.run(task(large + chosen))
    assert result.steps["it"].output["agent"] == "ann"


@pytest.mark.semantics("T15", "T2")
async def test_a_choice_by_an_output_that_is_not_there_skips_the_step(engine: Engine) -> None:
    off = "- tool: effect\n  id: off\n  if: 1 > 2\n"
    result = await engine.run(task(off + '- agent: "{{ steps.off.output.value }}" - Well?\n  id: it'))
    assert (result.status, result.steps["it"].status) == ("completed", "skipped")
    assert "needs the output of off" in result.steps["it"].reason


@pytest.mark.semantics("T15", "T14")
async def test_the_history_names_the_agent_of_each_item_and_keys_differ(engine: Engine) -> None:
    result = await engine.run(task(EACH), {"who": ["cid", "ann", "ann"]})
    attempts = await stored_attempts(
        engine, result.execution_id, "it", lambda found: sum(a.status == "completed" for a in found) > 2
    )
    asked = [
        (one.item, one.agent)
        for one in sorted(attempts, key=lambda one: one.item or 0)
        if one.item is not None
    ]
    assert asked == [(0, "cid"), (1, "ann"), (2, "ann")]
    assert len({t["key"] for t in engine.traces(result.execution_id)}) == 3
    told = await summaries(engine, result.execution_id, "ACTIVITY_TASK_SCHEDULED", phase="a")
    assert "it · item 1 (cid): Yes or no, cid?" in told


@pytest.mark.semantics("T15", "R1")
async def test_a_chosen_agent_is_tried_again_and_falls_back_like_any_other(engine: Engine) -> None:
    name = unique()
    engine.file(f"agents/{name}.md", f"---\nname: {name}\nmodel: probe:fail\n---\nFail.\n")
    step = EACH.replace("forEach: inputs.who", f"forEach: [{name}, ann]") + "  fallback: cid"
    result = await engine.run(task(step, agents=f"### Agents\n- {name}\n- ann\n"))
    assert (result.status, voters(result.steps["it"].output)) == ("completed", ["cid", "ann"])
    assert result.steps["it"].fallback


@pytest.mark.semantics("T15", "P11")
async def test_agents_that_are_chosen_may_fail_as_long_as_one_answers(engine: Engine) -> None:
    result = await engine.run(task(EACH), {"who": ["dud", "ann"]})
    assert (result.status, result.phases["a"].status) == ("completed_with_errors", "completed")
    assert voters(result.steps["it"].output) == [None, "ann"]
    assert "dud has nothing to say" in result.steps["it"].error.message


@pytest.mark.semantics("T15", "P10")
async def test_an_output_is_not_found_by_the_name_of_a_chosen_agent(engine: Engine) -> None:
    """It is what it is without such an agent: the output of the last step that has one."""
    result = await engine.run(task(f"{EACH}- tool: effect\n  with: {{name: last}}\n### Outputs\n- ann\n- it"))
    assert result.phases["a"].outputs["ann"]["name"] == "last"
    assert voters(result.phases["a"].outputs["it"]) == ["cid", "ann"]


@pytest.mark.semantics("T16", "T4")
async def test_what_is_not_listed_fails_its_item_without_a_call(engine: Engine) -> None:
    """The others are asked. It says what was given and what is allowed, and is no matter for a retry."""
    result = await engine.run(task(EACH), {"who": ["ann", "bob", "cid"]})
    assert (result.status, voters(result.steps["it"].output)) == (
        "completed_with_errors",
        ["ann", None, "cid"],
    )
    error = result.steps["it"].error
    assert (error.type, error.category, error.will_retry) == ("agent_not_listed", "configuration", False)
    assert error.message == '`{{ item }}` gives "bob", and only these agents may be chosen: ann, cid, dud'
    assert "`### Agents` of the phase" in error.hint
    assert await activities(engine, result.execution_id, phase="a") == ["agent.ask"] * 2


@pytest.mark.semantics("T16")
@pytest.mark.parametrize(
    ("chosen", "shown"),
    [("inputs.who", '["cid", "ann"]'), ("none", "null"), ("1", "1"), ("true", "true"), ("''", '""')],
)
async def test_what_is_no_name_of_an_agent_fails_the_step_and_names_it(
    engine: Engine, chosen: str, shown: str
) -> None:
    result = await engine.run(task(f'- agent: "{{{{ {chosen} }}}}" - Well?\n  id: it'))
    error = result.steps["it"].error
    assert (result.steps["it"].status, error.category) == ("failed", "configuration")
    assert (error.step, error.phase) == ("it", "a")
    assert f"gives {shown}, and only these agents" in error.message
    assert (result.status, result.error.type) == ("failed", "agents_failed")
    assert result.error.hint == error.hint
    assert await activities(engine, result.execution_id, phase="a") == []


@pytest.mark.semantics("T16", "R10")
async def test_a_critical_step_fails_its_phase_by_a_choice_that_is_not_listed(engine: Engine) -> None:
    result = await engine.run(task(f"{EACH}  critical: true"), {"who": ["ann", "bob"]})
    assert (result.status, result.error.type) == ("failed", "agent_not_listed")
    assert result.error.message.startswith('1 of 2 items failed; the first: `{{ item }}` gives "bob"')


@pytest.mark.semantics("T16", "R8")
async def test_a_fallback_answers_for_a_choice_that_is_not_listed(engine: Engine) -> None:
    result = await engine.run(task(f"{EACH}  fallback: cid"), {"who": ["ann", "bob"]})
    assert (result.status, voters(result.steps["it"].output)) == ("completed", ["ann", "cid"])
    alone = await engine.run(task("- agent: \"{{ 'bob' }}\" - Well?\n  id: it\n  fallback: cid"))
    assert (alone.steps["it"].output["agent"], alone.steps["it"].attempts) == ("cid", 1)


@pytest.mark.semantics("T16", "T12")
async def test_an_error_in_the_expression_is_that_of_its_item(engine: Engine) -> None:
    step = EACH.replace('{{ item }}" -', "{{ ['ann', 'cid'][item] }}\" -")
    result = await engine.run(task(step), {"who": [1, 5, 0]})
    assert voters(result.steps["it"].output) == ["cid", None, "ann"]
    assert (result.steps["it"].error.type, result.steps["it"].error.category) == (
        "expression_failed",
        "logic",
    )


@pytest.mark.semantics("T17", "P11")
async def test_a_step_fails_if_all_the_agents_that_it_chose_failed(engine: Engine) -> None:
    result = await engine.run(task(EACH), {"who": ["dud", "bob"]})
    assert (result.steps["it"].status, result.phases["a"].status) == ("failed", "failed")
    assert (result.status, result.error.type) == ("failed", "agents_failed")
    assert "2 of 2 items failed; the first: dud has nothing to say" in result.error.message


@pytest.mark.semantics("T17", "T3")
async def test_a_step_that_chooses_nobody_completes(engine: Engine) -> None:
    result = await engine.run(task(EACH), {"who": []})
    assert (result.status, result.steps["it"].output) == ("completed", [])


@pytest.mark.semantics("T15", "S1")
async def test_a_definition_that_is_handed_over_needs_the_list_too(engine: Engine) -> None:
    step = {"id": "it", "kind": "agent", "value": "{{ 'ann' }}"}
    definition = {"id": "t", "name": "T", "phases": [{"name": "A", "slug": "a", "steps": [step]}]}
    handle = await start_raw(engine, {"definition": definition})
    with pytest.raises(Exception, match="Workflow execution failed") as caught:
        await handle.result()
    assert "no agents are listed that it may choose" in str(caught.value.__cause__)
    await no_task_failed(handle)
