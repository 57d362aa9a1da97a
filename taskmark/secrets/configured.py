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
    yield from (key.partition(":")[2] for key in (*settings.encryption_keys, *_lines(settings)))
    yield from (settings.codec_token, environment.get("TEMPORAL_API_KEY", ""))


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
