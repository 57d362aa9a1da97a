"""The temporary folders of browsers, and of those whose worker was killed and could not clean up.

A worker holds a lock on a file in its folder for as long as it lives. Whoever gets the lock of a folder
knows that nobody uses it any more.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

PREFIX: Final = "taskmark-browser-"
YOUNG_SECONDS: Final = 60.0
"""In which a folder may be without a lock because it is just being made."""
_LOCK: Final = "lock"


@dataclass(frozen=True)
class Folder:
    """A temporary folder of this process."""

    path: Path
    lock: IO[bytes]
    """Held until it is closed, which it is at the end of the process at the latest."""

    def remove(self) -> None:
        """Removes it with all that is in it. May be called twice."""
        shutil.rmtree(self.path, ignore_errors=True)
        self.lock.close()


def new_folder() -> Folder:
    """Returns a new folder, which only its owner can enter, and removes those that are left over."""
    _sweep(Path(tempfile.gettempdir()))
    path = Path(tempfile.mkdtemp(prefix=PREFIX))
    lock = open(path / _LOCK, "xb")  # noqa: SIM115  # it is held for as long as the folder is
    fcntl.flock(lock, fcntl.LOCK_EX)
    return Folder(path, lock)


def _sweep(parent: Path) -> None:
    for path in parent.glob(f"{PREFIX}*"):
        with suppress(OSError):
            if time.time() - path.lstat().st_mtime > YOUNG_SECONDS and _is_left_over(path):
                shutil.rmtree(path, ignore_errors=True)


def _is_left_over(path: Path) -> bool:
    """Whether nobody holds a folder of ours. Raises `OSError` if it cannot be told."""
    told = path.lstat()
    if told.st_uid != os.geteuid():
        return False
    lock = os.open(path / _LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    finally:
        os.close(lock)
