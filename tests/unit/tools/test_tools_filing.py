"""Files are edited, copied, moved and deleted: whole or not at all, once, and only under the root."""

from __future__ import annotations

import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace as changed
from pathlib import Path
from typing import Any

import pytest

from taskmark.errors import Category, StepFailed
from taskmark.ports import StepContext, Tool
from taskmark.tools import filing
from taskmark.tools.filing import CopyFile, DeleteFile, EditFile, MoveFile

Call = Callable[..., Awaitable[Any]]
TOUCHING = ("open", "fsync", "rename", "link", "unlink", "fchmod", "stat", "fstat", "fstatvfs", "mkdir")
"""Calls of the system that these tools make, beside those of reading and writing."""


def tree(root: Path) -> dict[str, bytes | None]:
    """Returns everything below a directory."""
    return {str(p.relative_to(root)): p.read_bytes() if p.is_file() else None for p in root.rglob("*")}


# --- edit -----------------------------------------------------------------------------------------


async def test_a_text_is_replaced_to_the_letter(root: Path, call: Call) -> None:
    """Whatever the file's encoding and line ends; its mode stays."""
    (root / "v").write_bytes(b"\xef\xbb\xbfa\r\nold \xe9\r\nb\r\n")
    (root / "v").chmod(0o640)
    assert await call(EditFile(), path="v", find="old", replace="neü") == {
        "path": "v",
        "bytes": 17,
        "replaced": 1,
    }
    assert (root / "v").read_bytes() == b"\xef\xbb\xbfa\r\nne\xc3\xbc \xe9\r\nb\r\n"
    assert (root / "v").stat().st_mode & 0o777 == 0o640


async def test_a_text_must_be_there_exactly_once_unless_every_one_is_meant(root: Path, call: Call) -> None:
    (root / "v").write_text("a b a")
    for find, reason in (("c", "is not there"), ("a", "is there 2 times")):
        with pytest.raises(StepFailed, match=reason) as caught:
            await call(EditFile(), path="v", find=find, replace="x")
        assert caught.value.category is Category.LOGIC
        assert caught.value.hint
    assert (root / "v").read_text() == "a b a"
    assert (await call(EditFile(), path="v", find="a", replace="", every=True))["replaced"] == 2
    assert (root / "v").read_text() == " b "


async def test_an_attempt_that_was_lost_after_editing_does_not_edit_twice(
    root: Path, context: StepContext
) -> None:
    """What it was about to make is kept as heartbeat."""
    kept: list[Any] = []
    parameters = EditFile().validate({"path": "v", "find": "a", "replace": "aa"})
    (root / "v").write_text("a")
    first = await EditFile().execute(parameters, changed(context, heartbeat=kept.append))
    assert await EditFile().execute(parameters, changed(context, resume=kept[0])) == first
    assert (root / "v").read_text() == "aa"
    (root / "v").write_text("b a")  # it had not come to it, and somebody else changed it
    await EditFile().execute(parameters, changed(context, resume=kept[0]))
    assert (root / "v").read_text() == "b aa"


# --- copy and move --------------------------------------------------------------------------------


async def test_a_copy_has_content_and_mode_and_directories_on_the_way_are_made(
    root: Path, call: Call
) -> None:
    (root / "run").write_bytes(b"x" * 3_000_000)
    (root / "run").chmod(0o750)
    assert await call(CopyFile(), path="run", to="a/b/run") == {
        "path": "a/b/run",
        "from": "run",
        "bytes": 3_000_000,
    }
    assert (root / "a/b/run").read_bytes() == (root / "run").read_bytes()
    assert (root / "a/b/run").stat().st_mode & 0o777 == 0o750
    assert len(tree(root)) == 4


async def test_a_moved_file_is_in_its_new_place_only(root: Path, call: Call) -> None:
    (root / "v").write_text("content")
    assert await call(MoveFile(), path="v", to="a/w") == {"path": "a/w", "from": "v", "bytes": 7}
    assert tree(root) == {"a": None, "a/w": b"content"}


@pytest.mark.parametrize("tool", [CopyFile(), MoveFile()], ids=["copy", "move"])
async def test_a_file_that_is_there_is_replaced_only_where_that_is_wanted(
    tool: Tool[Any], root: Path, call: Call
) -> None:
    (root / "v").write_text("new")
    (root / "w").write_text("old")
    with pytest.raises(StepFailed, match="there is a file already") as caught:
        await call(tool, path="v", to="w")
    assert caught.value.category is Category.LOGIC
    assert tree(root) == {"v": b"new", "w": b"old"}
    await call(tool, path="v", to="w", overwrite=True)
    assert (root / "w").read_text() == "new"


@pytest.mark.parametrize("tool", [CopyFile(), MoveFile()], ids=["copy", "move"])
async def test_what_cannot_be_is_refused_and_nothing_is_changed(
    tool: Tool[Any], root: Path, call: Call
) -> None:
    (root / "v").write_text("v")
    (root / "dir").mkdir()
    (root / "link").symlink_to("v")
    before = tree(root)
    for path, to, reason in (
        ("v", "v", "are one file"),
        ("v", "./dir/../v", "are one file"),
        ("nothing", "w", "no such file"),
        ("dir", "w", "not a regular file"),
        ("link", "w", "a link"),
        ("v", "dir", "not a regular file"),
        ("v", "link", "a link"),
        ("v", "../w", "out of the root"),
        ("../v", "w", "out of the root"),
        ("v", "a/.taskmark/w", "belongs to the engine"),
    ):
        with pytest.raises(StepFailed, match=reason):
            await call(tool, path=path, to=to, overwrite=True)
        assert tree(root) == before, (path, to)
    with pytest.raises(StepFailed, match="no such file"):
        await call(tool, path="v", to="a/w", createParents=False)


async def test_copying_again_finds_the_copy(root: Path, call: Call) -> None:
    (root / "v").write_text("v")
    for _ in range(2):
        await call(CopyFile(), path="v", to="w")
    (root / "w").write_text("v and more")
    with pytest.raises(StepFailed, match="there is a file already"):
        await call(CopyFile(), path="v", to="w")


@pytest.mark.parametrize("overwrite", [False, True])
async def test_an_attempt_that_was_lost_after_moving_counts(
    overwrite: bool, root: Path, context: StepContext
) -> None:
    kept: list[Any] = []
    parameters = MoveFile().validate({"path": "v", "to": "w", "overwrite": overwrite})
    (root / "v").write_text("v")
    first = await MoveFile().execute(parameters, changed(context, heartbeat=kept.append))
    assert await MoveFile().execute(parameters, changed(context, resume=kept[0])) == first
    with pytest.raises(StepFailed, match="no such file"):
        await MoveFile().execute(parameters, context)
    assert tree(root) == {"w": b"v"}


async def test_a_move_that_was_lost_between_its_two_names_is_finished(root: Path, call: Call) -> None:
    (root / "v").write_text("v")
    os.link(root / "v", root / "w")
    await call(MoveFile(), path="v", to="w")
    assert tree(root) == {"w": b"v"}


async def test_a_move_to_another_file_system_copies(
    root: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    def elsewhere(*_args: Any, **_options: Any) -> None:
        raise OSError(18, "Invalid cross-device link")

    link, rename = os.link, os.rename
    monkeypatch.setattr(os, "link", lambda old, *a, **o: (elsewhere if old == "v" else link)(old, *a, **o))
    monkeypatch.setattr(
        os, "rename", lambda old, *a, **o: (elsewhere if old == "v" else rename)(old, *a, **o)
    )
    for overwrite in (False, True):
        (root / "v").write_text(f"v{overwrite}")
        await call(MoveFile(), path="v", to="w", overwrite=overwrite)
        assert tree(root) == {"w": f"v{overwrite}".encode()}


async def test_what_does_not_fit_is_not_begun(
    root: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full:
        f_bavail, f_frsize = 2, 1

    (root / "v").write_text("abc")
    monkeypatch.setattr(os, "fstatvfs", lambda _: Full)
    for tool, more in ((CopyFile(), {"to": "w"}), (EditFile(), {"find": "b", "replace": "bbb"})):
        with pytest.raises(StepFailed, match="bytes do not fit into 2 that are free") as caught:
            await call(tool, path="v", **more)
        assert caught.value.category is Category.RESOURCE
    assert tree(root) == {"v": b"abc"}


# --- delete ---------------------------------------------------------------------------------------


async def test_a_file_is_deleted_and_may_be_gone_already(root: Path, call: Call) -> None:
    (root / "v").write_text("v")
    assert await call(DeleteFile(), path="v") == {"path": "v", "deleted": True}
    assert await call(DeleteFile(), path="v") == {"path": "v", "deleted": False}
    with pytest.raises(StepFailed, match="no such file") as caught:
        await call(DeleteFile(), path="v", mustExist=True)
    assert caught.value.category is Category.LOGIC


async def test_an_attempt_that_was_lost_after_deleting_counts(root: Path, context: StepContext) -> None:
    kept: list[Any] = []
    parameters = DeleteFile().validate({"path": "v", "mustExist": True})
    (root / "v").write_text("v")
    first = await DeleteFile().execute(parameters, changed(context, heartbeat=kept.append))
    assert await DeleteFile().execute(parameters, changed(context, resume=kept[0])) == first


async def test_an_attempt_that_was_lost_though_it_had_nothing_to_delete_deleted_nothing(
    context: StepContext,
) -> None:
    kept: list[Any] = []
    parameters = DeleteFile().validate({"path": "v"})
    first = await DeleteFile().execute(parameters, changed(context, heartbeat=kept.append))
    assert await DeleteFile().execute(parameters, changed(context, resume=kept[0])) == first
    assert first == {"path": "v", "deleted": False}


async def test_directories_and_links_stay(root: Path, call: Call) -> None:
    (root / "dir").mkdir()
    (root / "link").symlink_to("dir")
    for path in ("dir", "link", "dir/..", "../root"):
        with pytest.raises(StepFailed):
            await call(DeleteFile(), path=path)
    assert sorted(os.listdir(root)) == ["dir", "link"]


# --- whatever fails -------------------------------------------------------------------------------

OLD, NEW = b"one old two", b"one new two"
WORKS: dict[str, tuple[Callable[[StepContext], Any], list[dict[str, bytes]]]] = {
    "edit": (
        lambda context: filing._edit(
            EditFile().validate({"path": "v", "find": "old", "replace": "new"}), context
        ),
        [{"v": OLD, "there": b"t"}, {"v": NEW, "there": b"t"}],
    ),
    "copy": (
        lambda context: filing._copy(CopyFile().validate({"path": "v", "to": "w"}), context),
        [{"v": OLD, "there": b"t"}, {"v": OLD, "w": OLD, "there": b"t"}],
    ),
    "copy over": (
        lambda context: filing._copy(
            CopyFile().validate({"path": "v", "to": "there", "overwrite": True}), context
        ),
        [{"v": OLD, "there": b"t"}, {"v": OLD, "there": OLD}],
    ),
    "move": (
        lambda context: filing._move(MoveFile().validate({"path": "v", "to": "w"}), context),
        [{"v": OLD, "there": b"t"}, {"v": OLD, "w": OLD, "there": b"t"}, {"w": OLD, "there": b"t"}],
    ),
    "move over": (
        lambda context: filing._move(
            MoveFile().validate({"path": "v", "to": "there", "overwrite": True}), context
        ),
        [{"v": OLD, "there": b"t"}, {"there": OLD}],
    ),
    "delete": (
        lambda context: filing._delete(DeleteFile().validate({"path": "v"}), context),
        [{"v": OLD, "there": b"t"}, {"there": b"t"}],
    ),
}


class Faults:
    """Makes the n-th call of the system fail, or end the process."""

    def __init__(self, nth: int, fail: Callable[[], object]) -> None:
        self.left, self._fail = nth, fail
        self.hit = ""
        """What failed."""

    def patch(self, set_to: Callable[[str, Any], None]) -> None:
        for name in TOUCHING:
            set_to(name, self._counted(name, getattr(os, name)))

    def _counted(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            self.left -= 1
            if self.left == 0:
                self.hit = name
                self._fail()
            return real(*args, **options)

        return call


def fail() -> None:
    raise OSError(5, "Input/output error")


def without_parts(root: Path) -> dict[str, bytes | None]:
    """Returns everything but what had been begun to be written."""
    return {name: content for name, content in tree(root).items() if not name.endswith(".tmp")}


def prepared(root: Path) -> None:
    for file in root.iterdir():
        file.unlink()
    (root / "v").write_bytes(OLD)
    (root / "there").write_bytes(b"t")


@pytest.mark.parametrize("work", WORKS)
def test_a_fault_at_any_call_of_the_system_leaves_old_or_new_never_a_mixture(
    work: str, root: Path, context: StepContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing half-written beside it, unless that is what cannot be removed."""
    act, allowed = WORKS[work]
    for nth in range(1, 100):
        prepared(root)
        faults = Faults(nth, fail)
        with monkeypatch.context() as patched:
            faults.patch(lambda name, value, to=patched: to.setattr(os, name, value))  # type: ignore[misc] # a default binds it
            with suppress(StepFailed, OSError):
                act(context)
        found = tree(root) if faults.hit != "unlink" else without_parts(root)
        assert found in allowed, (nth, faults.hit)
        if faults.left > 0:
            break
    assert nth > 3
    assert tree(root) == allowed[-1]


@pytest.mark.parametrize("work", WORKS)
def test_a_process_that_dies_at_any_call_leaves_old_or_new_and_the_next_attempt_ends_it(
    work: str, root: Path, context: StepContext
) -> None:
    """What it had begun to write may be left beside, under a name of its own."""
    act, allowed = WORKS[work]
    for nth in range(1, 100):
        prepared(root)
        said, code = _in_a_child(act, context, nth)
        assert without_parts(root) in allowed, nth
        act(changed(context, resume=said))
        assert without_parts(root) == allowed[-1], nth
        if not code:
            break
    assert nth > 3


def _in_a_child(act: Callable[[StepContext], Any], context: StepContext, nth: int) -> tuple[Any, int]:
    """Returns what it told last with its heartbeat, and how it ended."""
    reads, writes = os.pipe()
    child = os.fork()
    if not child:
        tells = changed(context, heartbeat=lambda details: os.write(writes, f"{details!r}\n".encode()))
        Faults(nth, lambda: os.kill(os.getpid(), signal.SIGKILL)).patch(
            lambda name, to: setattr(os, name, to)
        )
        act(tells)
        os._exit(0)
    os.close(writes)
    with open(reads, encoding="utf-8") as told:
        said = told.read().splitlines()
    return (eval(said[-1]) if said else None), os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
