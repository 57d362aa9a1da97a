"""What attempts used of what the task's `limits` allow all of them together.

Nothing is asked and nothing waits: what each attempt used comes with its result, and is compared before the
next one begins. What other phases used the parent tells at the start, and once more when all together have
used a limit up. Without `limits` nothing is counted.
"""

from __future__ import annotations

from taskmark.contracts import Consumption, PhaseStart
from taskmark.errors import Category, Failure
from taskmark.plan.quota import used_up
from workflows.board import Board
from workflows.calls import GaveUp


class Quotas:
    """A phase's view of it."""

    def __init__(self, start: PhaseStart, board: Board) -> None:
        self._board = board
        self._limits = start.quota.limits if start.quota else None
        self._others = start.quota.others if start.quota else Consumption()
        self.is_counted = start.quota is not None
        """Whether anybody wants to know what is used."""

    def count(self, consumed: Consumption | None) -> None:
        """An attempt has ended, or a sub-task, and used so much."""
        if self.is_counted and consumed is not None:
            self._board.consume(consumed)

    def hear(self, others: Consumption) -> None:
        """The other phases have used so much."""
        self._others = others

    def check(self) -> None:
        """Raises `GaveUp` if nothing is left of a limit: nothing begins any more, and nothing is retried."""
        if self._limits is None:
            return
        found = used_up(self._limits, self._others.plus(self._board.consumed))
        if found is not None:
            raise GaveUp(
                Failure(
                    type="limit_reached",
                    message=f"the task has used {found.used} of its {found.limit} of {found.what}",
                    category=Category.RESOURCE,
                    hint=f"raise `{found.key}` under `limits` of the task, or let its steps do less",
                )
            )
