"""Parts of JSON documents are found by RFC 6901's pointers, from files and texts."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskmark.errors import Category, StepFailed
from taskmark.ports import StepContext
from taskmark.tools.documents import ReadJson, _part

Call = Callable[..., Awaitable[Any]]
# The example of RFC 6901, section 5.
DOCUMENT = {
    "foo": ["bar", "baz"],
    "": 0,
    "a/b": 1,
    "c%d": 2,
    "e^f": 3,
    "g|h": 4,
    "i\\j": 5,
    'k"l': 6,
    " ": 7,
    "m~n": 8,
}
POINTERS = {
    "": DOCUMENT,
    "/foo": ["bar", "baz"],
    "/foo/0": "bar",
    "/": 0,
    "/a~1b": 1,
    "/c%d": 2,
    "/e^f": 3,
    "/g|h": 4,
    "/i\\j": 5,
    '/k"l': 6,
    "/ ": 7,
    "/m~0n": 8,
}


@pytest.mark.parametrize("pointer", POINTERS)
async def test_the_standards_own_examples(pointer: str, root: Path, call: Call) -> None:
    (root / "d.json").write_text(json.dumps(DOCUMENT))
    expected = {"value": POINTERS[pointer], "found": True}
    assert await call(ReadJson(), path="d.json", pointer=pointer) == expected
    assert await call(ReadJson(), text=json.dumps(DOCUMENT), pointer=pointer) == expected


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=15,
)


def everywhere(value: Any, pointer: str = "") -> list[tuple[str, Any]]:
    """Returns every part of a value with its pointer."""
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    inner = (
        everywhere(one, f"{pointer}/{str(key).replace('~', '~0').replace('/', '~1')}") for key, one in parts
    )
    return [(pointer, value), *(found for some in inner for found in some)]


@given(JSON)
def test_every_part_is_found_at_its_pointer(value: Any) -> None:
    for pointer, part in everywhere(value):
        parameters = ReadJson().validate({"text": json.dumps(value), "pointer": pointer})
        assert _part(parameters, StepContext(root=Path())) == {"value": part, "found": True}


async def test_json_lines_are_a_list(root: Path, call: Call) -> None:
    (root / "d.jsonl").write_text('\ufeff{"a": 1}\r\n\n{"a": "x\u2028y"}\n')
    found = await call(ReadJson(), path="d.jsonl", lines=True, pointer="/1/a")
    assert found == {"value": "x\u2028y", "found": True}
    (root / "d.jsonl").write_text("1\n\n{\n")
    with pytest.raises(StepFailed, match=r"d.jsonl:3: no JSON: .* \(line 1, column 2\)"):
        await call(ReadJson(), path="d.jsonl", lines=True)


@pytest.mark.parametrize(
    ("pointer", "hint"),
    [
        ("/fo", 'did you mean "foo"'),
        ("/foo/2", "there are 2 values"),
        ("/foo/-", "there are 2 values"),
        ("/foo/00", "there are 2 values"),
        ("/foo/99999999999999999999", "there are 2 values"),
        ("/foo/0/x", "has no parts"),
    ],
)
async def test_what_is_not_there_is_said_or_has_a_default(pointer: str, hint: str, call: Call) -> None:
    text = json.dumps(DOCUMENT)
    with pytest.raises(StepFailed, match="nothing is at") as caught:
        await call(ReadJson(), text=text, pointer=pointer)
    assert caught.value.category is Category.LOGIC
    assert hint in (caught.value.hint or "")
    for default in (None, [1]):
        found = await call(ReadJson(), text=text, pointer=pointer, default=default)
        assert found == {"value": default, "found": False}


async def test_null_is_something(call: Call) -> None:
    assert await call(ReadJson(), text='{"a": null}', pointer="/a", default=1) == {
        "value": None,
        "found": True,
    }


@pytest.mark.parametrize("text", ["", "{", "NaN", "[Infinity]", "{'a': 1}", "1 2", "[" * 100_000])
async def test_what_is_no_json_is_refused(text: str, call: Call) -> None:
    with pytest.raises(StepFailed, match="no JSON") as caught:
        await call(ReadJson(), text=text)
    assert caught.value.category is Category.LOGIC


@pytest.mark.parametrize(
    "arguments", [{}, {"text": "1", "path": "x"}, {"text": "1", "pointer": "a"}, {"text": "1", "query": "a"}]
)
async def test_a_call_that_says_too_little_or_too_much_is_refused(
    arguments: dict[str, Any], call: Call
) -> None:
    with pytest.raises(StepFailed) as caught:
        await call(ReadJson(), **arguments)
    assert caught.value.category is Category.CONFIGURATION
