"""Expressions over any data and any text."""

import json

from hypothesis import given
from hypothesis import strategies as st

from taskmark.errors import InvalidExpression
from taskmark.task.expressions import evaluate, references, render, render_value

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
)
TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
JSON = st.recursive(
    SCALARS | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
WORDS = st.sampled_from(
    [
        *(
            "a",
            "b.c",
            "d[0]",
            "(",
            ")",
            "[",
            "]",
            "{",
            "}",
            ",",
            ":",
            ".",
            "|",
            "'x'",
            "1",
            "2.5",
            "+",
            "-",
            "*",
        ),
        *(
            "**",
            "/",
            "//",
            "%",
            "~",
            "==",
            "<",
            "in",
            "not",
            "and",
            "or",
            "if",
            "else",
            "is",
            "{{",
            "}}",
            "{%",
        ),
        *(
            "%}",
            "for",
            "endfor",
            "set",
            "upper",
            "int",
            "sort",
            "map",
            "split()",
            "join(",
            "length",
            "default",
        ),
        *("defined", "\n", "\r\n"),
    ]
)
NAMES = {"a": 1, "b": {"c": "x"}, "d": [1, 2]}


@given(JSON)
def test_data_passes_through_unchanged(value):
    result = evaluate("value", {"value": value})
    assert json.dumps(result) == json.dumps(value)
    assert render("{{ value }}", {"value": value}) == result


@given(JSON)
def test_json_text_reads_back(value):
    assert evaluate("value | tojson | fromjson", {"value": value}) == value


@given(JSON)
def test_a_value_without_templates_renders_to_itself(value):
    if "{{" not in json.dumps(value) and "{%" not in json.dumps(value):
        assert render_value(value, {}) == value


@given(st.lists(WORDS, max_size=12))
def test_any_text_gives_json_or_an_invalid_expression(words):
    source = " ".join(words)
    for run in (evaluate, render):
        offset = None
        try:
            json.dumps(run(source, NAMES), allow_nan=False)
        except InvalidExpression as error:
            offset = error.offset
        assert offset is None or 0 <= offset <= len(source)


@given(st.lists(WORDS, max_size=12))
def test_every_reference_is_where_it_says(words):
    source = " ".join(words)
    try:
        found = references(source)
    except InvalidExpression:
        return
    assert all(source.startswith(reference.path[0], reference.offset) for reference in found)
