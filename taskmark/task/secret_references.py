"""`{{ secrets.NAME }}`: where a file says that a secret goes.

Workflow code never knows a secret. It renders the text around a reference, puts a placeholder where the
secret goes, and tells the place of each beside the arguments. Only those places are filled in, by the
activity that calls the tool. So a text that looks like a reference or a placeholder, in an input or in what a
tool or an agent returned, is a text and nothing else: nothing in data can name a place.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, NamedTuple

from taskmark.errors import InvalidExpression
from taskmark.task.model import BUILT_IN_KINDS, Json

ROOT = "secrets"
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
"""What a secret may be called: no name leads out of a folder, and none is an option of a command."""
_REFERENCE = re.compile(rf"\{{\{{\s*secrets\.({NAME.pattern})\s*\}}\}}")


class Reference(NamedTuple):
    """A secret's name in a template."""

    name: str
    root: int
    """The character at which the word `secrets` begins."""


class Place(NamedTuple):
    """Where a secret goes within rendered arguments."""

    name: str
    path: tuple[str | int, ...]
    """The keys and positions that lead to a text."""
    at: int
    """The character of it at which the placeholder stands."""


def takes_secrets(kind: str) -> bool:
    """Whether the `with` of a step of this kind may hold secrets: it is read by code that was registered."""
    return kind == "tool" or kind not in BUILT_IN_KINDS


def placeholder(name: str) -> str:
    """Returns what stands, for people, where a secret goes."""
    return f"[secret {name}]"


def references(template: str) -> list[Reference]:
    """Returns the references that stand alone in their braces."""
    matches = _REFERENCE.finditer(template)
    return [Reference(match[1], match.start(1) - len(ROOT) - 1) for match in matches]


def pieces(template: str) -> list[str]:
    """Returns the texts around the references, each a template of its own."""
    return _REFERENCE.split(template)[::2]


def names_in(value: Json) -> set[str]:
    """Returns every secret that a value refers to, in whatever text of it."""
    if isinstance(value, str):
        return {found.name for found in references(value)}
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return set().union(*map(names_in, inner))


def render(
    value: Json,
    declared: Collection[str],
    render_value: Callable[[Json], Json],
    render_text: Callable[[str], str],
) -> tuple[Json, tuple[Place, ...]]:
    """Returns a value with every text in it filled in, and where secrets go in it.

    Raises what the two functions raise, and `InvalidExpression` for a secret that is not declared.
    """
    unknown = names_in(value) - set(declared)
    if unknown:
        name = min(unknown)
        raise InvalidExpression(f"the secret {name} is not declared", hint="list it under `secrets`")
    places: list[Place] = []

    def walk(value: Json, path: tuple[str | int, ...]) -> Json:
        if not names_in(value):
            return render_value(value)
        if isinstance(value, str):
            text = ""
            for found, before in zip([*references(value), None], pieces(value), strict=True):
                text += render_text(before)
                if found is not None:
                    places.append(Place(found.name, path, len(text)))
                    text += placeholder(found.name)
            return text
        if isinstance(value, dict):
            return {key: walk(inner, (*path, key)) for key, inner in value.items()}
        return [walk(inner, (*path, position)) for position, inner in enumerate(value)]

    return walk(value, ()), tuple(places)


def fill(value: Json, places: Iterable[Place], secret: Callable[[str], str]) -> Json:
    """Returns a value with secrets in their places. Raises `LookupError` if one of these is not there."""
    for place in sorted(places, key=lambda place: place.at, reverse=True):
        value = _filled(value, place, place.path, secret)
    return value


def _filled(value: Json, place: Place, path: Sequence[str | int], secret: Callable[[str], str]) -> Json:
    if path:
        if not isinstance(value, dict | list | tuple):
            raise LookupError(f"{place.name} has no place")
        copy: Any = dict(value) if isinstance(value, dict) else list(value)
        copy[path[0]] = _filled(copy[path[0]], place, path[1:], secret)
        return copy
    stands = placeholder(place.name)
    if not isinstance(value, str) or not value.startswith(stands, place.at):
        raise LookupError(f"{place.name} has no place")
    return value[: place.at] + secret(place.name) + value[place.at + len(stands) :]
