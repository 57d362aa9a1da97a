"""Built-in aggregates."""

# ruff: noqa: E501 - tables of one answer to a line

import pytest

from taskmark.errors import Category, StepFailed
from taskmark.plan.aggregates import BUILT_IN, aggregate

A, B, C = ({"vote": "Yes", "n": 1}, {"vote": "no", "n": 2}, {"vote": " yes ", "n": 4})

ANSWERS = [
    ("list", [1, None, "a"], {}, [1, "a"]),
    ("list", [A, B], {"field": "n"}, [1, 2]),
    ("merge", [{"a": 1, "b": 1}, None, {"b": 2}], {}, {"a": 1, "b": 2}),
    ("merge", [[1], [2, 3]], {}, [1, 2, 3]),
    ("merge", [], {}, {}),
    ("merge", [{"x": [1]}, {"x": [2]}], {"field": "x"}, [1, 2]),
    ("count", [0, None, ""], {}, 2),
    ("count", [{"x": None}, {"x": 1}], {"field": "x"}, 1),
    ("sum", [1, 2, None], {}, 3),
    ("sum", [], {}, 0),
    ("sum", [0.1] * 10, {}, 1.0),
    ("sum", ["1", " 2.5 ", 1], {}, 4.5),
    ("sum", [{"a": {"b": 2}}, {"a": {"b": 3}}, {"a": {"b": None}}], {"field": "a.b"}, 5),
    ("average", [1, 2], {}, 1.5),
    ("average", [0.1] * 10, {}, 0.1),
    ("average", [10**400, 10**400 + 2], {}, None),
    ("min", [3, 1.5], {}, 1.5),
    ("max", ["3", 1.5], {}, 3),
    ("vote", ["a", "b", "a"], {}, {"winner": "a", "votes": {"a": 2, "b": 1}, "total": 3, "tie": []}),
    ("vote", [A, B, C], {}, {"winner": "Yes", "votes": {"Yes": 2, "no": 1}, "total": 3, "tie": []}),
    ("vote", ["b", "a", None], {}, {"winner": "b", "votes": {"b": 1, "a": 1}, "total": 2, "tie": ["b", "a"]}),
    ("vote", [True, 1, False], {}, {"winner": True, "votes": {"true": 1, "1": 1, "false": 1}, "total": 3,
                                    "tie": [True, 1, False]}),
    ("vote", [A, B, C], {"by": "n", "weight": "n"},
     {"winner": 4, "votes": {"1": 1, "2": 2, "4": 4}, "total": 7, "tie": []}),
    ("vote", [{"x": {"k": "u"}}], {"field": "x.k"}, {"winner": "u", "votes": {"u": 1}, "total": 1, "tie": []}),
    ("vote", [], {}, {"winner": None, "votes": {}, "total": 0, "tie": []}),
    ("consensus", [A, B, C], {},
     {"winner": "Yes", "agreement": 2 / 3, "dissent": [B], "votes": {"Yes": 2, "no": 1}, "total": 3, "tie": []}),
    ("consensus", [A, B], {"weight": "n", "threshold": 0.6},
     {"winner": "no", "agreement": 2 / 3, "dissent": [A], "votes": {"Yes": 1, "no": 2}, "total": 3, "tie": [],
      "reached": True}),
    ("consensus", ["x", "y"], {"threshold": 0.6},
     {"winner": "x", "agreement": 0.5, "dissent": ["y"], "votes": {"x": 1, "y": 1}, "total": 2, "tie": ["x", "y"],
      "reached": False}),
    ("consensus", [], {},
     {"winner": None, "agreement": 0.0, "dissent": [], "votes": {}, "total": 0, "tie": []}),
    ("consensus", [{"answer": 5, "w": 0}], {"weight": "w"},
     {"winner": 5, "agreement": 0.0, "dissent": [], "votes": {"5": 0}, "total": 0, "tie": []}),
    ("consensus", [{"decision": "go", "answer": "x"}, {"verdict": "go"}, {"recommendation": "go"}], {},
     {"winner": "go", "agreement": 1.0, "dissent": [], "votes": {"go": 3}, "total": 3, "tie": []}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "values", "arguments", "expected"), ANSWERS)
def test_an_aggregate_combines_values(name, values, arguments, expected):
    if expected is None:
        with pytest.raises(StepFailed, match="too large"):
            aggregate(name, values, arguments)
    else:
        assert aggregate(name, values, arguments) == expected


MISFITS = [
    ("sum", ["x"], {}, "value 1 is not a number: x"),
    ("sum", [1, True], {}, "value 2 is not a number: true"),
    ("sum", ["nan"], {}, "value 1 is not a finite number"),
    ("sum", ["9" * 5000], {}, "value 1 is not a finite number: 99"),
    ("max", [{"a": 1}], {}, 'value 1 is not a number: {"a": 1}'),
    ("min", [], {}, "`min` got no values"),
    ("max", [None], {}, "`max` got no values"),
    ("average", [], {}, "`average` got no values"),
    ("average", [{"a": 1}], {"field": "b"}, "value 1 has no `b`"),
    ("average", [1], {"field": "b"}, "value 1 has no `b`"),
    ("merge", [{"a": 1}, [1]], {}, "`merge` takes mappings only or lists only, and got [1]"),
    ("merge", ["a"], {}, "and got a"),
    ("vote", [{"text": "x"}], {}, 'value 1 has no vote: {"text": "x"}'),
    ("vote", [["x"]], {}, "value 1 has no vote"),
    ("vote", [A], {"weight": "vote"}, "the weight of value 1 is not a number: Yes"),
    ("vote", [{"vote": 1, "w": -1}], {"weight": "w"}, "the weight of value 1 is negative"),
    ("consensus", ["a"], {"threshold": "much"}, "`threshold` is not a number: much"),
    ("median", [1], {}, "there is no built-in aggregate `median`"),
]


@pytest.mark.parametrize(("name", "values", "arguments", "message"), MISFITS)
def test_values_that_do_not_fit_fail_the_step_with_the_reason(name, values, arguments, message):
    with pytest.raises(StepFailed) as raised:
        aggregate(name, values, arguments)
    assert message in str(raised.value)
    assert raised.value.category is Category.LOGIC


def test_a_vote_of_null_does_not_count():
    assert aggregate("vote", [{"vote": None}, {"vote": "a"}], {})["total"] == 1


def test_the_built_in_aggregates_are_those_of_the_format():
    assert list(BUILT_IN) == ["list", "merge", "average", "min", "max", "sum", "count", "vote", "consensus"]
