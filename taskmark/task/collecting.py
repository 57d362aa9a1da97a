"""Keeps Python's garbage collector from going through what a parser makes, again and again."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

LARGE = 256 * 1024
"""Characters from which on one look at everything that was made is worth being avoided."""


class _Debt:
    """Whether the last large text left anything behind that nobody has looked at."""

    open = False


@contextmanager
def collector_resting(size: int) -> Iterator[None]:
    """Parsing makes little garbage in cycles, and looking for it all the time takes a third of the time.

    What came of a large text is moved to the oldest generation (freezing and unfreezing does that without
    a look at it): as the youngest it would be gone through at once. Its garbage is looked for when the next
    large text comes, so that memory stays bounded and a process with one text never pays.
    Two threads may do this at once: at worst the collector is back before the second has finished.
    """
    if size >= LARGE and _Debt.open:
        gc.collect()
        _Debt.open = False
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled and size >= LARGE:
            gc.freeze()
            gc.unfreeze()
            _Debt.open = True
        if was_enabled:
            gc.enable()
