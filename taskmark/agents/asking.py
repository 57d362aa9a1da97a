"""Who is asked: the provider that an agent's model names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from taskmark.agents.answering import SHORTER
from taskmark.errors import Category, StepFailed
from taskmark.fitting import problems
from taskmark.inquiries import inquiry
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
    models: Mapping[str, str] = field(default_factory=dict)
    """By agent, in place of what their files say."""
    spelled: Callable[[str], str] = str
    """What a model's short name means."""

    async def ask(self, agent: Agent, question: Question, context: StepContext) -> Answer:
        """Returns the agent's answer. Raises `StepFailed`: configuration if nobody can be asked, resource if
        the answer is too large, transient if it does not fit the schema: another one may."""
        named, provider = self.who(agent)
        schema = question.schema or agent.answer_schema
        asked = replace(question, schema=schema)
        answer = await provider.ask(agent.model_copy(update={"model": named}), asked, context)
        capped(answer.output, source=f"agent {agent.id}", advice=SHORTER)
        wrong = [] if inquiry(answer.output) else list(problems(answer.output, schema))
        if wrong:
            raise StepFailed(f"agent {agent.id} gave no fitting answer: {'; '.join(wrong[:10])}")
        return answer

    def health(self, agent: Agent) -> Health:
        """Whether an agent can be asked, as far as can be told without asking it."""
        try:
            named, provider = self.who(agent)
        except StepFailed as error:
            return Health(healthy=False, message=error.message, hint=error.hint)
        check: Callable[[str], Health] | None = getattr(provider, "health", None)
        health = check(named) if check is not None else Health(healthy=True)
        return health if health.healthy else replace(health, message=f"agent {agent.id}: {health.message}")

    def who(self, agent: Agent) -> tuple[str, AgentProvider]:
        """Returns an agent's model and who is asked for it. Raises `StepFailed` (configuration)."""
        own = self.models.get(agent.id, agent.model)
        named = own if own not in (None, *UNSET) else self.default_model
        if not named:
            raise StepFailed(
                f"agent {agent.id} names no model, and no default model is set",
                Category.CONFIGURATION,
                hint=f"write `model:` in agents/{agent.id}.md, such as `cli:claude` or "
                "`python:module:function`, or set TASKMARK_DEFAULT_MODEL",
            )
        spelled = self.spelled(named)
        return spelled, self._provider_of(agent, spelled)

    def _provider_of(self, agent: Agent, model: str) -> AgentProvider:
        """Returns the provider of a model. Raises `StepFailed` (configuration) that names the agent."""
        try:
            return self.provider(model.partition(":")[0].strip())
        except StepFailed as error:
            raise StepFailed(
                f"agent {agent.id} has the model {model!r}: {error.message}", error.category, hint=error.hint
            ) from error
