"""What the registry gives, and what a broken plugin does not take away."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from taskmark.errors import Category, StepFailed
from taskmark.ports import Answer, Question, StepContext
from taskmark.registry import Registry, load
from taskmark.task.model import Agent

HEAD = """
from pydantic import BaseModel
from taskmark.ports import Answer, Tool
from taskmark.registry import agent_provider, aggregate, step_kind, tool

class Parameters(BaseModel):
    x: int = 1
"""
BUILTIN = {"http", "list-files", "python", "read-csv", "read-file", "search-files", "shell", "write-file"}
BUILTIN |= {"edit-file", "copy-file", "move-file", "delete-file", "json", "sql", "sql-write"}
BUILTIN |= {"web-search", "mail", "webhook", "chat", "browser", "mcp"}


@pytest.fixture
def plugin(tmp_path: Path) -> Iterator[Callable[..., Registry]]:
    """Loads modules from their texts."""
    path, modules = list(sys.path), set(sys.modules)

    def loaded(**texts: str) -> Registry:
        for name, text in texts.items():
            place = tmp_path / f"{name.replace('__', '/').replace('INIT', '__init__')}.py"
            place.parent.mkdir(exist_ok=True)
            place.write_text(HEAD + dedent(text))
        return load([name for name in texts if "__" not in name], path=[tmp_path])

    yield loaded
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


def test_what_is_built_in_needs_no_plugin() -> None:
    registry = load()
    assert set(registry.tools) == BUILTIN
    models = {"anthropic", "openai", "openrouter", "deepseek", "ollama", "pool"}
    assert set(registry.providers) == {"python", "command", "cli"} | models
    assert set(registry.cli_agents) == {"claude", "codex"}
    assert registry.broken == {}


def test_each_tool_has_a_schema_with_the_keys_of_the_file() -> None:
    schemas = load().schemas()
    assert set(schemas) == BUILTIN
    assert {"allowFailure", "command", "cwd", "env", "stdin", "shell"} == set(schemas["shell"]["properties"])
    assert {"args", "function", "kwargs"} == set(schemas["python"]["properties"])
    assert schemas["http"]["properties"]["timeout"]["default"] == "30s"
    assert schemas["write-file"]["required"] == ["path", "content"]


async def test_a_plugin_adds_every_kind_of_component(plugin: Any, context: StepContext) -> None:
    registry = plugin(
        everything="""
        @tool
        class Classy(Tool[Parameters]):
            name = "classy"
            parameters = Parameters
            async def execute(self, parameters, context): return parameters.x

        @tool("plain", effects=False, timeout=5, needs=("git",))
        def plain(parameters: Parameters, context): return (parameters.x, context.step)

        @tool("later")
        async def later(parameters: Parameters, context): return {"x": parameters.x}

        @aggregate("longest")
        def longest(values, arguments): return max(values, key=len)

        @step_kind("shout")
        async def shout(value, description, arguments, context): return value.upper()

        @agent_provider("echo")
        class Echo:
            async def ask(self, agent, question, context): return Answer(output=question.instruction)

        @agent_provider("count")
        def count(agent, question, context): return len(question.instruction)

        another_name = plain
        """
    )
    assert registry.broken == {}
    for name, output in (("classy", 2), ("plain", [2, ""]), ("later", {"x": 2})):
        tool = registry.tool(name)
        assert await tool.execute(tool.validate({"x": 2}), context) == output
    assert (registry.tool("plain").effects, registry.tool("plain").timeout, registry.tool("plain").needs) == (
        False,
        5,
        ("git",),
    )
    assert await registry.aggregate("longest")(["a", "bb"], {}) == "bb"
    assert await registry.kind("shout")("hi", "", {}, context) == "HI"
    for prefix, output in (("echo", "hello"), ("count", 5)):
        answer = await registry.provider(prefix).ask(Agent(id="a"), Question("hello", {}), context)
        assert answer == Answer(output=output)
    assert "plain" in registry.schemas()


async def test_what_plugins_return_is_limited(plugin: Any, context: StepContext) -> None:
    registry = plugin(
        large="""
        @tool("large")
        def large(parameters: Parameters, context): return "x" * 300_000
        @aggregate("wide")
        def wide(values, arguments): return "x" * 300_000
        @step_kind("long")
        def long(value, description, arguments, context): return "x" * 300_000
        """
    )
    calls = (
        registry.tool("large").execute(registry.tool("large").validate({}), context),
        registry.aggregate("wide")([], {}),
        registry.kind("long")("", "", {}, context),
    )
    for call in calls:
        with pytest.raises(StepFailed) as caught:
            await call
        assert caught.value.category is Category.RESOURCE


INVALID = {
    "no-model": '@tool("no-model")\ndef f(parameters, context): ...',
    "wrong-model": '@tool("wrong-model")\ndef f(parameters: dict, context): ...',
    "no-name": '@tool("no-name")\ndef f(parameters: "Nowhere", context): ...',
    "few": '@tool("few")\ndef f(parameters: Parameters): ...',
    "many": '@tool("many")\ndef f(parameters: Parameters, context, more): ...',
    "keyword": '@tool("keyword")\ndef f(parameters: Parameters, *, context): ...',
    "bare": "@tool\ndef bare(parameters: Parameters, context): ...",
    "abstract": '@tool\nclass A(Tool[Parameters]):\n    name = "abstract"\n    parameters = Parameters',
    "modelless": '@tool\nclass A(Tool):\n    name = "modelless"\n    async def execute(self, p, c): ...',
    "raises": '@tool\nclass A(Tool):\n    name = "raises"\n    def __init__(self): raise RuntimeError\n'
    "    async def execute(self, p, c): ...",
    "no-tool": '@tool\nclass A:\n    name = "no-tool"',
    "agg": '@aggregate("agg")\ndef f(values): ...',
    "kind-of": '@step_kind("kind-of")\ndef f(value): ...',
    "provider": '@agent_provider("provider")\nclass A: ...',
    "provide": '@agent_provider("provide")\ndef f(agent): ...',
    "Upper Case": '@aggregate("Upper Case")\ndef f(values, arguments): ...',
    "sum": '@aggregate("sum")\ndef f(values, arguments): ...',
    "approval": '@step_kind("approval")\ndef f(value, description, arguments, context): ...',
    "command": '@agent_provider("command")\ndef f(agent, question, context): ...',
}


@pytest.mark.parametrize("name", INVALID)
def test_a_component_that_is_invalid_is_broken_and_nothing_else_is(name: str, plugin: Any) -> None:
    """Its reason names the module; the rest of the same plugin works."""
    registry = plugin(some=INVALID[name] + '\n@tool("fine")\ndef fine(parameters: Parameters, context): ...')
    assert list(registry.broken) == [name]
    assert registry.broken[name].startswith("some: ")
    assert registry.tool("fine")


def test_a_name_that_two_define_is_broken(plugin: Any) -> None:
    """Whichever were chosen, somebody would be surprised; a built-in tool is no exception."""
    text = '@tool("{}")\ndef f(parameters: Parameters, context): ...'
    registry = plugin(one=text.format("same"), two=text.format("same"), three=text.format("shell"))
    assert registry.broken == {
        "same": "two: one defines a tool of this name too; rename one",
        "shell": "three: taskmark defines a tool of this name too; rename one",
    }
    for name in ("same", "shell"):
        with pytest.raises(StepFailed, match=f"tool '{name}' is broken: t") as caught:
            registry.tool(name)
        assert caught.value.category is Category.CONFIGURATION
    assert registry.tool("read-file")


def test_a_name_may_be_used_by_different_kinds(plugin: Any) -> None:
    registry = plugin(
        one='@tool("same")\ndef f(parameters: Parameters, context): ...\n'
        '@aggregate("same")\ndef g(values, arguments): ...'
    )
    assert registry.broken == {}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("raise ValueError('bad luck')", "ValueError: bad luck"),
        ("import sys; sys.exit(1)", "SystemExit: 1"),
        ("def (", "SyntaxError"),
    ],
)
def test_a_plugin_that_cannot_be_imported_hurts_only_itself(text: str, reason: str, plugin: Any) -> None:
    """Who asks for something that is missing learns which plugin is broken, and why."""
    registry = plugin(bad=text, good='@aggregate("good")\ndef f(values, arguments): ...')
    assert registry.broken["bad"].startswith(f"it cannot be imported: {reason}")
    assert registry.aggregate("good")
    with pytest.raises(StepFailed, match="there is no tool 'mine'") as caught:
        registry.tool("mine")
    assert reason in (caught.value.hint or "")


def test_what_is_unknown_is_named_with_what_was_meant() -> None:
    registry = load()
    with pytest.raises(StepFailed, match="no tool 'read-fil' \\(did you mean \"read-file\"\\?\\)") as caught:
        registry.tool("read-fil")
    assert caught.value.category is Category.CONFIGURATION
    assert "known: browser, chat, copy-file, delete-file, edit-file" in (caught.value.hint or "")
    for find in (registry.aggregate, registry.kind):
        with pytest.raises(StepFailed) as caught:
            find("zzz")
        assert caught.value.hint == "known: none"


def test_a_package_gathers_its_own_modules_and_not_what_others_define(plugin: Any) -> None:
    """Importing something for use does not register it a second time."""
    text = '@tool("{0}")\ndef {0}(parameters: Parameters, context): ...\n'
    registry = plugin(
        other=text.format("other"),
        pack__inner=text.format("inner"),
        pack__INIT="from other import other\nfrom pack.inner import inner",
    )
    assert set(registry.tools) - BUILTIN == {"other"}
    registry = load(["other", "pack"])
    assert set(registry.tools) - BUILTIN == {"other", "inner"}
    assert registry.broken == {}


def test_loading_twice_gives_the_same(plugin: Any) -> None:
    text = '@tool("mine")\ndef f(parameters: Parameters, context): ...'
    first = plugin(twice=text)
    second = load(["twice", "twice"])
    assert set(first.tools) == set(second.tools) == BUILTIN | {"mine"}
    assert second.broken == {}


def test_a_users_file_never_stands_in_for_an_installed_module(plugin: Any, tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('shadowed')")
    assert plugin(user="import json; json.dumps({})").broken == {}
