"""Inputs are checked, filled and described by the requirements."""

from datetime import date, timedelta
from typing import Any

import pytest

from taskmark.errors import InvalidInputs
from taskmark.task import check_inputs, input_schema, parse_text
from taskmark.task.model import Requirement


def need(type: Any, **fields: Any) -> Requirement:
    return Requirement(name="x", type=type, **fields)


@pytest.mark.parametrize(
    ("requirement", "given", "result"),
    [
        (need("string"), "a", "a"),
        (need("number"), 5, 5),
        (need("number"), 0.5, 0.5),
        (need("integer"), 5.0, 5),
        (need("boolean"), False, False),
        (need("date"), "2026-01-31", "2026-01-31"),
        (need("date"), date(2026, 1, 31), "2026-01-31"),
        (need("duration"), "5 minutes", "5 minutes"),
        (need("duration"), 300_000, 300_000),
        (need("duration"), timedelta(minutes=5), 300_000),
        (need("list"), (1, 2), [1, 2]),
        (need("object"), {"a": 1}, {"a": 1}),
        (need("enum", values=("a", 1)), 1, 1),
        (need("string", default="d"), None, "d"),
        (need("string", optional=True), None, None),
    ],
)
def test_a_fitting_value_is_taken_and_checking_it_again_changes_nothing(
    requirement: Requirement, given: Any, result: Any
) -> None:
    once = check_inputs([requirement], {} if given is None else {"x": given})
    assert once == {"x": result}
    assert check_inputs([requirement], once) == once


@pytest.mark.parametrize(
    ("requirement", "given", "reason"),
    [
        (need("string"), 5, "must be a text, not 5"),
        (need("number"), "5", "must be a number, not '5'"),
        (need("number"), True, "must be a number"),
        (need("number"), float("nan"), "must be a number"),
        (need("integer"), 5.5, "must be a whole number"),
        (need("boolean"), "true", "must be true or false"),
        (need("date"), "31.1.2026", "must be a date such as 2026-01-31"),
        (need("date"), 5, "must be a date"),
        (need("duration"), "soon", "must be a duration such as"),
        (need("list"), "a", "must be a list"),
        (need("object"), [], "must be an object"),
        (need("enum", values=("a", "b")), "c", "must be one of a, b, not 'c'"),
        (need("enum", values=(1,)), True, "must be one of 1, not True"),
        (need("integer", min=1), 0, "must be at least 1, not 0"),
        (need("integer", max=9), 10, "must be at most 9, not 10"),
        (need("string", max=2), "abc", "must be at most 2 characters, not 3"),
        (need("list", min=1), [], "must be at least 1 items, not 0"),
        (need("duration", max=60), "2m", "must be at most 60 seconds, not 120.0"),
        (need("string"), None, "`x` is missing; it is a string"),
        (need("integer", description="how many"), None, "`x` is missing; it is an integer: how many"),
        (need("enum", values=("a", 1)), None, "`x` is missing; it is one of a, 1"),
        (need("string"), ["long" * 50], "…"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_with_what_it_must_be(
    requirement: Requirement, given: Any, reason: str
) -> None:
    with pytest.raises(InvalidInputs) as caught:
        check_inputs([requirement], {"x": given})
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("requirement", "text", "result"),
    [
        (need("string"), "5", "5"),
        (need("number"), "5", 5),
        (need("number"), "1e3", 1000.0),
        (need("integer"), "5", 5),
        (need("boolean"), "True", True),
        (need("list"), "[1, 2]", [1, 2]),
        (need("object"), '{"a": 1}', {"a": 1}),
        (need("enum", values=("a", 1, True)), "1", 1),
        (need("enum", values=("a", True)), "true", True),
        (need("duration"), "5 minutes", "5 minutes"),
    ],
)
def test_texts_of_a_command_line_become_the_wanted_type_where_nothing_is_lost(
    requirement: Requirement, text: str, result: Any
) -> None:
    assert check_inputs([requirement], {"x": text}, coerce=True) == {"x": result}


@pytest.mark.parametrize(
    ("requirement", "text"),
    [
        (need("integer"), "5.5"),
        (need("number"), "NaN"),
        (need("number"), "five"),
        (need("integer"), "9" * 5000),
        (need("boolean"), "yes"),
        (need("list"), "a,b"),
        (need("list"), "[" * 100_000),
        (need("enum", values=("a",)), "b"),
    ],
)
def test_texts_that_would_lose_something_are_refused(requirement: Requirement, text: str) -> None:
    with pytest.raises(InvalidInputs):
        check_inputs([requirement], {"x": text}, coerce=True)


def test_all_problems_are_named_at_once_unknown_inputs_with_what_was_meant() -> None:
    wanted = [need("string"), Requirement(name="count", type="integer")]
    with pytest.raises(InvalidInputs) as caught:
        check_inputs(wanted, {"cuont": 5, "zzz": 1})
    assert caught.value.problems == (
        "`x` is missing; it is a string",
        "`count` is missing; it is an integer",
        "`cuont` is not an input of this task; did you mean `count`?",
        "`zzz` is not an input of this task; known: count, x",
    )


def test_a_task_without_inputs_takes_none() -> None:
    with pytest.raises(InvalidInputs, match="`a` is not an input of this task"):
        check_inputs([], {"a": 1})


TASK = """\
# Inputs

```yaml
requirements:
  file: string
  limit: {type: integer, default: 10, min: 1, max: 99, description: How many}
  ratio: {type: number, min: 0.5}
  name: {type: string, optional: true, max: 20}
  mode: {type: enum, values: [fast, careful], default: fast}
  since: {type: date, default: 2026-01-31}
  pause: {type: duration, default: 5 minutes, max: 3600}
  label: {type: string, default: 1.0}
  tags: {type: list, default: [], max: 3}
  more: {type: object, optional: true}
  dry: {type: boolean, default: false}
```
"""


def test_requirements_become_one_json_schema() -> None:
    schema = input_schema(parse_text(TASK))
    assert schema["required"] == ["file", "ratio"]
    assert schema["additionalProperties"] is False
    properties = schema["properties"]
    assert properties["limit"] == {
        "type": "integer", "description": "How many", "default": 10, "minimum": 1, "maximum": 99,
    }  # fmt: skip
    assert properties["ratio"] == {"type": "number", "minimum": 0.5}
    assert properties["name"] == {"type": "string", "maxLength": 20}
    assert properties["mode"] == {"enum": ["fast", "careful"], "default": "fast"}
    assert properties["since"] == {"type": "string", "format": "date", "default": "2026-01-31"}
    assert properties["pause"]["type"] == ["string", "integer"]
    assert properties["tags"] == {"type": "array", "default": [], "maxItems": 3}
    assert properties["more"] == {"type": "object"}


def test_defaults_fill_what_is_not_given_and_texts_stay_as_written() -> None:
    inputs = check_inputs(parse_text(TASK), {"file": "a", "ratio": 1})
    assert inputs == {
        "file": "a", "limit": 10, "ratio": 1, "name": None, "mode": "fast", "since": "2026-01-31",
        "pause": "5 minutes", "label": "1.0", "tags": [], "more": None, "dry": False,
    }  # fmt: skip
