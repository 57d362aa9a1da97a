"""Writing a changed text back into its file, whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path


def rewrite(path: Path, before: str, after: str) -> bool:
    """Puts a new text in place of the old one and returns whether it did: a file that somebody changed in the
    meantime is left alone.

    A reader or a crash sees the old text or the new, never a mixture; the file keeps its permissions, and
    a link goes on leading to it. Raises `OSError` if it cannot be written.
    """
    target = path.resolve()
    if target.read_bytes() != before.encode():
        return False
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent)
    try:
        with open(descriptor, "wb") as file:
            file.write(after.encode())
            file.flush()
            os.fsync(file.fileno())
        shutil.copymode(target, name)
        os.replace(name, target)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(name)
        raise
    return True
