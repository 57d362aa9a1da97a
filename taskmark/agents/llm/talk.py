"""The conversation with a model: what it is told and says, and the tools it calls, until it has answered.

After each thing that was paid for or done the conversation is kept; only then it goes on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from taskmark.agents.llm import marking
from taskmark.agents.llm.conversation import Conversation, Notebook, packed, unpacked
from taskmark.agents.llm.offering import manner, may_ask, offered, usable
from taskmark.agents.llm.options import options_of
from taskmark.agents.llm.outputs import ANSWER, from_text, misfits, unwrapped
from taskmark.agents.llm.permits import Ask, No, verdict
from taskmark.agents.llm.pools import Member, Pool
from taskmark.agents.llm.prices import usage_of
from taskmark.agents.llm.speaking import Stream
from taskmark.errors import Category, StepFailed
from taskmark.ports import Question, StepContext, ToolCall
from taskmark.task.agent_tools import ASK_PERSON
from taskmark.task.model import Agent, Json

if TYPE_CHECKING:
    from pydantic_ai.messages import ModelMessage, ModelResponse, ToolCallPart

CORRECTIONS: Final = 2
"""How often a model is told that its answer does not fit."""
CONTEXT: Final = ("inputs", "with", "phases", "steps", "answers")
REDUCED: Final = 32_000
"""Characters of a block of data after an attempt that was too long; after another half of it, and so on."""
BRIEF = "Be brief: what was to be read and said before was too much."


class Asks(Exception):
    """The agent cannot go on without a person; `output` asks (`taskmark.inquiries`)."""

    def __init__(self, output: Json) -> None:
        super().__init__("a person is asked")
        self.output = output


class Talk:
    """One conversation."""

    def __init__(  # noqa: PLR0917 - the parts of one conversation, put together in one place
        self,
        agent: Agent,
        question: Question,
        context: StepContext,
        notebook: Notebook,
        conversation: Conversation,
        pool: Pool,
    ) -> None:
        self._agent = agent
        self._question = question
        self._context = context
        self._notebook = notebook
        self._kept = conversation
        self._pool = pool
        self._options = options_of(agent)
        self._answers: list[Mapping[str, Json]] = list(question.context.get("answers") or ())
        self._tools = usable(agent, context.tools, context.logger)
        self._messages: list[ModelMessage] = unpacked(conversation.messages) or [self._opening()]
        if context.reduced:
            self._reduce()

    async def run(self) -> Json:
        """Returns the answer. Raises `StepFailed`, and `Asks`."""
        from pydantic_ai.messages import ModelResponse

        while True:
            last = self._messages[-1]
            if not isinstance(last, ModelResponse):
                unanswered = self._unanswered()
                last = unanswered if unanswered is not None else await self._speak()
            answer = await self._read(last)
            if answer is not None:
                return answer[0]

    # --- what is said -----------------------------------------------------------------------------

    def _opening(self) -> ModelMessage:
        """Returns the first request: the instruction, and what there is to know as data."""
        from pydantic_ai.messages import ModelRequest, UserPromptPart

        told = self._question.context
        data = [marking.block(name, told[name]) for name in CONTEXT if told.get(name)]
        instruction = self._question.instruction or "Do what you are for."
        parts = [UserPromptPart(content=text) for text in (instruction, *data)]
        return ModelRequest(parts=parts, instructions=self._instructions())

    def _instructions(self) -> str:
        brief = [BRIEF] if self._context.reduced else []
        return "\n\n".join([part for part in (self._agent.prompt.strip(), marking.RULE) if part] + brief)

    def _reduce(self) -> None:
        """Shortens all data, more with each attempt."""
        limit = REDUCED >> max(0, self._context.attempt - 2)
        for message in self._messages:
            for part in message.parts:
                content = getattr(part, "content", None)
                if isinstance(content, str) and part.part_kind in ("user-prompt", "tool-return"):
                    part.content = marking.shortened(content, limit)
        if self._messages[0].kind == "request":
            self._messages[0].instructions = self._instructions()

    async def _speak(self) -> ModelResponse:
        """Returns what the model says next, once it is charged."""
        if self._kept.turns >= self._options.max_turns:
            raise StepFailed(
                f"agent {self._agent.id} has spoken {self._kept.turns} times and not answered",
                Category.LOGIC,
                hint=f"ask for less, or raise `maxTurns` in agents/{self._agent.id}.md",
            )
        parameters = offered(self._agent, self._tools, self._question.schema)
        settings = manner(self._options)

        async def ask(member: Member) -> tuple[Member, ModelResponse]:
            stream = Stream(member.endpoint, self._context)
            return member, await stream.ask(member.model, self._messages, parameters, settings)

        member, response = await self._pool.ask(ask, self._context)
        self._charge(member, response)
        if response.finish_reason == "length":
            await self._keep()
            raise StepFailed(
                f"agent {self._agent.id}: its answer was cut off at {response.usage.output_tokens:,} tokens",
                Category.RESOURCE,
                hint="ask for a shorter answer, or raise `maxTokens` in the agent's file",
            )
        self._messages.append(response)
        self._kept.turns += 1
        return response

    def _charge(self, member: Member, response: ModelResponse) -> None:
        sent = sum(len(str(getattr(part, "content", ""))) for m in self._messages for part in m.parts)
        usage, is_known = usage_of(response, member.endpoint.price(member.model), sent)
        if not is_known:
            self._context.logger.info(
                "what %s costs is not known: it counts as nothing; set its `prices`", member.model
            )
        self._kept.charge(self._notebook.attempt, usage)
        self._context.charge(self._kept.charged(self._notebook.attempt))
        requests = self._context.resources.get("model_calls", 0.0)
        self._context.resources["model_calls"] = requests + 1

    async def _keep(self) -> None:
        self._kept.messages = packed(self._messages)
        await self._notebook.save(self._kept)

    # --- what it says -----------------------------------------------------------------------------

    def _unanswered(self) -> ModelResponse | None:
        """Returns what the model said last, if not all of the calls in it have been answered."""
        from pydantic_ai.messages import ModelResponse

        before = self._messages[-2] if len(self._messages) > 1 else None
        is_partial = isinstance(before, ModelResponse) and len(self._messages[-1].parts) < len(_calls(before))
        return before if is_partial and isinstance(before, ModelResponse) else None

    async def _read(self, response: ModelResponse) -> tuple[Json] | None:
        """Returns the answer if it is one; else carries out what the model wants, and returns None."""
        calls, schema = _calls(response), self._question.schema
        final = next((call for call in calls if call.tool_name == ANSWER), None)
        if schema is None and not calls:
            return ((response.text or "").strip(),)
        if schema is not None and (final is not None or not calls):
            given = from_text(response.text or "", schema) if final is None else _arguments(final)
            wrong = misfits(given, schema)
            if not wrong:
                return (unwrapped(given, schema),)
            self._correct(wrong, calls, final)
            await self._keep()
            return None
        await self._keep()
        for call in calls[self._done(response) :]:
            self._answered(call, await self._result(call))
            await self._keep()
        return None

    def _correct(self, wrong: str, calls: list[ToolCallPart], final: ToolCallPart | None) -> None:
        """Tells the model that its answer does not fit. Raises `StepFailed` if it was told often enough.

        Other calls beside an answer are not made: who answers has ended.
        """
        from pydantic_ai.messages import ModelRequest, UserPromptPart

        self._kept.corrections += 1
        if self._kept.corrections > CORRECTIONS:
            raise StepFailed(
                f"agent {self._agent.id} was told {CORRECTIONS} times, and still: {wrong}",
                Category.LOGIC,
                hint="make the `schema` simpler or its descriptions clearer, or ask another model",
            )
        if final is None:
            self._messages.append(ModelRequest([UserPromptPart(wrong)], instructions=self._instructions()))
        for call in calls:
            beside = "It was not called: you gave an answer beside it."
            self._answered(call, wrong if call is final else beside)

    def _done(self, response: ModelResponse) -> int:
        """Returns how many of the calls in it have been answered."""
        return 0 if self._messages[-1] is response else len(self._messages[-1].parts)

    def _answered(self, call: ToolCallPart, content: str) -> None:
        from pydantic_ai.messages import ModelRequest, ModelResponse, ToolReturnPart

        part = ToolReturnPart(tool_name=call.tool_name, content=content, tool_call_id=call.tool_call_id)
        if isinstance(self._messages[-1], ModelResponse):
            self._messages.append(ModelRequest(parts=[], instructions=self._instructions()))
        self._messages[-1].parts = [*self._messages[-1].parts, part]

    # --- what it calls ----------------------------------------------------------------------------

    async def _result(self, call: ToolCallPart) -> str:
        """Returns what a tool says, as data, or why it was not called. Raises `Asks`."""
        arguments, tools = _arguments(call), self._context.tools
        if not isinstance(arguments, dict):
            return "Its arguments are no JSON object, so nothing was called."
        if call.tool_name == ASK_PERSON and may_ask(self._agent):
            return self._person_says(arguments)
        wanted = ToolCall(call.tool_name, arguments, self._kept.calls + 1)
        refusal = self._refusal(wanted)
        self._kept.calls += 1
        if refusal is not None:
            tools.refused(wanted, refusal)
            return refusal
        self._context.say(f"calls {wanted.name}")
        try:
            return marking.block(f"tool {wanted.name}", await tools.call(wanted))
        except Exception as error:
            said = getattr(error, "message", None) or f"{type(error).__name__}: {error}"
            return f"{wanted.name} failed.\n" + marking.block(f"error of {wanted.name}", str(said))

    def _refusal(self, wanted: ToolCall) -> str | None:
        """Returns why a call is not made, or None if it may be. Raises `Asks`."""
        tool = self._tools.get(wanted.name)
        if tool is None:
            return f"There is no tool {wanted.name} for you: {', '.join(self._tools) or 'none'}."
        try:
            tool.validate(wanted.arguments)  # what cannot be called is no question for a person
        except StepFailed as error:
            return f"It was not called: {error.message}."
        found = verdict(wanted, tool, self._agent, self._context.allow, self._answers)
        if isinstance(found, Ask):
            raise Asks(found.output)
        return f"It was not called: {found.reason}." if isinstance(found, No) else None

    def _person_says(self, arguments: Mapping[str, Json]) -> str:
        # No question of its own can pass for one that `permits.py` asks.
        asked = f"Agent {self._agent.id} asks: {arguments.get('question') or '?'}"
        choices = arguments.get("choices")
        for answer in self._answers:
            if answer.get("question") == asked:
                return marking.block(f"answer of {answer.get('by') or 'a person'}", answer.get("value"))
        schema = {"enum": choices} if isinstance(choices, list) and choices else None
        raise Asks({"blocking": True, "question": asked, "schema": schema})


def _calls(response: ModelResponse) -> list[ToolCallPart]:
    from pydantic_ai.messages import ToolCallPart

    return [part for part in response.parts if isinstance(part, ToolCallPart)]


def _arguments(call: ToolCallPart) -> Json:
    """Returns the arguments of a call, or None if they are no JSON."""
    if not isinstance(call.args, str):
        return call.args or {}
    try:
        return json.loads(call.args or "{}")
    except (ValueError, RecursionError):
        return None
