"""What the browser of a worker may use. Importing this costs nothing, unlike what does the browsing."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class BrowserLimits:
    """What the browser of one worker may use. Bytes and seconds."""

    pages: int = 4
    """Steps that use it at once; further ones wait."""
    memory: int = 2 * 1024**3
    """Of all its processes together. Beyond it the page that uses most is ended."""
    download: int = 100 * 1024**2
    """Of one file that is downloaded."""
    idle: float = 60.0
    """Without a step, after which it is ended."""
