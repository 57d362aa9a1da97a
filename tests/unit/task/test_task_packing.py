"""A packed definition comes back the same, and nothing unpacks beyond its limit."""

import base64
import zlib

import pytest

from taskmark.task import packing, parse_text
from taskmark.task.model import TaskDefinition

DEFINITION = parse_text(
    "# Größe\n\n## Phase: A\n### Steps\n- tool: shell - x\n  with: {a: [1, null, {b: ''}]}\n"
)


def test_what_is_packed_comes_back_the_same_and_shorter() -> None:
    packed = packing.pack(DEFINITION)
    assert packing.unpack(packed, TaskDefinition) == DEFINITION
    assert packing.pack(DEFINITION) == packed
    assert len(packed) < len(DEFINITION.model_dump_json())


@pytest.mark.parametrize("text", ["", "%%%", "aGVsbG8=", "é", packing.pack(DEFINITION)[:40]])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="TaskDefinition"):
        packing.unpack(text, TaskDefinition)


def test_a_wrong_model_is_refused() -> None:
    with pytest.raises(ValueError, match="validation error"):
        packing.unpack(base64.b64encode(zlib.compress(b"{}")).decode(), TaskDefinition)


def test_a_small_text_does_not_become_gigabytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "UNPACKED_LIMIT", 1000)
    bomb = base64.b64encode(zlib.compress(b" " * 10_000_000)).decode()
    with pytest.raises(ValueError, match="larger than 1000 bytes"):
        packing.unpack(bomb, TaskDefinition)
