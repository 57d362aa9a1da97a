"""Arguments of a tool against the model of its parameters: every problem in one message."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, TypeAlias, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel
from pydantic.fields import FieldInfo

from taskmark.errors import Category, StepFailed
from taskmark.task.catalog import Misfit
from taskmark.task.durations import parse_duration
from taskmark.task.hints import closest
from taskmark.task.model import Json

Model = TypeVar("Model", bound=BaseModel)
Timeout: TypeAlias = Annotated[
    float,
    Field(gt=0),
    BeforeValidator(parse_duration),
    Field(json_schema_extra={"type": ["string", "integer"], "default": "30s", "exclusiveMinimum": 0}),
]
"""Seconds, written as a duration; 30 unless given."""


class Arguments(BaseModel):
    """Base of the built-in tools' parameters: camelCase in files, and numbers may stand for text.

    YAML reads `[head, -n, 5]` as two words and a number; who writes it means three words.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, coerce_numbers_to_str=True
    )


def validate_arguments(tool_name: str, model: type[Model], arguments: Mapping[str, Json]) -> Model:
    """Returns the checked parameters. Raises `StepFailed` (configuration) that names each problem.

    Values are left out of the message: they may be secret.
    """
    problems = list(_unknown_keys(model, arguments))
    try:
        checked = model.model_validate(dict(arguments))
    except ValidationError as error:
        problems.extend(_invalid_values(error))
    if problems:
        raise StepFailed(
            f"tool {tool_name}: {'; '.join(problems)}",
            Category.CONFIGURATION,
            hint=f"it takes {', '.join(_keys(model)) or 'no arguments'}",
        )
    return checked


def misfits(model: type[BaseModel], arguments: Mapping[str, Json]) -> list[Misfit]:
    """Returns the values that do not fit the parameters. What is missing or unknown at the top is not among
    them: that can be told from the schema alone."""
    try:
        model.model_validate(dict(arguments))
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False)
    else:
        return []
    reasons: dict[tuple[str | int, ...], list[str]] = {}
    for problem in problems:
        if len(problem["loc"]) != 1 or problem["type"] not in ("missing", "extra_forbidden"):
            reasons.setdefault(problem["loc"], []).append(_plain(problem["msg"]))
    return [Misfit(path, "; ".join(messages)) for path, messages in reasons.items()]


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Returns ` (did you mean "…"?)`, or nothing if no known word is near."""
    near = closest(word, known)
    return f' (did you mean "{near}"?)' if near else ""


def _unknown_keys(model: type[BaseModel], arguments: Mapping[str, Json]) -> Iterator[str]:
    """Yields a problem per key the model does not have; a typing error must never be ignored."""
    if model.model_config.get("extra") == "allow":
        return
    known = _keys(model)
    accepted = {*known, *(model.model_fields if _takes_names(model) else ())}
    for key in arguments:
        if key not in accepted:
            yield f'unknown key "{key}"{did_you_mean(key, known)}'


def _takes_names(model: type[BaseModel]) -> bool:
    """Whether a field with an alias can also be given by its Python name."""
    return bool(model.model_config.get("populate_by_name") or model.model_config.get("validate_by_name"))


def _keys(model: type[BaseModel]) -> list[str]:
    """Returns the keys as people write them."""
    return [_key(name, field) for name, field in model.model_fields.items()]


def _key(name: str, field: FieldInfo) -> str:
    """Returns the key of one field."""
    alias = field.validation_alias
    return alias if isinstance(alias, str) else field.alias or name


def _invalid_values(error: ValidationError) -> Iterator[str]:
    """Yields a problem per value that is missing or of the wrong type."""
    for problem in error.errors(include_url=False, include_input=False):
        place = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden" and "." not in place:
            continue
        if problem["type"] == "missing":
            yield f'missing "{place}"'
        elif place:
            yield f'"{place}": {_plain(problem["msg"])}'
        else:
            yield _plain(problem["msg"])


def _plain(message: str) -> str:
    """Returns pydantic's sentence as part of ours."""
    text = message.removeprefix("Value error, ")
    return text[:1].lower() + text[1:]
