"""`edit-file`, `copy-file`, `move-file`, `delete-file`: files under the root, each whole before and after."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from typing import BinaryIO, TypeAlias

from pydantic import Field

from taskmark.errors import Category, StepFailed
from taskmark.ports import StepContext
from taskmark.task.model import Json
from taskmark.tools.confinement import open_file, open_regular, parent_directory, reporting
from taskmark.tools.files import FileTool, encoded, mode_of, put, read_bytes, replace
from taskmark.tools.journal import remember
from taskmark.tools.room import check_room
from taskmark.tools.stoppable import check_wanted, in_thread
from taskmark.tools.validation import Arguments

LARGEST_EDITED = 16 * 1024**2
"""Bytes of a file that is edited, which has to fit into memory."""
_PART = 1024**2

_Place: TypeAlias = tuple[int, str]
"""A directory's descriptor, and a name in it."""


# --- edit -----------------------------------------------------------------------------------------


class EditFileParameters(Arguments):
    """What to replace, and where."""

    path: str = Field(description="A file under the root")
    find: str = Field(min_length=1, description="The text to replace, to the letter, with its line ends")
    replace: str = Field(description="What takes its place")
    every: bool = Field(
        default=False, description="Replace it wherever it is; else it has to be there exactly once"
    )


class EditFile(FileTool[EditFileParameters]):
    """Replaces a text in a file, which has to be there exactly once."""

    name = "edit-file"
    parameters = EditFileParameters

    async def execute(self, parameters: EditFileParameters, context: StepContext) -> Json:
        """Returns `path`, `bytes` and how many times the text was `replaced`. Raises `StepFailed`."""
        return await in_thread(_edit, parameters, context)


def _edit(parameters: EditFileParameters, context: StepContext) -> Json:
    path = parameters.path
    content = read_bytes(context, path, LARGEST_EDITED)
    kept = context.resume
    if isinstance(kept, dict) and kept.get("sha256") == _digest(content):
        return {"path": path, "bytes": len(content), "replaced": kept.get("replaced")}
    find, new = encoded(parameters.find, path), encoded(parameters.replace, path)
    count = content.count(find)
    _check_count(parameters, count)
    changed = content.replace(find, new)
    # An attempt after this one finds what this one has done, should nobody learn that it ended.
    context.heartbeat({"sha256": _digest(changed), "replaced": count})
    replace(context, path, changed, create_parents=False)
    return {"path": path, "bytes": len(changed), "replaced": count}


def _check_count(parameters: EditFileParameters, count: int) -> None:
    """Raises `StepFailed` (logic) unless the text is there as often as it has to be."""
    if not count:
        hint = "it has to be the same to the letter, with its spaces and line ends"
        raise StepFailed(f"{parameters.path}: the text to replace is not there", Category.LOGIC, hint=hint)
    if count > 1 and not parameters.every:
        hint = "give more of the lines around it, or say `every: true`"
        raise StepFailed(
            f"{parameters.path}: the text to replace is there {count} times", Category.LOGIC, hint=hint
        )


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


# --- copy and move --------------------------------------------------------------------------------


class TransferParameters(Arguments):
    """Which file, and where to."""

    path: str = Field(description="A file under the root")
    to: str = Field(description="Its new place under the root: a file, not a directory")
    overwrite: bool = Field(default=False, description="Replace a file that is there already")
    create_parents: bool = Field(default=True, description="Make missing directories")


class CopyFile(FileTool[TransferParameters]):
    """Copies a file, whole or not at all."""

    name = "copy-file"
    repeatable = True
    parameters = TransferParameters

    async def execute(self, parameters: TransferParameters, context: StepContext) -> Json:
        """Returns `path`, which is the copy's, `from` and `bytes`. Raises `StepFailed`."""
        return await in_thread(_copy, parameters, context)


class MoveFile(FileTool[TransferParameters]):
    """Moves a file, or gives it another name."""

    name = "move-file"
    repeatable = True
    parameters = TransferParameters

    async def execute(self, parameters: TransferParameters, context: StepContext) -> Json:
        """Returns the new `path`, `from` and `bytes`. Raises `StepFailed`."""
        return await in_thread(_move, parameters, context)


def _copy(parameters: TransferParameters, context: StepContext) -> Json:
    remember(context, parameters.to)
    with open(open_file(context.root, parameters.path), "rb") as file:
        size = os.fstat(file.fileno()).st_size
        with _target(parameters, context) as target:
            _copy_into(file, target, parameters)
    return {"path": parameters.to, "from": parameters.path, "bytes": size}


def _copy_into(file: BinaryIO, target: _Place, parameters: TransferParameters) -> None:
    """Fills the place with what the file has. Raises `StepFailed` or `OSError`."""
    told = os.fstat(file.fileno())
    mode_of(*target, parameters.to)
    if _is(told, *target):
        raise _is_itself(parameters)
    check_room(target[0], told.st_size, parameters.to)
    try:
        put(*target, partial(_fill, file), stat.S_IMODE(told.st_mode), overwrite=parameters.overwrite)
    except FileExistsError:
        # An attempt before this one may have made it, of which nobody learned.
        if not _has_same_content(file, target, parameters.to):
            raise _is_there(parameters) from None


def _fill(source: BinaryIO, target: BinaryIO) -> None:
    """Copies what there is, as long as somebody waits for it."""
    while part := source.read(_PART):
        check_wanted()
        target.write(part)


def _move(parameters: TransferParameters, context: StepContext) -> Json:
    """Moves it by name, so that it is in one place at least whenever somebody looks."""
    path, to = parameters.path, parameters.to
    remember(context, path)
    remember(context, to)
    with _parent(context, path) as source, _target(parameters, context) as target:
        told = _told(*source)
        if told is None:
            return _moved_before(parameters, context, target)
        mode_of(*source, path)
        mode_of(*target, to)
        context.heartbeat({"inode": told.st_ino})
        if not _is(told, *target):
            _rename(parameters, source, target)
        elif _is_one_place(source, target):
            raise _is_itself(parameters)
        _remove(*source)
        os.fsync(target[0])
    return {"path": to, "from": path, "bytes": told.st_size}


def _rename(parameters: TransferParameters, source: _Place, target: _Place) -> None:
    """Gives a file another name; the old one may be there still. Raises `StepFailed` or `OSError`."""
    directories = {"src_dir_fd": source[0], "dst_dir_fd": target[0]}
    try:
        if parameters.overwrite:
            os.rename(source[1], target[1], **directories)
        else:  # renaming would replace what another program made a moment ago
            os.link(source[1], target[1], **directories, follow_symlinks=False)
    except FileExistsError:
        raise _is_there(parameters) from None
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        with open(open_regular(*source, parameters.path, os.O_RDONLY), "rb") as file:
            _copy_into(file, target, parameters)


def _moved_before(parameters: TransferParameters, context: StepContext, target: _Place) -> Json:
    """Returns what an attempt before this one did, of which nobody learned. Raises `StepFailed`."""
    kept, told = context.resume, _told(*target)
    if told is None or not isinstance(kept, dict) or kept.get("inode") != told.st_ino:
        raise StepFailed(f"{parameters.path}: no such file or directory", Category.LOGIC)
    return {"path": parameters.to, "from": parameters.path, "bytes": told.st_size}


@contextmanager
def _parent(context: StepContext, path: str, *, create: bool = False) -> Iterator[_Place]:
    with parent_directory(context.root, path, create=create) as place, reporting(path):
        yield place


def _target(parameters: TransferParameters, context: StepContext) -> AbstractContextManager[_Place]:
    return _parent(context, parameters.to, create=parameters.create_parents)


def _told(parent: int, name: str) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _is(told: os.stat_result, parent: int, name: str) -> bool:
    """Whether the file that was looked at is the one of this name."""
    found = _told(parent, name)
    return found is not None and os.path.samestat(told, found)


def _is_one_place(one: _Place, other: _Place) -> bool:
    return one[1] == other[1] and os.path.samestat(os.fstat(one[0]), os.fstat(other[0]))


def _has_same_content(file: BinaryIO, place: _Place, path: str) -> bool:
    file.seek(0)
    with open(open_regular(*place, path, os.O_RDONLY), "rb") as other:
        while part := file.read(_PART):
            if other.read(len(part)) != part:
                return False
        return not other.read(1)


def _remove(parent: int, name: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=parent)
    os.fsync(parent)


def _is_there(parameters: TransferParameters) -> StepFailed:
    hint = "say `overwrite: true` to replace it"
    return StepFailed(f"{parameters.to}: there is a file already", Category.LOGIC, hint=hint)


def _is_itself(parameters: TransferParameters) -> StepFailed:
    return StepFailed(f"{parameters.path} and {parameters.to} are one file", Category.CONFIGURATION)


# --- delete ---------------------------------------------------------------------------------------


class DeleteFileParameters(Arguments):
    """Which file."""

    path: str = Field(description="A file under the root")
    must_exist: bool = Field(default=False, description="Fail if there is none")


class DeleteFile(FileTool[DeleteFileParameters]):
    """Deletes a file. Directories stay, and links are refused."""

    name = "delete-file"
    repeatable = True
    parameters = DeleteFileParameters

    async def execute(self, parameters: DeleteFileParameters, context: StepContext) -> Json:
        """Returns `path` and whether anything was `deleted`. Raises `StepFailed`."""
        return await in_thread(_delete, parameters, context)


def _delete(parameters: DeleteFileParameters, context: StepContext) -> Json:
    path = parameters.path
    remember(context, path)
    with _parent(context, path) as place:
        is_there = mode_of(*place, path) is not None
        deleted_before = isinstance(context.resume, dict) and bool(context.resume.get("deletes"))
        if not is_there and parameters.must_exist and not deleted_before:
            raise StepFailed(f"{path}: no such file or directory", Category.LOGIC)
        context.heartbeat({"deletes": is_there or deleted_before})
        _remove(*place)
    return {"path": path, "deleted": is_there or deleted_before}
