"""Places for calls of one tool, or of one project, in a worker: who finds none free waits for one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

from taskmark.contracts import StepCall
from taskmark.ports import StepContext


class Places:
    """The places of one worker. Waiting counts towards the step's timeout, as waiting for an answer does."""

    def __init__(self, of_tools: Mapping[str, int], of_a_project: int | None) -> None:
        self._of_tools = {name: asyncio.Semaphore(count) for name, count in of_tools.items()}
        self._of_a_project = of_a_project
        self._of_projects: dict[str, asyncio.Semaphore] = {}

    @asynccontextmanager
    async def taken(self, call: StepCall, context: StepContext) -> AsyncIterator[None]:
        """Lends a call its places. A project's comes first: who waits there keeps no tool's from others."""
        async with AsyncExitStack() as stack:
            for what, places in self._needed(call):
                if places.locked():
                    context.say(f"waits for its turn: {what}")
                await stack.enter_async_context(places)
            yield

    def _needed(self, call: StepCall) -> list[tuple[str, asyncio.Semaphore]]:
        found = []
        if self._of_a_project is not None and call.project:
            places = self._of_projects.setdefault(call.project, asyncio.Semaphore(self._of_a_project))
            found.append((f"{self._of_a_project} steps of {call.project} at once", places))
        if call.kind == "tool" and call.name in self._of_tools:
            found.append((f"calls of {call.name} at once", self._of_tools[call.name]))
        return found
