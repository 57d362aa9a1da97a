"""Connects to the Temporal that is configured: somebody's cluster, or the embedded server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from taskmark.contracts import SEARCH_ATTRIBUTES
from taskmark.errors import Unreachable
from taskmark.identity import worker_identity
from taskmark.settings import Settings

if TYPE_CHECKING:
    from temporalio.client import Client

    from starter.embedded.server import EmbeddedServer


DEFAULT_NAMESPACE = "default"


def namespace_of(settings: Settings) -> str:
    """Returns the namespace that clients with these settings use."""
    external = settings.temporal_address is not None
    return str(_configured().get("namespace", DEFAULT_NAMESPACE)) if external else DEFAULT_NAMESPACE


@asynccontextmanager
async def connected(settings: Settings) -> AsyncIterator[tuple[Client, EmbeddedServer | None]]:
    """Yields a client, and the embedded server if it is one. Raises `Unreachable`, and `InvalidSettings` for
    encryption keys that are none."""
    if settings.temporal_address is not None:
        yield await _connect(settings, settings.temporal_address, external=True), None
        return
    from starter.embedded.server import embedded

    async with embedded(settings) as server:
        yield await _connect(settings, server.address, external=False), server


async def _connect(settings: Settings, address: str, *, external: bool) -> Client:
    from temporalio.client import Client
    from temporalio.service import RPCError

    from starter.encrypting import codec_of, converter_with

    options: dict[str, Any] = _configured() if external else {"target_host": address}
    codec = codec_of(settings, options.get("namespace", DEFAULT_NAMESPACE))
    try:
        return await Client.connect(
            **options,
            data_converter=converter_with(codec),
            identity=f"taskmark {worker_identity()}",
        )
    except (RPCError, RuntimeError, OSError) as error:
        raise Unreachable(
            f"Temporal at {address} does not answer: {error}",
            hint="check TEMPORAL_ADDRESS and that the server runs, or unset it to use the embedded server"
            if external
            else "see .taskmark/ for the server's log, or run `taskmark doctor`",
        ) from error


def _configured() -> dict[str, Any]:
    """Returns address, namespace, TLS and API key as Temporal's own environment configuration reads them."""
    from temporalio.envconfig import ClientConfig

    return dict(ClientConfig.load_client_connect_config())


async def register_search_attributes(client: Client) -> None:
    """Adds our search attributes to the namespace where they are missing.

    Without them a workflow task that sets one fails for ever, so a worker that cannot add them must not
    start. Raises `Unreachable` with what an administrator has to do.
    """
    from temporalio.api.enums.v1 import IndexedValueType
    from temporalio.api.operatorservice.v1 import (
        AddSearchAttributesRequest,
        ListSearchAttributesRequest,
    )
    from temporalio.service import RPCError

    keyword = IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD
    try:
        listed = await client.operator_service.list_search_attributes(
            ListSearchAttributesRequest(namespace=client.namespace)
        )
        missing = [name for name in SEARCH_ATTRIBUTES if name not in listed.custom_attributes]
        if missing:
            await client.operator_service.add_search_attributes(
                AddSearchAttributesRequest(
                    namespace=client.namespace, search_attributes=dict.fromkeys(missing, keyword)
                )
            )
    except RPCError as error:
        names = " ".join(f"--name {name} --type Keyword" for name in SEARCH_ATTRIBUTES)
        raise Unreachable(
            f"the search attributes cannot be registered: {error.message}",
            hint=f"let an administrator run: temporal operator search-attribute create {names}",
        ) from error
