"""Tools that agents call while they are asked: under the guards of steps, and each told as an attempt."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from taskmark.contracts import SHORT, StepCall, StepDone, StepStatus, span_id
from taskmark.errors import Category, StepFailed
from taskmark.failures import failure_from
from taskmark.identity import worker_identity
from taskmark.ports import NoTools, Recorder, StepContext, Tool, ToolCall
from taskmark.projection import attempt_of
from taskmark.registry import Registry
from taskmark.secrets.masks import Masks
from taskmark.task.model import Json
from taskmark.task.packing import digest
from taskmark.tools.sizes import capped

Guard = Callable[[StepCall, StepContext, str | None], AbstractAsyncContextManager[None]]
"""Surrounds a call of a target with the worker's places and circuit breakers."""


class AgentTools:
    """The tools for one question. As `taskmark.ports.Toolbox`."""

    def __init__(
        self,
        call: StepCall,
        context: StepContext,
        registry: Registry,
        recorder: Recorder,
        guard: Guard,
        *,
        masks: Masks,
    ) -> None:
        """What the tools return, and how they fail, goes to a model elsewhere: `masks` takes secrets out."""
        self._call = call
        self._context = context
        self._registry = registry
        self._recorder = recorder
        self._guard = guard
        self._masks = masks

    def find(self, name: str) -> Tool[Any]:
        """Returns a tool. Raises `StepFailed` (configuration)."""
        return self._registry.tool(name)

    async def call(self, call: ToolCall) -> Json:
        """Returns what the tool returns, within what is left of the step's time. Raises `StepFailed`."""
        request, started = self._request(call), datetime.now(UTC)
        try:
            output = await self._made(request)
        except asyncio.CancelledError:
            self._tell(request, StepStatus.CANCELLED, started)
            raise
        except (Exception, SystemExit) as error:
            failure = failure_from(error, step=request.step, phase=request.phase, hide=self._masks.text)
            self._tell(request, StepStatus.FAILED, started, error=failure)
            raise StepFailed(failure.message, failure.category, hint=failure.hint) from error
        self._tell(request, StepStatus.COMPLETED, started, done=StepDone(output=output))
        return output

    def refused(self, call: ToolCall, reason: str) -> None:
        """Tells of a call that is not made."""
        refusal = StepFailed(reason, Category.PERMISSION, type="not_allowed")
        failure = failure_from(refusal, step=self._call.step, phase=self._call.phase)
        self._tell(self._request(call), StepStatus.FAILED, datetime.now(UTC), error=failure)

    async def _made(self, request: StepCall) -> Json:
        tool = self._registry.tool(request.name)
        parameters = tool.validate(request.arguments)
        context = self._inner(request)
        async with self._guard(request, context, tool.target(parameters)):
            try:
                output = await asyncio.wait_for(tool.execute(parameters, context), request.timeout)
            except TimeoutError:
                raise StepFailed(f"it took longer than {request.timeout:g} s", type="timed_out") from None
        return self._masks.value(capped(output, source=f"tool {request.name}"))

    def _inner(self, request: StepCall) -> StepContext:
        """Returns where the tool runs: what it keeps is not mixed with what the agent keeps."""
        return replace(
            self._context,
            step=request.step,
            idempotency_key=request.idempotency_key,
            timeout=request.timeout,
            heartbeat=_unkept,
            resume=None,
            tools=NoTools(),
            reduced=False,
            refresh_credentials=False,
        )

    def _request(self, call: ToolCall) -> StepCall:
        """Returns the call as a step would make it. Its key follows from the step's and from what it does."""
        asked, arguments = self._call, dict(call.arguments)
        effect: list[Json] = [asked.idempotency_key, call.number, call.name, arguments]
        tool = self._registry.tools.get(call.name)
        fields = {
            "kind": "tool",
            "name": call.name[:SHORT],  # of a tool that there is not, as long as the model likes
            "step": f"{asked.step}/{call.number}",
            "description": "",
            "arguments": arguments,
            "idempotency_key": digest(effect),
            "timeout": min(asked.timeout, (tool.timeout if tool else None) or asked.timeout),
            "agent": None,
            "context": {},
            "answers": (),
            "spent": None,
            "parents": (span_id(asked.execution_id, asked.phase, asked.step, asked.item, asked.attempt),),
        }
        return asked.model_copy(update=fields)

    def _tell(self, request: StepCall, status: StepStatus, started: datetime, **fields: Any) -> None:
        now = datetime.now(UTC)
        told = attempt_of(
            request, status, worker=worker_identity(), started_at=started, finished_at=now, **fields
        )
        self._recorder.record(told.model_copy(update={"agent": self._call.name}))


def _unkept(*_details: Any) -> None:
    """A tool that an agent calls begins anew: the agent's own heartbeat is not its."""
