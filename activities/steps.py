"""The activities that run steps: tools, agents, registered aggregates and registered kinds."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from temporalio import activity
from temporalio.common import RawValue

from activities.boundary import Heart, supervised
from activities.companions import Companions
from taskmark.contracts import (
    AGENT_ACTIVITY,
    AGGREGATE_ACTIVITY,
    ARTIFACT_KEY,
    KIND_ACTIVITY,
    TOOL_ACTIVITY,
    StepCall,
    StepDone,
    artifact_reference,
    is_artifact,
)
from taskmark.errors import Category, StepFailed
from taskmark.identity import worker_identity
from taskmark.ports import Answer, Artifacts, Question, Recorder, StepContext
from taskmark.registry import Registry
from taskmark.task.model import Agent, Json
from taskmark.tools.sizes import capped, is_light

Ask = Callable[[Agent, Question, StepContext], Awaitable[Answer]]
Body = Callable[[StepCall, StepContext], Awaitable[StepDone]]
Result = TypeVar("Result")


class StepActivities:
    """Runs steps by the adapters it is given."""

    def __init__(
        self, registry: Registry, ask: Ask, artifacts: Artifacts, recorder: Recorder, *, root: Path
    ) -> None:
        self._registry = registry
        self._ask = ask
        self._artifacts = artifacts
        self._recorder = recorder
        self._root = root
        self._companions = Companions()

    def all(self) -> list[Callable[..., Any]]:
        """Returns one activity per name, so that the Web UI reads like the task."""
        registry = self._registry
        return [
            self._activity(AGENT_ACTIVITY, self._agent),
            *(self._activity(TOOL_ACTIVITY + name, self._tool) for name in registry.tools),
            *(self._activity(AGGREGATE_ACTIVITY + name, self._aggregate) for name in registry.aggregates),
            *(self._activity(KIND_ACTIVITY + name, self._kind) for name in registry.kinds),
            self._unknown(),
        ]

    def _activity(self, name: str, body: Body) -> Callable[..., Any]:
        @activity.defn(name=name)
        async def run(call: StepCall) -> StepDone:
            return await self._run(call, body)

        return run

    def _unknown(self) -> Callable[..., Any]:
        """Returns the activity for names that nothing here is registered under."""
        broken = self._registry.broken

        @activity.defn(dynamic=True)
        async def run(args: Sequence[RawValue]) -> StepDone:
            call = activity.payload_converter().from_payload(args[0].payload, StepCall)
            wanted = activity.info().activity_type

            async def refuse(_call: StepCall, _context: StepContext) -> StepDone:
                raise _missing(wanted, broken)

            return await self._run(call, refuse)

        return run

    async def _run(self, call: StepCall, body: Body) -> StepDone:
        async def work(heart: Heart) -> StepDone:
            given = is_light(call.arguments, call.context, call.values)
            resolved = await _beside(resolve, call, self._artifacts, at_once=given)
            context = self._context(call, heart)
            done = await body(resolved, context)
            done = done.model_copy(update={"resources": context.resources or None})
            return await self._kept(done, call.inline_limit)

        run = activity.info().workflow_run_id or ""
        with self._companions.running(run):
            done = await supervised(call, work, self._recorder)
        if call.together:
            await self._companions.end_together(run)
        return done

    async def _tool(self, call: StepCall, context: StepContext) -> StepDone:
        tool = self._registry.tool(call.name)
        parameters = tool.validate(call.arguments)
        return StepDone(output=await tool.execute(parameters, context))

    async def _agent(self, call: StepCall, context: StepContext) -> StepDone:
        if call.agent is None:
            raise StepFailed(f"the agent {call.name} has no text", Category.CONFIGURATION)
        question = Question(call.description, {**call.context, "with": call.arguments})
        answer = await self._ask(call.agent, question, context)
        return StepDone(output=answer.output, usage=answer.usage, files=answer.files)

    async def _aggregate(self, call: StepCall, _context: StepContext) -> StepDone:
        combine = self._registry.aggregate(call.name)
        return StepDone(output=await combine(call.values, call.arguments))

    async def _kind(self, call: StepCall, context: StepContext) -> StepDone:
        handle = self._registry.kind(call.kind)
        return StepDone(output=await handle(call.name, call.description, call.arguments, context))

    def _context(self, call: StepCall, heart: Heart) -> StepContext:
        resume = call.resume if heart.details is None else heart.details
        return StepContext(
            root=self._root,
            execution_id=call.execution_id,
            task_id=call.task_id,
            phase=call.phase,
            step=call.step,
            item=call.item,
            attempt=call.attempt,
            idempotency_key=call.idempotency_key,
            project=call.project,
            trace_id=call.trace_id,
            worker_id=worker_identity(),
            timeout=call.timeout,
            heartbeat=heart.keep,
            resume=resume,
            reduced=call.reduced,
            refresh_credentials=call.refresh_credentials,
        )

    async def _kept(self, done: StepDone, limit: int) -> StepDone:
        """Returns what goes into history: a large output as a reference."""
        output, content = await _beside(_encoded, done.output, at_once=is_light(done.output))
        if len(content) > limit:
            output = await asyncio.to_thread(_saved, content, self._artifacts)
        return done.model_copy(update={"output": output, "worker": worker_identity()})


async def _beside(function: Callable[..., Result], *arguments: Any, at_once: bool) -> Result:
    """Calls what may take long in a thread. Going there costs more than small work itself."""
    return function(*arguments) if at_once else await asyncio.to_thread(function, *arguments)


def resolve(call: StepCall, artifacts: Artifacts) -> StepCall:
    """Returns the call with references to the artifact store replaced by what they stand for."""
    fields = {
        "arguments": filled(call.arguments, artifacts),
        "context": filled(call.context, artifacts),
        "values": tuple(filled(value, artifacts) for value in call.values),
    }
    return call.model_copy(update=fields)


def filled(value: Json, artifacts: Artifacts) -> Json:
    """Returns a value with everything in it that refers to the artifact store."""
    if is_artifact(value):
        return json.loads(artifacts.load(value[ARTIFACT_KEY]))
    if isinstance(value, dict):
        return {key: filled(inner, artifacts) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [filled(inner, artifacts) for inner in value]
    return value


def _encoded(output: Json) -> tuple[Json, bytes]:
    """Returns an output as plain JSON and the text of it that is kept. Raises `StepFailed` if it is none."""
    plain = capped(output)
    return plain, _content_of(plain)


def kept(output: Json, limit: int, artifacts: Artifacts) -> Json:
    """Returns the output, or a reference to it in the artifact store if it is larger than the limit."""
    content = _content_of(output)
    if len(content) <= limit:
        return output
    return _saved(content, artifacts)


def _saved(content: bytes, artifacts: Artifacts) -> Json:
    return artifact_reference(artifacts.save(content), len(content))


def _content_of(output: Json) -> bytes:
    """Returns the text that stands for an output in the artifact store."""
    return json.dumps(output, ensure_ascii=False, separators=(",", ":")).encode()


def _missing(wanted: str, broken: Mapping[str, str]) -> StepFailed:
    name = wanted.removeprefix(TOOL_ACTIVITY).removeprefix(KIND_ACTIVITY).removeprefix(AGGREGATE_ACTIVITY)
    if name in broken:
        return StepFailed(f"{name} is broken: {broken[name]}", Category.CONFIGURATION)
    return StepFailed(
        f"this worker has nothing registered as {wanted}",
        Category.CONFIGURATION,
        hint="start the workers with the module that registers it in TASKMARK_PLUGINS",
    )
