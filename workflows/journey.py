"""How far the steps of a phase have come that have begun and not ended: its next run goes on there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

from taskmark.carried import Going, Trying
from taskmark.errors import Failure
from taskmark.task.model import Json

Call = tuple[str, int | None]
"""A step, and its item if it has any."""


class Items:
    """The items of one step: the outputs of those that have ended, and the first failure."""

    def __init__(self, count: int, going: Going | None = None) -> None:
        self.outputs: list[Json] = [None] * count
        self.failed = 0
        self.failure: Failure | None = None
        self.lost = False
        """Whether no further item begins: a critical one has failed."""
        self._first = count
        self._done = bytearray(count)
        if going is not None:
            self._go_on(going)

    def _go_on(self, going: Going) -> None:
        through = min(going.through, len(self.outputs))
        self.outputs[:through] = going.outputs[:through]
        self._done[:through] = b"\1" * through
        for index in going.open:
            self._done[index] = 0
        self.failed, self.failure, self.lost = going.failed, going.failure, going.lost
        self._first = going.first if going.failure is not None else len(self.outputs)

    def left(self) -> Iterator[int]:
        """Yields the items that have not ended, in their order."""
        return (index for index, done in enumerate(self._done) if not done)

    def done(self, index: int, output: Json) -> None:
        """An item has ended well."""
        self._done[index] = 1
        self.outputs[index] = output

    def fail(self, index: int, failure: Failure, *, lost: bool) -> None:
        """An item has failed; of all failures that of the first item is kept."""
        self._done[index] = 1
        self.failed += 1
        self.lost = self.lost or lost
        if index < self._first:
            self._first, self.failure = index, failure

    def carried(self) -> dict[str, Any]:
        """Returns what of a `Going` is known here."""
        through = self._done.rfind(1) + 1
        return {
            "through": through,
            "open": tuple(index for index in range(through) if not self._done[index]),
            "outputs": tuple(self.outputs[:through]),
            "failed": self.failed,
            "first": self._first if self.failure is not None else 0,
            "failure": self.failure,
            "lost": self.lost,
        }


class Journey:
    """The steps of one phase that have begun, and their calls that wait between two attempts."""

    def __init__(self, *, items_together: bool) -> None:
        """`items_together`: the attempts of one item count for those that begin later, as it was once."""
        self._items_together = items_together
        self._before: dict[str, int] = {}
        self._items: dict[str, Items] = {}
        self._trying: dict[Call, Trying] = {}
        self._going: dict[str, Going] = {}
        """What an earlier run of the workflow left, until the step goes on."""
        self._resumed: dict[str, Going] = {}
        """The same, until the items of the step go on."""

    # --- steps and their items --------------------------------------------------------------------

    def begin(self, step: str, attempts: int) -> bool:
        """A step begins after so many attempts; returns whether an earlier run of the workflow began it."""
        going = self._going.pop(step, None)
        self._items.pop(step, None)
        self._resumed.pop(step, None)
        self._before[step] = attempts
        if going is not None:
            self._before[step], self._resumed[step] = going.before, going
        return going is not None

    def items(self, step: str, count: int) -> Items:
        """Returns the items of a step, as far as they have come."""
        self._items[step] = Items(count, self._resumed.pop(step, None))
        return self._items[step]

    def is_lost(self, step: str) -> bool:
        """Whether no further item of a step begins."""
        return step in self._items and self._items[step].lost

    # --- calls ------------------------------------------------------------------------------------

    def trying(self, step: str, item: int | None) -> Trying | None:
        """Returns how far a call has come that has been tried."""
        return self._trying.get((step, item))

    def before(self, step: str, item: int | None) -> int:
        """Returns how many attempts do not belong to this call."""
        tried = self._trying.get((step, item))
        return self._before.get(step, 0) if tried is None or self._items_together else tried.before

    def tries(self, step: str, item: int | None, tried: Trying) -> None:
        """Another attempt of a call is to follow."""
        known = self._trying.get((step, item))
        why = known.fallback_for if known else None
        fields = {"before": self.before(step, item), "fallback_for": why}
        self._trying[step, item] = tried.model_copy(update=fields)

    def fall_back(self, step: str, item: int | None, failure: Failure, attempts: int) -> None:
        """The fallback of a call is used, after so many attempts."""
        known = self._trying.get((step, item))
        if known is None or known.fallback_for is None:
            self._trying[step, item] = Trying(step=step, item=item, before=attempts, fallback_for=failure)
            if self._items_together:
                self._before[step] = attempts

    def ended(self, step: str, item: int | None) -> None:
        """A call has ended."""
        self._trying.pop((step, item), None)

    # --- from one run to the next -----------------------------------------------------------------

    def go_on(self, going: tuple[Going, ...], trying: tuple[Trying, ...]) -> None:
        """An earlier run of the workflow came so far."""
        self._going = {one.step: one for one in going}
        self._trying = {(one.step, one.item): one for one in trying}

    def carried(self, is_open: Callable[[str], bool]) -> dict[str, Any]:
        """Returns what of a `Carried` is known here, of the steps that have begun and not ended."""
        steps = dict.fromkeys(chain(self._before, self._going))
        return {
            "going": tuple(self._one(step) for step in steps if is_open(step)),
            "trying": tuple(one for (step, _), one in self._trying.items() if is_open(step)),
        }

    def _one(self, step: str) -> Going:
        if step in self._items:
            return Going(step=step, before=self._before[step], **self._items[step].carried())
        kept = self._going.get(step) or self._resumed.get(step)
        return kept or Going(step=step, before=self._before[step])
