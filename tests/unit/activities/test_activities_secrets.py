"""Secrets reach the tool that is given them, and nothing that a call tells repeats them."""

from __future__ import annotations

import base64
import sys
from pathlib import Path
from typing import Any

import pytest
from activity_calls import call, environment, steps
from pydantic import BaseModel
from temporalio.exceptions import ApplicationError

from activities.steps import StepActivities
from taskmark.contracts import StepCall, StepDone, is_artifact
from taskmark.errors import Category, Failure, StepFailed
from taskmark.ports import Answer, Question, StepContext, ToolCall
from taskmark.registry import Registry, load, step_kind, tool
from taskmark.secrets.sources import Found, Variables
from taskmark.secrets.vault import Vault
from taskmark.shared import MemoryShared
from taskmark.store.memory import MemoryArtifacts, MemoryRecorder
from taskmark.task.model import Agent, Json
from taskmark.task.secret_references import Place, placeholder

TOKEN = "tok-0123456789-planted"
OTHER = "other-0123456789-planted"
GIVEN: list[Json] = []
"""What tools were given."""


class Anything(BaseModel):
    """Parameters of the tools of these tests."""

    value: Json = None


@tool("keep")
async def keep(parameters: Anything, context: StepContext) -> Json:
    """Notes what it is given, and returns it in several forms."""
    GIVEN.append(parameters.value)
    text = str(parameters.value)
    context.heartbeat({"at": text})
    context.say(f"now with {text}")
    (context.root / "written.txt").write_text(text)
    return {"value": parameters.value, "encoded": base64.b64encode(f"me:{text}".encode()).decode()}


@tool("ask")
def ask(parameters: Anything, context: StepContext) -> Json:
    """Asks for a secret by its name, in a thread."""
    value = context.secret(str(parameters.value))
    GIVEN.append(value)
    return value


@tool("break")
async def break_(parameters: Anything, context: StepContext) -> Json:
    """Fails with what it is given in everything it tells."""
    text = str(parameters.value)
    try:
        raise ValueError(f"cause {text}")
    except ValueError as error:
        raise StepFailed(f"not with {text}", Category.PERMISSION, hint=f"another than {text}") from error


@tool("model")
async def model(parameters: Anything, context: StepContext) -> Any:
    """Returns a model, and keeps one."""
    context.heartbeat(parameters)
    return parameters


@tool("large")
async def large(parameters: Anything, context: StepContext) -> Json:
    """Returns more than history keeps."""
    return f"{parameters.value} " * 10_000


@step_kind("greet")
def greet(value: str, description: str, arguments: dict[str, Json], context: StepContext) -> Json:
    """Returns how long its argument is."""
    return len(str(arguments["to"]))


@pytest.fixture(scope="module")
def registry() -> Registry:
    """The built-in tools and those of this module."""
    return load((__name__,))


@pytest.fixture(autouse=True)
def nothing_given() -> None:
    """Each test sees its own calls."""
    GIVEN.clear()


def vault() -> Vault:
    """Returns a vault with two secrets."""
    return Vault([Variables("", {"TOKEN": TOKEN, "OTHER": OTHER})])


def secret_call(name: str, value: str = placeholder("TOKEN"), **changes: Any) -> StepCall:
    """Returns the call of a tool whose value is a secret."""
    places = (Place("TOKEN", ("value",), value.index(placeholder("TOKEN"))),)
    fields = {"arguments": {"value": value}, "secrets": ("TOKEN",), "secret_places": places}
    return call(name=name, **{**fields, **changes})


async def run(registry: Registry, root: Path, request: StepCall, **parts: Any) -> StepDone:
    """Runs a tool."""
    activities, _, _ = steps(registry, root, **{"vault": vault(), **parts})
    done = await environment().run(activities[f"tool.{request.name}"], request)
    assert isinstance(done, StepDone)
    return done


async def test_a_tool_is_given_the_secret_and_its_output_is_masked(
    registry: Registry, tmp_path: Path
) -> None:
    done = await run(registry, tmp_path, secret_call("keep", "Bearer [secret TOKEN]!"))
    assert [f"Bearer {TOKEN}!"] == GIVEN
    assert done.output["value"] == "Bearer [secret TOKEN]!"
    assert base64.b64encode(TOKEN.encode()[3:-3]).decode()[4:-4] not in done.output["encoded"]
    assert TOKEN not in done.model_dump_json()
    assert TOKEN in (tmp_path / "written.txt").read_text(), "what a step writes by its task's wish is its own"


async def test_heartbeats_and_what_is_said_hold_no_secret(registry: Registry, tmp_path: Path) -> None:
    beats: list[Any] = []
    surroundings = environment(heartbeat=0.03)
    surroundings.on_heartbeat = lambda *details: beats.append(details)
    activities, _, _ = steps(registry, tmp_path, vault=vault())
    request = secret_call(
        "shell",
        arguments={
            "command": [
                sys.executable, "-uc",
                "import sys, time\nt = sys.argv[1]\nfor n in range(4):\n"
                "    print('half', t[:12], end=''); time.sleep(0.05); print(t[12:]); time.sleep(0.05)",
                placeholder("TOKEN"),
            ]
        },
        secret_places=(Place("TOKEN", ("command", 3), 0),),
    )  # fmt: skip
    done = await surroundings.run(activities["tool.shell"], request)
    assert done.output["stdout"] == "half [secret TOKEN]\n" * 4
    said = [details[1] for details in beats if len(details) > 1]
    assert "half [secret TOKEN]" in said
    assert TOKEN[:6] not in repr(beats)
    beats.clear()
    await surroundings.run(activities["tool.keep"], secret_call("keep"))
    assert ({"at": "[secret TOKEN]"},) in beats
    assert TOKEN not in repr(beats)


async def test_models_that_a_tool_returns_or_keeps_are_masked(registry: Registry, tmp_path: Path) -> None:
    beats: list[Any] = []
    surroundings = environment(heartbeat=1)
    surroundings.on_heartbeat = lambda *details: beats.append(details)
    activities, _, _ = steps(registry, tmp_path, vault=vault())
    done = await surroundings.run(activities["tool.model"], secret_call("model"))
    assert done.output == {"value": "[secret TOKEN]"}
    assert beats == [({"value": "[secret TOKEN]"},)]


async def test_a_failure_holds_no_secret_in_message_hint_stack_and_record(
    registry: Registry, tmp_path: Path
) -> None:
    activities, recorder, _ = steps(registry, tmp_path, vault=vault())
    with pytest.raises(ApplicationError) as raised:
        await environment().run(activities["tool.break"], secret_call("break"))
    failure = raised.value.details[0]
    assert isinstance(failure, Failure)
    assert (failure.message, failure.hint) == ("not with [secret TOKEN]", "another than [secret TOKEN]")
    (attempt,) = recorder.attempts("exec-1")
    assert attempt.error is not None
    assert "cause [secret TOKEN]" in str(attempt.error.stack)
    assert TOKEN not in f"{raised.value} {failure!r} {attempt!r} {raised.value.__cause__!r}"


async def test_what_a_failing_command_said_is_masked_before_it_is_cut(
    registry: Registry, tmp_path: Path
) -> None:
    """Its last 2000 characters begin in the middle of a secret."""
    code = "import sys; sys.exit((sys.argv[1] + '.' * 1994))"
    with pytest.raises(ApplicationError) as raised:
        await run(
            registry,
            tmp_path,
            secret_call(
                "shell",
                arguments={"command": [sys.executable, "-c", code, placeholder("TOKEN")]},
                secret_places=(Place("TOKEN", ("command", 3), 0),),
            ),
        )
    assert "....." in raised.value.message
    assert TOKEN[-6:] not in raised.value.message


async def test_a_large_output_is_masked_before_it_becomes_an_artifact(
    registry: Registry, tmp_path: Path
) -> None:
    activities, _, artifacts = steps(registry, tmp_path, vault=vault())
    done = await environment().run(activities["tool.large"], secret_call("large"))
    assert is_artifact(done.output)
    assert artifacts.load(done.output["$artifact"]).count(b"[secret TOKEN]") == 10_000


@pytest.mark.semantics("Z2")
@pytest.mark.parametrize(
    "hostile",
    ["[secret TOKEN]", "{{ secrets.TOKEN }}", "secret://TOKEN", "[secret OTHER]", {"$secret": "TOKEN"}],
)
async def test_data_that_looks_like_a_reference_gets_no_secret(
    registry: Registry, tmp_path: Path, hostile: Json
) -> None:
    """An input, or what a tool or agent returned, is data: nothing in it is resolved."""
    arguments = {"value": [hostile, placeholder("TOKEN")]}
    request = secret_call("keep", arguments=arguments, secret_places=(Place("TOKEN", ("value", 1), 0),))
    await run(registry, tmp_path, request)
    assert [[hostile, TOKEN]] == GIVEN
    await run(registry, tmp_path, secret_call("keep", secret_places=()))
    assert GIVEN[1] == "[secret TOKEN]"


async def test_a_secret_that_the_task_does_not_declare_is_refused(registry: Registry, tmp_path: Path) -> None:
    """Also if its place was forged, and if a tool asks for it."""
    forged = secret_call("keep", secrets=("OTHER",))
    with pytest.raises(ApplicationError, match="does not declare the secret TOKEN"):
        await run(registry, tmp_path, forged)
    with pytest.raises(ApplicationError, match="does not declare the secret OTHER"):
        await run(registry, tmp_path, call(name="ask", arguments={"value": "OTHER"}, secrets=("TOKEN",)))
    assert GIVEN == []


async def test_a_tool_may_ask_for_a_secret_that_the_task_declares(registry: Registry, tmp_path: Path) -> None:
    done = await run(registry, tmp_path, call(name="ask", arguments={"value": "OTHER"}, secrets=("OTHER",)))
    assert (GIVEN, done.output) == ([OTHER], "[secret OTHER]")


async def test_what_a_task_declares_is_masked_in_steps_that_do_not_use_it(
    registry: Registry, tmp_path: Path
) -> None:
    """Such as one that reads a file which another worker wrote it into."""
    done = await run(registry, tmp_path, call(name="keep", arguments={"value": OTHER}, secrets=("OTHER",)))
    assert (GIVEN, done.output["value"]) == ([OTHER], "[secret OTHER]")


@pytest.mark.parametrize("name", ["keep", "break"])
async def test_a_model_is_told_no_secret_by_the_tools_that_it_calls(
    registry: Registry, tmp_path: Path, name: str
) -> None:
    """What they return, and how they fail, is sent to whoever provides the model."""
    heard: list[Json] = []

    async def model_asks(_agent: Agent, _question: Question, context: StepContext) -> Answer:
        try:
            heard.append(await context.tools.call(ToolCall(name, {"value": f"it is {TOKEN}"}, 1)))
        except StepFailed as error:
            heard.append(error.message)
        return Answer("done")

    activities = StepActivities(
        registry, model_asks, MemoryArtifacts(), MemoryRecorder(), root=tmp_path, vault=vault()
    ).all()
    named = {getattr(one, "__temporal_activity_definition").name: one for one in activities}
    asked = call(kind="agent", name="a", agent=Agent(id="a"), secrets=("TOKEN",))
    await environment().run(named["agent.ask"], asked)
    told = heard[0]["value"] if isinstance(heard[0], dict) else heard[0]
    assert "it is [secret TOKEN]" in str(told)
    assert TOKEN not in str(heard)


@pytest.mark.semantics("Z3")
async def test_a_step_that_does_not_use_a_missing_secret_runs(registry: Registry, tmp_path: Path) -> None:
    request = call(name="keep", arguments={"value": 1}, secrets=("MISSING",))
    assert (await run(registry, tmp_path, request)).output["value"] == 1
    with pytest.raises(ApplicationError, match="there is no secret MISSING here") as raised:
        await run(
            registry, tmp_path, request.model_copy(update={"name": "ask", "arguments": {"value": "MISSING"}})
        )
    assert raised.value.type == "configuration"


async def test_a_registered_kind_is_given_secrets_too(registry: Registry, tmp_path: Path) -> None:
    activities, _, _ = steps(registry, tmp_path, vault=vault())
    request = call(
        kind="greet",
        name="hello",
        arguments={"to": placeholder("TOKEN")},
        secrets=("TOKEN",),
        secret_places=(Place("TOKEN", ("to",), 0),),
    )
    done = await environment().run(activities["step.greet"], request)
    assert done.output == len(TOKEN)


@pytest.mark.semantics("Z4")
async def test_credentials_are_asked_for_anew_after_they_were_refused(
    registry: Registry, tmp_path: Path
) -> None:
    class Rotating:
        asked = 0

        def find(self, name: str) -> Found | None:
            self.asked += 1
            return Found(f"value-{self.asked}-of-it", float("inf"))

        def where(self, name: str) -> str:
            return name

    kept = Vault([Rotating()])
    await run(registry, tmp_path, secret_call("keep"), vault=kept)
    await run(registry, tmp_path, secret_call("keep"), vault=kept)
    await run(registry, tmp_path, secret_call("keep", refresh_credentials=True), vault=kept)
    assert GIVEN == ["value-1-of-it", "value-1-of-it", "value-2-of-it"]


async def test_an_answer_that_is_used_again_is_masked_and_not_told_to_who_forges_the_placeholder(
    registry: Registry, tmp_path: Path
) -> None:
    shared = MemoryShared()
    first = await run(registry, tmp_path, secret_call("keep", cache=60), shared=shared)
    again = await run(registry, tmp_path, secret_call("keep", cache=60), shared=shared)
    assert (first.cached_from, again.cached_from) == (None, "exec-1")
    assert TOKEN not in repr(vars(shared))
    forged = await run(registry, tmp_path, secret_call("keep", cache=60, secret_places=()), shared=shared)
    assert forged.cached_from is None
