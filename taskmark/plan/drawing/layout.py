"""Where the boxes and edges of a drawing go: a column per wave, from left to right.

An edge over several columns passes each in a lane of its own between the boxes, shared by all edges from
the same phase, so that no edge runs through a box.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from taskmark.plan.drawing.picture import Box

BOX_WIDTH, BOX_HEIGHT = 200.0, 60.0
LANE_HEIGHT = 12.0
COLUMN_GAP, ROW_GAP = 64.0, 20.0
_SWEEPS = 4


@dataclass(frozen=True)
class Cell:
    """What a column holds: a box, or the lane in which edges from a phase pass by."""

    slug: str
    column: int
    is_lane: bool

    @property
    def height(self) -> float:
        """Its height."""
        return LANE_HEIGHT if self.is_lane else BOX_HEIGHT


@dataclass(frozen=True)
class Layout:
    """Cells with the place of their middle, and which of them edges lead between. Pixels."""

    columns: tuple[tuple[Cell, ...], ...]
    middles: Mapping[Cell, float]
    edges: tuple[tuple[Cell, Cell], ...]
    width: float
    height: float

    def left(self, cell: Cell) -> float:
        """Returns where the column of a cell begins."""
        return cell.column * (BOX_WIDTH + COLUMN_GAP)


def layout(waves: Sequence[Sequence[Box]]) -> Layout:
    """Returns the layout of boxes in waves, each after everything it needs."""
    columns, edges = _cells(waves)
    before: dict[Cell, list[Cell]] = {cell: [] for column in columns for cell in column}
    after: dict[Cell, list[Cell]] = {cell: [] for column in columns for cell in column}
    for start, end in edges:
        after[start].append(end)
        before[end].append(start)
    _untangle(columns, before, after)
    middles = _middles(columns, before, after)
    top = min((middles[cell] - cell.height / 2 for cell in middles), default=0.0)
    bottom = max((middles[cell] + cell.height / 2 for cell in middles), default=0.0)
    width = max(len(columns) * (BOX_WIDTH + COLUMN_GAP) - COLUMN_GAP, 0.0)
    moved = {cell: middle - top for cell, middle in middles.items()}
    return Layout(tuple(map(tuple, columns)), moved, tuple(edges), width, bottom - top)


def _cells(waves: Sequence[Sequence[Box]]) -> tuple[list[list[Cell]], list[tuple[Cell, Cell]]]:
    """Returns the cells of each column in the order of the file, and the edges between neighbours."""
    columns = [[Cell(box.slug, number, False) for box in wave] for number, wave in enumerate(waves)]
    edges: list[tuple[Cell, Cell]] = []
    reached = {cell.slug: cell for cells in columns for cell in cells}
    """The end of the way that leads from each phase, which grows with the waves."""
    for number, wave in enumerate(waves):
        for box in wave:
            for need in box.needs:
                while reached[need].column < number - 1:
                    lane = Cell(need, reached[need].column + 1, True)
                    columns[lane.column].append(lane)
                    edges.append((reached[need], lane))
                    reached[need] = lane
                edges.append((reached[need], Cell(box.slug, number, False)))
    return columns, edges


def _untangle(
    columns: list[list[Cell]], before: Mapping[Cell, list[Cell]], after: Mapping[Cell, list[Cell]]
) -> None:
    """Orders each column by where its neighbours are, forth and back, which takes most crossings away."""
    place = {cell: float(number) for column in columns for number, cell in enumerate(column)}
    for sweep in range(_SWEEPS):
        near = after if sweep % 2 else before
        for column in reversed(columns) if sweep % 2 else columns:
            centre = {
                cell: sum(place[one] for one in near[cell]) / len(near[cell]) if near[cell] else place[cell]
                for cell in column
            }
            column.sort(key=lambda cell: centre[cell])
            place |= {cell: float(number) for number, cell in enumerate(column)}


def _middles(
    columns: Sequence[Sequence[Cell]], before: Mapping[Cell, list[Cell]], after: Mapping[Cell, list[Cell]]
) -> dict[Cell, float]:
    """Returns heights: as near to those of the neighbours as the order and the gaps allow."""
    middles: dict[Cell, float] = {}
    for column in columns:
        total = sum(cell.height + ROW_GAP for cell in column)
        y = -total / 2
        for cell in column:
            middles[cell] = y + cell.height / 2
            y += cell.height + ROW_GAP
    for sweep in range(_SWEEPS):
        near = before if sweep % 2 else after
        for column in columns if sweep % 2 else reversed(columns):
            wanted = [
                sum(middles[one] for one in near[cell]) / len(near[cell]) if near[cell] else middles[cell]
                for cell in column
            ]
            middles |= zip(column, _apart(column, wanted), strict=True)
    return middles


def _apart(column: Sequence[Cell], wanted: Sequence[float]) -> list[float]:
    """Returns the places nearest to those wanted that keep order and distance: where neighbours would
    overlap they form a block, which goes to the mean of what its members want."""
    offsets = [0.0]
    for upper, lower in pairwise(column):
        offsets.append(offsets[-1] + (upper.height + lower.height) / 2 + ROW_GAP)
    blocks: list[tuple[float, int]] = []
    for want, offset in zip(wanted, offsets, strict=False):
        mean, count = want - offset, 1
        while blocks and blocks[-1][0] > mean:
            above, size = blocks.pop()
            mean, count = (above * size + mean * count) / (size + count), size + count
        blocks.append((mean, count))
    starts = [mean for mean, count in blocks for _ in range(count)]
    return [start + offset for start, offset in zip(starts, offsets, strict=False)]
