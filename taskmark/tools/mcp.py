"""`mcp`: any tool of any MCP server that the settings name, a program here or an address.

What a server is, and what it says, is not trusted: its words are data, and it is told no more than the
arguments of the call.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pydantic import Field

from taskmark.errors import Category, StepFailed
from taskmark.ports import Health, StepContext, Tool
from taskmark.task.model import Json
from taskmark.tools.mcp_catalog import McpTool
from taskmark.tools.mcp_servers import Server, read_server
from taskmark.tools.processes import ProcessLimits
from taskmark.tools.validation import Arguments, Timeout, did_you_mean

if TYPE_CHECKING:
    import ssl

    from mcp.types import CallToolResult

    from taskmark.tools.mcp_http import Network
    from taskmark.tools.mcp_sessions import Connection, Session, Sessions
    from taskmark.tools.network import NetworkPolicy, Resolve

Result = TypeVar("Result")

IDLE: Final = 300.0
"""Seconds for which a server that nobody calls is kept."""
HEALTHY_WITHIN: Final = 2.2
"""Seconds that all servers together have to show that they can be used; then they are ended."""
HASTE: Final = 0.2
"""Seconds a server has to end that was only asked for its health."""
_SETTING: Final = 'set TASKMARK_MCP_SERVERS, such as {"notes": {"command": "notes-mcp"}}'


class McpParameters(Arguments):
    """Which tool of which server to call, with what."""

    server: str | None = Field(
        default=None, description="A name in the setting mcp_servers; not needed if there is only one"
    )
    tool: str = Field(min_length=1, description="The name that the server gives it")
    arguments: dict[str, Json] = Field(default_factory=dict, description="As the tool's schema has them")
    timeout: Timeout = Field(default=30.0, description="A duration such as 30s, the server's start included")


class Mcp(Tool[McpParameters]):
    """Calls a tool of an MCP server; what that changes, only the server knows."""

    name = "mcp"
    parameters = McpParameters

    def __init__(
        self,
        servers: Mapping[str, Mapping[str, Any]] | None = None,
        *,
        policy: NetworkPolicy | None = None,
        limits: ProcessLimits | None = None,
        root: Path | None = None,
        idle: float = IDLE,
        variables: Mapping[str, str] = os.environ,
        certificates: ssl.SSLContext | None = None,
        resolver: Resolve | None = None,
    ) -> None:
        """`servers` are entries of `mcpServers` by name; `root` is where programs are started when no step
        asks for it, `variables` what `${NAME}` stands for."""
        self._servers = dict(servers or {})
        self._limits = limits
        self._root = root
        self._idle = idle
        self._variables = variables
        self._given = (policy, certificates, resolver)
        self._loaded = False

    async def execute(self, parameters: McpParameters, context: StepContext) -> Json:
        """Returns `content`, the text; `structured`, if the tool returns data; and `attachments`, what is
        neither. Raises `StepFailed`: logic if the tool says that it failed."""
        from taskmark.tools.mcp_results import output

        server = self._server(self._chosen(parameters.server))
        work = partial(_call, parameters, context, server)
        seconds = min(parameters.timeout, context.timeout)
        if context.refresh_credentials:
            self._sessions.retire((server.name, context.root))  # it was begun with what is no longer taken
        result = await self._ask(server, context.root, work, seconds, context.worker_id)
        return output(result, server, parameters.tool)

    async def tools_of(self, server: str, timeout: float = 30.0) -> list[McpTool]:  # noqa: ASYNC109  # it is a tool's
        """Returns the tools of a server by name. Raises `StepFailed`."""
        found = await self._ask(self._server(self._chosen(server)), self._home, _tools, timeout)
        return [found[name] for name in sorted(found)]

    async def health_check(self) -> Health:
        """Whether each server can be started or reached, all asked at once; none is kept."""
        if not self._servers:
            return Health(healthy=False, message="no MCP server is configured", hint=_SETTING)
        problems = await self._hasty()._problems(time.monotonic() + HEALTHY_WITHIN)
        wrong = [problem for problem in problems if problem is not None]
        if not wrong:
            return Health(healthy=True, message=f"can use {', '.join(sorted(self._servers))}")
        hint = next((problem.hint for problem in wrong if problem.hint), None)
        return Health(healthy=False, message="; ".join(problem.message for problem in wrong), hint=hint)

    async def close(self) -> None:
        """Ends all conversations of this event loop, and the programs in them."""
        if "_sessions" in self.__dict__:
            await self._sessions.close()

    def _hasty(self) -> Mcp:
        """Returns a tool of the same servers, with conversations that nobody else is using."""
        policy, certificates, resolver = self._given
        return Mcp(
            self._servers,
            policy=policy,
            limits=replace(self._limits or ProcessLimits(), grace=HASTE),
            root=self._root,
            variables=self._variables,
            certificates=certificates,
            resolver=resolver,
        )

    async def _problems(self, until: float) -> list[StepFailed | None]:
        """Returns what is wrong with each server, and ends them all."""
        try:
            return await asyncio.gather(*(self._problem(name, until) for name in sorted(self._servers)))
        finally:
            await self.close()

    async def _problem(self, name: str, until: float) -> StepFailed | None:
        try:
            await self._ask(self._server(name), self._home, _tools, until - time.monotonic())
        except StepFailed as failure:
            return failure
        return None

    async def _ask(
        self,
        server: Server,
        root: Path,
        work: Callable[[Session], Awaitable[Result]],
        seconds: float,
        worker: str = "",
    ) -> Result:
        """Returns what comes of a call. Raises `StepFailed`."""
        until = time.monotonic() + seconds
        if not self._loaded:
            await asyncio.to_thread(_load)
            self._loaded = True
        from taskmark.tools.mcp_failures import failure, late

        session = self._sessions.get((server.name, root), partial(self._connection, server, root, worker))
        try:
            return await session.ask(work, max(until - time.monotonic(), 0.0))
        # Their causes are left out, because their words may hold the server's secrets.
        except TimeoutError:
            raise late(seconds, server, session.connection) from None
        except Exception as error:
            raise failure(error, server, session.connection) from None

    def _connection(self, server: Server, root: Path, worker: str, over: asyncio.Event) -> Connection:
        from taskmark.tools.mcp_http import HttpConnection
        from taskmark.tools.mcp_stdio import StdioConnection

        if server.url:
            return HttpConnection(server, self._network)
        return StdioConnection(server, root, self._limits, over, worker)

    def _chosen(self, name: str | None) -> str:
        if not self._servers:
            raise StepFailed("no MCP server is configured", Category.CONFIGURATION, hint=_SETTING)
        hint = f"the setting mcp_servers names them: {', '.join(sorted(self._servers))}"
        if name is None and len(self._servers) == 1:
            return next(iter(self._servers))
        if name is None:
            raise StepFailed("which MCP server is not said", Category.CONFIGURATION, hint=hint)
        if name not in self._servers:
            meant = did_you_mean(name, self._servers)
            raise StepFailed(f"there is no MCP server {name!r}{meant}", Category.CONFIGURATION, hint=hint)
        return name

    def _server(self, name: str) -> Server:
        return read_server(name, self._servers[name], self._variables)

    @property
    def _home(self) -> Path:
        return self._root or Path.cwd()

    @cached_property
    def _sessions(self) -> Sessions:
        from taskmark.tools.mcp_sessions import Sessions

        return Sessions(self._idle)

    @cached_property
    def _network(self) -> Network:
        """How servers elsewhere are reached; certificates take some 20 ms to read, so they are kept."""
        import httpx2

        from taskmark.tools.mcp_http import Network
        from taskmark.tools.network import NetworkPolicy, resolve

        policy, certificates, resolver = self._given
        return Network(
            policy or NetworkPolicy(), certificates or httpx2.create_ssl_context(), resolver or resolve
        )


def _load() -> None:
    """Imports the official client, which takes about a second. Raises `StepFailed` (configuration)."""
    try:
        import mcp  # noqa: F401  # so that it is there
    except ImportError as error:
        hint = "pip install 'taskmark[mcp]'"
        raise StepFailed("the package mcp is not installed", Category.CONFIGURATION, hint=hint) from error
    import taskmark.tools.mcp_http
    import taskmark.tools.mcp_stdio  # noqa: F401  # so that they are there


async def _tools(session: Session) -> Mapping[str, McpTool]:
    session.catalog.forget()
    return await session.catalog.tools(session.client)


async def _call(
    parameters: McpParameters, context: StepContext, server: Server, session: Session
) -> CallToolResult:
    """Returns what the server answers. Raises `StepFailed` for arguments that the tool does not take."""
    from taskmark.tools.mcp_calls import call

    await session.catalog.check(session.client, parameters.tool, parameters.arguments)
    return await call(session.client, parameters.tool, parameters.arguments, server, context)
