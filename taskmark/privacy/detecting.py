"""What a detector is."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

Span = tuple[int, int]
"""Where something begins in a text, and where it ends."""

NAMES: Final = ("secret", "email", "ipv6", "ipv4", "uuid", "card", "phone")
"""Of the built-in detectors (`taskmark.privacy.detectors`)."""


@dataclass(frozen=True)
class Detector:
    """Finds one kind of what nobody should read later; its name is what stands there instead.

    `find` must take time in proportion to the text, however odd the text.
    """

    name: str
    find: Callable[[str], Iterable[Span]]
    hints: tuple[str, ...] = ()
    """In lower case; a text with none of them holds nothing, and is not looked at. Empty: every text is."""
    gate: re.Pattern[str] | None = None
    """The same as a pattern, which may be shared by several detectors and is then asked once."""
    named: Callable[[str, Any], bool] | None = None
    """Whether a value is one for the name that it stands under in an object, such as `password`."""
