"""Questions to a person at a terminal: what an input is, its choices, and why a value is not taken."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from starter.cli.printable import one_line
from starter.cli.terminal import say, stderr

if TYPE_CHECKING:
    from taskmark.task.model import Json, Requirement, TaskDefinition

Value = TypeVar("Value")

_YES_AND_NO = {"yes": "true", "y": "true", "no": "false", "n": "false"}


def ask_for(definition: TaskDefinition, missing: Sequence[Requirement]) -> dict[str, Json]:
    """Returns a value for each input that is missing. Raises `typer.Abort` if the person leaves."""
    from taskmark.task import input_schema

    schema = input_schema(definition)["properties"]
    say(f"{one_line(definition.name)} needs {_counted(len(missing), 'input')}; Ctrl-C leaves.", style="bold")
    return {need.name: _ask_one(need, schema[need.name]) for need in missing}


def _ask_one(requirement: Requirement, schema: dict[str, Any]) -> Json:
    from taskmark.task.inputs import fit

    choices = [value if isinstance(value, str) else str(value) for value in schema.get("enum", ())]

    def read(text: str) -> Json:
        if requirement.type == "boolean":
            text = _YES_AND_NO.get(text.lower(), text)
        return fit(requirement, chosen(text, choices), coerce=True)

    about = schema.get("description", "")
    say(f"\n{requirement.name} ({_kind(requirement, schema)}){': ' + one_line(about) if about else ''}")
    return ask(requirement.name, read, choices=choices)


def ask(
    label: str, read: Callable[[str], Value], *, choices: Sequence[str] = (), default: str | None = None
) -> Value:
    """Asks until `read` takes the answer, and returns what it makes of it.

    `read` raises `ValueError` with the reason. Raises `typer.Abort` if the person leaves.
    """
    for number, choice in enumerate(choices, 1):
        say(f"  {number}  {one_line(choice)}")
    while True:
        text = _line(f"{label}{f' [{default}]' if default else ''}: ").strip() or default or ""
        try:
            if not text:
                raise ValueError("needs a value")
            return read(text)
        except ValueError as error:
            say(f"  {label} {error}", style="red")


def chosen(text: str, choices: Sequence[str]) -> str:
    """Returns the choice whose number was typed, or the text itself."""
    if text in choices or not (text.isdecimal() and 1 <= int(text) <= len(choices)):
        return text
    return choices[int(text) - 1]


def _line(prompt: str) -> str:
    """Reads a line; the prompt goes to stderr, because stdout is for data."""
    stderr().print(prompt, end="", style="cyan", soft_wrap=True)
    try:
        line = sys.stdin.readline()
    except KeyboardInterrupt:
        line = ""
    if not line:
        say("\nnothing was started")
        raise typer.Abort
    return line


def _kind(requirement: Requirement, schema: dict[str, Any]) -> str:
    """Returns what kind of value is wanted, with its bounds."""
    bounds = {
        "minimum": "from {}",
        "maximum": "up to {}",
        "minLength": "at least {} characters",
        "maxLength": "at most {} characters",
        "minItems": "at least {} items",
        "maxItems": "at most {} items",
    }
    said = [text.format(schema[key]) for key, text in bounds.items() if key in schema]
    examples = {"date": "such as 2026-01-31", "duration": "such as 5 minutes", "boolean": "yes or no"}
    examples |= {"list": 'as JSON, such as ["a", "b"]', "object": 'as JSON, such as {"a": 1}'}
    kind = "one of these" if requirement.type == "enum" else requirement.type
    return ", ".join([kind, *([examples[kind]] if kind in examples else []), *said])


def _counted(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
