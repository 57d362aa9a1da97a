"""Asks agents whose model is a language model: one conversation per question, until there is an answer."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
from collections.abc import Sequence

from taskmark.agents.answering import SHORTER
from taskmark.agents.llm.configured import Models
from taskmark.agents.llm.conversation import Notebook
from taskmark.agents.llm.endpoints import EXTRA, Endpoint, endpoints
from taskmark.agents.llm.pools import Member, Pool
from taskmark.agents.llm.talk import Asks, Talk
from taskmark.errors import Category, StepFailed
from taskmark.inquiries import inquiry
from taskmark.ports import Answer, Health, Question, StepContext
from taskmark.task.model import Agent
from taskmark.tools.pace import Pace
from taskmark.tools.sharing import Sharing
from taskmark.tools.sizes import capped

LIBRARY = "pydantic_ai"
LASTING = frozenset({Category.TRANSIENT, Category.PERMISSION, Category.RESOURCE})
"""Failures after which another attempt goes on with the same conversation."""


class LanguageModels:
    """The provider of all language models. One object serves a worker, so that it knows how much each has to
    do; clients are made at the first call."""

    def __init__(self, models: Models | None = None) -> None:
        self._models = models or Models()
        self._endpoints: dict[str, tuple[Endpoint, ...]] = {}
        self._pools: dict[str, Pool] = {}
        self._sharing = Sharing()
        self._pace = Pace()
        self._loading = asyncio.Lock()
        self._is_loaded = False

    async def ask(self, agent: Agent, question: Question, context: StepContext) -> Answer:
        """Returns what the agent answers, or asks a person. Raises `StepFailed`."""
        await self._load()
        notebook = Notebook(self._sharing, agent, question, context)
        conversation = await notebook.load()
        if conversation.answer is None:
            talk = Talk(agent, question, context, notebook, conversation, self._pool(agent))
            try:
                output = await talk.run()
            except Asks as asks:
                return Answer(asks.output, usage=conversation.charged(notebook.attempt))
            except StepFailed as error:
                if error.category not in LASTING:
                    await notebook.forget()
                raise
            output = capped(output, source=f"agent {agent.id}", advice=SHORTER)
            if inquiry(output) is not None:
                await notebook.forget()  # it is asked again, with the answer
                return Answer(output, usage=conversation.charged(notebook.attempt))
            conversation.messages, conversation.answer = [], {"output": output}
            await notebook.save(conversation)
        return Answer(conversation.answer["output"], usage=conversation.charged(notebook.attempt))

    def health(self, model: str) -> Health:
        """Whether a model could be asked: nothing is called."""
        if importlib.util.find_spec(LIBRARY) is None:
            missing = _without_library()
            return Health(False, missing.message, missing.hint)
        try:
            members = self._members(model)
        except StepFailed as error:
            return Health(False, error.message, error.hint)
        if any(member.endpoint.key for member in members):
            return Health(True)
        names = ", ".join(str(member.endpoint.variable) for member in members)
        return Health(False, f"{model} needs a key, and {names} is not set", f"set {names} for the workers")

    async def _load(self) -> None:
        """Imports the library beside everything else: it takes a second or two. Raises `StepFailed`."""
        async with self._loading:
            if not self._is_loaded:
                try:
                    await asyncio.to_thread(importlib.import_module, f"{LIBRARY}.direct")
                except ImportError as error:
                    raise _without_library() from error
                self._is_loaded = True

    def _pool(self, agent: Agent) -> Pool:
        model = agent.model or ""
        if model not in self._pools:
            self._pools[model] = Pool(self._members(model), self._pace)
        return self._pools[model]

    def _members(self, model: str) -> Sequence[Member]:
        """Returns each endpoint of a model. Raises `StepFailed`."""
        found = [
            Member(endpoint, name)
            for provider, name in self._models.members(model)
            for endpoint in self._of(provider)
        ]
        if not all(member.model for member in found):
            hint = "write `model: anthropic:claude-…`, the provider and its model"
            raise StepFailed(f"{model!r} names no model", Category.CONFIGURATION, hint=hint)
        return found

    def _of(self, provider: str) -> tuple[Endpoint, ...]:
        if provider not in self._endpoints:
            self._endpoints[provider] = endpoints(provider, self._models)
        return self._endpoints[provider]


def _without_library() -> StepFailed:
    return StepFailed(
        "language models need pydantic-ai, which is not installed",
        Category.CONFIGURATION,
        hint=f"install taskmark[{EXTRA}] for the workers",
    )
