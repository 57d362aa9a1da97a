import pytest
from pydantic import BaseModel, ConfigDict, Field, model_validator

from taskmark.errors import Category, StepFailed
from taskmark.tools.validation import Arguments, validate_arguments


class Nested(Arguments):
    depth: int = 0


class Sample(Arguments):
    path: str
    max_count: int = 1
    nested: Nested = Nested()


class Users(BaseModel):
    model_config = ConfigDict(populate_by_name=True)
    path: str = Field(default="", alias="filePath")
    other: int = Field(default=0, validation_alias="Other")


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")


class Strict(BaseModel):
    a: int = 0

    @model_validator(mode="after")
    def _check(self) -> "Strict":
        raise ValueError("Never right")


def problems(model: type[BaseModel], **arguments: object) -> StepFailed:
    with pytest.raises(StepFailed) as caught:
        validate_arguments("t", model, arguments)
    assert caught.value.category is Category.CONFIGURATION
    return caught.value


def test_good_arguments_become_parameters() -> None:
    """camelCase keys are read, and a number may stand for text."""
    checked = validate_arguments("t", Sample, {"path": 5, "maxCount": "3"})
    assert (checked.path, checked.max_count) == ("5", 3)


def test_every_problem_is_named_in_one_message() -> None:
    """An unknown key with what was meant, a wrong type and a missing key come together."""
    error = problems(Sample, maxCout="x", maxCount="many")
    assert 'unknown key "maxCout" (did you mean "maxCount"?)' in error.message
    assert 'missing "path"' in error.message
    assert '"maxCount": input should be a valid integer' in error.message
    assert error.hint == "it takes path, maxCount, nested"


def test_values_never_appear_in_a_message() -> None:
    """They may be secrets."""
    assert "hunter2" not in problems(Sample, path="p", maxCount="hunter2").message


def test_another_spelling_of_a_key_is_an_error_with_a_hint() -> None:
    assert 'did you mean "maxCount"' in problems(Sample, path="p", max_count=3).message


def test_an_unknown_key_inside_a_value_is_named_with_its_place() -> None:
    assert '"nested.wide"' in problems(Sample, path="p", nested={"wide": 1}).message


def test_models_of_users_keep_their_own_rules() -> None:
    """Aliases, names beside aliases, and open models are respected; a typing error still is one."""
    assert validate_arguments("t", Users, {"path": "a", "Other": 2}).other == 2
    assert validate_arguments("t", Open, {"any": 1}).model_extra == {"any": 1}
    assert 'unknown key "filePaht" (did you mean "filePath"?)' in problems(Users, filePaht="x").message


def test_a_rule_over_all_arguments_speaks_for_itself() -> None:
    assert problems(Strict, a=1).message == "tool t: never right"
