"""Files that are there whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from taskmark.errors import Conflict


@contextmanager
def whole_file(path: Path, *, force: bool) -> Iterator[IO[bytes]]:
    """Opens a file beside the path, which takes its name once the block has ended well.

    Raises `Conflict` if the path is there and nobody said to replace it, or if it cannot be written.
    """
    if path.exists() and not force:
        raise Conflict(f"{path} is there already", hint="name another file, or replace it with --force")
    try:
        descriptor, beside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    except OSError as error:
        raise Conflict(f"{path} cannot be written: {error.strerror}") from error
    try:
        with open(descriptor, "w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(beside)
        raise
