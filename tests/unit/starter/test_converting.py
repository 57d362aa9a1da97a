"""Values travel as the SDK's pydantic converter has them, with one converter of JSON for all."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from temporalio.contrib.pydantic import pydantic_data_converter

from starter.converting import data_converter
from taskmark.contracts import StartTask

VALUES = [None, b"raw", "text", 3, [1, {"a": None}], datetime(2026, 1, 2, tzinfo=UTC), StartTask(task="x")]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_a_value_travels_as_the_sdk_has_it(value: Any) -> None:
    payload = data_converter.payload_converter.to_payload(value)
    assert payload == pydantic_data_converter.payload_converter.to_payload(value)
    assert data_converter.payload_converter.from_payload(payload, type(value)) == value


def test_a_converter_made_anew_shares_what_is_costly() -> None:
    """The SDK makes one for each workflow, and several in each workflow task."""
    one, other = (data_converter.payload_converter_class() for _ in range(2))
    assert one.converters is not other.converters  # type: ignore[attr-defined] # of the SDK's composite
    assert all(
        one.converters[kind] is other.converters[kind]  # type: ignore[attr-defined] # the same
        for kind in one.converters  # type: ignore[attr-defined] # the same
    )
