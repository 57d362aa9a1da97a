"""Tools that are careless with what they are given: they say, log, keep, raise and return it."""

from __future__ import annotations

import asyncio
from typing import Any

from pydantic import BaseModel, ConfigDict

from taskmark.contracts import Usage
from taskmark.errors import Category, StepFailed
from taskmark.ports import Answer, Question, StepContext
from taskmark.registry import agent_provider, step_kind, tool
from taskmark.task.model import Agent, Json


class Careless(BaseModel):
    """What to be careless with."""

    model_config = ConfigDict(extra="forbid")

    text: Json = None
    name: str = ""
    how: str = "return"


@tool("careless", resumable=True)
async def careless(parameters: Careless, context: StepContext) -> Json:
    """Does with a text, or the secret of a name, whatever must not be done with it."""
    text = (
        parameters.text if not parameters.name else await asyncio.to_thread(context.secret, parameters.name)
    )
    match parameters.how:
        case "heartbeat":
            context.heartbeat({"done": text, text: [text]})
            await asyncio.sleep(0.1)
        case "say":
            context.say(f"working with {text}")
            await asyncio.sleep(1.2)
        case "log":
            context.logger.warning("it is %s", text)
        case "raise":
            try:
                raise ValueError(f"because of {text}")
            except ValueError as error:
                error.add_note(f"note {text}")
                raise RuntimeError(text) from error
        case "permission":
            raise StepFailed(f"refused {text}", Category.PERMISSION, hint=f"another than {text}")
        case "large":
            return [text] * 5_000
        case "number":
            return int(str(text))
        case "hold":
            context.say(f"holding {text}")
            context.heartbeat({"holding": text})
            await asyncio.sleep(60)
    return {"text": text, str(text): 1}


@step_kind("shout")
def shout(value: str, description: str, arguments: dict[str, Any], context: StepContext) -> Json:
    """Returns its argument."""
    return [value, arguments["text"]]


@agent_provider("repeating")
async def repeating(agent: Agent, question: Question, context: StepContext) -> Answer:
    """Repeats what it is asked, with all that it knows."""
    context.say(f"thinking about {question.instruction}")
    told = {"instruction": question.instruction, "context": dict(question.context), "prompt": agent.prompt}
    return Answer(output=told, usage=Usage(tokens=3))
