"""What tests of language models use: providers on a local server, and a context with tools in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from model_server import ModelServer

from taskmark.agents.asking import Asking
from taskmark.agents.llm.configured import Models, Provider
from taskmark.agents.llm.provider import LanguageModels
from taskmark.ports import Answer, Question, StepContext, Tool, ToolCall
from taskmark.registry import load
from taskmark.task.model import Agent

KEYS = {"ONE": "sk-secret-one", "TWO": "sk-secret-two"}
PROTOCOLS = ("anthropic", "openai")
MODELS = {"anthropic": "anthropic:claude-haiku-4-5", "openai": "openai:gpt-4o-mini"}


class Tools:
    """Calls tools at once, and remembers the calls."""

    def __init__(self, context: StepContext) -> None:
        self.context = context
        self.registry = load()
        self.made: list[ToolCall] = []
        self.refusals: list[tuple[ToolCall, str]] = []

    def find(self, name: str) -> Tool[Any]:
        return self.registry.tool(name)

    async def call(self, call: ToolCall) -> Any:
        self.made.append(call)
        tool = self.find(call.name)
        return await tool.execute(tool.validate(call.arguments), self.context)

    def refused(self, call: ToolCall, reason: str) -> None:
        self.refusals.append((call, reason))


class Place:
    """One worker that asks agents."""

    def __init__(self, root: Path, server: ModelServer, **providers: Provider) -> None:
        given = {
            "anthropic": Provider("anthropic", server.url, ("ONE",)),
            "openai": Provider("openai", f"{server.url}/v1", ("ONE",)),
            **providers,
        }
        self.keys: dict[str, str] = dict(KEYS)
        self.models = Models(given, {}, stall=5.0, lookup=self.keys.get)
        self.said: list[str] = []
        self.context = StepContext(
            root=root,
            execution_id="exec-1",
            step="ask",
            idempotency_key="key-1",
            timeout=20,
            say=self.said.append,
        )
        self.tools = Tools(self.context)
        self.context = replace(self.context, tools=self.tools)

    def configure(self, **fields: Any) -> None:
        """Changes what is set."""
        self.models = replace(self.models, **fields)

    async def ask(
        self,
        model: str,
        *,
        schema: Mapping[str, Any] | None = None,
        told: Mapping[str, Any] | None = None,
        agent: Mapping[str, Any] | None = None,
        provider: LanguageModels | None = None,
        **context: Any,
    ) -> Answer:
        """Asks an agent, as a worker that was started a moment ago would."""
        asked = Agent(id="ann", prompt="Be ann.", **{"model": MODELS.get(model, model), **(agent or {})})
        found = provider or LanguageModels(self.models)
        asking = Asking(lambda _: found, spelled=self.models.spelled)
        question = Question("What grows here?", told or {}, schema)
        return await asking.ask(asked, question, replace(self.context, **context))
