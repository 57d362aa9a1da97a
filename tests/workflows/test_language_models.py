"""Agents that are language models, on a real engine: tools, permission, budgets, fallbacks, history."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from engine import MODEL_KEY, Engine
from model_server import ModelServer, Reply
from observing import stored_attempts

from starter.backfill import Rebuilt, backfill
from taskmark.contracts import span_id
from taskmark.records import AttemptRecord
from taskmark.store.checking import check
from taskmark.task import check_text
from taskmark.task.catalog import Catalog
from taskmark.task.model import Agent

HAIKU = "anthropic:claude-haiku-4-5"


@pytest.fixture(autouse=True)
def said(models: ModelServer, library: None) -> Iterator[None]:
    """Each test begins with a server that nobody has asked."""
    models.asked.clear()
    yield
    models.say = lambda _: Reply(text="yes")


def agent(engine: Engine, id: str, model: str = HAIKU, **keys: Any) -> str:
    """Writes an agent's file and returns its id."""
    front = "".join(f"{key}: {json.dumps(value)}\n" for key, value in {"model": model, **keys}.items())
    engine.file(f"agents/{id}.md", f"---\n{front}---\nBe {id}.\n")
    return id


def asking(id: str, *options: str, metadata: str = "") -> str:
    """Returns a task that asks an agent."""
    head = f"```yaml\n{metadata}\n```\n" if metadata else ""
    more = "".join(f"\n  {option}" for option in options)
    step = f"- agent: {id} - Look after the garden\n  id: ask\n  critical: true{more}"
    return f"{head}## Phase: A\n### Steps\n{step}\n"


async def told(engine: Engine, execution: str, count: int) -> list[AttemptRecord]:
    """Returns the attempts of an execution once there are so many."""

    async def all_of_them() -> list[AttemptRecord]:
        return list(await asyncio.to_thread(engine.client.wiring.history.attempts, execution))

    async with asyncio.timeout(30):
        while len([one for one in await all_of_them() if one.finished_at]) < count:
            await asyncio.sleep(0.05)
    return await all_of_them()


def ended(attempts: list[AttemptRecord]) -> bool:
    """Whether an attempt is told to have completed."""
    return bool(attempts) and attempts[-1].status == "completed"


@pytest.mark.parametrize("model", [HAIKU, "openai:gpt-4o-mini", "short"])
@pytest.mark.semantics("A1")
async def test_a_language_model_answers_a_step(model: str, engine: Engine, models: ModelServer) -> None:
    """What it used is in the result, and in the attempt."""
    models.say = lambda _: Reply(text="Water it.")
    result = await engine.run(asking(agent(engine, f"llm-{model.partition(':')[0]}", model)))
    assert result.status == "completed"
    assert result.steps["ask"].output == "Water it."
    assert result.usage is not None
    assert (result.usage.tokens, result.usage.agent_calls) == (120, 1)
    assert result.usage.cost > 0
    (attempt,) = await stored_attempts(engine, result.execution_id, "ask", ended)
    assert (attempt.tokens, attempt.cost) == (120, result.usage.cost)


@pytest.mark.semantics("A2")
async def test_a_steps_schema_is_what_the_answer_fits(engine: Engine, models: ModelServer) -> None:
    models.say = lambda asked: Reply(calls=(("final-answer", {"litres": 3 if asked.turns else "three"}),))
    schema = "schema: {type: object, properties: {litres: {type: number}}, required: [litres]}"
    result = await engine.run(asking(agent(engine, "measures"), schema))
    assert result.steps["ask"].output == {"litres": 3}


@pytest.mark.semantics("A3")
async def test_each_call_of_a_tool_is_an_attempt_in_history(engine: Engine, models: ModelServer) -> None:
    """With a span of its own that leads to the agent's, and a key of its own; also what failed."""
    engine.file("beds.txt", "beans and peas")

    def say(asked: Any) -> Reply:
        if asked.turns == 0:
            return Reply(calls=(("read-file", {"path": "beds.txt"}), ("read-file", {"path": "gone.txt"})))
        return Reply(text="beans" if "beans and peas" in asked.last else "nothing")

    models.say = say
    result = await engine.run(asking(agent(engine, "reads", tools="Read, Grep")))
    execution = result.execution_id
    assert result.steps["ask"].output == "beans"
    assert models.asked[0].tools == ["read-file", "search-files"]
    first, second, asked = sorted(
        await told(engine, execution, 3), key=lambda one: (one.step == "ask", one.step)
    )
    assert (asked.step, asked.status, asked.tokens) == ("ask", "completed", 240)
    assert (first.step, first.kind, first.name, first.agent) == ("ask/1", "tool", "read-file", "reads")
    assert (first.status, first.input, first.output["content"]) == (
        "completed",
        {"path": "beds.txt"},
        "beans and peas",
    )
    assert first.parents == (span_id(execution, "a", "ask"),)
    assert (second.step, second.status) == ("ask/2", "failed")
    assert second.error is not None
    assert "gone.txt" in second.error.message
    store = engine.client.wiring.store
    assert not [one for one in check(store, engine.client.wiring.artifacts) if one.count]
    assert len({first.idempotency_key, second.idempotency_key, asked.idempotency_key}) == 3


WRITING = {"path": "note.txt", "content": "water the beans"}


def writes(asked: Any) -> Reply:
    """Wants to write a file, and then tells what came of it."""
    return Reply(text=f"done: {asked.last}") if asked.turns else Reply(calls=(("write-file", WRITING),))


@pytest.mark.semantics("A4", "A6")
@pytest.mark.parametrize("decision", ["allow", "refuse"])
async def test_a_call_with_effects_waits_for_a_person(
    decision: str, engine: Engine, models: ModelServer
) -> None:
    """Allowed, it happens once; refused, it does not, and the model is told. Nothing is paid for again."""
    note = engine.root / "note.txt"
    note.unlink(missing_ok=True)
    models.say = writes
    execution = await engine.start(asking(agent(engine, "writes", tools=["write-file"])))
    (wait,) = (await engine.until_status(execution, "waiting")).waiting
    assert wait.kind == "question"
    assert wait.name.startswith("writes-write-file-")
    assert "Agent writes wants to call write-file" in wait.prompt
    assert "water the beans" in wait.prompt
    assert not note.exists()
    await engine.client.answer(execution, wait.name, decision, by="eve")
    result = await engine.wait(execution)
    assert result.status == "completed"
    assert len(models.asked) == 2
    assert note.exists() == (decision == "allow")
    assert ("eve refused this call" in result.steps["ask"].output) == (decision == "refuse")
    assert result.usage is not None
    assert result.usage.tokens == 240
    attempts = await told(engine, execution, 2)
    made = next(one for one in attempts if one.step == "ask/1")
    assert (made.status, made.input) == ("completed" if decision == "allow" else "failed", WRITING)


@pytest.mark.semantics("A4")
@pytest.mark.parametrize("where", ["step", "task"])
async def test_what_the_step_or_the_task_allows_is_called_at_once(
    where: str, engine: Engine, models: ModelServer
) -> None:
    (engine.root / "note.txt").unlink(missing_ok=True)
    models.say = writes
    options = {"step": (["allow: [write-file]"], ""), "task": ([], "allow: [write-file]")}
    steps, metadata = options[where]
    result = await engine.run(asking(agent(engine, "allowed", tools="Write"), *steps, metadata=metadata))
    assert result.status == "completed"
    assert (engine.root / "note.txt").read_text() == "water the beans"


@pytest.mark.semantics("A4")
async def test_what_the_agents_file_does_not_list_is_never_called(
    engine: Engine, models: ModelServer
) -> None:
    """Whatever the step allows."""
    (engine.root / "note.txt").unlink(missing_ok=True)
    models.say = writes
    result = await engine.run(asking(agent(engine, "only-reads", tools="Read"), "allow: [write-file, shell]"))
    assert result.status == "completed"
    assert "There is no tool write-file for you: read-file." in result.steps["ask"].output
    assert not (engine.root / "note.txt").exists()


@pytest.mark.semantics("A5")
async def test_an_agent_that_may_ask_gets_the_answer(engine: Engine, models: ModelServer) -> None:
    """In the same conversation: what was said before is not said again."""
    question = ("ask-person", {"question": "Which bed?", "choices": ["left", "right"]})
    models.say = lambda asked: Reply(text=asked.last) if asked.turns else Reply(calls=(question,))
    execution = await engine.start(asking(agent(engine, "shy", tools=["AskUserQuestion"])))
    (wait,) = (await engine.until_status(execution, "waiting")).waiting
    assert (wait.prompt, wait.answer_schema) == ("Agent shy asks: Which bed?", {"enum": ["left", "right"]})
    await engine.client.answer(execution, wait.name, "right")
    assert "right" in (await engine.wait(execution)).steps["ask"].output
    assert len(models.asked) == 2


@pytest.mark.semantics("A7")
async def test_what_a_failed_question_used_is_charged(engine: Engine, models: ModelServer) -> None:
    """The first answer was paid for; then the provider refuses."""
    models.say = lambda asked: (
        Reply(status=400) if asked.turns else Reply(calls=(("list-files", {"path": "."}),))
    )
    result = await engine.run(asking(agent(engine, "unlucky", tools="LS")))
    assert result.status == "failed"
    assert result.usage is not None
    assert result.usage.tokens == 120
    assert next(one for one in await told(engine, result.execution_id, 2) if one.step == "ask").tokens == 120
    again = Rebuilt()
    await backfill(engine.client.client, again, only=[result.execution_id])
    assert 120 in [one.tokens for one in again.records if isinstance(one, AttemptRecord)]


@pytest.mark.semantics("A6")
async def test_another_attempt_goes_on_with_what_was_said(engine: Engine, models: ModelServer) -> None:
    """Its first answer is not asked for again, its tool is not called again, and each is charged once."""
    tries: list[int] = []

    def say(asked: Any) -> Reply:
        if not asked.turns:
            return Reply(calls=(("list-files", {"path": "."}),))
        tries.append(1)
        return Reply(status=503) if len(tries) == 1 else Reply(text="ok")

    models.say = say
    retry = "retry: {maxAttempts: 2, backoffMs: 1}"
    result = await engine.run(asking(agent(engine, "persistent", tools="LS"), retry))
    assert (result.steps["ask"].output, result.steps["ask"].attempts) == ("ok", 2)
    assert len(models.asked) == 3
    assert result.usage is not None
    assert result.usage.tokens == 240
    listed = [one for one in await told(engine, result.execution_id, 3) if one.step == "ask/1"]
    assert len(listed) == 1


@pytest.mark.semantics("A8")
@pytest.mark.parametrize("kind", ["agent", "plain"])
async def test_the_agent_that_a_file_falls_back_on_is_asked(
    kind: str, engine: Engine, models: ModelServer
) -> None:
    agent(engine, "second")
    first = agent(engine, "first", fallback="second")
    models.say = lambda asked: (
        Reply(status=400) if "Be first." in asked.text else Reply(text="from the second")
    )
    plain = f"## Phase: A\n### Agents\n- {first}\n### Steps\n- Look after the garden\n  id: ask\n"
    result = await engine.run(asking(first) if kind == "agent" else plain)
    assert result.status == "completed"
    expected = "from the second" if kind == "agent" else {"first": "from the second"}
    assert result.steps["ask"].output == expected
    assert result.steps["ask"].fallback


@pytest.mark.semantics("A8")
async def test_a_steps_own_fallback_counts_more_than_the_agents(engine: Engine, models: ModelServer) -> None:
    agent(engine, "second")
    models.say = lambda _: Reply(status=400)
    result = await engine.run(asking(agent(engine, "third", fallback="second"), "fallback: {value: nobody}"))
    assert result.steps["ask"].output == "nobody"
    assert len(models.asked) == 1


@pytest.mark.semantics("A9")
@pytest.mark.parametrize(("id", "own"), [("slow", "400ms"), ("hasty", "1h")])
async def test_an_agents_timeout_ends_the_question(
    id: str, own: str, engine: Engine, models: ModelServer
) -> None:
    """The one of its file, or that of the settings, which counts more."""
    models.say = lambda _: Reply(text="too late", before=2)
    result = await engine.run(asking(agent(engine, id, timeout=own), "retry: {maxAttempts: 1}"))
    assert result.steps["ask"].error is not None
    assert "its timeout of 0.4 s" in result.steps["ask"].error.message


@pytest.mark.semantics("A9")
async def test_a_timeout_that_no_file_could_say_is_none(engine: Engine, models: ModelServer) -> None:
    """A definition that was made by a program may hold anything; no workflow hangs for it."""
    checked = check_text(f"# Odd\n\n{asking('odd')}", catalog=Catalog.default()).definition
    assert checked is not None
    odd = Agent(id="odd", model=HAIKU, metadata={"timeout": "soon"})
    definition = checked.model_copy(update={"agents": {"odd": odd}})
    execution = await engine.client.start(definition=definition)
    assert (await engine.wait(execution)).steps["ask"].output == "yes"


@pytest.mark.semantics("R25")
async def test_an_answer_is_used_again_within_its_time(engine: Engine, models: ModelServer) -> None:
    """The model is not asked, and nothing is charged."""
    models.say = lambda _: Reply(text="from the first time")
    text = asking(agent(engine, "cached"), "cache: 1h")
    await engine.run(text)
    again = await engine.run(text)
    assert again.steps["ask"].output == "from the first time"
    assert len(models.asked) == 1
    assert again.usage is None or again.usage.tokens == 0


@pytest.mark.semantics("R23")
async def test_a_provider_that_is_down_is_left_alone(engine: Engine, models: ModelServer) -> None:
    """After five failures in a row nobody calls it for a while; a call with a fallback goes on without it."""
    models.say = lambda _: Reply(status=503)
    down = agent(engine, "down", "shaky:gpt-4o-mini")
    text = asking(down, "retry: {maxAttempts: 6, backoffMs: 1}", "fallback: {value: without it}")
    result = await engine.run(text)
    assert result.steps["ask"].output == "without it"
    assert len(models.asked) == 5
    attempts = await told(engine, result.execution_id, 6)
    assert attempts[-1].error is not None
    assert attempts[-1].error.type == "circuit_open"


@pytest.mark.semantics("A10")
async def test_a_key_is_nowhere_to_be_read(
    engine: Engine, models: ModelServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Though the provider repeats it in its answers and errors, and the model in its calls."""

    def say(asked: Any) -> Reply:
        if asked.turns:
            return Reply(status=401, error=f"the key {asked.key} is wrong")
        return Reply(calls=(("list-files", {"path": "."}),))

    models.say = say
    result = await engine.run(asking(agent(engine, "leaks", tools="LS")))
    assert result.status == "failed"
    assert result.steps["ask"].error is not None
    assert result.steps["ask"].error.category == "permission"
    events = [*await engine.events(result.execution_id), *await engine.events(result.execution_id, phase="a")]
    await told(engine, result.execution_id, 3)
    kept = [event.SerializeToString() for event in events]
    kept += [path.read_bytes() for path in Path(engine.root.parent / "state").rglob("*") if path.is_file()]
    kept += [caplog.text.encode(), result.model_dump_json().encode()]
    assert any(b"list-files" in one for one in kept)
    assert not any(MODEL_KEY.encode() in one for one in kept)


@pytest.mark.semantics("Z1")
async def test_a_key_that_a_command_prints_is_masked(engine: Engine) -> None:
    """Though no agent has been asked with it, and it is no secret of the task."""
    engine.file("left-behind.txt", MODEL_KEY)
    result = await engine.run(
        """
        ## Phase: A
        ### Steps
        - tool: shell - It prints the key
          id: prints
          with: {command: [cat, left-behind.txt]}
        """
    )
    assert result.steps["prints"].output["stdout"].strip() == "[secret]"
    (attempt,) = await told(engine, result.execution_id, 1)
    assert attempt.output["stdout"].strip() == "[secret]"
    events = [*await engine.events(result.execution_id), *await engine.events(result.execution_id, phase="a")]
    kept = [event.SerializeToString() for event in events]
    kept += [path.read_bytes() for path in Path(engine.root.parent / "state").rglob("*") if path.is_file()]
    assert any(b"left-behind.txt" in one for one in kept)
    assert not any(MODEL_KEY.encode() in one for one in kept)


async def test_what_a_step_used_is_counted_though_a_secret_is_the_same_number(engine: Engine) -> None:
    engine.client.wiring.masks.add("4711081512", "PIN")
    engine.file("agents/counted.md", "---\nname: counted\nmodel: probe:use-4711081512-0.5\n---\nCount.\n")
    result = await engine.run(asking("counted"))
    assert result.status == "completed"
    assert result.usage is not None
    assert (result.usage.tokens, result.usage.cost) == (4711081512, 0.5)
