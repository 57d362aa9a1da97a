"""What inputs alone decide is decided, and nothing else."""

import pytest

from taskmark.plan.foresight import LONGEST_TEXT, Foresight

FORESIGHT = Foresight({"env": "prod", "files": ["a", "b"], "note": None}, missing=["limit"])


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("inputs.env == 'prod'", True),
        ("{{ inputs.files }}", ["a", "b"]),
        ("1 > 2", False),
        ("inputs.note", None),
    ],
)
def test_an_expression_over_given_inputs_is_known(source, value):
    found = FORESIGHT.value(source)
    assert (found.known, found.value, found.problem) == (True, value, None)


@pytest.mark.parametrize(
    "source",
    ["inputs.limit > 3", "inputs", "steps.a.output", "inputs.env == phases.a.outputs.env", "item", "project"],
)
def test_an_expression_that_needs_more_is_left_open(source):
    assert not FORESIGHT.value(source).known


def test_an_expression_that_cannot_be_evaluated_says_why():
    found = FORESIGHT.value("inputs.env > 3")
    assert found.known
    assert found.problem


def test_all_inputs_together_are_known_once_none_is_missing():
    assert Foresight({"a": 1}).value("inputs").value == {"a": 1}


def test_templates_are_filled_in_where_inputs_suffice_and_stay_as_written_elsewhere():
    written = {
        "path": "{{ inputs.env }}.txt",
        "list": ["{{ inputs.files }}", "{{ item }}"],
        "n": 3,
        "bad": "{{ (",
    }
    filled = {"path": "prod.txt", "list": [["a", "b"], "{{ item }}"], "n": 3, "bad": "{{ ("}
    assert FORESIGHT.filled(written) == filled
    assert FORESIGHT.text("{{ inputs.files }}") == '["a", "b"]'


def test_a_template_that_fails_with_these_inputs_stays_as_written():
    assert FORESIGHT.filled("{{ inputs.env.x }}") == "{{ inputs.env.x }}"


def test_what_an_input_makes_too_long_is_cut_and_says_how_long_it_was():
    large = Foresight({"text": "x" * 5000, "rows": list(range(5000))})
    for name in ("text", "rows"):
        cut = large.filled(f"{{{{ inputs.{name} }}}}")
        assert len(cut) < LONGEST_TEXT + 40
        assert "characters)" in cut


def test_items_are_known_from_a_list_or_from_inputs():
    assert FORESIGHT.items([1, 2]) == [1, 2]
    assert FORESIGHT.items("inputs.files") == ["a", "b"]
    assert FORESIGHT.items("inputs.env") is None
    assert FORESIGHT.items("steps.a.output") is None
