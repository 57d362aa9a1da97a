"""What a model is offered: tools, the way to answer, and how it is to speak."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from taskmark.agents.llm.options import Options
from taskmark.agents.llm.outputs import ANSWER, as_object
from taskmark.errors import StepFailed
from taskmark.ports import Tool, Toolbox
from taskmark.task.agent_tools import ASK_PERSON, tool_name
from taskmark.task.model import Agent, Json

if TYPE_CHECKING:
    from pydantic_ai.models import ModelRequestParameters
    from pydantic_ai.settings import ModelSettings
    from pydantic_ai.tools import ToolDefinition

ASKING: Final[dict[str, Json]] = {
    "type": "object",
    "properties": {"question": {"type": "string"}, "choices": {"type": "array", "items": {"type": "string"}}},
    "required": ["question"],
}


def may_ask(agent: Agent) -> bool:
    """Whether an agent may ask a person."""
    return ASK_PERSON in map(tool_name, agent.tools)


def usable(agent: Agent, tools: Toolbox, logger: logging.Logger) -> dict[str, Tool[Any]]:
    """Returns the tools that the agent's file lists and that there are, by name."""
    found: dict[str, Tool[Any]] = {}
    for name in map(tool_name, agent.tools):
        if name == ASK_PERSON:
            continue
        try:
            found[name] = tools.find(name)
        except StepFailed as error:
            logger.warning("agent %s: %s", agent.id, error.message)
    return found


def offered(
    agent: Agent, tools: Mapping[str, Tool[Any]], schema: Mapping[str, Json] | None
) -> ModelRequestParameters:
    """Returns what the model may call, and how it answers."""
    from pydantic_ai.models import ModelRequestParameters

    functions = [
        _tool(name, _said(tool), tool.parameters.model_json_schema()) for name, tool in tools.items()
    ]
    if may_ask(agent):
        said = "Asks a person, and waits for the answer. Only for what you cannot go on without."
        functions.append(_tool(ASK_PERSON, said, ASKING))
    if schema is None:
        return ModelRequestParameters(function_tools=functions)
    answer = _tool(ANSWER, "Gives your answer and ends your work.", as_object(schema), kind="output")
    return ModelRequestParameters(
        function_tools=functions, output_tools=[answer], output_mode="tool", allow_text_output=False
    )


def manner(options: Options) -> ModelSettings:
    """Returns how the model is to speak. Attempts are ours to count, not the library's."""
    from pydantic_ai.settings import ModelSettings

    settings = ModelSettings(max_retries=0)
    if options.max_tokens is not None:
        settings["max_tokens"] = options.max_tokens
    if options.temperature is not None:
        settings["temperature"] = options.temperature
    return settings


def _tool(name: str, said: str, schema: dict[str, Json], **more: Any) -> ToolDefinition:
    from pydantic_ai.tools import ToolDefinition

    return ToolDefinition(name=name, description=said, parameters_json_schema=schema, **more)


def _said(tool: Tool[Any]) -> str:
    """Returns the first paragraph of what a tool says of itself."""
    return (type(tool).__doc__ or tool.parameters.__doc__ or tool.name).strip().split("\n\n")[0]
