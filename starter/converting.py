"""How values travel: as the SDK's pydantic converter has it, with one converter of JSON per process.

The SDK makes a converter anew several times in each workflow task, and a new one of its own builds a
serializer and a cache of type adapters each time: a fifteenth of what a worker computes. Neither knows
anything of the workflow, so all share them.
"""

from __future__ import annotations

from temporalio.contrib.pydantic import PydanticJSONPlainPayloadConverter, PydanticPayloadConverter
from temporalio.converter import CompositePayloadConverter, DataConverter

_SHARED = tuple(PydanticPayloadConverter().converters.values())
assert any(isinstance(one, PydanticJSONPlainPayloadConverter) for one in _SHARED), "the SDK has others now"


class SharedPayloadConverter(PydanticPayloadConverter):
    """The SDK's, made at no cost."""

    def __init__(self) -> None:  # not the SDK's own, which makes new converters
        CompositePayloadConverter.__init__(self, *_SHARED)


data_converter = DataConverter(payload_converter_class=SharedPayloadConverter)
"""For every client, worker and replay."""
