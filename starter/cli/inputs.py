"""Inputs from a command line: `--input name=value`, `--inputs file.json`, and questions on a terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from taskmark.task.model import Json, Requirement, TaskDefinition

FILE_LIMIT = 4 * 1024 * 1024

Inputs = Annotated[
    list[str] | None,
    typer.Option(
        "-i", "--input", metavar="NAME=VALUE", help="An input; lists and objects as JSON. Repeat it."
    ),
]
InputFile = Annotated[
    str | None,
    typer.Option(
        "--inputs",
        metavar="FILE",
        help="A JSON or YAML file of inputs, or - for stdin; --input wins over it.",
        show_default=False,
    ),
]


def gather(
    definition: TaskDefinition, pairs: Sequence[str], file: str | None, *, ask: bool = False
) -> dict[str, Json]:
    """Returns the checked inputs with defaults; a pair wins over the file.

    Texts of pairs become what the task requires, lists and objects are JSON; values of the file are
    taken as they are. With `ask`, a person at a terminal is asked for what is missing.
    Raises `InvalidInputs` with every problem.
    """
    return _checked(definition, _given(definition, pairs, file, ask=ask))


def gather_given(definition: TaskDefinition, pairs: Sequence[str], file: str | None) -> dict[str, Json]:
    """Returns the checked inputs as `gather` does, without those that are left to their defaults.

    A person at a terminal is asked for what is missing. Raises `InvalidInputs` with every problem.
    """
    given = _given(definition, pairs, file, ask=True)
    checked = _checked(definition, given)
    return {name: checked[name] for name in given}


def _given(
    definition: TaskDefinition, pairs: Sequence[str], file: str | None, *, ask: bool
) -> dict[str, Json]:
    given = from_file(file) if file else {}
    given |= _typed(definition, split_pairs(pairs))
    return given | (_asked(definition, given) if ask and file != "-" else {})


def _checked(definition: TaskDefinition, given: dict[str, Json]) -> dict[str, Json]:
    from taskmark.errors import InvalidInputs
    from taskmark.task import check_inputs

    try:
        return check_inputs(definition, given)
    except InvalidInputs as error:
        raise InvalidInputs(error.problems, hint=_hint(definition)) from error


def given(definition: TaskDefinition, pairs: Sequence[str], file: str | None) -> dict[str, Json]:
    """Returns the inputs that are given, of the types that the task requires. Raises `InvalidInputs`."""
    return (from_file(file) if file else {}) | _typed(definition, split_pairs(pairs))


def gather_known(
    definition: TaskDefinition, pairs: Sequence[str], file: str | None
) -> tuple[dict[str, Json], tuple[str, ...]]:
    """Returns the checked inputs as `gather` does, and the names of those that a start would still need.

    Raises `InvalidInputs` for what is given and wrong.
    """
    from taskmark.task import check_inputs

    told = given(definition, pairs, file)
    missing = tuple(r.name for r in definition.requirements if r.required and told.get(r.name) is None)
    lenient = [
        r.model_copy(update={"optional": r.optional or r.name in missing}) for r in definition.requirements
    ]
    checked = check_inputs(lenient, told)
    return {name: value for name, value in checked.items() if name not in missing}, missing


def _asked(definition: TaskDefinition, given: dict[str, Json]) -> dict[str, Json]:
    """Returns what a person at the terminal says to what is missing; nothing if the rest is wrong anyway."""
    from starter.cli.terminal import person_present

    missing = [need for need in definition.requirements if need.required and given.get(need.name) is None]
    if not missing or not person_present() or not _fit(definition, missing, given):
        return {}
    from starter.cli.asking import ask_for

    return ask_for(definition, missing)


def _fit(definition: TaskDefinition, missing: list[Requirement], given: dict[str, Json]) -> bool:
    """Whether what is given is right, so that it is worth asking for the rest."""
    from taskmark.errors import InvalidInputs
    from taskmark.task import check_inputs

    try:
        check_inputs([need for need in definition.requirements if need not in missing], given)
    except InvalidInputs:
        return False
    return True


def _hint(definition: TaskDefinition) -> str:
    if names := " ".join(f"--input {r.name}=…" for r in definition.requirements if r.required):
        return f"give them as {names}"
    others = ", ".join(r.name for r in definition.requirements)
    return f"it needs none, and takes: {others}" if others else "the task takes no inputs"


def split_pairs(pairs: Sequence[str]) -> dict[str, str]:
    """Returns names and texts of `name=text`. Raises `InvalidInputs`."""
    from taskmark.errors import InvalidInputs

    wrong = [pair for pair in pairs if not pair.partition("=")[0] or "=" not in pair]
    if wrong:
        raise InvalidInputs(
            [f"`{pair}` is not name=value" for pair in wrong], hint="write --input name=value"
        )
    return {name.strip(): value for name, _, value in (pair.partition("=") for pair in pairs)}


def _typed(definition: TaskDefinition, texts: dict[str, str]) -> dict[str, Json]:
    from taskmark.task.inputs import coerced

    typed: dict[str, Json] = dict(texts)
    for requirement in definition.requirements:
        if requirement.name in texts:
            typed[requirement.name] = coerced(requirement, texts[requirement.name])
    return typed


# --- files ----------------------------------------------------------------------------------------


def from_file(file: str) -> dict[str, Json]:
    """Returns the object in a JSON or YAML file, or (`-`) on the standard input. Raises `InvalidInputs`."""
    from taskmark.errors import InvalidInputs

    named = "the standard input" if file == "-" else file
    try:
        data = sys.stdin.read(FILE_LIMIT + 1) if file == "-" else _read(Path(file))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InvalidInputs([f"{named} cannot be read: {reason}"]) from error
    is_yaml = file.endswith((".yaml", ".yml")) or (file == "-" and data.lstrip()[:1] not in ("{", "["))
    value = _yaml(data, named) if is_yaml else _json(data, named)
    if not isinstance(value, dict):
        raise InvalidInputs([f"{named} must hold one object: names and values"])
    return value


def _json(data: str, named: str) -> Any:
    from taskmark.errors import InvalidInputs

    try:
        return json.loads(data, object_pairs_hook=_each_once)
    except (ValueError, RecursionError) as error:
        raise InvalidInputs([f"{named} cannot be read as JSON: {error}"]) from error


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Returns an object. Raises `ValueError` if a name stands in it twice, as YAML's reader does."""
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(name for name in found if sum(key == name for key, _ in pairs) > 1)
        raise ValueError(f"“{twice}” stands in one object twice")
    return found


def _yaml(data: str, named: str) -> Any:
    """Reads YAML by the rules of task files: no aliases, no tags, no key twice."""
    from taskmark.errors import InvalidInputs
    from taskmark.task.files import normalised
    from taskmark.task.source_text import Findings
    from taskmark.task.yaml_nodes import YamlSource, read_mapping

    findings = Findings(named)
    found = read_mapping(YamlSource(normalised(data).split("\n"), 1), findings)
    if found is None or findings.has_errors:
        raise InvalidInputs([f"{d.file}:{d.line}:{d.column}: {d.message}" for d in findings.diagnostics])
    return found.value


def _read(path: Path) -> str:
    with path.open(encoding="utf-8") as file:
        text = file.read(FILE_LIMIT + 1)
    if len(text) > FILE_LIMIT:
        raise ValueError(f"it is larger than {FILE_LIMIT} characters")
    return text
