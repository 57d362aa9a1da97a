"""Ends of pipes, each closed once, whoever is the first to do so."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from typing import Any, TypeVar

Ends = TypeVar("Ends", bound="TwoPipes")


class TwoPipes:
    """Base of a dataclass whose four fields are what two pipes are read and written by: descriptors in the
    order of `os.pipe`. An end that is closed is -1."""

    def close(self, *names: str) -> None:
        """Closes ends, each once."""
        for name in names:
            descriptor = getattr(self, name)
            if descriptor >= 0:
                setattr(self, name, -1)
                os.close(descriptor)


@contextmanager
def two_pipes(kind: Callable[..., Ends], failure: Callable[[OSError], Exception]) -> Iterator[Ends]:
    """Lends two pipes, and closes what is still open of them. Raises the `failure` if there can be none."""
    try:
        ends = kind(*os.pipe(), *os.pipe())
    except OSError as error:
        raise failure(error) from error
    try:
        yield ends
    finally:
        described: Any = ends
        ends.close(*(field.name for field in fields(described)))
