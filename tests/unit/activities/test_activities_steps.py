"""The activities that run steps: what reaches a tool or agent, and what comes back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from activity_calls import call, environment, steps
from pydantic import BaseModel
from temporalio.common import RawValue
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.exceptions import ApplicationError

from taskmark.contracts import AGENT_ACTIVITY, artifact_reference, is_artifact
from taskmark.ports import StepContext
from taskmark.registry import Registry, aggregate, load, step_kind, tool
from taskmark.task.model import Agent, Json


class Anything(BaseModel):
    """Parameters of the tool of these tests."""

    value: Json = None
    size: int = 0


SEEN: list[StepContext] = []


@tool("mirror")
async def mirror(parameters: Anything, context: StepContext) -> Json:
    """Returns its value, or so many letters."""
    SEEN.append(context)
    return "x" * parameters.size if parameters.size else parameters.value


@aggregate("total")
def total(values: Any, arguments: Any) -> Json:
    """Returns the sum, and what it was given."""
    return {"sum": sum(values), "arguments": dict(arguments)}


@step_kind("loud")
def loud(value: str, description: str, arguments: dict[str, Json], context: StepContext) -> Json:
    """Returns the value in capitals."""
    return [value.upper(), description, arguments]


@pytest.fixture(scope="module")
def registry() -> Registry:
    """The built-in tools and those of this module."""
    return load((__name__,))


async def run(registry: Registry, root: Path, activity: str, /, **fields: Any) -> Any:
    """Runs the activity of that name."""
    activities, _, _ = steps(registry, root)
    return await environment().run(activities[activity], call(**fields))


async def test_there_is_one_activity_per_name(registry: Registry, tmp_path: Path) -> None:
    activities, _, _ = steps(registry, tmp_path)
    assert {"tool.shell", "tool.mirror", "aggregate.total", "step.loud", "agent.ask", "*"} <= set(activities)


async def test_a_tool_gets_checked_parameters_and_knows_where_it_runs(
    registry: Registry, tmp_path: Path
) -> None:
    done = await run(
        registry,
        tmp_path,
        "tool.mirror",
        name="mirror",
        arguments={"value": [1, {"a": None}]},
        item=4,
        attempt=2,
        project="shop",
        reduced=True,
        refresh_credentials=True,
        resume={"at": 3},
    )
    assert done.output == [1, {"a": None}]
    context = SEEN[-1]
    assert (context.root, context.execution_id, context.task_id) == (tmp_path, "exec-1", "t")
    assert (context.phase, context.step, context.item, context.attempt) == ("p", "s", 4, 2)
    assert (context.project, context.idempotency_key, context.timeout) == ("shop", "key", 5.0)
    assert (context.reduced, context.refresh_credentials, context.resume) == (True, True, {"at": 3})


async def test_what_a_lost_attempt_kept_wins_over_what_an_earlier_one_did(
    registry: Registry, tmp_path: Path
) -> None:
    activities, _, _ = steps(registry, tmp_path)
    surroundings = environment(details=({"at": 9},))
    await surroundings.run(activities["tool.mirror"], call(name="mirror", resume={"at": 3}))
    assert SEEN[-1].resume == {"at": 9}


async def test_parameters_that_do_not_fit_fail_as_configuration(registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(ApplicationError, match="size") as raised:
        await run(registry, tmp_path, "tool.mirror", name="mirror", arguments={"size": "large"})
    assert raised.value.type == "configuration"


async def test_a_large_output_travels_by_reference(registry: Registry, tmp_path: Path) -> None:
    activities, _, artifacts = steps(registry, tmp_path)
    request = call(name="mirror", arguments={"size": 5_000}, inline_limit=1_000)
    done = await environment().run(activities["tool.mirror"], request)
    assert is_artifact(done.output)
    assert json.loads(artifacts.load(done.output["$artifact"])) == "x" * 5_000
    assert done.output["size"] == 5_002


async def test_an_output_of_just_the_limit_travels_as_it_is(registry: Registry, tmp_path: Path) -> None:
    fields = {"name": "mirror", "arguments": {"size": 998}}
    assert (await run(registry, tmp_path, "tool.mirror", **fields, inline_limit=1_000)).output == "x" * 998
    assert is_artifact((await run(registry, tmp_path, "tool.mirror", **fields, inline_limit=999)).output)


async def test_references_are_filled_in_wherever_they_are(registry: Registry, tmp_path: Path) -> None:
    activities, _, artifacts = steps(registry, tmp_path)
    reference = artifact_reference(artifacts.save(b"[1,2]"), 5)
    request = call(name="mirror", arguments={"value": {"a": [reference, {"b": reference}], "c": 1}})
    done = await environment().run(activities["tool.mirror"], request)
    assert done.output == {"a": [[1, 2], {"b": [1, 2]}], "c": 1}
    request = call(kind="aggregate", name="total", values=(1, artifact_reference(artifacts.save(b"4"), 1)))
    done = await environment().run(activities["aggregate.total"], request)
    assert done.output["sum"] == 5


async def test_an_agent_is_asked_with_its_instruction_and_context(registry: Registry, tmp_path: Path) -> None:
    activities, recorder, _ = steps(registry, tmp_path)
    request = call(
        kind="agent",
        name="ann",
        agent=Agent(id="ann"),
        description="Say it",
        context={"inputs": {"a": 1}},
        arguments={"b": 2},
    )
    done = await environment().run(activities[AGENT_ACTIVITY], request)
    assert done.output == {
        "agent": "ann",
        "instruction": "Say it",
        "context": {"inputs": {"a": 1}, "with": {"b": 2}},
    }
    assert [a.files for a in recorder.attempts("exec-1")] == [("note.txt",)]


async def test_an_agent_without_its_text_fails_as_configuration(registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(ApplicationError, match="ann has no text") as raised:
        await run(registry, tmp_path, AGENT_ACTIVITY, kind="agent", name="ann")
    assert raised.value.type == "configuration"


async def test_a_registered_aggregate_gets_values_and_arguments(registry: Registry, tmp_path: Path) -> None:
    done = await run(
        registry, tmp_path, "aggregate.total", name="total", values=(1, 2), arguments={"unit": "m"}
    )
    assert done.output == {"sum": 3, "arguments": {"unit": "m"}}


async def test_a_registered_kind_gets_value_description_and_arguments(
    registry: Registry, tmp_path: Path
) -> None:
    done = await run(
        registry, tmp_path, "step.loud", kind="loud", name="hey", description="why", arguments={"a": 1}
    )
    assert done.output == ["HEY", "why", {"a": 1}]


@pytest.mark.parametrize(
    ("wanted", "message"), [("tool.gone", "nothing registered as tool.gone"), ("tool.mirror2", "mirror2")]
)
async def test_a_name_that_is_not_registered_fails_its_step_only(
    registry: Registry, tmp_path: Path, wanted: str, message: str
) -> None:
    activities, recorder, _ = steps(registry, tmp_path)
    payload = pydantic_data_converter.payload_converter.to_payload(call(name=wanted))
    with pytest.raises(ApplicationError, match=message) as raised:
        await environment(activity_type=wanted).run(activities["*"], [RawValue(payload)])
    assert raised.value.type == "configuration"
    assert "TASKMARK_PLUGINS" in raised.value.details[0].hint
    assert [a.status for a in recorder.attempts("exec-1")] == ["failed"]


async def test_a_broken_component_says_why(tmp_path: Path) -> None:
    activities, _, _ = steps(Registry(broken={"odd": "it cannot be imported"}), tmp_path)
    payload = pydantic_data_converter.payload_converter.to_payload(call(name="odd"))
    with pytest.raises(ApplicationError, match="odd is broken: it cannot be imported") as raised:
        await environment(activity_type="tool.odd").run(activities["*"], [RawValue(payload)])
    assert raised.value.type == "configuration"
