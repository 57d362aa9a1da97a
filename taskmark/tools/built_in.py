"""The tools that come with Taskmark, with what they have to know of the world around them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taskmark.agents.llm.configured import Lookup, Models
from taskmark.ports import Tool

if TYPE_CHECKING:
    from taskmark.agents.cli.programs import CliSetting
    from taskmark.tools.network import NetworkPolicy
    from taskmark.tools.processes import ProcessLimits
    from taskmark.tools.search_providers import MakeProvider


OF_CREDENTIALS = frozenset({"web-search", "sql", "sql-write", "mail", "webhook", "chat", "mcp"})
"""Those that are told passwords, keys and tokens when they are made."""


@dataclass(frozen=True)
class Configured:
    """What is set. What is absent, the tool that needs it asks for when it is called, or its health is."""

    network: NetworkPolicy | None = None
    """What steps may reach."""
    limits: ProcessLimits | None = None
    """Of processes."""
    databases: Mapping[str, str] = field(default_factory=dict)
    """URLs by name."""
    smtp_url: str | None = None
    mail_from: str | None = None
    webhooks: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """`url` and `secret` by name."""
    chat_channels: Mapping[str, str] = field(default_factory=dict)
    """URLs by name."""
    outgoing_per_minute: float = 60.0
    """Messages to one receiver."""
    outgoing_refuse: tuple[str, ...] = ()
    """Detectors of personal data that no message may hold."""
    search_provider: str = ""
    search_rate: float | None = None
    """Searches per second, if not as many as the provider allows."""
    browser_path: Path | None = None
    """Of Chromium; found on the PATH if absent."""
    browser_pages: int = 4
    """Open at once in one worker."""
    browser_memory: int = 2 * 1024**3
    """Bytes of all its processes."""
    mcp_servers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Entries of `mcpServers` by name."""
    models: Models = field(default_factory=Models)
    """Language models."""
    cli_agents: Mapping[str, CliSetting] = field(default_factory=dict)
    """Of command-line agents, by name."""
    variable: Lookup = os.environ.get
    """Where variables of the worker's are looked up that these agents are given."""


def built_in(
    configured: Configured, paths: Sequence[Path], search_providers: Mapping[str, MakeProvider]
) -> list[Tool[Any]]:
    """Returns the tools. Processes that call Python functions search the `paths`, of which the first is the
    root; `search_providers` are those of plugins, which may be filled in later."""
    return [
        *_of_files(),
        *_of_processes(configured, paths),
        *_of_the_network(configured, search_providers),
        *_of_messages(configured),
        *_of_others(configured, paths),
    ]


def _of_files() -> list[Tool[Any]]:
    from taskmark.tools.documents import ReadJson
    from taskmark.tools.files import ReadFile, WriteFile
    from taskmark.tools.filing import CopyFile, DeleteFile, EditFile, MoveFile
    from taskmark.tools.listing import ListFiles
    from taskmark.tools.search import SearchFiles
    from taskmark.tools.tables import ReadCsv

    changing = (WriteFile(), EditFile(), CopyFile(), MoveFile(), DeleteFile())
    return [ReadFile(), *changing, ListFiles(), SearchFiles(), ReadCsv(), ReadJson()]


def _of_processes(configured: Configured, paths: Sequence[Path]) -> list[Tool[Any]]:
    from taskmark.tools.functions import Python
    from taskmark.tools.shell import Shell

    return [Shell(configured.limits), Python(paths=paths, limits=configured.limits)]


def _of_the_network(configured: Configured, search_providers: Mapping[str, MakeProvider]) -> list[Tool[Any]]:
    from taskmark.tools.sql import Sql, SqlWrite
    from taskmark.tools.web import Http
    from taskmark.tools.web_search import WebSearch

    return [
        Http(configured.network),
        WebSearch(configured.search_provider, rate=configured.search_rate, providers=search_providers),
        Sql(configured.databases),
        SqlWrite(configured.databases),
    ]


def _of_messages(configured: Configured) -> list[Tool[Any]]:
    from taskmark.tools.chat import Chat
    from taskmark.tools.mail import Mail
    from taskmark.tools.outgoing import Outgoing
    from taskmark.tools.webhook import Webhook

    outgoing = Outgoing(per_minute=configured.outgoing_per_minute, refuse=configured.outgoing_refuse)
    return [
        Mail(configured.smtp_url, configured.mail_from, outgoing=outgoing),
        Webhook(configured.webhooks, configured.network, outgoing=outgoing),
        Chat(configured.chat_channels, outgoing=outgoing),
    ]


def _of_others(configured: Configured, paths: Sequence[Path]) -> list[Tool[Any]]:
    from taskmark.tools.browser import Browser
    from taskmark.tools.browsing_limits import BrowserLimits
    from taskmark.tools.mcp import Mcp

    root = paths[0] if paths else None
    limits = BrowserLimits(pages=configured.browser_pages, memory=configured.browser_memory)
    return [
        Browser(configured.network, path=configured.browser_path, limits=limits),
        Mcp(configured.mcp_servers, policy=configured.network, limits=configured.limits, root=root),
    ]
