"""Semantics, section K: going on from an earlier execution."""

from __future__ import annotations

import asyncio
import textwrap
from itertools import pairwise
from typing import Any

import pytest
from engine import Engine
from inspecting import refusal, start_raw
from observing import stored_attempts, stored_events, unique, until

from taskmark.contracts import ResumeFrom, TaskResult
from taskmark.errors import Conflict, InvalidInputs
from taskmark.store.checkpoints import KeptCheckpoints
from taskmark.store.tables import Checkpoints, table

ONCE = "retry: {maxAttempts: 1}"


def words(name: str, *, fails: str = "", prose: str = "Some prose.", value: str = "1") -> str:
    """Returns a task of two phases, whose second one fails unless a file is there."""
    return f"""
        ```yaml
        name: Test
        retry: {{maxAttempts: 1}}
        requirements:
          factor: number
          other: {{type: number, default: 1}}
        ```

        {prose}

        ## Phase: First
        checkpoint: gathered
        ### Steps
        - tool: effect - Make it
          id: made
          with: {{name: {name}-made, value: "{{{{ inputs.factor }}}}"}}
        - tool: effect - Make another
          id: other
          with: {{name: {name}-other, value: {value}}}
        ### Outputs
        - made: steps.made.output.value

        ## Phase: Second
        dependsOn: [First]
        ### Steps
        - tool: effect - Use it
          id: used
          with: {{name: {name}-used, value: "{{{{ phases.first.outputs.made }}}}"}}
        - tool: shell - It may fail
          id: fails
          with: {{command: [test, -z, "{fails}"]}}
        - tool: effect - The end
          id: last
          with: {{name: {name}-last}}
        """


def ways(result: TaskResult) -> dict[str, str]:
    """Returns of each step `reused`, or why it ran."""
    return {n: "reused" if s.reused else str(s.anew) for n, s in result.steps.items()}


async def again(engine: Engine, earlier: Any, text: str | None = None, **options: Any) -> TaskResult:
    """Goes on from an execution, as any client of Temporal would, and returns the result."""
    start: dict[str, Any] = {"resume_from": earlier, **options}
    if text is not None:
        source = textwrap.dedent(text).strip()
        start["source"] = source if source.startswith("# ") else f"# Test\n\n{source}"
    handle = await start_raw(engine, start)
    return await engine.wait(handle.id)


@pytest.mark.semantics("K1")
async def test_the_failing_steps_command_is_edited_and_only_it_and_what_follows_runs(engine: Engine) -> None:
    name = unique()
    first = await engine.run(words(name, fails="yes"), {"factor": 3})
    assert first.status == "failed"
    assert engine.names(first.execution_id) == [f"{name}-made", f"{name}-other", f"{name}-used"]

    second = await again(engine, first.execution_id, words(name, fails=""))
    assert second.status == "completed"
    assert engine.names(second.execution_id) == [f"{name}-last"]
    assert ways(second) == {
        "made": "reused",
        "other": "reused",
        "used": "reused",
        "fails": "its definition has changed",
        "last": "it had been skipped",
    }
    assert second.steps["used"].reused == first.execution_id
    assert second.steps["used"].output == first.steps["used"].output
    assert second.trace_id == first.trace_id


@pytest.mark.semantics("K2")
async def test_unrelated_prose_is_edited_and_everything_is_reused(engine: Engine) -> None:
    name = unique()
    first = await engine.run(words(name), {"factor": 3})
    second = await again(engine, first.execution_id, words(name, prose="Other prose."))
    assert second.status == "completed"
    assert set(ways(second).values()) == {"reused"}
    assert engine.traces(second.execution_id) == []
    assert second.outputs == first.outputs


@pytest.mark.semantics("K2")
async def test_the_old_definition_runs_if_none_is_given(engine: Engine) -> None:
    name = unique()
    first = await engine.run(words(name), {"factor": 3})
    second = await again(engine, first.execution_id)
    assert (second.status, set(ways(second).values())) == ("completed", {"reused"})


@pytest.mark.semantics("K1")
async def test_an_input_is_changed_and_only_what_reads_it_runs(engine: Engine) -> None:
    name = unique()
    first = await engine.run(words(name), {"factor": 3})
    second = await again(engine, first.execution_id, inputs={"factor": 4})
    assert second.steps["used"].output["value"] == 4
    assert ways(second) == {
        "made": "what it reads has changed: inputs.factor",
        "other": "reused",
        "used": "what it reads has changed: phases.first.outputs.made",
        "fails": "reused",
        "last": "reused",
    }
    assert engine.names(second.execution_id) == [f"{name}-made", f"{name}-used"]


@pytest.mark.semantics("K2")
async def test_what_says_how_long_and_where_does_not_count(engine: Engine) -> None:
    """Other limits, another description of a tool, a step put in front: all of it is as before."""
    name = unique()
    text = f"""
        ## Phase: A
        ### Steps
        - tool: effect - One
          with: {{name: {name}-one}}
        - tool: effect - Two
          with: {{name: {name}-two}}
        """
    edited = f"""
        ## Phase: A
        timeout: 5 minutes
        ### Steps
        - tool: effect - Zero
          with: {{name: {name}-zero}}
        - tool: effect - The first one
          timeout: 20s
          retry: {{maxAttempts: 7}}
          with: {{name: {name}-one}}
        - tool: effect - Two
          critical: false
          with: {{name: {name}-two}}
        """
    first = await engine.run(text)
    second = await again(engine, first.execution_id, edited)
    assert second.status == "completed"
    assert engine.names(second.execution_id) == [f"{name}-zero"]


@pytest.mark.semantics("K3")
async def test_progress_store_and_events_say_what_is_reused_and_why_not(engine: Engine) -> None:
    name = unique()
    first = await engine.run(words(name), {"factor": 3})
    second = await again(engine, first.execution_id, words(name, value="2"))
    progress = await engine.client.progress(second.execution_id)
    shown = {step.id: (step.reused, step.anew) for phase in progress.phases for step in phase.steps}
    assert shown["made"] == (first.execution_id, None)
    assert shown["other"] == (None, "its definition has changed")
    [attempt] = await stored_attempts(engine, second.execution_id, "made", len)
    assert (attempt.attempt, attempt.reused_from) == (0, first.execution_id)
    assert attempt.output == first.steps["made"].output
    told = await stored_events(engine, second.execution_id, "step_completed", 5)
    reused = {event.step: event.payload.get("reused") for event in told}
    assert reused == dict.fromkeys(("made", "used", "fails", "last"), first.execution_id) | {"other": None}
    [began] = await stored_events(engine, second.execution_id, "step_started")
    assert began.payload["anew"] == "its definition has changed"


@pytest.mark.semantics("K4")
async def test_checks_are_made_again_and_waits_are_not_waited_for_again(engine: Engine) -> None:
    text = """
        ## Phase: A
        ### Steps
        - wait: 1s
          id: waits
        - validation: 1 < 2 - Sure
          id: checked
        - aggregate: list - All
          id: all
          with: {over: [1, 2]}
        - validation: 2 < 1 - Never
          id: never
        """
    first = await engine.run(text)
    second = await again(engine, first.execution_id, text.replace("2 < 1", "2 < 3"))
    assert second.status == "completed"
    assert second.steps["waits"].reused == first.execution_id
    assert [second.steps[n].reused for n in ("checked", "all", "never")] == [None] * 3
    assert second.steps["all"].attempts == 1


GATED = """
    ```yaml
    requirements:
      what: string
      silent: {type: string, default: x}
    ```
    ## Phase: A
    ### Steps
    - tool: effect - Make it
      id: made
      with: {name: "NAME", value: "{{ inputs.silent }}"}
    - question: region - Where?
    - approval: release - "Release {{ inputs.what }}?"
    - tool: shell - It may fail
      id: fails
      retry: {maxAttempts: 1}
      with: {command: ["test", "-e", "NAME"]}
    """


@pytest.mark.semantics("K5")
async def test_a_decision_is_reused_if_what_was_shown_is_the_same(engine: Engine) -> None:
    text = GATED.replace("NAME", unique())
    execution = await engine.start(text, {"what": "one"})
    await engine.until(execution, lambda p: any(w.name == "region" for w in p.waiting))
    await engine.client.answer(execution, "region", "eu", by="ann")
    await engine.until(execution, lambda p: any(w.name == "release" for w in p.waiting))
    await engine.client.approve(execution, "release", by="ann")
    assert (await engine.wait(execution)).status == "failed"

    same = await again(engine, execution)
    assert same.steps["region"].output == "eu"
    assert same.steps["release"].output == {"approved": True, "by": "ann", "comment": ""}
    assert same.steps["fails"].status == "failed"

    for changed, why in (
        ({"what": "two"}, "what is shown has changed: inputs.what"),
        ({"silent": "y"}, "what is shown has changed: steps"),
    ):
        handle = await start_raw(engine, {"resume_from": execution, "inputs": changed})
        progress = await engine.until(handle.id, lambda p: p.waiting)
        assert [wait.name for wait in progress.waiting] == ["release"]
        steps = {step.id: step for phase in progress.phases for step in phase.steps}
        assert steps["region"].reused == execution
        assert steps["release"].anew == why
        await engine.client.abort(handle.id)
        await engine.wait(handle.id)


FLAKY_ITEMS = """
    ```yaml
    requirements:
      items: list
    ```
    ## Phase: A
    ### Steps
    - tool: shell - Each of them
      id: each
      critical: CRITICAL
      forEach: inputs.items
      retry: {maxAttempts: 1}
      with: {command: [sh, -c, "echo {{ item }} >> NAME; test {{ item }} -lt 100 || test -e NAME-fixed"]}
    """


def ran(engine: Engine, name: str) -> list[str]:
    """Returns the items that ran, in any order, and forgets them."""
    file = engine.root / name
    found = sorted(file.read_text().split(), key=int)
    file.unlink()
    return found


@pytest.mark.semantics("K6")
@pytest.mark.parametrize("critical", ["false", "true"])
async def test_of_twenty_items_three_failed_and_three_run(engine: Engine, critical: str) -> None:
    name = unique("items")
    text = FLAKY_ITEMS.replace("NAME", name).replace("CRITICAL", critical)
    items = [*range(1, 18), 101, 102, 103]
    first = await engine.run(text, {"items": items})
    assert first.status == ("failed" if critical == "true" else "completed_with_errors")
    assert len(set(ran(engine, name))) == 20  # one may run twice: its worker is thought to be lost
    (engine.root / f"{name}-fixed").touch()

    second = await again(engine, first.execution_id)
    assert second.status == "completed"
    assert set(ran(engine, name)) == {"101", "102", "103"}
    assert len(second.steps["each"].output) == 20
    assert str(second.steps["each"].anew).endswith("; 17 of 20 items are reused")

    moved = await again(engine, second.execution_id, inputs={"items": [7, *reversed(items), 55]})
    assert set(ran(engine, name)) == {"7", "55"}
    assert [one["exit_code"] for one in moved.steps["each"].output] == [0] * 22
    assert moved.trace_id == first.trace_id


@pytest.mark.semantics("K6")
async def test_of_the_agents_that_are_asked_only_the_new_ones_are(engine: Engine) -> None:
    text = "## Phase: A\n### Steps\n- Say yes or no\n  id: said\n\n### Agents\n- ann\n- cid\n"
    first = await engine.run(text)
    second = await again(engine, first.execution_id, text.replace("- ann\n", "- ann\n- bob\n"))
    assert list(second.steps["said"].output) == ["ann", "bob", "cid"]
    assert second.steps["said"].anew == "its definition has changed; 2 of 3 items are reused"
    assert [t["name"] for t in engine.traces(second.execution_id) if t["what"] == "asked"] in (["bob"], [])


@pytest.mark.semantics("K6")
async def test_a_phase_per_item_reuses_the_steps_of_each(engine: Engine) -> None:
    name = unique("lanes")
    text = f"""
        ```yaml
        requirements:
          items: list
        ```
        ## Phase: A
        forEach: inputs.items
        ### Steps
        - tool: effect - One
          id: one
          with: {{name: "{name}-{{{{ item }}}}"}}
        - tool: effect - Two
          id: two
          with: {{name: "{name}-two-{{{{ steps.one.output.name }}}}"}}
        """
    first = await engine.run(text, {"items": ["a", "b"]})
    second = await again(engine, first.execution_id, inputs={"items": ["c", "b", "a"]})
    assert engine.names(second.execution_id) == [f"{name}-c", f"{name}-two-{name}-c"]
    assert len(second.steps["one"].output) == 3


@pytest.mark.semantics("K7")
async def test_a_sub_task_reuses_what_it_can_of_its_own(engine: Engine) -> None:
    name = unique("inner")
    inner = f"""
        # {name}

        ```yaml
        requirements:
          file: string
        ```
        ## Phase: A
        ### Steps
        - tool: effect - In it
          id: in_it
          with: {{name: {name}-in}}
        - tool: shell - It may fail
          id: fails
          retry: {{maxAttempts: 1}}
          with: {{command: [test, -e, "{{{{ inputs.file }}}}"]}}
        """
    engine.file(f"tasks/{name}.md", inner)
    text = f"## Phase: A\n### Steps\n- task: {name} - Run it\n  id: sub\n  with: {{file: {name}.txt}}\n"
    first = await engine.run(text)
    assert first.status == "failed"
    (engine.root / f"{name}.txt").touch()
    second = await again(engine, first.execution_id)
    assert second.status == "completed"
    assert second.steps["sub"].anew == "it had failed"
    child = await engine.wait(f"{second.execution_id}/a/sub")
    assert ways(child) == {"in_it": "reused", "fails": "it had failed"}
    assert child.steps["in_it"].reused == f"{first.execution_id}/a/sub"
    assert engine.traces(f"{second.execution_id}/a/sub") == []

    engine.file(f"tasks/{name}.md", inner.replace("## Phase", "Some prose.\n\n        ## Phase"))
    third = await again(engine, second.execution_id, text)
    assert third.steps["sub"].reused == second.execution_id


@pytest.mark.semantics("K8")
async def test_from_a_phase_on_everything_runs_anew(engine: Engine) -> None:
    name = unique()
    first = await engine.run(words(name), {"factor": 3})
    second = await again(engine, {"execution": first.execution_id, "phase": "second"})
    assert ways(second) == {
        "made": "reused",
        "other": "reused",
        **dict.fromkeys(("used", "fails", "last"), "it was asked to run again"),
    }
    third = await again(engine, {"execution": first.execution_id, "phase": "first"})
    assert third.steps["last"].anew == "it depends on first, which was asked to run again"
    assert len(engine.names(third.execution_id)) == 4


@pytest.mark.semantics("K8")
async def test_from_a_checkpoint_only_what_had_completed_then_is_reused(engine: Engine) -> None:
    name = unique()
    first = await engine.run(words(name), {"factor": 3})
    second = await again(engine, {"execution": first.execution_id, "checkpoint": "gathered"})
    assert ways(second) == {
        "made": "reused",
        "other": "reused",
        **dict.fromkeys(("used", "fails", "last"), "it had not completed"),
    }


@pytest.mark.semantics("K8", "K10")
@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ({"execution": "EXEC", "phase": "nowhere"}, "there is no phase “nowhere”"),
        ({"execution": "EXEC", "checkpoint": "never"}, "no checkpoint 'never'; there are gathered"),
        ({"execution": "EXEC", "phase": "a", "checkpoint": "b"}, "not both"),
        ({"execution": "EXEC", "step": "a"}, "step"),
        ({"phase": "a"}, "execution"),
        (7, "resume_from"),
        ("exec-of-nobody", "there is no execution exec-of-nobody"),
    ],
)
async def test_what_there_is_nothing_of_is_refused(engine: Engine, wanted: Any, says: str) -> None:
    first = await engine.run(words(unique()), {"factor": 3})
    if isinstance(wanted, dict) and "execution" in wanted:
        wanted = {**wanted, "execution": first.execution_id}
    error = await refusal(await start_raw(engine, {"resume_from": wanted}))
    assert (error.type, says in error.message) == ("invalid_start", True), error.message


@pytest.mark.semantics("K10")
async def test_one_that_goes_on_is_refused(engine: Engine) -> None:
    name = unique()
    execution = await engine.start(f"## Phase: A\n### Steps\n- tool: hold\n  with: {{name: {name}}}\n")
    error = await refusal(await start_raw(engine, {"resume_from": execution}))
    assert (error.type, error.message) == ("invalid_start", f"{execution} has not ended")
    engine.release(name)
    await engine.wait(execution)


@pytest.mark.semantics("K9")
async def test_a_chain_of_three_keeps_trace_and_lineage(engine: Engine) -> None:
    name = unique()
    chain = [await engine.run(words(name), {"factor": 3})]
    for factor in (4, 4, 3):
        chain.append(await again(engine, chain[-1].execution_id, inputs={"factor": factor}))
    assert {one.trace_id for one in chain} == {chain[0].trace_id}
    for before, after in pairwise(chain):
        await stored_events(engine, after.execution_id, "execution_completed")
        stored = await asyncio.to_thread(engine.client.wiring.history.execution, after.execution_id)
        assert (stored.retry_of, stored.cause) == (before.execution_id, "retry")
    assert chain[2].steps["made"].reused == chain[1].execution_id
    assert chain[2].steps["other"].reused == chain[0].execution_id
    assert [len(engine.names(one.execution_id)) for one in chain] == [4, 2, 0, 2]


async def ended(engine: Engine, way: str) -> str:
    """Returns an execution with one step that completed, and one that was ended in this way."""
    name = unique("way")
    limit = "maxExecutionTime: 1s\n" if way == "timed_out" else ""
    execution = await engine.start(
        f"""
        ```yaml
        name: Test
        {limit}
        ```
        ## Phase: A
        ### Steps
        - tool: effect - Done
          id: done
          with: {{name: {name}}}
        - tool: hold - Never ends
          id: held
          with: {{name: {name}-held}}
        """
    )
    await engine.until_trace(execution, "start", f"{name}-held")
    handle = engine.client.client.get_workflow_handle(execution)
    match way:
        case "cancelled":
            await handle.cancel()
        case "aborted":
            await engine.client.abort(execution)
        case "terminated":
            await handle.terminate("for a test")
            await asyncio.sleep(0.5)
    assert not (await engine.wait(execution)).status.is_success
    engine.release(f"{name}-held")
    return execution


@pytest.mark.semantics("K10")
@pytest.mark.parametrize("way", ["cancelled", "aborted", "timed_out"])
async def test_it_goes_on_from_whatever_has_ended(engine: Engine, way: str) -> None:
    execution = await ended(engine, way)
    second = await again(engine, execution)
    assert (second.status, ways(second)) == (
        "completed",
        {"done": "reused", "held": "it had been cancelled"},
    )
    assert engine.traces(second.execution_id)[0]["step"] == "held"


@pytest.mark.semantics("K10")
async def test_it_goes_on_from_one_that_was_terminated(engine: Engine) -> None:
    """Its phase could tell no checkpoint; everything runs again."""
    execution = await ended(engine, "terminated")
    second = await again(engine, execution)
    assert second.status == "completed"
    assert set(ways(second).values()) <= {"reused", "its phase left no checkpoint", "it had been cancelled"}


@pytest.mark.semantics("K12")
async def test_large_checkpoints_travel_by_reference(engine: Engine) -> None:
    text = """
        ## Phase: A
        ### Steps
        - tool: lines - Much
          id: much
          with: {count: 20, bytes: 1000}
        - tool: lines - More
          id: more
          with: {count: 20, bytes: 900}
        """
    first = await engine.run(text)
    second = await again(engine, first.execution_id)
    assert set(ways(second).values()) == {"reused"}
    assert second.steps["much"].output == first.steps["much"].output
    events = await engine.events(second.execution_id)
    assert sum(event.ByteSize() for event in events if "resume" in str(event)) < 40_000


@pytest.mark.semantics("K12", "K13")
async def test_a_checkpoint_that_is_too_large_for_one_answer_comes_in_parts(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a phase with very many items each step is small, and all of them are not."""
    text = """
        ```yaml
        requirements:
          words: list
        ```

        ## Phase: A
        forEach: inputs.words
        ### Steps
        - tool: lines - Much
          id: much
          with: {count: 1, bytes: 3000}
        """
    first = await engine.run(text, {"words": list(range(24))})
    monkeypatch.setattr("starter.resuming.LARGEST", 20_000)
    monkeypatch.setattr("starter.resuming.INLINE_LIMIT", 10_000)
    second = await again(engine, first.execution_id)
    assert (second.status, len(second.steps)) == ("completed", 25)  # 24 items, and the step that they are of
    assert set(ways(second).values()) == {"reused"}
    monkeypatch.setattr("starter.resuming.LARGEST", 1_000)
    third = await again(engine, first.execution_id)
    assert third.status == "completed"
    assert all("more than can be reused" in way for way in ways(third).values())


@pytest.mark.semantics("K12")
async def test_large_outputs_stay_references(engine: Engine) -> None:
    text = "## Phase: A\n### Steps\n- tool: big\n  id: big\n  with: {bytes: 100000}\n"
    more = f"{text}- tool: measure\n  id: measured\n  with:\n    value: '{{{{ steps.big.output }}}}'\n"
    first = await engine.run(text)
    second = await again(engine, first.execution_id, more)
    assert second.steps["big"].reused == first.execution_id
    assert second.steps["measured"].output == {"length": 100000}


# --- K11: where it comes from -------------------------------------------------------------------------


@pytest.mark.semantics("K11")
async def test_what_the_store_lost_is_read_again_from_temporal(engine: Engine) -> None:
    """Both ways to read it: phases that went straight on, and one that has to be replayed."""
    name = unique()
    first = await engine.run(words(name, fails="yes"), {"factor": 3})
    await stored_events(engine, first.execution_id, "execution_failed")
    target = table(Checkpoints)
    with engine.client.wiring.store.begin() as connection:
        gone = connection.execute(target.delete().where(target.c.execution_id == first.execution_id))
    assert gone.rowcount == 3
    second = await again(engine, first.execution_id, words(name, fails=""))
    assert (second.status, engine.names(second.execution_id)) == ("completed", [f"{name}-last"])


@pytest.mark.semantics("K11")
async def test_each_phase_that_ended_has_a_checkpoint_in_the_store(engine: Engine) -> None:
    first = await engine.run(words(unique(), fails="yes"), {"factor": 3})
    found = await until(lambda: engine.client.checkpoints(first.execution_id), lambda found: len(found) == 2)
    assert [(one.phase, one.label, one.status, one.completed, one.steps) for one in found] == [
        ("first", "gathered", "completed", 2, 2),
        ("second", None, "failed", 1, 3),
    ]


@pytest.mark.semantics("K11")
async def test_a_retry_right_after_the_failure_need_not_wait_for_the_store(engine: Engine) -> None:
    name = unique()
    first = await engine.run(words(name, fails="yes"), {"factor": 3})
    execution = await engine.client.retry_from(
        first.execution_id, source=f"# Test\n{textwrap.dedent(words(name))}", id=unique("exec")
    )
    second = await engine.wait(execution)
    assert (second.status, second.trace_id) == ("completed", first.trace_id)
    assert engine.names(execution) == [f"{name}-last"]


@pytest.mark.semantics("K11")
async def test_a_retry_takes_what_a_start_takes(engine: Engine) -> None:
    """Its project wins over that of then, and a version names what ran before."""
    name = unique()
    text = f"# {name}\n{textwrap.dedent(words(name, fails='yes')).replace('name: Test', '')}"
    old = (await engine.run(text, {"factor": 3}, project="then")).execution_id
    later = await engine.client.retry_from(old, project="now", id=unique("exec"))
    assert (await engine.wait(later)).status == "failed"
    described = await engine.client.client.get_workflow_handle(later).describe()
    attributes = {pair.key.name: pair.value for pair in described.typed_search_attributes}
    assert attributes["TaskmarkProject"] == "now"

    (used,) = await until(lambda: engine.client.versions(name), lambda found: found)
    same = await engine.client.retry_from(old, version=used.sha256[:12], key=unique("key"))
    assert (await engine.wait(same)).status == "failed"
    with pytest.raises(Conflict, match="No version"):
        await engine.client.retry_from(old, version="1.0")
    wrongs: tuple[dict[str, Any], ...] = ({"phase": "a", "checkpoint": "b"}, {"phase": "x" * 10_000})
    for wrong in wrongs:
        with pytest.raises(InvalidInputs, match=r"not both|phase: "):
            await engine.client.retry_from(old, **wrong)


# --- K13: predictions ---------------------------------------------------------------------------------


@pytest.mark.semantics("K13")
@pytest.mark.parametrize(
    ("edit", "options"),
    [
        pytest.param({"fails": ""}, {}, id="an edited step"),
        pytest.param({"fails": "", "prose": "Other."}, {"phase": "second"}, id="from a phase"),
        pytest.param({"fails": "", "value": "7"}, {"inputs": {"factor": 9}}, id="an input"),
        pytest.param({"fails": ""}, {"checkpoint": "gathered"}, id="from a checkpoint"),
        pytest.param({"fails": "yes"}, {"inputs": {"other": 5}}, id="what nobody reads"),
    ],
)
async def test_what_is_foreseen_for_certain_happens(
    engine: Engine, edit: dict[str, str], options: dict[str, Any]
) -> None:
    name = unique()
    first = await engine.run(words(name, fails="yes"), {"factor": 3})
    source = f"# Test\n{textwrap.dedent(words(name, **edit))}"
    inputs = options.pop("inputs", {})
    retries = engine.client.retries
    wanted = ResumeFrom(execution=first.execution_id, **options)
    prepared = await retries.prepare(wanted, lambda _: inputs, source=source)
    foreseen = {one.step: one for one in prepared.foreseen()}
    second = await engine.wait(await retries.begin(prepared, id=unique("exec")))
    for step, outcome in second.steps.items():
        match foreseen[step].verdict:
            case "reused":
                assert outcome.reused == first.execution_id, step
            case "runs":
                assert outcome.reused is None, step
                if outcome.anew:
                    assert outcome.anew == foreseen[step].why, step
    assert {one.verdict for one in foreseen.values()} <= {"reused", "runs", "perhaps"}


@pytest.mark.semantics("K13")
async def test_items_and_agents_are_foreseen_one_by_one(engine: Engine) -> None:
    text = """
        ```yaml
        requirements:
          items: list
        ```
        ## Phase: A
        ### Steps
        - tool: effect
          id: each
          forEach: inputs.items
          with: {name: "{{ item }}"}

        ## Phase: B
        ### Steps
        - Say something
          id: said

        ### Agents
        - ann
        - cid
        """
    source = f"# Test\n{textwrap.dedent(text)}"
    first = await engine.run(text, {"items": ["a", "b", "c"]})
    wanted = ResumeFrom(execution=first.execution_id)
    retries = engine.client.retries
    prepared = await retries.prepare(wanted, lambda _: {"items": ["d", "c", "b"]}, source=source)
    found = {one.step: (one.verdict, one.items) for one in prepared.foreseen()}
    assert found == {"each": ("runs", (2, 3)), "said": ("runs", (0, 2))}
    same = await retries.prepare(wanted, lambda _: {}, source=source.replace("- cid", "- bob"))
    found = {one.step: (one.verdict, one.items) for one in same.foreseen()}
    assert found == {"each": ("reused", None), "said": ("runs", (1, 2))}


# --- K14: what is personal ----------------------------------------------------------------------------


@pytest.mark.semantics("K14", "Q10")
async def test_what_is_personal_is_not_in_the_store_and_reused_all_the_same(engine: Engine) -> None:
    name, address = unique(), "marker@example.com"
    text = f"""
        ```yaml
        requirements:
          to: string
        ```
        ## Phase: A
        ### Steps
        - tool: effect
          id: letter
          with: {{name: {name}, value: "{{{{ inputs.to }}}}"}}
        """
    first = await engine.run(text, {"to": address})
    await stored_events(engine, first.execution_id, "execution_completed")
    kept = KeptCheckpoints(engine.client.wiring.store)
    records = await until(
        lambda: asyncio.to_thread(kept.of, first.execution_id), lambda found: len(found) == 2
    )
    assert [record.withheld for record in records] == [1, 1]
    assert address not in str(records)
    second = await again(engine, first.execution_id)
    assert second.steps["letter"].reused == first.execution_id
    assert second.steps["letter"].output["value"] == address
