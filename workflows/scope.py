"""What expressions of a phase may read."""

from __future__ import annotations

from typing import Any

from taskmark.contracts import PhaseStart
from workflows.board import Board
from workflows.lanes import Lane


class Scope:
    """Names for expressions: `inputs`, `phases`, `steps`, `execution`, `project`; `item` in `forEach`."""

    def __init__(self, start: PhaseStart, board: Board) -> None:
        self._start = start
        self._board = board

    def names(self, lane: Lane | None = None) -> dict[str, Any]:
        """Returns the names as they stand: outputs of what has ended, and the lane's item if it has one."""
        start = self._start
        names: dict[str, Any] = {
            "inputs": self._board.start.inputs,
            "phases": start.phases,
            "steps": self._board.readable if lane is None else lane.readable(self._board),
            "execution": {"id": start.execution_id},
            "project": start.project,
        }
        if lane is not None and lane.index is not None:
            names |= {"item": lane.item, "index": lane.index}
        return names
