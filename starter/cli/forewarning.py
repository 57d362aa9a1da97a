"""Warns before a start, at a terminal, of what the task needs and cannot use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starter.cli.printable import one_line
from starter.cli.terminal import say

if TYPE_CHECKING:
    from taskmark.plan.usability import Unusable


def show(found: Unusable) -> None:
    """Shows on stderr what cannot be used and why, who would use it, and what to do."""
    say(f"warning: {one_line(found.title)}", style="yellow")
    for label, text in (("used by", found.used_by), ("hint", found.hint)):
        if text:
            say(f"  {label}: {one_line(text)}", style="yellow")
