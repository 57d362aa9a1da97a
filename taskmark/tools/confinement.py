"""Files under the root and nowhere else.

A path is checked as text first, then opened one component at a time, each relative to the descriptor of
the directory before it, and never through a link. So there is no moment between check and use: swapping
a directory for a link while a tool runs makes the tool fail, it never leads it out. Links are refused
even where they point inside the root, because what they point at can change; the root itself may be
reached through links. Directories named `.taskmark` hold the engine's own state and are refused too.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from taskmark.errors import Category, StepFailed

STATE_DIRECTORY = ".taskmark"
LONGEST_PATH = 4096

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Without O_NONBLOCK opening a named pipe waits for its other end, for ever.
_FILE = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY

_CATEGORIES = {
    errno.EACCES: Category.PERMISSION,
    errno.EPERM: Category.PERMISSION,
    errno.EROFS: Category.PERMISSION,
    errno.ENOENT: Category.LOGIC,
    errno.ENOTDIR: Category.LOGIC,
    errno.EISDIR: Category.LOGIC,
    errno.EEXIST: Category.LOGIC,
    errno.ENXIO: Category.LOGIC,
    errno.ELOOP: Category.CONFIGURATION,
    errno.ENAMETOOLONG: Category.CONFIGURATION,
    errno.EILSEQ: Category.CONFIGURATION,
    errno.EINVAL: Category.CONFIGURATION,
    errno.ENOSPC: Category.RESOURCE,
    errno.EDQUOT: Category.RESOURCE,
    errno.EFBIG: Category.RESOURCE,
    errno.EMFILE: Category.RESOURCE,
    errno.ENFILE: Category.RESOURCE,
    errno.ENOMEM: Category.RESOURCE,
}


def components(root: Path, path: str) -> tuple[str, ...]:
    """Returns the names that lead from the root to the path; none for the root itself.

    Takes paths relative to the root and absolute ones inside it. Raises `StepFailed` (configuration)
    for any other, and for what no file system can hold.
    """
    problem = _malformed(path)
    if problem:
        raise _refused(path, problem)
    relative = _below(root, path) if path.startswith("/") else path
    if relative is None:
        raise _refused(path, f"it is outside the root {root}")
    names: list[str] = []
    for name in relative.split("/"):
        if name == ".." and not names:
            raise _refused(path, f"it leads out of the root {root}")
        if name == "..":
            names.pop()
        elif name not in ("", "."):
            names.append(name)
    if STATE_DIRECTORY in (name.casefold() for name in names):
        raise _refused(path, f"{STATE_DIRECTORY} belongs to the engine")
    return tuple(names)


def _malformed(path: str) -> str:
    """Returns why no file can have this path, or nothing."""
    if not path:
        return "it is empty"
    if "\0" in path:
        return "it contains a NUL character"
    try:
        encoded = os.fsencode(path)
    except UnicodeEncodeError:
        return "it contains a character that no file name can have"
    return f"it is longer than {LONGEST_PATH} bytes" if len(encoded) > LONGEST_PATH else ""


def _below(root: Path, path: str) -> str | None:
    """Returns an absolute path relative to the root, or nothing if it is elsewhere."""
    plain = "/" + os.path.normpath(path).lstrip("/")
    for base in (os.path.abspath(root), os.path.realpath(root)):
        if plain == base:
            return ""
        if plain.startswith(base.rstrip("/") + "/"):
            return plain[len(base.rstrip("/")) + 1 :]
    return None


def _refused(path: str, reason: str) -> StepFailed:
    """Returns the error for a path that may not be used."""
    shown = path if len(path) <= 200 else path[:200] + "…"
    return StepFailed(
        f"path {shown!r} is refused: {reason}",
        Category.CONFIGURATION,
        hint="give a path inside the root, without links",
    )


@contextmanager
def reporting(path: str) -> Iterator[None]:
    """Turns errors of the operating system into `StepFailed` with the path and a category."""
    try:
        yield
    except OSError as error:
        category = _CATEGORIES.get(error.errno or 0, Category.TRANSIENT)
        reason = error.strerror or str(error)
        raise StepFailed(f"{path}: {reason[:1].lower()}{reason[1:]}", category) from error


@contextmanager
def directory(root: Path, path: str, *, create: bool = False) -> Iterator[int]:
    """Lends a descriptor of a directory under the root. Raises `StepFailed`.

    With `create`, directories that are missing on the way are made.
    """
    descriptor = _open_directory(root, components(root, path), path, create=create)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def parent_directory(root: Path, path: str, *, create: bool = False) -> Iterator[tuple[int, str]]:
    """Lends a descriptor of the directory a file is in, and the file's name there. Raises `StepFailed`."""
    names = components(root, path)
    if not names:
        raise _refused(path, "it is the root itself, not a file")
    descriptor = _open_directory(root, names[:-1], path, create=create)
    try:
        yield descriptor, names[-1]
    finally:
        os.close(descriptor)


def open_file(root: Path, path: str, flags: int = os.O_RDONLY) -> int:
    """Returns a descriptor of an existing regular file under the root. Raises `StepFailed`."""
    with parent_directory(root, path) as (parent, name), reporting(path):
        return open_regular(parent, name, path, flags)


def open_regular(parent: int, name: str, path: str, flags: int, mode: int = 0o666) -> int:
    """Returns a descriptor of a regular file in a directory. Raises `StepFailed` or `OSError`.

    Pipes, sockets, devices and directories are refused. `path` is only for the message.
    """
    try:
        descriptor = os.open(name, flags | _FILE, mode, dir_fd=parent)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise _refused(path, f"{name!r} is a link") from error
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise StepFailed(f"{path}: not a regular file", Category.LOGIC)
    return descriptor


def _open_directory(root: Path, names: tuple[str, ...], path: str, *, create: bool) -> int:
    """Returns a descriptor of the directory that the names lead to, one component at a time."""
    with reporting(str(root)):
        current = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for name in names:
            with reporting(path):
                deeper = _enter(current, name, path, create=create)
            os.close(current)
            current = deeper
    except BaseException:
        os.close(current)
        raise
    return current


def _enter(parent: int, name: str, path: str, *, create: bool) -> int:
    """Returns a descriptor of a directory in a directory. Raises `StepFailed` for a link, else `OSError`."""
    try:
        return os.open(name, _DIRECTORY, dir_fd=parent)
    except FileNotFoundError:
        if not create:
            raise
    except OSError as error:
        # Linux says ENOTDIR for a link here, other systems ELOOP.
        if error.errno in (errno.ELOOP, errno.ENOTDIR) and is_link(parent, name):
            raise _refused(path, f"{name!r} is a link") from error
        raise
    with suppress(FileExistsError):  # somebody else may make it in between
        os.mkdir(name, dir_fd=parent)
    return os.open(name, _DIRECTORY, dir_fd=parent)


def is_link(parent: int, name: str) -> bool:
    """Whether the name in the directory is a symbolic link; false if there is nothing."""
    try:
        return stat.S_ISLNK(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return False
