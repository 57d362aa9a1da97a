"""A task as an SVG picture: one file with its own styles, for light and dark pages, without scripts."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from taskmark.plan.drawing.layout import BOX_HEIGHT, BOX_WIDTH, layout
from taskmark.plan.drawing.lettering import plain, shortened, wrapped

if TYPE_CHECKING:
    from collections.abc import Iterator

    from taskmark.plan.drawing.layout import Cell, Layout
    from taskmark.plan.drawing.picture import Box, Picture

MANY_PHASES = 500
"""More than these nobody can look at."""
MARGIN, HEAD = 24.0, 64.0
LEAST_WIDTH = 720.0
"""So that the title and the legend have room beside a single phase."""
_NAME, _SMALL = 14.0, 12.0
"""Sizes of letters."""
_PADDING = 12.0
_LEGEND_STEP = 96.0

_SYMBOLS = {
    "pending": "M4 7a3 3 0 1 0 6 0a3 3 0 1 0 -6 0",
    "running": "M3 2L12 7L3 12z",
    "waiting": "M4 2V12M10 2V12",
    "completed": "M2 8L6 12L12 3",
    "failed": "M3 3L11 11M11 3L3 11",
    "skipped": "M2 7H12",
    "cancelled": "M2 7a5 5 0 1 0 10 0a5 5 0 1 0 -10 0M4 10L10 4",
}
"""Drawn, 14 pixels square, because few fonts have a character for each."""

_STYLE = """
  svg { color-scheme: light dark;
    font-family: system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; }
  .page { fill: #ffffff; } .title { fill: #18181b; font-size: 18px; font-weight: 600; }
  .box { fill: #f8fafc; stroke: #64748b; stroke-width: 1.5; } .name { fill: #0f172a; font-size: 14px; }
  .note { fill: #475569; font-size: 12px; }
    .mark { fill: none; stroke: #475569; stroke-width: 2.2; }
  .edge { fill: none; stroke: #94a3b8; stroke-width: 1.5; } .head { fill: #94a3b8; }
  .running .box { fill: #dbeafe; stroke: #2563eb; stroke-width: 2.5; } .running .mark { stroke: #1d4ed8; }
  .waiting .box { fill: #fef3c7; stroke: #d97706; stroke-width: 2.5; } .waiting .mark { stroke: #b45309; }
  .completed .box { fill: #dcfce7; stroke: #16a34a; } .completed .mark { stroke: #15803d; }
  .failed .box { fill: #fee2e2; stroke: #dc2626; stroke-width: 2.5; } .failed .mark { stroke: #b91c1c; }
  .skipped .box { stroke: #94a3b8; stroke-dasharray: 5 4; }
  .cancelled .box { fill: #f3e8ff; stroke: #9333ea; stroke-dasharray: 5 4; }
    .cancelled .mark { stroke: #7e22ce; }
  @media (prefers-color-scheme: dark) {
    .page { fill: #0f172a; } .title { fill: #f1f5f9; }
    .box { fill: #1e293b; stroke: #94a3b8; } .name { fill: #f1f5f9; }
    .note { fill: #cbd5e1; }
    .mark { stroke: #cbd5e1; }
    .edge { stroke: #64748b; } .head { fill: #64748b; }
    .running .box { fill: #172554; stroke: #60a5fa; } .running .mark { stroke: #93c5fd; }
    .waiting .box { fill: #451a03; stroke: #fbbf24; } .waiting .mark { stroke: #fcd34d; }
    .completed .box { fill: #052e16; stroke: #4ade80; } .completed .mark { stroke: #86efac; }
    .failed .box { fill: #450a0a; stroke: #f87171; } .failed .mark { stroke: #fca5a5; }
    .skipped .box { stroke: #64748b; }
    .cancelled .box { fill: #3b0764; stroke: #c084fc; }
    .cancelled .mark { stroke: #d8b4fe; }
  }
"""


def svg(picture: Picture) -> str:
    """Returns the picture as an XML document. Raises `ValueError` for more than 500 phases."""
    count = len(picture.boxes)
    if count > MANY_PHASES:
        raise ValueError(f"{count:,} phases are too many for a picture; at most {MANY_PHASES} fit")
    return "\n".join(_document(picture, layout(picture.waves))) + "\n"


def _document(picture: Picture, plan: Layout) -> Iterator[str]:
    width = max(plan.width + 2 * MARGIN, LEAST_WIDTH)
    height = plan.height + HEAD + MARGIN + (MARGIN if picture.status else 0)
    size = f'width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}"'
    title = plain(picture.title) + (f" · {picture.status.replace('_', ' ')}" if picture.status else "")
    yield f'<svg xmlns="http://www.w3.org/2000/svg" role="img" {size}>'
    yield f"<title>{escape(title)}</title>"
    yield f"<style>{_STYLE}</style>"
    yield (
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        'orient="auto"><path class="head" d="M0 0 8 4 0 8z"/></marker></defs>'
    )
    yield '<rect class="page" width="100%" height="100%"/>'
    shown = shortened(title, (width - 2 * MARGIN) / 18)
    yield f'<text class="title" x="{MARGIN:.0f}" y="38">{escape(shown)}</text>'
    yield f'<g transform="translate({MARGIN:.0f} {HEAD:.0f})">'
    yield from _edges(plan)
    boxes = {box.slug: box for box in picture.boxes}
    for column in plan.columns:
        yield from (_box(boxes[cell.slug], plan, cell) for cell in column if not cell.is_lane)
    yield "</g>"
    if picture.status:
        yield from _legend(picture, height - MARGIN)
    yield "</svg>"


def _edges(plan: Layout) -> Iterator[str]:
    for start, end in plan.edges:
        x1, y1 = plan.left(start) + BOX_WIDTH, plan.middles[start]
        x2, y2 = plan.left(end), plan.middles[end]
        bend = (x1 + x2) / 2
        arrow = "" if end.is_lane else ' marker-end="url(#head)"'
        yield (
            f'<path class="edge"{arrow} '
            f'd="M{x1:.1f} {y1:.1f}C{bend:.1f} {y1:.1f} {bend:.1f} {y2:.1f} {x2:.1f} {y2:.1f}"/>'
        )
    for column in plan.columns:
        for cell in column:
            if cell.is_lane:
                x, y = plan.left(cell), plan.middles[cell]
                yield f'<path class="edge" d="M{x:.1f} {y:.1f}H{x + BOX_WIDTH:.1f}"/>'


def _box(box: Box, plan: Layout, cell: Cell) -> str:
    """Returns a phase; the inner `svg` cuts off what a reader's font might make too wide."""
    x, y = plan.left(cell), plan.middles[cell] - BOX_HEIGHT / 2
    room = BOX_WIDTH - 2 * _PADDING
    state = f", {box.status}" if box.status else ""
    told = f"{plain(box.name)}{state}" + (f" ({box.note})" if box.note else "")
    indent = 20.0 if box.status else 0.0
    lines = wrapped(plain(box.name), (room - indent) / _NAME, 2 if box.note else 3)
    note = shortened(plain(box.note), (room - indent) / _SMALL) if box.note else ""
    place = f'x="{x:.1f}" y="{y:.1f}" height="{BOX_HEIGHT:.0f}"'
    parts = [
        f'<g class="phase {box.status}"><title>{escape(told)}</title>',
        f'<rect class="box" {place} width="{BOX_WIDTH:.0f}" rx="8"/>',
        f'<svg {place} width="{BOX_WIDTH - 4:.0f}">',
    ]
    top = BOX_HEIGHT / 2 - (len(lines) + bool(note)) * 8 + 12
    if box.status:
        parts.append(_symbol(box.status, _PADDING, top - 12))
    for number, line in enumerate(lines):
        place = f'x="{_PADDING + indent:.0f}" y="{top + 16 * number:.0f}"'
        parts.append(f'<text class="name" {place}>{escape(line)}</text>')
    if note:
        place = f'x="{_PADDING + indent:.0f}" y="{top + 16 * len(lines):.0f}"'
        parts.append(f'<text class="note" {place}>{escape(note)}</text>')
    return "".join([*parts, "</svg></g>"])


def _legend(picture: Picture, y: float) -> Iterator[str]:
    """Yields what the symbols mean, of those that occur."""
    states = [status for status in _SYMBOLS if any(box.status == status for box in picture.boxes)]
    for number, status in enumerate(states):
        x = MARGIN + number * _LEGEND_STEP
        yield (
            f'<g class="{status}">{_symbol(status, x, y - 11)}'
            f'<text class="note" x="{x + 20:.0f}" y="{y:.0f}">{status}</text></g>'
        )


def _symbol(status: str, x: float, y: float) -> str:
    return f'<path class="mark" transform="translate({x:.0f} {y:.0f})" d="{_SYMBOLS[status]}"/>'
