"""What files were before a phase changed them, so that a phase that fails leaves none of its changes.

Before a file tool changes a file for the first time in a phase, the file as it was is kept in the journal of
that phase: content, permissions and time, or that there was none. Bringing everything back can be repeated,
and interrupted at any point, until the journal is removed. The journal is in the root, where every worker
finds it and no tool may go.

What programs change that a step runs is not in it, nor what others changed meanwhile: a file is brought back
as it was when the phase first touched it.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

from pydantic import BaseModel, ConfigDict, ValidationError

from taskmark.contracts import RolledBack
from taskmark.errors import Category, StepFailed
from taskmark.ports import StepContext
from taskmark.tools.confinement import (
    STATE_DIRECTORY,
    components,
    directory,
    open_regular,
    parent_directory,
    reporting,
)
from taskmark.tools.room import check_room
from taskmark.tools.stoppable import check_wanted

_FOLDER: Final = (STATE_DIRECTORY, "rollback")
_ENTRY: Final = ".json"
_PART: Final = 1024**2


class Entry(BaseModel):
    """A file as it was."""

    model_config = ConfigDict(frozen=True)

    path: str
    """Relative to the root."""
    content: str | None = None
    """The name of the file in the journal that has its content; None if there was no such file."""
    mode: int = 0
    modified_ns: int = 0
    made: tuple[str, ...] = ()
    """Directories above it that were not there, the deepest first."""


def remember(context: StepContext, path: str) -> None:
    """Keeps a file as it is, unless the phase has changed it already. It must be called before any change.

    Raises `StepFailed` if it cannot be kept: then the change must not be made.
    """
    if context.journal is None:
        return
    names = components(context.root, path)
    entry = f"{_digest('/'.join(names))}{_ENTRY}"
    with reporting(path), _journal(context.root, context.journal, create=True) as journal:
        if not _is_there(journal, entry):
            _keep(context.root, names, journal, entry)


def bring_back(root: Path, journal: str) -> RolledBack:
    """Makes every file of a journal what it was, and removes the journal if that worked for all. Blocks."""
    restored: list[str] = []
    removed: list[str] = []
    failed: list[str] = []
    try:
        with _journal(root, journal) as descriptor:
            entries = list(_entries(descriptor))
            for entry in entries:
                try:
                    if _bring_back(root, descriptor, entry):
                        (removed if entry.content is None else restored).append(entry.path)
                except (StepFailed, OSError) as error:
                    failed.append(f"{entry.path}: {error}")
    except FileNotFoundError:
        return RolledBack()
    except OSError as error:
        return RolledBack(failed=(f"what was there before cannot be read: {error}",))
    _remove_made(root, entries)
    if not failed:
        forget(root, journal)
    return RolledBack(restored=tuple(restored), removed=tuple(removed), failed=tuple(failed))


def forget(root: Path, journal: str) -> None:
    """Removes a journal: what the phase changed stays. Blocks. Raises `OSError`."""
    with suppress(FileNotFoundError):
        with _journal(root, journal) as descriptor:
            # Entries before contents: what is named has its content.
            for name in sorted(os.listdir(descriptor), key=lambda one: not one.endswith(_ENTRY)):
                os.unlink(name, dir_fd=descriptor)
        with _opened(root, _FOLDER) as above:
            os.rmdir(journal, dir_fd=above)
        with suppress(OSError), _opened(root, _FOLDER[:1]) as above:
            os.rmdir(_FOLDER[1], dir_fd=above)  # while there is no other one


# --- the journal's folder -------------------------------------------------------------------------


def _journal(root: Path, journal: str, *, create: bool = False) -> AbstractContextManager[int]:
    return _opened(root, (*_FOLDER, journal), create=create)


@contextmanager
def _opened(root: Path, names: Sequence[str], *, create: bool = False) -> Iterator[int]:
    """Lends a directory's descriptor, reached without following any link. Raises `OSError`."""
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for name in names:
            below = _below(descriptor, name, create=create)
            os.close(descriptor)
            descriptor = below
            if create and name == STATE_DIRECTORY:
                _ignored(descriptor)
        yield descriptor
    finally:
        os.close(descriptor)


def _below(parent: int, name: str, *, create: bool) -> int:
    if create:
        with suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=parent)
    return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)


def _ignored(folder: int) -> None:
    """Lets git ignore what is in the engine's folder."""
    with suppress(FileExistsError), _new(folder, ".gitignore") as file:
        file.write(b"*\n")


def _new(folder: int, name: str) -> BinaryIO:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    return open(os.open(name, flags, 0o600, dir_fd=folder), "wb")


def _is_there(folder: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


# --- keeping --------------------------------------------------------------------------------------


def _digest(path: str) -> str:
    return hashlib.sha256(path.encode(errors="surrogateescape")).hexdigest()


def _keep(root: Path, names: tuple[str, ...], journal: int, target: str) -> None:
    """Keeps the content, then the entry that names it, whole or not at all; who is first wins."""
    path, mark = "/".join(names), secrets.token_hex(8)
    draft, content = f"{mark}.tmp", f"{mark}.content"
    told = _copy_out(root, path, journal, content) if not (made := tuple(_missing(root, names))) else None
    entry = Entry(path=path, made=made)
    if told is not None:
        of_file = {"mode": stat.S_IMODE(told.st_mode), "modified_ns": told.st_mtime_ns}
        entry = entry.model_copy(update={"content": content, **of_file})
    try:
        with _new(journal, draft) as file:
            file.write(entry.model_dump_json().encode())
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, target, src_dir_fd=journal, dst_dir_fd=journal)
    except FileExistsError:
        with suppress(FileNotFoundError):
            os.unlink(content, dir_fd=journal)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(draft, dir_fd=journal)
    os.fsync(journal)


def _copy_out(root: Path, path: str, journal: int, content: str) -> os.stat_result | None:
    """Copies a file into the journal; returns how it was, or None if there is none. Raises `StepFailed` for
    what is no file, as whoever wants to change it would."""
    with parent_directory(root, path) as (parent, name):
        if not _is_there(parent, name):
            return None
        with open(open_regular(parent, name, path, os.O_RDONLY), "rb") as source:
            told = os.fstat(source.fileno())
            check_room(journal, told.st_size, path)
            with _new(journal, content) as kept:
                _copy(source, kept)
            return told


def _copy(source: BinaryIO, target: BinaryIO) -> None:
    while part := source.read(_PART):
        check_wanted()
        target.write(part)
    target.flush()
    os.fsync(target.fileno())


def _missing(root: Path, names: tuple[str, ...]) -> Iterator[str]:
    """Yields the directories above a file that are not there, the deepest first."""
    for length in range(len(names) - 1, 0, -1):
        path = "/".join(names[:length])
        try:
            with directory(root, path):
                return
        except StepFailed as error:
            if error.category is not Category.LOGIC:
                raise
            yield path


# --- bringing back --------------------------------------------------------------------------------


def _entries(journal: int) -> Iterator[Entry]:
    for name in sorted(os.listdir(journal)):
        if name.endswith(_ENTRY):
            with open(_kept(journal, name), "rb") as file, suppress(ValidationError):
                yield Entry.model_validate_json(file.read())


def _kept(journal: int, name: str) -> int:
    return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=journal)


def _bring_back(root: Path, journal: int, entry: Entry) -> bool:
    """Returns whether anything had to be done."""
    if entry.content is None:
        return _remove(root, entry.path)
    place = parent_directory(root, entry.path, create=True)
    with place as (parent, name), open(_kept(journal, entry.content), "rb") as source:
        _restore(parent, name, source, entry)
    return True


def _remove(root: Path, path: str) -> bool:
    try:
        with parent_directory(root, path) as (parent, name), reporting(path):
            os.unlink(name, dir_fd=parent)
            os.fsync(parent)
    except StepFailed as error:
        if error.category is not Category.LOGIC or os.path.lexists(root / path):
            raise
        return False
    return True


def _restore(parent: int, name: str, source: BinaryIO, entry: Entry) -> None:
    # Always of the same name: who tries again after a crash writes over what the crash left.
    draft = f".{_digest(entry.path)[:16]}.undo"
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
    try:
        with open(os.open(draft, flags, 0o600, dir_fd=parent), "wb") as target:
            _copy(source, target)
            os.fchmod(target.fileno(), entry.mode)
            os.utime(target.fileno(), ns=(entry.modified_ns, entry.modified_ns))
        os.rename(draft, name, src_dir_fd=parent, dst_dir_fd=parent)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(draft, dir_fd=parent)
    os.fsync(parent)


def _remove_made(root: Path, entries: Iterable[Entry]) -> None:
    """Removes directories that were not there, unless something is in them that the journal does not know."""
    made = {path for entry in entries for path in entry.made}
    for path in sorted(made, key=lambda one: one.count("/"), reverse=True):
        with suppress(OSError, StepFailed), parent_directory(root, path) as (parent, name):
            os.rmdir(name, dir_fd=parent)
