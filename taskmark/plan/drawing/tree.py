"""A task as a tree of lines: waves, and the phases in them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from taskmark.plan.drawing.picture import Picture


@dataclass(frozen=True)
class Line:
    """One line: what leads to it, what it says, and what leads to its continuation if it is broken."""

    lead: str
    text: str
    continued: str
    status: str = ""
    """Of the phase it is about; a wave has none."""
    about: str = ""
    """What follows the name."""


@dataclass(frozen=True)
class Branches:
    """What a tree is made of."""

    more: str = "├─ "
    last: str = "└─ "
    down: str = "│  "
    none: str = "   "


ASCII = Branches("|- ", "`- ", "|  ", "   ")


def tree(picture: Picture, branches: Branches | None = None) -> Iterator[Line]:
    """Yields the lines below the title."""
    shape = branches or Branches()
    names = {box.slug: box.name for box in picture.boxes}
    for number, wave in enumerate(picture.waves, 1):
        last = number == len(picture.waves)
        outer = shape.none if last else shape.down
        yield Line(shape.last if last else shape.more, f"Wave {number}", outer)
        for place, box in enumerate(wave, 1):
            end = place == len(wave)
            after = f" · after {', '.join(names[slug] for slug in box.needs)}" if box.needs else ""
            yield Line(
                outer + (shape.last if end else shape.more),
                box.name,
                outer + (shape.none if end else shape.down),
                box.status,
                (f" · {box.note}" if box.note else "") + after,
            )
