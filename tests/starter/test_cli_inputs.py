"""Inputs of a command line become what the task requires, or a message that says what they must be."""

import io
import json

import pytest

from starter.cli.inputs import gather
from taskmark.errors import InvalidInputs
from taskmark.task import parse_text

TASK = parse_text(
    """# T
```yaml
requirements:
  name: string
  count: integer
  ratio: {type: number, default: 0.5}
  loud: {type: boolean, default: false}
  tags: {type: list, optional: true}
  extra: {type: object, optional: true}
  mode: {type: enum, values: [fast, slow], default: fast}
```
## Phase: A
### Steps
- validation: inputs.count > 0 - Positive
"""
)
NEEDED = ["name=5", "count=7"]


def test_texts_become_the_required_types():
    pairs = [*NEEDED, "ratio=1.5", "loud=true", 'tags=["a"]', 'extra={"k": 1}', "mode=slow"]
    assert gather(TASK, pairs, None) == {
        "name": "5",
        "count": 7,
        "ratio": 1.5,
        "loud": True,
        "tags": ["a"],
        "extra": {"k": 1},
        "mode": "slow",
    }


def test_only_the_first_equals_sign_parts_name_and_value():
    assert gather(TASK, ["name=a=b=c", "count=1"], None)["name"] == "a=b=c"


def test_a_pair_wins_over_the_file(tmp_path):
    file = tmp_path / "inputs.json"
    file.write_text(json.dumps({"name": "file", "count": 3}))
    assert gather(TASK, ["name=pair"], str(file))["name"] == "pair"
    assert gather(TASK, [], str(file))["count"] == 3


def test_inputs_can_come_from_stdin(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO('{"name": "x", "count": 1}'))
    assert gather(TASK, [], "-")["name"] == "x"


def test_a_value_in_a_file_is_taken_as_it_is(tmp_path):
    file = tmp_path / "inputs.json"
    file.write_text('{"name": "x", "count": "1"}')
    with pytest.raises(InvalidInputs, match="`count` must be a whole number"):
        gather(TASK, [], str(file))


def test_every_problem_is_said_at_once_with_the_way_to_give_them():
    with pytest.raises(InvalidInputs) as caught:
        gather(TASK, ["count=many", "nme=x"], None)
    assert len(caught.value.problems) == 3
    assert caught.value.hint == "give them as --input name=… --input count=…"


@pytest.mark.parametrize("pair", ["name", "=5", ""])
def test_a_pair_without_name_or_value_is_refused(pair):
    with pytest.raises(InvalidInputs, match="is not name=value"):
        gather(TASK, [pair], None)


@pytest.mark.parametrize("text", ["{", "[1]", "\udcff", "[" * 100_000])
def test_a_file_that_holds_no_object_is_refused(tmp_path, text):
    file = tmp_path / "inputs.json"
    file.write_text(text, errors="surrogateescape")
    with pytest.raises(InvalidInputs):
        gather(TASK, [], str(file))


def test_a_file_that_is_missing_or_too_large_is_refused(tmp_path):
    with pytest.raises(InvalidInputs, match="No such file"):
        gather(TASK, [], str(tmp_path / "nothing"))
    large = tmp_path / "large.json"
    large.write_text(" " * (4 * 1024 * 1024 + 1))
    with pytest.raises(InvalidInputs, match="larger"):
        gather(TASK, [], str(large))


def test_a_task_without_required_inputs_says_so():
    plain = parse_text("# P\n## Phase: A\n### Steps\n- validation: 1 > 0 - Yes\n")
    with pytest.raises(InvalidInputs) as caught:
        gather(plain, ["x=1"], None)
    assert caught.value.hint == "the task takes no inputs"


def test_a_yaml_file_is_read_by_the_rules_of_task_files(tmp_path):
    file = tmp_path / "inputs.yaml"
    file.write_text("name: no\ncount: 3\ntags: [a, b]\n")
    assert gather(TASK, [], str(file)) | {"ratio": 1} == {
        "name": "no",
        "count": 3,
        "ratio": 1,
        "loud": False,
        "tags": ["a", "b"],
        "extra": None,
        "mode": "fast",
    }
    file.write_text("name: a\nname: b\n")
    with pytest.raises(InvalidInputs, match=r"inputs\.yaml:2:1: `name` stands here a second time"):
        gather(TASK, [], str(file))
    file.write_text("- a\n")
    with pytest.raises(InvalidInputs, match="key: value"):
        gather(TASK, [], str(file))


def test_json_has_no_name_twice_either(tmp_path):
    file = tmp_path / "inputs.json"
    file.write_text('{"name": "a", "extra": {"b": 1}, "name": "c"}')
    with pytest.raises(
        InvalidInputs, match=r"inputs\.json cannot be read as JSON: “name” stands in one object"
    ):
        gather(TASK, [], str(file))


def test_a_list_that_is_no_json_is_told_how_to_write_one():
    with pytest.raises(InvalidInputs) as caught:
        gather(TASK, ["name=x", "count=1", "tags=[a, b]"], None)
    assert caught.value.problems == ("""`tags` must be a list such as ["a", "b"], not '[a, b]'""",)


def test_stdin_may_be_yaml_too(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("name: x\ncount: 1\n"))
    assert gather(TASK, [], "-")["name"] == "x"


# --- questions on a terminal ----------------------------------------------------------------------

ASKED = parse_text(
    """# Asked
```yaml
requirements:
  name: {type: string, description: Who is meant}
  count: {type: integer, min: 1, max: 5}
  sure: boolean
  mode: {type: enum, values: [fast, slow]}
  tags: list
  depth: {type: integer, default: 2}
```
## Phase: A
### Steps
- validation: inputs.count > 0 - Positive
"""
)


@pytest.fixture
def person(monkeypatch):
    """Somebody at a terminal who types these lines."""

    def types(*lines):
        monkeypatch.setattr("starter.cli.terminal.person_present", lambda: True)
        monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{line}\n" for line in lines)))

    return types


def test_what_is_missing_is_asked_for_until_it_fits(person, capsys):
    person("", "Ada", "many", "9", "3", "perhaps", "yes", "3", "2", "a", '["a"]')
    assert gather(ASKED, [], None, ask=True) == {
        "name": "Ada",
        "count": 3,
        "sure": True,
        "mode": "slow",
        "tags": ["a"],
        "depth": 2,
    }
    told = capsys.readouterr()
    assert told.out == ""
    assert "name (string): Who is meant" in told.err
    assert "name needs a value" in told.err
    assert "count (integer, from 1, up to 5)" in told.err
    assert "count must be a whole number, not 'many'" in told.err
    assert "count must be at most 5" in told.err
    assert "  1  fast" in told.err
    assert "depth" not in told.err


def test_only_what_is_missing_is_asked_for(person, capsys):
    person("Ada")
    pairs = ["count=1", "sure=true", "mode=fast", "tags=[]"]
    assert gather(ASKED, pairs, None, ask=True)["name"] == "Ada"
    assert "Asked needs 1 input;" in capsys.readouterr().err


@pytest.mark.parametrize("pair", ["nme=x", "count=9"])
def test_nobody_is_asked_while_what_is_given_is_wrong(person, pair):
    """All problems are told at once, also the missing ones."""
    person("Ada", "1", "yes", "fast", "[]")
    with pytest.raises(InvalidInputs) as caught:
        gather(ASKED, [pair], None, ask=True)
    assert len(caught.value.problems) > 4


def test_who_leaves_starts_nothing(person, capsys):
    import typer

    person()
    with pytest.raises(typer.Abort):
        gather(ASKED, [], None, ask=True)
    assert "nothing was started" in capsys.readouterr().err


def test_nobody_is_asked_without_a_terminal():
    with pytest.raises(InvalidInputs, match="`name` is missing"):
        gather(ASKED, [], None, ask=True)


def test_a_number_out_of_range_is_told_so_and_not_taken_for_a_text():
    definition = parse_text(
        "# T\n\n```yaml\nrequirements:\n  size: {type: integer, default: 5, min: 1, max: 10}\n```\n\n"
        "## Phase: A\n\n### Steps\n- validation: inputs.size > 0 - It is positive\n"
    )
    with pytest.raises(InvalidInputs, match="at least 1") as caught:
        gather(definition, ["size=0"], None)
    assert caught.value.hint == "it needs none, and takes: size"
    with pytest.raises(InvalidInputs, match="whole number"):
        gather(definition, ["size=many"], None)
