import dataclasses
import math

import pytest
from pydantic import BaseModel

from taskmark.contracts import ADAPTER_LIMIT
from taskmark.errors import Category, StepFailed
from taskmark.tools.sizes import capped, json_size, keep_tail


class Point(BaseModel):
    x: int


@dataclasses.dataclass
class Place:
    point: Point


def test_an_output_becomes_plain_json() -> None:
    """Tuples, models, dataclasses and NaN arrive as JSON has them."""
    assert capped({"a": (1, Place(Point(x=2))), "b": math.nan}) == {"a": [1, {"point": {"x": 2}}], "b": None}


def test_an_output_at_the_limit_passes_and_one_byte_more_does_not() -> None:
    """The limit counts bytes of JSON, and the message says what to do."""
    assert capped("x" * (ADAPTER_LIMIT - 2))
    with pytest.raises(StepFailed, match="262,145 bytes") as caught:
        capped("x" * (ADAPTER_LIMIT - 1), source="tool t")
    assert caught.value.category is Category.RESOURCE
    assert "return less" in (caught.value.hint or "")


def test_what_is_no_json_is_a_mistake_of_the_tool() -> None:
    """A value that cannot be written is a logic error that names its type."""
    with pytest.raises(StepFailed, match="returned a object") as caught:
        capped(object())
    assert caught.value.category is Category.LOGIC


@pytest.mark.parametrize("character", ["x", "ü", "\0", '"', "🌱"])
def test_the_tail_of_a_text_fits_exactly(character: str) -> None:
    """The kept end is within the limit, and one character more would not be."""
    text = "start" + character * 1000
    kept = keep_tail(text, 500)
    assert text.endswith(kept)
    assert json_size(kept) <= 500 < json_size(text[-len(kept) - 1 :])
    assert keep_tail("short", 500) == "short"
    assert keep_tail(text, 2) == ""
