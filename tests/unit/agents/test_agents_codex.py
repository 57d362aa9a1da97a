"""Codex as an agent, played by a program that speaks as it does."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from taskmark.agents.cli.programs import CliSetting, built_in
from taskmark.agents.cli.provider import CliAgents
from taskmark.contracts import Usage
from taskmark.errors import Category, StepFailed
from taskmark.ports import Answer, Question, StepContext
from taskmark.shared import MemoryShared
from taskmark.task.model import Agent

DOUBLE = Path(__file__).parents[2] / "programs" / "codex_double.py"
AGENT = Agent(id="coder", model="cli:codex:gpt-5", prompt="You write code.", tools=("read-file", "shell"))
AGENTS = CliAgents(built_in(), {"codex": CliSetting(program=sys.executable, arguments=("-I", str(DOUBLE)))})


@pytest.fixture
def context(tmp_path: Path) -> StepContext:
    """Where an agent works."""
    return StepContext(root=tmp_path, idempotency_key="key-1", timeout=20.0)


async def ask(context: StepContext, play: dict[str, Any], *, agent: Agent = AGENT, given: Any = ()) -> Answer:
    told = {"answers": given} if given else {}
    return await AGENTS.ask(agent, Question(f"Do it. PLAY:{json.dumps(play)}", told), context)


def threads(context: StepContext) -> list[dict[str, Any]]:
    """Returns all threads that there are."""
    return [json.loads(file.read_text()) for file in (context.root / ".double").glob("*.json")]


async def test_an_answer_has_its_text_its_tokens_and_the_files_it_changed(context: StepContext) -> None:
    answer = await ask(context, {"change": str(context.root / "new.txt"), "answer": '{"n": 1}'})
    assert answer == Answer({"n": 1}, Usage(tokens=100, cost=0.0), ("new.txt",))


@pytest.mark.parametrize(
    ("tools", "settings"),
    [
        ((), {'sandbox_mode="read-only"', 'web_search="disabled"'}),
        (("Read", "Grep"), {'sandbox_mode="read-only"', "sandbox_workspace_write.network_access=false"}),
        (("edit-file",), {'sandbox_mode="workspace-write"', "sandbox_workspace_write.network_access=false"}),
        (
            ("shell", "http"),
            {'sandbox_mode="workspace-write"', "sandbox_workspace_write.network_access=true"},
        ),
        (("web-search",), {'sandbox_mode="read-only"', 'web_search="live"'}),
    ],
)
async def test_its_sandbox_allows_what_the_agents_file_says(
    context: StepContext, tools: tuple[str, ...], settings: set[str]
) -> None:
    await ask(replace(context, allow=tools), {}, agent=AGENT.model_copy(update={"tools": tools}))
    (thread,) = threads(context)
    assert settings <= set(thread["words"][0])
    assert 'approval_policy="never"' in thread["words"][0]
    assert thread["words"][0][-3:] == ["--model", "gpt-5", "-"]


@pytest.mark.semantics("X2")
async def test_its_sandbox_only_reads_if_nobody_allows_more(context: StepContext) -> None:
    tools = ("Read", "write-file", "shell", "web-search")
    await ask(context, {}, agent=AGENT.model_copy(update={"tools": tools}))
    (thread,) = threads(context)
    assert {'sandbox_mode="read-only"', 'web_search="live"'} <= set(thread["words"][0])
    assert "write-file, shell." in thread["prompts"][0]


async def test_the_network_needs_a_tool_that_writes_to_be_allowed_too(context: StepContext) -> None:
    agent = AGENT.model_copy(update={"tools": ("write-file", "http")})
    with pytest.raises(StepFailed, match="only where it may also change files") as caught:
        await ask(replace(context, allow=("http",)), {}, agent=agent)
    assert "allow" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("tools", "message"), [(("sql",), "nothing like the tool 'sql'"), (("http",), "only where")]
)
async def test_what_its_sandbox_cannot_do_is_an_error(
    context: StepContext, tools: tuple[str, ...], message: str
) -> None:
    with pytest.raises(StepFailed, match=message) as caught:
        await ask(context, {}, agent=AGENT.model_copy(update={"tools": tools}))
    assert caught.value.category is Category.CONFIGURATION


async def test_a_crashed_thread_goes_on_and_counts_once(context: StepContext) -> None:
    """Its tokens are told for the whole thread."""
    play = {"crash": True, "answer": "done"}
    with pytest.raises(StepFailed, match="without an answer: exit code 9"):
        await ask(context, play)
    answer = await ask(replace(context, attempt=2), play)
    again = await ask(replace(context, attempt=3), play)
    (thread,) = threads(context)
    assert [words[1] for words in thread["words"][1:]] == ["resume", "resume"]
    assert (answer.usage, again.usage) == (Usage(tokens=200), Usage(tokens=100))


async def test_a_thread_whose_name_would_be_an_option_is_not_resumed(context: StepContext) -> None:
    told = [
        {"type": "thread.started", "thread_id": "--danger"},
        {"type": "turn.completed", "usage": {"input_tokens": 1}},
    ]
    shows = f"import json, sys; said = {{'type': 'agent_message', 'text': str(sys.argv)}}; told = {told}\n"
    shows += "told.insert(1, {'type': 'item.completed', 'item': said})\n"
    shows += "for message in told: print(json.dumps(message))"
    agents = CliAgents(built_in(), {"codex": CliSetting(program=sys.executable, arguments=("-c", shows))})
    for attempt in (1, 2):
        answer = await agents.ask(AGENT, Question("Do it.", {}), replace(context, attempt=attempt))
        assert "--danger" not in answer.output


async def test_a_thread_that_is_gone_begins_anew(context: StepContext) -> None:
    with pytest.raises(StepFailed):
        await ask(context, {"crash": True})
    for file in (context.root / ".double").glob("*.json"):
        file.unlink()
    with pytest.raises(StepFailed, match="exit code 9"):
        await ask(replace(context, attempt=2), {"crash": True})
    assert [len(thread["words"]) for thread in threads(context)] == [1]


async def test_an_answered_question_goes_on_in_its_thread(context: StepContext) -> None:
    asked = '{"blocking": true, "question": "Which?"}'
    assert (await ask(context, {"answer": asked})).output == json.loads(asked)
    await ask(context, {"answer": asked}, given=[{"question": "Which?", "value": {"n": 2}, "by": "ann"}])
    (thread,) = threads(context)
    assert thread["prompts"][1] == 'You asked: Which?\nThe answer: {"n": 2}\n\nGo on with your task.'


async def test_an_answered_question_whose_thread_is_forgotten_is_asked_anew(context: StepContext) -> None:
    given = [{"question": "Which?", "value": "this", "by": "ann"}]
    await ask(replace(context, shared=MemoryShared()), {}, given=given)
    (thread,) = threads(context)
    assert '"value": "this"' in thread["prompts"][0]


@pytest.mark.parametrize(
    ("said", "category"),
    [
        ("unexpected status 401 Unauthorized: no key", Category.PERMISSION),
        ("unexpected status 429 Too Many Requests", Category.TRANSIENT),
        ("unexpected status 400 Bad Request", Category.LOGIC),
        ("stream disconnected", Category.TRANSIENT),
    ],
)
async def test_a_failure_says_of_what_kind_it_is(context: StepContext, said: str, category: Category) -> None:
    with pytest.raises(StepFailed, match=said) as caught:
        await ask(context, {"fail": said})
    assert caught.value.category is category
