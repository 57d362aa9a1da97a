"""What tools an MCP server has, and whether arguments fit one of them.

Only what is cheap to tell is checked here: what is missing, what is unknown, and plain types. The schema is
the server's, so nothing in it may cost time, such as a regular expression; the server checks the rest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from taskmark.errors import Category, StepFailed
from taskmark.task.model import Json
from taskmark.tools.validation import did_you_mean

if TYPE_CHECKING:
    from mcp import ClientSession
    from mcp.types import Tool

MOST_PAGES: Final = 100
"""Of a list of tools that goes on and on."""
MOST_NAMED: Final = 20
"""Tools that a message names."""
_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "string": (str,),
    "integer": (int, float),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
    "null": (type(None),),
}


@dataclass(frozen=True)
class McpTool:
    """One tool of a server, as the server describes it. Nothing of it is more than the server's word."""

    name: str
    description: str
    schema: Mapping[str, Any]
    """JSON Schema of its arguments."""
    read_only: bool
    """Whether it says that it changes nothing."""


class Catalog:
    """The tools of one server, asked for once, and again before something is refused because of them."""

    def __init__(self) -> None:
        self._tools: dict[str, McpTool] | None = None

    def forget(self) -> None:
        """Lets the next who wants to know ask the server."""
        self._tools = None

    async def tools(self, session: ClientSession) -> Mapping[str, McpTool]:
        """Returns the tools by name."""
        if self._tools is None:
            self._tools = {tool.name: tool async for tool in _listed(session)}
        return self._tools

    async def check(self, session: ClientSession, name: str, arguments: Mapping[str, Json]) -> None:
        """Raises `StepFailed` (configuration) unless there is the tool and it takes the arguments.

        Before that the server is asked again: its tools may be others by now.
        """
        if _misfit(await self.tools(session), name, arguments) is not None:
            self.forget()
            problem = _misfit(await self.tools(session), name, arguments)
            if problem is not None:
                raise problem


async def _listed(session: ClientSession) -> Any:
    """Yields the tools, page by page."""
    from mcp.types import PaginatedRequestParams

    cursor: str | None = None
    for _ in range(MOST_PAGES):
        page = await session.list_tools(params=PaginatedRequestParams(cursor=cursor))
        for tool in page.tools:
            yield _described(tool)
        cursor = page.next_cursor
        if not cursor:
            return


def _described(tool: Tool) -> McpTool:
    read_only = tool.annotations is not None and bool(tool.annotations.read_only_hint)
    return McpTool(tool.name, tool.description or "", tool.input_schema, read_only)


def _misfit(tools: Mapping[str, McpTool], name: str, arguments: Mapping[str, Json]) -> StepFailed | None:
    """Returns why a tool cannot be called so. Values are left out of it: they may be secret."""
    if name not in tools:
        names = sorted(tools)
        more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
        hint = f"it has {', '.join(names[:MOST_NAMED]) or 'none'}{more}"
        said = f"it has no tool {name!r}{did_you_mean(name, names)}"
        return StepFailed(said, Category.CONFIGURATION, hint=hint)
    problems = list(_problems(tools[name].schema, arguments))
    if not problems:
        return None
    hint = f"it takes {', '.join(_properties(tools[name].schema)) or 'no arguments'}"
    return StepFailed(f"{name}: {'; '.join(problems)}", Category.CONFIGURATION, hint=hint)


def _problems(schema: Mapping[str, Any], arguments: Mapping[str, Json]) -> Iterator[str]:
    properties = _properties(schema)
    required = schema.get("required")
    for name in required if isinstance(required, list) else ():
        if name not in arguments:
            yield f'missing "{name}"'
    for name, value in arguments.items():
        if name not in properties:
            if schema.get("additionalProperties") is False and not schema.get("patternProperties"):
                yield f'unknown key "{name}"{did_you_mean(name, properties)}'
        elif not _fits(properties[name], value):
            yield f'"{name}": it is to be of type {properties[name]["type"]}'


def _properties(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    properties = schema.get("properties")
    return properties if isinstance(properties, dict) else {}


def _fits(schema: Any, value: Json) -> bool:
    """Whether a value has the one type that a schema names; whatever else it says is not looked at."""
    kind = schema.get("type") if isinstance(schema, dict) else None
    if not isinstance(kind, str) or kind not in _TYPES:
        return True
    if isinstance(value, bool):
        return kind == "boolean"
    if kind == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, _TYPES[kind])
