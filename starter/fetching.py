"""Fetches histories so that they can be read, also if their payloads are encrypted."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from google.protobuf.message import Message
from temporalio.api.common.v1 import Payload, SearchAttributes
from temporalio.api.failure.v1 import Failure

from starter.encrypting import is_encrypted
from taskmark.secrets.keyring import UnreadableText

if TYPE_CHECKING:
    from temporalio.api.history.v1 import HistoryEvent
    from temporalio.client import Client, WorkflowHistory
    from temporalio.converter import PayloadCodec


async def fetched(client: Client, workflow: str, run: str | None = None) -> WorkflowHistory:
    """Returns the history of a workflow. Raises `RPCError`, and `UnreadableText` if a key is not known."""
    history = await client.get_workflow_handle(workflow, run_id=run).fetch_history()
    await reveal(history.events, client.data_converter.payload_codec)
    return history


async def reveal(events: Sequence[HistoryEvent], codec: PayloadCodec | None) -> None:
    """Decrypts everything in events, in place. Raises `UnreadableText` if a key is not known."""
    if codec is None:
        _must_be_plain(events)
        return
    payloads = [one for one in _parts(events) if isinstance(one, Payload)]
    for payload, read in zip(payloads, await codec.decode(payloads), strict=True):
        payload.CopyFrom(read)
    for failure in _parts(events):
        if isinstance(failure, Failure) and failure.HasField("encoded_attributes"):
            _tell(failure)


def _must_be_plain(events: Sequence[HistoryEvent]) -> None:
    """Looks at what the workflow was started with, which tells of the rest."""
    started = events[0].workflow_execution_started_event_attributes if events else None
    if started is not None and any(is_encrypted(payload) for payload in started.input.payloads):
        raise UnreadableText("it is encrypted, and there are no keys", hint="set TASKMARK_ENCRYPTION_KEYS")


def _tell(failure: Failure) -> None:
    """Puts message and stack of a failure where they are without encryption."""
    told = json.loads(failure.encoded_attributes.data)
    failure.message, failure.stack_trace = told.get("message", ""), told.get("stack_trace", "")
    failure.ClearField("encoded_attributes")


def _parts(messages: Iterable[Message]) -> Iterator[Message]:
    """Yields every payload and failure within messages; search attributes are never encrypted."""
    for message in messages:
        if isinstance(message, Payload):
            yield message
        elif not isinstance(message, SearchAttributes):
            if isinstance(message, Failure):
                yield message
            yield from _parts(_within(message))


def _within(message: Message) -> Iterator[Message]:
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        many: Any = (value,)
        if field.is_repeated:
            many = value.values() if field.message_type.GetOptions().map_entry else value
        yield from (one for one in many if isinstance(one, Message))
