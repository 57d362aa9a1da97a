"""Inputs from a command line: `--input name=value`, `--inputs file.json`."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from taskmark.task.model import Json, TaskDefinition

FILE_LIMIT = 4 * 1024 * 1024


def gather(definition: TaskDefinition, pairs: Sequence[str], file: str | None) -> dict[str, Json]:
    """Returns the checked inputs with defaults; a pair wins over the file.

    Texts of pairs become what the task requires, lists and objects are JSON; values of the file are
    taken as they are. Raises `InvalidInputs` with every problem.
    """
    from taskmark.errors import InvalidInputs
    from taskmark.task import check_inputs

    given = _from_file(file) if file else {}
    given |= _typed(definition, _split(pairs))
    try:
        return check_inputs(definition, given)
    except InvalidInputs as error:
        raise InvalidInputs(error.problems, hint=_hint(definition)) from error


def gather_known(
    definition: TaskDefinition, pairs: Sequence[str], file: str | None
) -> tuple[dict[str, Json], tuple[str, ...]]:
    """Returns the checked inputs as `gather` does, and the names of those that a start would still need.

    Raises `InvalidInputs` for what is given and wrong.
    """
    from taskmark.task import check_inputs

    given = (_from_file(file) if file else {}) | _typed(definition, _split(pairs))
    missing = tuple(r.name for r in definition.requirements if r.required and given.get(r.name) is None)
    lenient = [
        r.model_copy(update={"optional": r.optional or r.name in missing}) for r in definition.requirements
    ]
    checked = check_inputs(lenient, given)
    return {name: value for name, value in checked.items() if name not in missing}, missing


def _hint(definition: TaskDefinition) -> str:
    names = " ".join(f"--input {r.name}=…" for r in definition.requirements if r.required)
    return f"give them as {names}" if names else "the task needs no inputs"


def _split(pairs: Sequence[str]) -> dict[str, str]:
    from taskmark.errors import InvalidInputs

    wrong = [pair for pair in pairs if not pair.partition("=")[0] or "=" not in pair]
    if wrong:
        raise InvalidInputs(
            [f"`{pair}` is not name=value" for pair in wrong], hint="write --input name=value"
        )
    return {name.strip(): value for name, _, value in (pair.partition("=") for pair in pairs)}


def _typed(definition: TaskDefinition, texts: dict[str, str]) -> dict[str, Json]:
    from taskmark.task.inputs import fit

    typed: dict[str, Json] = dict(texts)
    for requirement in definition.requirements:
        if requirement.name in texts:
            try:
                typed[requirement.name] = fit(requirement, texts[requirement.name], coerce=True)
            except ValueError:
                continue  # checking all inputs together says what is wrong with the text
    return typed


def _from_file(file: str) -> dict[str, Json]:
    from taskmark.errors import InvalidInputs

    try:
        data = sys.stdin.read(FILE_LIMIT + 1) if file == "-" else _read(Path(file))
        value: Any = json.loads(data)
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InvalidInputs([f"{file} cannot be read as JSON: {reason}"]) from error
    if not isinstance(value, dict):
        raise InvalidInputs([f"{file} must hold one JSON object: names and values"])
    return value


def _read(path: Path) -> str:
    with path.open(encoding="utf-8") as file:
        text = file.read(FILE_LIMIT + 1)
    if len(text) > FILE_LIMIT:
        raise ValueError(f"it is larger than {FILE_LIMIT} characters")
    return text
