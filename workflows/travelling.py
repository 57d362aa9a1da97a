"""Messages as they travel into history: without what has its default, which most of their fields have."""

from __future__ import annotations

import json

from temporalio.api.common.v1 import Payload
from temporalio.common import RawValue

from taskmark.contracts import PhaseStart, StepCall

_JSON = {"encoding": b"json/plain"}


def call(request: StepCall) -> RawValue:
    """Returns what an activity is given."""
    return _raw(request.model_dump_json(exclude_defaults=True).encode())


def start(phase: PhaseStart) -> RawValue:
    """Returns what a phase is given. Its limits are whole: what they are by default may change one day, and
    must not for an execution that runs."""
    sent = phase.model_dump(mode="json", exclude_defaults=True)
    sent["limits"] = phase.limits.model_dump(mode="json")
    return _raw(json.dumps(sent, ensure_ascii=False, separators=(",", ":")).encode())


def _raw(data: bytes) -> RawValue:
    return RawValue(Payload(metadata=_JSON, data=data))
