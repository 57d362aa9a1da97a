"""Whatever a path says and whoever moves things meanwhile, nothing outside the root is read or changed."""

from __future__ import annotations

import io
import os
import shutil
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace as changed
from pathlib import Path
from typing import Any

import pytest
from hostile_paths import OUTSIDE, corpus, make_outside, seen_outside, set_back

from taskmark.errors import Category, StepFailed
from taskmark.ports import StepContext, Tool
from taskmark.tools import files
from taskmark.tools.documents import ReadJson
from taskmark.tools.files import ReadFile, WriteFile
from taskmark.tools.filing import CopyFile, DeleteFile, EditFile, MoveFile
from taskmark.tools.functions import Python
from taskmark.tools.listing import ListFiles
from taskmark.tools.search import SearchFiles
from taskmark.tools.shell import Shell
from taskmark.tools.sql import Sql, SqlWrite
from taskmark.tools.tables import ReadCsv

Call = Callable[..., Awaitable[Any]]
Use = tuple[Tool[Any], dict[str, Any]]

FROM: list[Use] = [
    (ReadFile(), {}),
    (ReadCsv(), {}),
    (ReadJson(), {}),
    (ListFiles(), {}),
    (WriteFile(), {"content": "x"}),
    (WriteFile(), {"content": "x", "append": True}),
    (EditFile(), {"find": OUTSIDE, "replace": "x"}),
    (CopyFile(), {"to": "copy", "overwrite": True}),
    (MoveFile(), {"to": "moved", "overwrite": True}),
    (DeleteFile(), {}),
]
"""Tools that take the path as the one they work on, with the rest of what they need."""
TO: list[Use] = [(tool(), {"path": "ours", "overwrite": True}) for tool in (CopyFile, MoveFile)]
"""Those that take it as the one they work towards."""
STARTED: list[tuple[Tool[Any], str, dict[str, Any]]] = [
    (SearchFiles(), "path", {"pattern": "."}),
    (Shell(), "cwd", {"command": ["cat", "secret"], "allowFailure": True}),
    (Python(), "function", {}),
    (Sql({"notes": "sqlite:///notes.db"}), "database", {"query": "SELECT 1"}),
    (SqlWrite({"notes": "sqlite:///notes.db"}), "database", {"query": "DELETE FROM x"}),
]
"""Those that start something; they are asked only of what they have to refuse."""


@pytest.fixture
def outside(root: Path) -> Path:
    return make_outside(root)


@contextmanager
def untouched(outside: Path) -> Iterator[None]:
    """Fails if anything outside was read, changed, made or removed meanwhile."""
    set_back(outside)
    before = seen_outside(outside)
    yield
    assert seen_outside(outside) == before
    assert sorted(entry.name for entry in outside.parent.iterdir()) == ["outside", "root"]


async def outcome(work: Awaitable[Any]) -> Any:
    """Returns what a call returns, or which kind of final failure it is: none of these may pass by itself."""
    try:
        return await work
    except StepFailed as error:
        final = {Category.CONFIGURATION: 1, Category.LOGIC: 2, Category.PERMISSION: 3}
        return final[error.category], error.message.replace(OUTSIDE, "")


async def test_no_path_of_the_corpus_is_read_or_changed_outside(
    root: Path, outside: Path, call: Call
) -> None:
    """By any tool that touches files, as the path that it works on or towards."""
    paths = corpus(root, outside)
    assert len(paths) >= 500
    with untouched(outside):
        for path in paths:
            for tool, more in FROM:
                assert OUTSIDE not in str(await outcome(call(tool, path=path, **more))), (tool.name, path)
            (root / "ours").write_text("x")
            for tool, more in TO:
                assert OUTSIDE not in str(await outcome(call(tool, to=path, **more))), (tool.name, path)


async def test_no_path_of_the_corpus_is_where_something_starts(root: Path, outside: Path, call: Call) -> None:
    """Neither a search, nor a program, nor a module, nor a database."""
    refused = [path for path in corpus(root, outside) if not _is_inside(root, path)]
    assert len(refused) >= 300
    with untouched(outside):
        for path in refused:
            for tool, name, more in STARTED:
                seen = await outcome(call(tool, **{name: path}, **more))
                assert seen[0] in (1, 2), (tool.name, path, seen)


def _is_inside(root: Path, path: str) -> bool:
    """Whether there is such a file or directory in the root, without links: nobody has to refuse it."""
    try:
        plain = Path(os.path.normpath(root / path))
        return plain.resolve() == plain and plain.is_relative_to(root) and plain.exists()
    except (OSError, ValueError, RuntimeError):  # a loop of links is a RuntimeError
        return False


async def test_a_second_name_of_a_file_outside_is_no_way_to_change_it(
    root: Path, outside: Path, call: Call
) -> None:
    """A hard link is a file of the root, and can be read; but what is written takes the place of the name."""
    for tool, more in (*FROM[4:], *TO):
        with suppress(FileNotFoundError):
            (root / "ours").unlink()
        (root / "ours").write_text("x")
        with suppress(FileNotFoundError):
            (root / "hard").unlink()
        os.link(outside / "secret", root / "hard")
        key = "to" if "path" in more else "path"
        await outcome(call(tool, **{key: "hard"}, **more))
        assert (outside / "secret").read_text() == OUTSIDE, (tool.name, more)


@pytest.mark.parametrize(
    ("swaps", "rounds"), [(500, 50), pytest.param(10_000, 5_000, marks=pytest.mark.soak)]
)
@pytest.mark.parametrize("what", ["folder", "file"])
async def test_nobody_is_led_out_while_something_is_swapped_for_a_link(
    what: str, swaps: int, rounds: int, root: Path, outside: Path, context: StepContext
) -> None:
    """Each tool meets what is in the root, or fails; and it does meet it."""
    spot = root / "spot"
    spot.mkdir()
    name = "spot" if what == "folder" else "spot/secret"
    (root / "other").symlink_to(outside if what == "folder" else outside / "secret")
    _fill(spot)
    with untouched(outside):
        met = done = 0
        with _swapping(root / name, root / "other", root / "away") as swapped:
            end = time.monotonic() + (60 if rounds < 1000 else 3600)
            while swapped[0] < swaps or done < rounds or met < rounds:
                assert time.monotonic() < end, (swapped, done, met)
                met += await _meet_all(context, spot)
                done += 1
        print(f"{swapped[0]} swaps, every tool {done} times, {met} times something was met")
        for made in ("copy", "moved"):
            found = root / made
            assert not found.is_file() or found.is_symlink() or found.read_text() != OUTSIDE


def _fill(spot: Path) -> None:
    for file in ("secret", "table.csv", "data.json"):
        with suppress(OSError):
            if not (spot / file).exists():
                (spot / file).write_text("inside")


async def _meet_all(context: StepContext, spot: Path) -> int:
    """Uses each tool once; returns how many of them met what is inside."""
    met = 0
    for tool, more in FROM:
        given = {"path": "spot" if tool.name == "list-files" else "spot/secret", **more}
        met += await _meets(tool, given, context)
    for tool, more in TO:
        (context.root / "ours").write_text("inside")
        met += await _meets(tool, {"to": "spot/secret", **more}, context)
    if spot.is_dir() and not spot.is_symlink():
        _fill_within(spot)
    return met


def _fill_within(spot: Path) -> None:
    """Puts back what was deleted or moved away, through the directory itself whatever it is called by now."""
    with suppress(OSError):
        descriptor = os.open(spot, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
            os.close(os.open("secret", flags, 0o600, dir_fd=descriptor))
        finally:
            os.close(descriptor)


async def _meets(tool: Tool[Any], given: dict[str, Any], context: StepContext) -> bool:
    """Whether the call succeeds; what it finds is never what is outside."""
    try:
        output = await tool.execute(tool.validate(given), changed(context, resume=None))
    except StepFailed:
        return False
    assert OUTSIDE not in str(output), tool.name
    return True


@contextmanager
def _swapping(real: Path, link: Path, away: Path) -> Iterator[list[int]]:
    """Swaps a directory or file for a link and back, all the time, and counts how often."""
    stopped, count, target = threading.Event(), [0], link.readlink()

    def swap() -> None:
        while not stopped.is_set():
            if not link.is_symlink():  # a tool has moved, replaced or deleted the link itself
                _remove(link)
                link.symlink_to(target)
            with suppress(OSError):
                os.rename(real, away)
                os.rename(link, real)
                os.rename(real, link)
            _put_back(away, real)
            count[0] += 1

    swapper = threading.Thread(target=swap)
    swapper.start()
    try:
        yield count
    finally:
        stopped.set()
        swapper.join()


def _put_back(away: Path, real: Path) -> None:
    """Also where a tool has made something in the meantime, which it may do."""
    if os.path.lexists(away):
        _remove(real)
        with suppress(OSError):
            os.rename(away, real)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


# --- faults while writing -------------------------------------------------------------------------

OLD, NEW = "old " * 50_000, "new " * 60_000
CALLS = ("open", "close", "fsync", "rename", "link", "unlink", "fchmod", "stat", "fstat", "fstatvfs", "mkdir")
CALLS = (*CALLS, "write", "pread", "ftruncate")


class Faults:
    """Makes the n-th call of the system fail, as a full or broken disk does."""

    def __init__(self, nth: int, number: int) -> None:
        self.left, self.number = nth, number
        self.hit = ""

    def patch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in CALLS:
            monkeypatch.setattr(os, name, self._counted(name, getattr(os, name)))

    def _counted(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            self.left -= 1
            if self.left != 0:
                return real(*args, **options)
            self.hit = name
            if name == "close":
                real(*args, **options)
            if name == "write":  # a disk that is full takes some of it first
                real(args[0], bytes(args[1])[: len(args[1]) // 2])
            raise OSError(self.number, os.strerror(self.number))

        return call


class Counted(io.FileIO):
    """Writes by a call of the system that can be made to fail."""

    def write(self, part: Any) -> int:
        return os.write(self.fileno(), part)


def opened(descriptor: int, mode: str, **more: Any) -> Any:
    return io.BufferedWriter(Counted(descriptor, "wb")) if mode == "wb" else open(descriptor, mode, **more)


@pytest.mark.parametrize("number", [28, 5], ids=["full", "broken"])
@pytest.mark.parametrize("append", [False, True], ids=["replace", "append"])
async def test_a_fault_at_any_call_of_the_system_leaves_old_or_new(
    append: bool, number: int, root: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never a mixture, and beside it nothing but what could not be removed."""
    after = OLD + NEW if append else NEW
    for nth in range(1, 100):
        (root / "v").write_text(OLD)
        faults = Faults(nth, number)
        with monkeypatch.context() as patched:
            faults.patch(patched)
            patched.setattr(files, "open", opened, raising=False)
            with suppress(StepFailed, OSError):
                await call(WriteFile(), path="v", content=NEW, append=append)
        assert (root / "v").read_text() in (OLD, after), (nth, faults.hit)
        left = [entry for entry in root.iterdir() if entry.name != "v"]
        assert not left or faults.hit == "unlink", (nth, faults.hit)
        for entry in left:
            entry.unlink()
        if faults.left > 0:
            break
    assert nth > 5
    assert (root / "v").read_text() == after


async def test_what_was_lost_in_the_middle_of_appending_is_ended_by_the_next_attempt(
    root: Path, context: StepContext
) -> None:
    """It goes on after what is there, unless somebody else has written after it."""
    parameters = WriteFile().validate({"path": "log", "content": "bcd\n", "append": True})
    for there, after in (
        ("a\n", "a\nbcd\n"),
        ("a\nb", "a\nbcd\n"),
        ("a\nbcd", "a\nbcd\n"),
        ("a\nbcd\n", "a\nbcd\n"),
        ("a\nbX\n", "a\nbX\nbcd\n"),
        ("", "bcd\n"),
    ):
        (root / "log").write_text(there)
        await WriteFile().execute(parameters, changed(context, resume={"offset": 2}))
        assert (root / "log").read_text() == after


async def test_what_no_file_can_hold_as_text_is_refused(root: Path, call: Call) -> None:
    (root / "v").write_text("x")
    for tool, given in (
        (WriteFile(), {"content": "\ud800"}),
        (EditFile(), {"find": "x", "replace": "\ud800"}),
    ):
        with pytest.raises(StepFailed, match="no text that can be written") as caught:
            await call(tool, path="v", **given)
        assert caught.value.category is Category.LOGIC
    assert (root / "v").read_text() == "x"
