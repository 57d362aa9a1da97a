"""Which MCP servers there are: entries as people know them from `mcpServers`, checked and filled in.

    notes:  {command: npx, args: ["-y", "notes-mcp"], env: {API_KEY: "${NOTES_KEY}"}}
    search: {url: "https://mcp.example.com/mcp", headers: {Authorization: "Bearer ${SEARCH_TOKEN}"}}

An entry is read when its server is needed: what is wrong with one, such as a variable that is not set here,
hurts only the steps that call it. Secrets are known from here on, so that nothing a server says shows them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Literal, Self

from pydantic import Field, model_validator

from taskmark.errors import Category, StepFailed
from taskmark.task.model import Json
from taskmark.tools.processes import INHERITED
from taskmark.tools.validation import Arguments, validate_arguments

NOT_SECRET: Final = frozenset({*INHERITED, "USER", "LOGNAME", "SHELL", "PWD"})
"""Variables that are no secrets, and that stand in much of what servers say, as paths do."""
SHORTEST_SECRET: Final = 6
"""Characters; what is shorter is not hidden, because words and numbers hold it by chance."""
HIDDEN: Final = "[secret]"
_REFERENCE: Final = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")


class ServerEntry(Arguments):
    """A server as the setting has it: a program here, or an address."""

    type: Literal["stdio", "http", "streamable-http", "streamableHttp", "sse"] | None = None
    command: list[str] | str | None = None
    args: list[str] = Field(default_factory=list)
    env: dict[str, str] = Field(default_factory=dict)
    cwd: str = "."
    url: str | None = None
    headers: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if self.type == "sse":
            raise ValueError("the old SSE transport is not spoken: give the address of its streamable HTTP")
        if bool(self.command) == bool(self.url):
            raise ValueError('give "command", a program, or "url", an address, and not both')
        if self.type is not None and (self.type == "stdio") != bool(self.command):
            raise ValueError('"type" says otherwise: stdio has a "command", http a "url"')
        if self.headers if self.command else self.args or self.env:
            raise ValueError('"headers" go with a "url", "args" and "env" with a "command"')
        return self


@dataclass(frozen=True)
class Server:
    """One server, ready to be started or called. What it shows of itself is its name."""

    name: str
    command: tuple[str, ...] = field(default=(), repr=False)
    """A program and its arguments; empty for a server that is called over HTTP."""
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    directory: str = "."
    """Relative to the root."""
    url: str = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    secrets: frozenset[str] = field(default=frozenset(), repr=False)

    def masked(self, value: Json) -> Json:
        """Returns a value without the server's secrets, in whatever text of it they are."""
        if not self.secrets:
            return value
        if isinstance(value, str):
            return self.hide(value)
        if isinstance(value, list):
            return [self.masked(one) for one in value]
        if isinstance(value, dict):
            return {self.hide(key): self.masked(one) for key, one in value.items()}
        return value

    def hide(self, text: str) -> str:
        """Returns a text without the server's secrets."""
        return self._secret.sub(HIDDEN, text) if self.secrets else text

    @cached_property
    def _secret(self) -> re.Pattern[str]:
        # The longest first: one may be part of another.
        return re.compile("|".join(re.escape(one) for one in sorted(self.secrets, key=len, reverse=True)))


def read_server(name: str, entry: Mapping[str, Any], variables: Mapping[str, str]) -> Server:
    """Returns a server whose `${NAME}` and `${NAME:-otherwise}` are filled in.

    Raises `StepFailed` (configuration) for an entry that is none, or a variable that is not set.
    """
    checked = validate_arguments(f"mcp, server {name}", ServerEntry, entry)
    found = _Filling(name, variables)
    words = [checked.command] if isinstance(checked.command, str) else checked.command or []
    values = {
        "command": tuple(found.fill(word) for word in (*words, *checked.args)),
        "environment": {key: found.fill(value) for key, value in checked.env.items()},
        "directory": found.fill(checked.cwd),
        "url": found.fill(checked.url or ""),
        "headers": {key: found.fill(value) for key, value in checked.headers.items()},
    }
    server = Server(name, **values)  # type: ignore[arg-type]  # each under the name of its field
    return Server(name, **values, secrets=_secrets(server, found.secrets))  # type: ignore[arg-type]  # as above


def _secrets(server: Server, filled: set[str]) -> frozenset[str]:
    """Returns what must not be shown: what came from variables, and what stands where secrets do."""
    from taskmark.privacy.credentials import is_named

    named = {value for name, value in server.environment.items() if is_named(name, value)}
    words = {word for value in server.headers.values() for word in (value, *value.split())}
    query = server.url.partition("?")[2]
    in_query = {query, *(part.partition("=")[2] for part in query.split("&"))}
    return frozenset(
        one for one in {*filled, *named, *words, *in_query} if len(one) >= SHORTEST_SECRET and one != "Bearer"
    )


class _Filling:
    """Fills in variables, and notes which values came from where secrets are."""

    def __init__(self, server: str, variables: Mapping[str, str]) -> None:
        self.secrets: set[str] = set()
        self._server = server
        self._variables = variables

    def fill(self, text: str) -> str:
        """Returns the text with values in place of names. Raises `StepFailed` (configuration)."""
        return _REFERENCE.sub(self._value, text)

    def _value(self, reference: re.Match[str]) -> str:
        name, otherwise = reference.groups()
        value = self._variables.get(name) or otherwise
        if value is None:
            raise StepFailed(
                f"server {self._server}: the environment variable {name} is not set",
                Category.CONFIGURATION,
                hint="set it where workers run",
            )
        if name not in NOT_SECRET and value != otherwise:
            self.secrets.add(value)
        return str(value)
