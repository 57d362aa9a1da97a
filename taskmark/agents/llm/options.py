"""What an agent's file says of how it is asked, beside `model`, `tools` and the prompt."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from taskmark.errors import Category, StepFailed
from taskmark.task.model import Agent


class Options(BaseModel):
    """Keys of the front matter. Others are not looked at."""

    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=to_camel)

    max_turns: int = Field(default=30, ge=1, le=1000)
    """How often the model may speak until it has answered."""
    max_tokens: int | None = Field(default=None, ge=1)
    """Of one thing that it says; None: as the provider has it."""
    temperature: float | None = Field(default=None, ge=0, le=2)


def options_of(agent: Agent) -> Options:
    """Returns an agent's options. Raises `StepFailed` (configuration) that names what is wrong."""
    try:
        return Options.model_validate(agent.metadata)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise StepFailed(
            f"agent {agent.id}: {problems}",
            Category.CONFIGURATION,
            hint=f"correct it in agents/{agent.id}.md",
        ) from error
