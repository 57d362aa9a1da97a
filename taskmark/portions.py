"""Things in lists that fit: messages, documents and answers have limits, and what goes into them has none."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")


def portions(sized: Iterable[tuple[Item, int]], most: int) -> Iterator[list[Item]]:
    """Yields things, each given with its size, in their order and in as few lists as fit; what is larger than
    that is alone. Sizes and `most` have the same unit."""
    portion: list[Item] = []
    room = most
    for item, size in sized:
        if portion and size > room:
            yield portion
            portion, room = [], most
        portion.append(item)
        room -= size
    if portion:
        yield portion
