"""Who is asked: the provider that an agent's model names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from taskmark.agents.answering import SHORTER
from taskmark.errors import Category, StepFailed
from taskmark.ports import AgentProvider, Answer, Health, Question, StepContext
from taskmark.task.model import Agent
from taskmark.tools.sizes import capped

UNSET = ("", "inherit")
"""Files written for coding agents say `inherit` where they mean the default."""


@dataclass(frozen=True)
class Asking:
    """Asks agents through their providers."""

    provider: Callable[[str], AgentProvider]
    """A prefix to its provider, as `Registry.provider`."""
    default_model: str | None = None
    """Of agents that name none."""

    async def ask(self, agent: Agent, question: Question, context: StepContext) -> Answer:
        """Returns the agent's answer. Raises `StepFailed`: configuration if nobody can be asked, resource if
        the answer is too large."""
        named, provider = self.who(agent)
        answer = await provider.ask(agent.model_copy(update={"model": named}), question, context)
        capped(answer.output, source=f"agent {agent.id}", advice=SHORTER)
        return answer

    def who(self, agent: Agent) -> tuple[str, AgentProvider]:
        """Returns an agent's model and who is asked for it. Raises `StepFailed` (configuration)."""
        named = agent.model if agent.model not in (None, *UNSET) else self.default_model
        if not named:
            raise StepFailed(
                f"agent {agent.id} names no model, and no default model is set",
                Category.CONFIGURATION,
                hint=f"write `model:` in agents/{agent.id}.md, such as `cli:claude` or "
                "`python:module:function`, or set TASKMARK_DEFAULT_MODEL",
            )
        return named, self._provider_of(agent, named)

    def health(self, agent: Agent) -> Health:
        """Whether an agent can be asked here, as far as its provider can tell without asking."""
        try:
            model, provider = self.who(agent)
        except StepFailed as error:
            return Health(healthy=False, message=error.message, hint=error.hint)
        look = getattr(provider, "health", None)
        found = look(model) if look else Health(healthy=True)
        return found if found.healthy else replace(found, message=f"agent {agent.id}: {found.message}")

    def _provider_of(self, agent: Agent, model: str) -> AgentProvider:
        """Returns the provider of a model. Raises `StepFailed` (configuration) that names the agent."""
        try:
            return self.provider(model.partition(":")[0].strip())
        except StepFailed as error:
            raise StepFailed(
                f"agent {agent.id} has the model {model!r}: {error.message}", error.category, hint=error.hint
            ) from error
