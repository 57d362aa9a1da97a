"""Agents: who is asked, and what becomes of the answer. Real processes answer."""

import sys
from pathlib import Path
from typing import Any

import pytest

from taskmark.agents.answering import answer_of
from taskmark.agents.asking import Asking
from taskmark.contracts import Usage
from taskmark.errors import Category, StepFailed
from taskmark.ports import Answer, Question, StepContext
from taskmark.registry import Registry, load
from taskmark.task.model import Agent
from taskmark.tools.built_in import Configured
from taskmark.tools.processes import ProcessLimits

QUESTION = Question("What grows here?", {"inputs": {"bed": 3}})


@pytest.fixture
def context(tmp_path: Path) -> StepContext:
    """A root with a module of the user's in it."""
    (tmp_path / "garden.py").write_text(
        "def answer(instruction, context): return [instruction, context['inputs']['bed'], context['agent']]\n"
        "def fails(instruction, context): raise ValueError('nothing grows')\n"
        "def large(instruction, context): return 'x' * 300_000\n"
        "def counted(instruction, context): return {'usage': {'tokens': 7, 'cost': 0.5}, 'answer': 1}\n"
    )
    return StepContext(root=tmp_path, execution_id="exec-1", timeout=20.0)


def agent(model: str | None, prompt: str = "You garden.") -> Agent:
    return Agent(id="gardener", name="Gardener", model=model, prompt=prompt, tools=("read-file",))


async def ask(model: str | None, context: StepContext, *, default: str | None = None) -> Any:
    return (await Asking(load().provider, default).ask(agent(model), QUESTION, context)).output


async def test_a_function_answers(context: StepContext) -> None:
    """It gets the instruction, what the step may read, and who it is."""
    described = {"id": "gardener", "name": "Gardener", "prompt": "You garden."}
    assert await ask("python:garden:answer", context) == ["What grows here?", 3, described]


async def test_a_command_answers_in_json_or_text(context: StepContext) -> None:
    """The question comes on standard input, whole."""
    echo = f"command:{sys.executable} -c 'print(__import__(\"sys\").stdin.read())'"
    assert await ask(echo, context) == {
        "instruction": "What grows here?",
        "context": {"inputs": {"bed": 3}},
        "prompt": "You garden.\n\nWhat grows here?",
        "agent": {"id": "gardener", "name": "Gardener", "tools": ["read-file"]},
    }
    assert await ask("command:echo  '  beans '", context) == "beans"
    assert await ask("command:echo 42", context) == 42


async def test_placeholders_put_the_question_into_words_and_nothing_reads_it_again(
    context: StepContext,
) -> None:
    """What is put in is one word, whatever it holds; a placeholder in the prompt stays as it is."""
    said = await Asking(load().provider).ask(
        agent("command:printf %s|%s {prompt} a{instruction}b", prompt="$(id) '{instruction}' {prompt}"),
        Question("; ls", {}),
        context,
    )
    assert said.output == "$(id) '{instruction}' {prompt}\n\n; ls|a; lsb"


@pytest.mark.parametrize(
    ("model", "category", "message"),
    [
        ("python:garden:fails", Category.TRANSIENT, "garden:fails: ValueError: nothing grows"),
        ("python:garden:gone", Category.CONFIGURATION, "no attribute 'gone'"),
        ("python:garden:large", Category.RESOURCE, "bytes of JSON"),
        ("python:", Category.CONFIGURATION, "names no function"),
        ("command:sh -c 'echo why >&2; exit 3'", Category.TRANSIENT, "agent gardener: sh: exit code 3: why"),
        ("command:sh -c 'exit 127'", Category.CONFIGURATION, "exit code 127"),
        ("command:no-such-program", Category.CONFIGURATION, "not found"),
        ("command:", Category.CONFIGURATION, "names no command"),
        ("command:echo 'open", Category.CONFIGURATION, "is no command: No closing quotation"),
        ("command:head -c 300000 /dev/zero", Category.RESOURCE, "printed 300,000 bytes"),
        ("command:sh -c 'yes | head -c 200000 | tr y \"\\001\"'", Category.RESOURCE, "bytes of JSON"),
        (
            "opus",
            Category.CONFIGURATION,
            "agent gardener has the model 'opus': there is no agent provider 'opus'",
        ),
        ("comand:echo", Category.CONFIGURATION, 'did you mean "command"'),
    ],
)
async def test_what_goes_wrong_is_told(
    model: str, category: Category, message: str, context: StepContext
) -> None:
    with pytest.raises(StepFailed) as caught:
        await ask(model, context)
    assert message in caught.value.message
    assert caught.value.category is category


@pytest.mark.parametrize("model", [None, "", "inherit"])
async def test_an_agent_without_a_model_uses_the_default(model: str | None, context: StepContext) -> None:
    assert await ask(model, context, default="command:echo default") == "default"
    with pytest.raises(StepFailed, match="agent gardener names no model") as caught:
        await ask(model, context)
    assert caught.value.category is Category.CONFIGURATION
    assert "TASKMARK_DEFAULT_MODEL" in (caught.value.hint or "")


async def test_a_deep_answer_that_is_no_json_is_text(context: StepContext) -> None:
    assert (await ask(f"command:{sys.executable} -c 'print(\"[\" * 100_000)'", context)).startswith("[[[")


async def test_a_provider_of_a_plugin_is_limited_too(context: StepContext) -> None:
    class Chatty:
        async def ask(self, agent: Agent, question: Question, context: StepContext) -> Answer:
            assert agent.model == "chatty:big"
            return Answer(output="x" * 300_000)

    registry = Registry(providers={"chatty": Chatty()})
    with pytest.raises(StepFailed, match="agent gardener returned") as caught:
        await Asking(registry.provider).ask(agent("chatty:big"), QUESTION, context)
    assert "shorter" in (caught.value.hint or "")


async def test_limits_and_paths_reach_the_processes(context: StepContext, tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "extra.py").write_text("def f(instruction, context): return __name__")
    registry = load(path=[tmp_path / "more"], configured=Configured(limits=ProcessLimits(output=100)))
    try:
        asking = Asking(registry.provider)
        assert (await asking.ask(agent("python:extra:f"), QUESTION, context)).output == "extra"
        with pytest.raises(StepFailed, match="printed more than 100 bytes"):
            await asking.ask(agent("command:yes"), QUESTION, context)
    finally:
        sys.path.remove(str(tmp_path / "more"))


async def test_usage_in_an_answer_is_counted_and_left_in_place(context: StepContext) -> None:
    said = await Asking(load().provider).ask(agent("python:garden:counted"), QUESTION, context)
    assert said.usage == Usage(tokens=7, cost=0.5)
    assert said.output == {"usage": {"tokens": 7, "cost": 0.5}, "answer": 1}


@pytest.mark.parametrize(
    "output",
    [
        5,
        {"usage": 3},
        {"usage": {"input": 3}},
        {"usage": {"tokens": "many"}},
        {"usage": {"cost": 1e12}},
        {"usage": {"tokens": -1}},
    ],
)
def test_what_is_no_usage_of_ours_is_only_an_answer(output: Any) -> None:
    assert answer_of(output, agent(None)) == Answer(output=output)
