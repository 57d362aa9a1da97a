"""Messages as they travel into history: without what has its default, which most of their fields have."""

from __future__ import annotations

import json

from pydantic import BaseModel
from temporalio.api.common.v1 import Payload
from temporalio.common import RawValue

_JSON = {"encoding": b"json/plain"}


def compact(message: BaseModel) -> RawValue:
    """Returns a message as it is sent."""
    return _raw(message.model_dump_json(exclude_defaults=True))


def with_limits(start: BaseModel) -> RawValue:
    """Returns what starts a workflow as it is sent. Its limits are whole: what they are by default may change
    one day, and must not for an execution that runs."""
    sent = start.model_dump(mode="json", exclude_defaults=True)
    limits: BaseModel | None = getattr(start, "limits", None)
    if limits is not None:
        sent["limits"] = limits.model_dump(mode="json")
    return _raw(json.dumps(sent, ensure_ascii=False, separators=(",", ":")))


def _raw(text: str) -> RawValue:
    return RawValue(Payload(metadata=_JSON, data=text.encode()))
