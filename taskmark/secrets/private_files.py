"""Reads small files that hold secrets, if nobody else could have written or read them."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from taskmark.errors import InvalidSettings

LONGEST: Final = 64 * 1024
"""Bytes of a secret."""


def read_private(path: Path, *, below: Path | None = None) -> str | None:
    """Returns the text of a file without the line end at its end, or None if there is none.

    A file of our own must be closed to everybody else. One of root, as container runtimes provide them, may
    be readable, but nobody else may be able to change it. Links are followed (Kubernetes makes them), though
    not out of the folder that it has to be `below`. Raises `InvalidSettings`, without the content.
    """
    try:
        real = path.resolve(strict=True)
        if below is not None and not real.is_relative_to(below.resolve()):
            raise InvalidSettings(f"{path} leads out of its folder", hint="put the file itself there")
        descriptor = os.open(real, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, RuntimeError) as error:
        raise InvalidSettings(f"{path} cannot be read: {error}", hint="see its owner and mode") from None
    try:
        _check(path, os.fstat(descriptor))
        content = os.read(descriptor, LONGEST + 1)
    finally:
        os.close(descriptor)
    if len(content) > LONGEST:
        raise InvalidSettings(f"{path} has more than {LONGEST} bytes", hint="a secret is smaller")
    try:
        return content.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise InvalidSettings(f"{path} is no UTF-8 text", hint="write binary keys in Base64") from None


def _check(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise InvalidSettings(f"{path} is no file", hint="a secret is a file of its own")
    own = os.geteuid()
    if found.st_uid not in (0, own):
        raise InvalidSettings(f"{path} belongs to somebody else", hint=f"chown {own} {path}")
    closed = 0o022 if found.st_uid == 0 else 0o077
    if found.st_mode & closed:
        mode = stat.S_IMODE(found.st_mode)
        raise InvalidSettings(f"{path} is open to others (mode {mode:o})", hint=f"chmod 600 {path}")
