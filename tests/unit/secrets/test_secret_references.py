"""References to secrets are filled in where the file has them, and nowhere else."""

from __future__ import annotations

import json

import pytest

from taskmark.contracts import StepCall
from taskmark.errors import InvalidExpression
from taskmark.task import expressions
from taskmark.task.model import Json
from taskmark.task.secret_references import Place, fill, names_in, placeholder, render

HOSTILE = '{{ secrets.TOKEN }} secret://TOKEN [secret TOKEN] {"secrets": "TOKEN"}'
NAMES: dict[str, Json] = {"inputs": {"a": "A", "hostile": HOSTILE, "list": [1, 2]}, "steps": {}}


def rendered(value: Json, declared: tuple[str, ...] = ("TOKEN", "OTHER")) -> tuple[Json, tuple[Place, ...]]:
    """Returns a value as the engine renders it."""
    return render(
        value,
        declared,
        lambda inner: expressions.render_value(inner, NAMES),
        lambda text: expressions.render_text(text, NAMES),
    )


def filled(value: Json) -> Json:
    """Returns a value as the tool gets it."""
    return fill(*rendered(value), lambda name: f"<{name}>")


@pytest.mark.parametrize(
    ("value", "given"),
    [
        ("{{ secrets.TOKEN }}", "<TOKEN>"),
        ("{{secrets.TOKEN}}", "<TOKEN>"),
        ("Bearer {{ secrets.TOKEN }}", "Bearer <TOKEN>"),
        ("{{ secrets.TOKEN }}:{{ secrets.OTHER }}\n", "<TOKEN>:<OTHER>\n"),
        ("{{ inputs.a }}{{ secrets.TOKEN }}{{ inputs.a }}", "A<TOKEN>A"),
        ("{{ inputs.list }} {{ secrets.TOKEN }}", "[1, 2] <TOKEN>"),
        ({"h": {"A": ["{{ inputs.a }}", "x {{ secrets.TOKEN }}"]}}, {"h": {"A": ["A", "x <TOKEN>"]}}),
        (
            {"n": 1, "l": "{{ inputs.list }}", "s": "{{ secrets.TOKEN }}"},
            {"n": 1, "l": [1, 2], "s": "<TOKEN>"},
        ),
    ],
)
def test_a_secret_goes_where_its_reference_stands(value: Json, given: Json) -> None:
    assert filled(value) == given


def test_until_then_a_placeholder_stands_there() -> None:
    value, places = rendered({"a": "Bearer {{ secrets.TOKEN }}"})
    assert value == {"a": "Bearer [secret TOKEN]"}
    assert places == (Place("TOKEN", ("a",), 7),)


@pytest.mark.parametrize(
    "value",
    ["{{ inputs.hostile }}", "x {{ inputs.hostile }} {{ secrets.OTHER }}", ["{{ inputs.hostile }}"]],
)
def test_data_that_looks_like_a_reference_stays_a_text(value: Json) -> None:
    given = json.dumps(filled(value))
    assert "<TOKEN>" not in given
    assert "{{ secrets.TOKEN }} secret://TOKEN [secret TOKEN]" in given


def test_data_beside_a_reference_cannot_move_its_place() -> None:
    """However long it is, and though it looks like the placeholder."""
    names = {"inputs": {"a": placeholder("TOKEN") * 3}}
    value, places = render(
        "{{ inputs.a }}|{{ secrets.TOKEN }}|{{ inputs.a }}",
        ("TOKEN",),
        lambda inner: expressions.render_value(inner, names),
        lambda text: expressions.render_text(text, names),
    )
    mask = placeholder("TOKEN")
    assert fill(value, places, lambda name: "<!>") == f"{mask * 3}|<!>|{mask * 3}"


def test_a_secret_that_looks_like_a_reference_is_not_read_again() -> None:
    value, places = rendered("{{ secrets.TOKEN }} {{ secrets.OTHER }}")
    secrets = {"TOKEN": "[secret OTHER]{{ secrets.OTHER }}", "OTHER": "[secret TOKEN]"}
    assert fill(value, places, secrets.__getitem__) == "[secret OTHER]{{ secrets.OTHER }} [secret TOKEN]"


def test_a_secret_that_is_not_declared_is_refused() -> None:
    with pytest.raises(InvalidExpression, match="OTHER is not declared"):
        rendered("{{ secrets.OTHER }}", ("TOKEN",))


def test_another_use_of_secrets_cannot_be_evaluated() -> None:
    with pytest.raises(InvalidExpression, match="`secrets` is not defined"):
        rendered("{{ secrets.TOKEN | upper }}")


@pytest.mark.parametrize(
    "place",
    [
        Place("TOKEN", ("a",), 1),
        Place("TOKEN", ("b",), 0),
        Place("TOKEN", ("a", "b"), 0),
        Place("TOKEN", (0,), 0),
        Place("TOKEN", (), 0),
        Place("OTHER", ("a",), 0),
    ],
)
def test_a_place_that_is_not_there_is_refused(place: Place) -> None:
    with pytest.raises(LookupError):
        fill({"a": placeholder("TOKEN")}, [place], lambda name: "never")


def test_names_are_found_in_whatever_text_they_are() -> None:
    assert names_in({"a": ["{{ secrets.A }} {{ secrets.B }}", 1], "b": "{{ secrets.A }}"}) == {"A", "B"}


def test_places_travel_in_a_call() -> None:
    call = StepCall(
        execution_id="e", task_id="t", trace_id="0", phase="p", step="s", kind="tool", name="http",
        idempotency_key="k", timeout=1, secrets=("TOKEN",),
        secret_places=(Place("TOKEN", ("headers", 0, "x"), 3),),
    )  # fmt: skip
    read = StepCall.model_validate_json(call.model_dump_json())
    assert read == call
    assert isinstance(read.secret_places[0], Place)
