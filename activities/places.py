"""Places for calls of one tool, or of one project, in a worker: who finds none free waits for one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

from taskmark.contracts import StepCall
from taskmark.ports import StepContext
from taskmark.seats import Seats


class Places:
    """The places of one worker. Waiting counts towards the step's timeout, as waiting for an answer does."""

    def __init__(self, of_tools: Mapping[str, int], of_a_project: int | None) -> None:
        self._of_tools = {name: Seats(count) for name, count in of_tools.items()}
        self._of_a_project = of_a_project
        self._of_projects: dict[str, Seats] = {}

    @asynccontextmanager
    async def taken(self, call: StepCall, context: StepContext) -> AsyncIterator[None]:
        """Lends a call its places. A project's comes first: who waits there keeps no tool's from others. Of
        calls that are to use less, after a resource failure, a tool runs one at a time."""
        async with AsyncExitStack() as stack:
            for what, places, reduced in self._needed(call):
                if places.are_taken:
                    context.say(f"waits for its turn: {what}")
                await stack.enter_async_context(places.taken(reduced=reduced))
            yield

    def _needed(self, call: StepCall) -> list[tuple[str, Seats, bool]]:
        found = []
        if self._of_a_project is not None and call.project:
            places = self._of_projects.setdefault(call.project, Seats(self._of_a_project))
            found.append((f"{self._of_a_project} steps of {call.project} at once", places, False))
        if call.kind == "tool" and call.name in self._of_tools:
            found.append((f"calls of {call.name} at once", self._of_tools[call.name], call.reduced))
        return found
