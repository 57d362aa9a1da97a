"""What of the settings is secret: passwords in URLs, tokens, keys to sign and to encrypt with."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from taskmark.errors import InvalidSettings, StepFailed
from taskmark.secrets.private_files import read_private

if TYPE_CHECKING:
    from taskmark.settings import Settings

SHORTEST_PART: Final = 16
"""Characters of a part of a path that is taken for a token; shorter ones are words."""
SHORTEST_KEY: Final = 8
"""Characters of a variable that is taken for a key; shorter ones are words, such as the `ollama` or `none`
that is sent to servers which want no key."""
_KEY_WORDS: Final = """
    key apikey token secret password passwd passphrase pass pwd pat auth credential credentials
"""
KEY_WORDS: Final = frozenset(_KEY_WORDS.split())
"""What the names of variables that hold a secret have among their words."""


def secrets_in(settings: Settings, environment: Mapping[str, str] = os.environ) -> Iterator[str]:
    """Yields every secret that the settings hold. Who uses what cannot be read will complain of it."""
    urls = [settings.database_url, settings.smtp_url or "", *settings.sql_databases.values()]
    for url in urls:
        yield from _password(url)
    for url in settings.chat_channels.values():
        yield from _password(url)
        yield from _user(url)
        yield from _tokens(url)
    for endpoint in settings.webhooks.values():
        yield from _password(endpoint.get("url", ""))
        yield from _tokens(endpoint.get("url", ""))
        for secret in endpoint.get("secret", "").split():
            yield from (secret, secret.partition("_")[2])
    yield from _of_search(settings.search_provider)
    yield from _of_mcp(settings.mcp_servers, environment)
    yield from secrets_of_agents(settings, environment)
    yield from (key.partition(":")[2] for key in (*settings.encryption_keys, *_lines(settings)))
    yield from (settings.codec_token, environment.get("TEMPORAL_API_KEY", ""))


def secrets_of_agents(settings: Settings, variables: Mapping[str, str]) -> Iterator[str]:
    """Yields what of these variables of the worker's is secret, if agents use them: keys of providers of
    language models, and of what programs are given what is named as a secret or looks like one."""
    from taskmark.agents.llm.configured import BUILT_IN

    keys = {name for provider in BUILT_IN.values() for name in provider.keys}
    keys |= {name for provider in settings.providers.values() for name in provider.keys}
    given = {name for agent in settings.cli_agents.values() for name in agent.env}
    for name in variables.keys() & (keys | given):
        value = variables[name]
        if len(value) >= SHORTEST_KEY and (name in keys or (_is_named(name) and not _is_place(value))):
            yield value
        elif name in given:
            yield from _by_form(value)


def _is_named(variable: str) -> bool:
    return not KEY_WORDS.isdisjoint(variable.lower().split("_"))


def _is_place(value: str) -> bool:
    """Whether it is an address, or the path of something that is there."""
    return "://" in value or os.path.exists(os.path.expanduser(value))


def _by_form(value: str) -> Iterator[str]:
    """Yields what of a value is a secret by its form, such as a password in an address."""
    from taskmark.privacy.credentials import find

    yield from (value[slice(*span)] for span in find(value))


def _lines(settings: Settings) -> list[str]:
    """Returns the keys of the file that has them."""
    with suppress(InvalidSettings):
        if settings.encryption_keys_file is not None:
            return (read_private(settings.encryption_keys_file) or "").split()
    return []


def _password(url: str) -> Iterator[str]:
    with suppress(ValueError):
        password = urlsplit(url).password or ""
        yield from (password, unquote(password))


def _user(url: str) -> Iterator[str]:
    """Yields what stands before the host of a channel: there it is a token."""
    with suppress(ValueError):
        user = urlsplit(url).netloc.rpartition("@")[0]
        yield from (user, unquote(user))


def _tokens(url: str) -> Iterator[str]:
    """Yields what of a path and query nobody can guess."""
    with suppress(ValueError):
        parts = urlsplit(url)
        yield from (part for part in parts.path.split("/") if len(part) >= SHORTEST_PART)
        yield from (value for _, value in parse_qsl(parts.query) if len(value) >= SHORTEST_PART)


def _of_search(provider: str) -> Iterator[str]:
    if provider:
        from taskmark.tools.search_providers import read_address

        with suppress(ValueError):
            yield read_address(provider).secret


def _of_mcp(servers: Mapping[str, Mapping[str, object]], environment: Mapping[str, str]) -> Iterator[str]:
    if servers:
        from taskmark.tools.mcp_servers import read_server

    for name, entry in servers.items():
        with suppress(StepFailed):
            yield from read_server(name, entry, environment).secrets
