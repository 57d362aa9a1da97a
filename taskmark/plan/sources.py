"""What is evaluated, as it is written: texts within values, and expressions with or without braces."""

from __future__ import annotations

from collections.abc import Iterator

from taskmark.task.model import Json


def texts_in(source: Json) -> Iterator[str]:
    """Yields every text within a value, but for the keys of objects."""
    kind = type(source)  # `isinstance` goes through Python code in the sandbox
    if kind is str:
        yield source
    elif kind is dict:
        for value in source.values():
            yield from texts_in(value)
    elif kind is list or kind is tuple:
        for value in source:
            yield from texts_in(value)


def bare(text: str) -> str:
    """Returns an expression, which may be written with or without braces."""
    text = text.strip()
    return text[2:-2].strip() if text.startswith("{{") and text.endswith("}}") else text
