"""The activities that run steps: tools, agents, registered aggregates and registered kinds."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from temporalio import activity
from temporalio.common import RawValue

from activities.answers import Answers
from activities.boundary import Heart, last_details, supervised
from activities.circuits import Circuits
from activities.companions import Companions
from activities.places import Places
from activities.secret_values import SecretValues, filled_in
from activities.sharing import Sharing
from activities.toolbox import AgentTools
from taskmark.circuit import Rules
from taskmark.contracts import (
    AGENT_ACTIVITY,
    AGGREGATE_ACTIVITY,
    ARTIFACT_KEY,
    INLINE_LIMIT,
    KIND_ACTIVITY,
    TOOL_ACTIVITY,
    StepCall,
    StepDone,
    artifact_content,
    artifact_reference,
    each_of,
    is_artifact,
    stands_for_items,
)
from taskmark.errors import Category, StepFailed
from taskmark.identity import worker_identity
from taskmark.inquiries import inquiry
from taskmark.ports import Answer, Artifacts, Question, Recorder, StepContext
from taskmark.registry import Registry
from taskmark.secrets.sharing import MaskedShared
from taskmark.secrets.vault import Vault
from taskmark.shared import MemoryShared, Shared
from taskmark.task.model import Agent, Json, StepLimits
from taskmark.tools.sizes import capped, is_light
from taskmark.tools.traffic import Throttle, metered

Ask = Callable[[Agent, Question, StepContext], Awaitable[Answer]]
Body = Callable[[StepCall, StepContext], Awaitable[StepDone]]
Result = TypeVar("Result")

MEASURED = frozenset({"usage", "resources"})
"""Fields of what a call returns that we have counted: a number that is replaced by a text would be none."""


class StepActivities:
    """Runs steps by the adapters it is given."""

    def __init__(
        self,
        registry: Registry,
        ask: Ask,
        artifacts: Artifacts,
        recorder: Recorder,
        *,
        root: Path,
        shared: Shared | None = None,
        rules: Rules | None = None,
        places: Places | None = None,
        renew: Callable[[], None] = lambda: None,
        limits: StepLimits | None = None,
        limits_of_tools: Mapping[str, StepLimits] | None = None,
        throttle: Throttle | None = None,
        vault: Vault | None = None,
    ) -> None:
        """`shared` is what workers share, or only this one knows it; `rules` are of its circuit breakers,
        `places` for how much may be called at once; `renew` looks for other credentials of its tools.
        `limits` are what any attempt may use, and `limits_of_tools` those of tools; `throttle` is of the
        network, for all of them together; `vault` knows secrets."""
        self._registry = registry
        self._renew = renew
        self._ask = ask
        self._artifacts = artifacts
        self._recorder = recorder
        self._root = root
        self._companions = Companions()
        self._vault = vault or Vault()
        self._masks = self._vault.masks
        self._shared = MaskedShared(shared or MemoryShared(), self._masks)
        sharing = Sharing(self._shared)
        self._circuits = Circuits(sharing, rules or Rules())
        self._answers = Answers(sharing)
        self._places = places or Places({}, None)
        self._limits = limits or StepLimits()
        self._limits_of_tools = limits_of_tools or {}
        self._throttle = throttle

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
            secrets = SecretValues(self._vault, call)
            await secrets.learn()
            context = self._context(call, heart, secrets)
            done = await self._answered(resolved, context, body)
            asks = call.agent is not None and inquiry(done.output) is not None
            return await self._kept(done, INLINE_LIMIT if asks else call.inline_limit)

        run = activity.info().workflow_run_id or ""
        with self._companions.running(run):
            done = await supervised(call, work, self._recorder, self._masks)
        if call.together:
            await self._companions.end_together(run)
        return done

    async def _answered(self, call: StepCall, context: StepContext, body: Body) -> StepDone:
        """Returns what the call returns, or what it did before."""
        tool = self._registry.tools.get(call.name) if call.kind == "tool" else None
        version = getattr(tool, "version", "")
        kept = await self._answers.find(call, version)
        if kept is not None:
            return kept
        async with self._places.taken(call, context):
            with metered(context, self._throttle):
                done = await body(call, context)
        done = done.model_copy(update={"resources": context.resources or None})
        done = self._masks.model(done, keep=MEASURED)
        if inquiry(done.output) is None:  # who asks a person has not answered
            await self._answers.keep(call, version, done)
        return done

    async def _tool(self, call: StepCall, context: StepContext) -> StepDone:
        if call.refresh_credentials:
            await asyncio.to_thread(self._renew)
        tool = self._registry.tool(call.name)
        parameters = tool.validate(await filled_in(call, context.secret))
        async with self._circuits.guard(call.name, tool.target(parameters), call.timeout):
            return StepDone(output=await tool.execute(parameters, context))

    async def _agent(self, call: StepCall, context: StepContext) -> StepDone:
        if call.agent is None:
            raise StepFailed(f"the agent {call.name} has no text", Category.CONFIGURATION)
        told = {**call.context, "with": call.arguments}
        if call.answers:
            told["answers"] = list(call.answers)
        question = Question(call.description, told, call.answer_schema)
        answer = await self._ask(call.agent, question, self._equipped(call, context))
        return StepDone(output=answer.output, usage=answer.usage, files=answer.files)

    def _equipped(self, call: StepCall, context: StepContext) -> StepContext:
        """Returns what an agent may use besides: tools, and what is known of who is down."""
        tools = AgentTools(call, context, self._registry, self._recorder, self._guarded, masks=self._masks)

        def guard(what: str, target: str) -> AbstractAsyncContextManager[None]:
            return self._circuits.guard(what, target, call.timeout)

        return replace(context, tools=tools, guard=guard)

    @asynccontextmanager
    async def _guarded(self, call: StepCall, context: StepContext, target: str | None) -> AsyncIterator[None]:
        """Lends a tool that an agent calls what every call of it needs. The project's place is the step's."""
        own = call.model_copy(update={"project": None})
        async with self._places.taken(own, context), self._circuits.guard(call.name, target, call.timeout):
            yield

    async def _aggregate(self, call: StepCall, _context: StepContext) -> StepDone:
        combine = self._registry.aggregate(call.name)
        return StepDone(output=await combine(call.values, call.arguments))

    async def _kind(self, call: StepCall, context: StepContext) -> StepDone:
        handle = self._registry.kind(call.kind)
        arguments = await filled_in(call, context.secret)
        return StepDone(output=await handle(call.name, call.description, arguments, context))

    def _context(self, call: StepCall, heart: Heart, secrets: SecretValues) -> StepContext:
        return StepContext(
            root=self._root,
            execution_id=call.execution_id,
            task_id=call.task_id,
            phase=call.phase,
            step=call.step,
            item=call.item,
            attempt=call.attempt,
            idempotency_key=call.idempotency_key,
            resources=heart.resources,
            project=call.project,
            trace_id=call.trace_id,
            worker_id=worker_identity(),
            timeout=call.timeout,
            heartbeat=heart.keep,
            say=heart.say,
            resume=last_details(call, heart),
            reduced=call.reduced,
            refresh_credentials=call.refresh_credentials,
            journal=call.journal,
            shared=self._shared,
            limits=self._allowed(call),
            parents=call.parents,
            allow=call.allow,
            charge=heart.charge,
            secret=secrets.get,
            hide=partial(self._masks.text, cut=True),
        )

    def _allowed(self, call: StepCall) -> StepLimits:
        """Returns what an attempt may use: what the file and the settings both allow."""
        of_tool = self._limits_of_tools.get(call.name) if call.kind == "tool" else None
        return self._limits.narrowed(of_tool).narrowed(call.limits)

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
        "values": tuple(one for value in call.values for one in _each(value, artifacts)),
    }
    return call.model_copy(update=fields)


def _each(value: Json, artifacts: Artifacts) -> tuple[Json, ...]:
    """Returns a value, or each of those that it stands for."""
    content = filled(value, artifacts)
    return each_of(content) if stands_for_items(value) else (content,)


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
    return plain, artifact_content(plain)


def kept(output: Json, limit: int, artifacts: Artifacts) -> Json:
    """Returns the output, or a reference to it in the artifact store if it is larger than the limit."""
    content = artifact_content(output)
    if len(content) <= limit:
        return output
    return _saved(content, artifacts)


def _saved(content: bytes, artifacts: Artifacts) -> Json:
    return artifact_reference(artifacts.save(content), len(content))


def _missing(wanted: str, broken: Mapping[str, str]) -> StepFailed:
    name = wanted.removeprefix(TOOL_ACTIVITY).removeprefix(KIND_ACTIVITY).removeprefix(AGGREGATE_ACTIVITY)
    if name in broken:
        return StepFailed(f"{name} is broken: {broken[name]}", Category.CONFIGURATION)
    return StepFailed(
        f"this worker has nothing registered as {wanted}",
        Category.CONFIGURATION,
        hint="start the workers with the module that registers it in TASKMARK_PLUGINS",
    )
