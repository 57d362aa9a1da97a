"""JSON in the store: a document is read again as it was."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskmark.store.texts import document

_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec=None, categories=None)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(_values)
def test_a_document_is_read_again_as_it_was(value: object) -> None:
    assert json.loads(document(value)) == value


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb", "\x00", "ü\u2028"])
def test_no_text_is_too_odd_for_a_document(text: str) -> None:
    """Halves of a character are escaped, for nothing can encode them."""
    assert json.loads(document({"text": text})) == {"text": text}
