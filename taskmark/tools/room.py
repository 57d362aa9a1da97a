"""Whether there is room on a disk."""

from __future__ import annotations

import os

from taskmark.errors import Category, StepFailed


def check_room(parent: int, size: int, path: str) -> None:
    """Raises `StepFailed` (resource) if so many bytes do not fit where the directory is."""
    disk = os.fstatvfs(parent)
    free = disk.f_bavail * disk.f_frsize
    if size > free:
        raise StepFailed(f"{path}: {size:,} bytes do not fit into {free:,} that are free", Category.RESOURCE)
