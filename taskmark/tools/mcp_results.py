"""What an MCP tool returns, as the output of a step: text, data, and what is neither.

It is data from elsewhere, whatever it says. Pictures, sounds and files come along in Base64 as long as they
are small all together; of others only what they are is kept, so that one picture does not fail a step.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from taskmark.errors import Category, StepFailed
from taskmark.task.model import Json
from taskmark.tools.sizes import capped

if TYPE_CHECKING:
    from mcp.types import CallToolResult, ContentBlock

    from taskmark.tools.mcp_servers import Server

MOST_ATTACHED: Final = 96 * 1024
"""Characters of Base64 and text in all attachments of one result."""
LONGEST_ERROR: Final = 2000
"""Characters of what a tool says of its failure."""


def output(result: CallToolResult, server: Server, tool: str) -> Json:
    """Returns `content`, `structured` and `attachments`.

    Raises `StepFailed`: logic if the tool says that it has failed, resource if the result is too large.
    """
    text = "\n".join(block.text for block in result.content if block.type == "text")
    if result.is_error:
        said = server.hide(text.strip())[:LONGEST_ERROR] or "without a word"
        raise StepFailed(f"{server.name}: {tool} has failed: {said}", Category.LOGIC)
    structured = result.structured_content
    if not text and structured is not None:
        text = json.dumps(structured, ensure_ascii=False)
    found: Json = {"content": text, "structured": structured, "attachments": _attachments(result.content)}
    return capped(server.masked(found), source=f"{server.name}: {tool}", advice="ask it for less")


def _attachments(blocks: list[ContentBlock]) -> list[Json]:
    """Returns what is no text, each with its content as far as there is room for it."""
    left = MOST_ATTACHED
    found: list[Json] = []
    for block in blocks:
        if block.type == "text":
            continue
        described, content = _described(block)
        size = sum(len(one) for one in content.values())
        if size <= left:
            left -= size
            found.append({**described, **content})
        else:
            found.append({**described, "omitted": True})
    return found


def _described(block: Any) -> tuple[dict[str, Json], dict[str, str]]:
    """Returns what an attachment is, and its content: `data` in Base64, or `text`."""
    if block.type == "resource":
        inner = block.resource
        content = {"text": inner.text} if hasattr(inner, "text") else {"data": inner.blob}
        return {"type": block.type, "uri": str(inner.uri), "mimeType": inner.mime_type}, content
    if block.type == "resource_link":
        named = {"uri": str(block.uri), "name": block.name, "mimeType": block.mime_type}
        return {"type": block.type, **named}, {}
    return {"type": block.type, "mimeType": block.mime_type}, {"data": block.data}
