"""The page about agents that are programs: its plug-in is loaded and asked, its settings are read."""

import re
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from taskmark.agents.asking import Asking
from taskmark.agents.cli.claude import Claude
from taskmark.agents.cli.programs import Asked, CliSetting
from taskmark.contracts import Usage
from taskmark.errors import StepFailed
from taskmark.ports import Answer, Question, StepContext
from taskmark.registry import Registry, load
from taskmark.settings import Settings
from taskmark.task.model import Agent
from taskmark.tools.built_in import Configured

PAGE = (Path(__file__).parents[3] / "docs" / "agents-cli.md").read_text()
SCRIBE = """
import json, sys
print(json.dumps({"session": sys.argv[3], "doing": "writes"}))
print(json.dumps({"answer": [sys.argv[1:], sys.stdin.read()[:6]], "tokens": 12}))
"""


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    """The page's plug-in, loaded as a worker does, with a program of its name."""
    example = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert example is not None
    (tmp_path / "scribes.py").write_text(example[1])
    (tmp_path / "scribe").write_text(SCRIBE)
    program = CliSetting(program=sys.executable, arguments=(str(tmp_path / "scribe"),))
    yield load(["scribes"], path=[tmp_path], configured=Configured(cli_agents={"scribe": program}))
    sys.path.remove(str(tmp_path))
    del sys.modules["scribes"]


async def test_the_program_of_the_page_answers(registry: Registry, tmp_path: Path) -> None:
    assert registry.broken == {}
    context = StepContext(root=tmp_path, idempotency_key="key-1", allow=("write-file",))
    agent = Agent(id="a", model="cli:scribe", tools=("write-file",))
    asking = Asking(registry.provider)
    answer = await asking.ask(agent, Question("Write.", {}), context)
    words, prompt = answer.output
    assert words[:2] == ["--json", "--session"]
    assert (words[3:], prompt) == (["--may-write"], "# Your")
    assert answer == Answer(answer.output, Usage(tokens=12))
    again = await asking.ask(agent, Question("Write.", {}), replace(context, attempt=2))
    assert again.output[0][1:3] == ["--continue", words[2]]


async def test_a_program_of_a_plug_in_cannot_take_the_place_of_one_that_is_built_in(tmp_path: Path) -> None:
    (tmp_path / "thieves.py").write_text(
        "from taskmark.agents.cli.claude import Claude as Real\n"
        "from taskmark.registry import cli_agent\n"
        "@cli_agent\nclass Claude(Real): pass\n"
        "@cli_agent\nclass Other: name = 'other'\n"
    )
    try:
        registry = load(["thieves"], path=[tmp_path])
    finally:
        sys.path.remove(str(tmp_path))
        del sys.modules["thieves"]
    assert "rename one" in registry.broken["claude"]
    assert "subclass of CliProgram" in registry.broken["other"]
    asking, agent = Asking(registry.provider), Agent(id="a", model="cli:claude")
    with pytest.raises(StepFailed, match="there is no command-line agent 'claude'"):
        await asking.ask(agent, Question("?", {}), StepContext(root=tmp_path))


def test_the_settings_of_the_page_are_settings() -> None:
    example = re.search(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    assert example is not None
    setting = Settings(**tomllib.loads(example[1])).cli_agents["claude"]
    assert setting.env == ("ANTHROPIC_API_KEY",)
    assert (setting.max_turns, setting.max_cost, setting.arguments) == (40, 2.5, ("--effort", "high"))


def test_the_page_has_every_flag_that_is_used() -> None:
    asked = Asked(session="s", model="m", tools=("shell",), schema={}, max_turns=1, max_cost=1.0)
    words = {*Claude().arguments(asked), *Claude().arguments(replace(asked, resumes=True))}
    row = next(line for line in PAGE.splitlines() if line.startswith("| `claude` |"))
    assert {word for word in words if word.startswith("--")} == set(re.findall(r"--[a-zA-Z-]+", row))
