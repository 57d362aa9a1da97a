"""One call of a tool, in a conversation that has begun."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mcp.types import CallToolRequest, CallToolRequestParams, CallToolResult, InputRequiredResult
from pydantic import TypeAdapter

from taskmark.errors import Category, StepFailed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcp import ClientSession

    from taskmark.ports import StepContext
    from taskmark.task.model import Json
    from taskmark.tools.mcp_servers import Server

KEY: Final = "taskmark/idempotency-key"
"""Under which a server finds in `_meta` what is the same for each attempt of a step."""
LONGEST_NOTE: Final = 200
"""Characters of what a server says of its progress."""
_RESULT: TypeAdapter[CallToolResult | InputRequiredResult] = TypeAdapter(CallToolResult | InputRequiredResult)


async def call(
    session: ClientSession, tool: str, arguments: Mapping[str, Json], server: Server, context: StepContext
) -> CallToolResult:
    """Returns what the tool answers, also that it failed. Raises `StepFailed`, and what the client raises."""

    async def heard(progress: float, total: float | None, message: str | None) -> None:
        amount = f"{progress:g}" if total is None else f"{progress:g} of {total:g}"
        context.say(server.hide(f"{message or tool}: {amount}")[:LONGEST_NOTE])

    asked = CallToolRequestParams(name=tool, arguments=dict(arguments), _meta={KEY: context.idempotency_key})
    # Not the client's `call_tool`: it checks answers against schemas of the server's, which may take long.
    result = await session.send_request(CallToolRequest(params=asked), _RESULT, progress_callback=heard)
    if isinstance(result, InputRequiredResult):
        hint = "call a tool that takes all it needs as arguments"
        raise StepFailed(f"{tool} asks for something that no step can give it", Category.LOGIC, hint=hint)
    return result
