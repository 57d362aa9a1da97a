"""A task as the text of a Mermaid flowchart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskmark.plan.drawing.lettering import plain, shortened
from taskmark.plan.drawing.picture import MARKS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from taskmark.plan.drawing.picture import Picture

LONGEST_EMS = 60.0
_LOOKING_ALIKE = str.maketrans("<>&", "‹›＆")
_STYLES = {
    "pending": "fill:#f4f4f5,stroke:#a1a1aa,color:#27272a",
    "running": "fill:#dbeafe,stroke:#2563eb,color:#172554,stroke-width:2px",
    "waiting": "fill:#fef3c7,stroke:#d97706,color:#451a03,stroke-width:2px",
    "completed": "fill:#dcfce7,stroke:#16a34a,color:#052e16",
    "failed": "fill:#fee2e2,stroke:#dc2626,color:#450a0a,stroke-width:2px",
    "skipped": "fill:#f4f4f5,stroke:#a1a1aa,color:#52525b,stroke-dasharray:4 3",
    "cancelled": "fill:#f3e8ff,stroke:#9333ea,color:#3b0764,stroke-dasharray:4 3",
}


def mermaid(picture: Picture) -> str:
    """Returns the flowchart. Names never become syntax: ids are ours, and of a label every character that
    is no letter, digit or space is written as its number."""
    return "\n".join(_lines(picture)) + "\n"


def _lines(picture: Picture) -> Iterator[str]:
    yield from ("---", f'title: "{_quoted(_titled(picture))}"', "---", "flowchart LR")
    boxes = picture.boxes
    ids = {box.slug: f"p{number}" for number, box in enumerate(boxes, 1)}
    for box in boxes:
        mark = f"{_encoded(MARKS[box.status])} " if box.status else ""
        note = f"<br/>{_encoded(box.note)}" if box.note else ""
        yield f'    {ids[box.slug]}["{mark}{_encoded(_label(box.name))}{note}"]'
    for box in boxes:
        yield from (f"    {ids[need]} --> {ids[box.slug]}" for need in box.needs)
    for status, style in _STYLES.items():
        members = [ids[box.slug] for box in boxes if box.status == status]
        if members:
            yield f"    classDef {status} {style}"
            yield f"    class {','.join(members)} {status}"


def _titled(picture: Picture) -> str:
    status = f" · {picture.status.replace('_', ' ')}" if picture.status else ""
    return _label(picture.title) + status


def _label(text: str) -> str:
    return shortened(plain(text), LONGEST_EMS)


def _encoded(text: str) -> str:
    return "".join(c if c.isalnum() or c == " " else f"#{ord(c)};" for c in text)


def _quoted(text: str) -> str:
    """Returns text for a double-quoted YAML scalar. A title is taken for HTML and knows no numbers for
    characters, so that what begins a tag or an entity is replaced by what looks like it."""
    text = text.translate(_LOOKING_ALIKE)
    return "".join(c if c.isalnum() or c == " " else f"\\U{ord(c):08X}" for c in text)
