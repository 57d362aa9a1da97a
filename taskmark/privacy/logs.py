"""Log lines without secrets and personal data, tracebacks included."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from taskmark.privacy.scrubbing import Scrubber


class ScrubbingFormatter(logging.Formatter):
    """Formats as usual, then masks and scrubs the whole line."""

    mask: Callable[[str], str] = str
    """Takes known secrets out of a text."""

    def __init__(self, form: str, make: Callable[[], Scrubber]) -> None:
        """`make` is called when there is something to log: most commands log nothing."""
        super().__init__(form)
        self._make = make

    @cached_property
    def scrubber(self) -> Scrubber:
        """What scrubs the lines."""
        return self._make()

    def format(self, record: logging.LogRecord) -> str:
        """Returns what is written, also of an exception."""
        return self.scrubber.text(self.mask(super().format(record)))


def scrub_logs(scrubber: Scrubber, mask: Callable[[str], str]) -> None:
    """Lets the process's own logs use another scrubber, such as one with the detectors of plugins, and mask
    the secrets that are known by then."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler.formatter, ScrubbingFormatter):
            handler.formatter.scrubber, handler.formatter.mask = scrubber, mask
