import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import replace as changed
from pathlib import Path
from typing import Any

import pytest

from taskmark.contracts import ADAPTER_LIMIT
from taskmark.errors import Category, StepFailed
from taskmark.ports import StepContext
from taskmark.tools import files
from taskmark.tools.files import ReadFile, WriteFile

Call = Callable[..., Awaitable[Any]]


async def test_what_is_written_is_read(root: Path, call: Call) -> None:
    """Directories on the way are made, and bytes are counted, not characters."""
    assert await call(WriteFile(), path="a/b.txt", content="grün") == {"path": "a/b.txt", "bytes": 5}
    assert await call(ReadFile(), path="a/b.txt") == {"path": "a/b.txt", "content": "grün", "bytes": 5}
    assert await call(ReadFile(), path=str(root / "a/b.txt")) == {
        "path": str(root / "a/b.txt"),
        "content": "grün",
        "bytes": 5,
    }


async def test_values_are_written_as_json(root: Path, call: Call) -> None:
    """Text stays as it is."""
    for content, text in (({"a": [1]}, '{\n  "a": [\n    1\n  ]\n}'), (5, "5"), (True, "true"), ("5", "5")):
        await call(WriteFile(), path="v", content=content)
        assert (root / "v").read_text() == text


async def test_writing_the_same_again_changes_nothing(root: Path, call: Call) -> None:
    for _ in range(2):
        await call(WriteFile(), path="v", content="same")
    assert [entry.name for entry in root.iterdir()] == ["v"]
    assert (root / "v").read_text() == "same"


async def test_a_replaced_file_keeps_its_mode_and_a_new_one_gets_the_usual(root: Path, call: Call) -> None:
    (root / "script").write_text("old")
    (root / "script").chmod(0o750)
    (root / "plain").touch()
    for name in ("script", "new"):
        await call(WriteFile(), path=name, content="x")
    assert (root / "script").stat().st_mode & 0o777 == 0o750
    assert (root / "new").stat().st_mode == (root / "plain").stat().st_mode


async def test_parents_are_not_made_when_not_wanted(call: Call) -> None:
    with pytest.raises(StepFailed, match="no such file") as caught:
        await call(WriteFile(), path="a/b", content="", createParents=False)
    assert caught.value.category is Category.LOGIC


async def test_links_and_directories_are_not_replaced(root: Path, call: Call) -> None:
    (root / "dir").mkdir()
    (root / "link").symlink_to("dir")
    for name, reason in (("dir", "not a regular file"), ("link", "a link")):
        with pytest.raises(StepFailed, match=reason):
            await call(WriteFile(), path=name, content="x")


@pytest.mark.parametrize("failing", ["fsync", "rename", "fchmod", "open"])
async def test_a_write_that_fails_anywhere_leaves_the_old_content(
    failing: str, root: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing half-written beside it."""
    (root / "v").write_text("old")
    real = os.open

    def full(*args: Any, **kwargs: Any) -> Any:
        if failing == "open" and args[1] & os.O_CREAT == 0:
            return real(*args, **kwargs)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, failing, full)
    with pytest.raises(StepFailed, match="v: no space left") as caught:
        await call(WriteFile(), path="v", content="new")
    monkeypatch.undo()
    assert caught.value.category is Category.RESOURCE
    assert (root / "v").read_text() == "old"
    assert [entry.name for entry in root.iterdir()] == ["v"]


async def test_readers_see_old_or_new_content_never_a_mixture(root: Path, call: Call) -> None:
    contents = {letter * 50_000 for letter in "ab"}
    await call(WriteFile(), path="v", content="a" * 50_000)

    async def write() -> None:
        for turn in range(20):
            await call(WriteFile(), path="v", content="ab"[turn % 2] * 50_000)

    writing = asyncio.ensure_future(write())
    while not writing.done():
        assert (await call(ReadFile(), path="v"))["content"] in contents
    await writing


async def test_appending_adds_to_the_end(root: Path, call: Call) -> None:
    for line in ("a\n", "b\n"):
        await call(WriteFile(), path="log/x", content=line, append=True)
    assert (root / "log/x").read_text() == "a\nb\n"


async def test_parallel_appends_lose_nothing(root: Path, call: Call) -> None:
    await asyncio.gather(*(call(WriteFile(), path="log", content=f"{n}\n", append=True) for n in range(30)))
    assert sorted(int(line) for line in (root / "log").read_text().split()) == list(range(30))


async def test_an_attempt_that_was_lost_after_appending_does_not_append_twice(
    root: Path, context: StepContext
) -> None:
    """The place is kept as heartbeat before anything is written."""
    kept: list[Any] = []
    parameters = WriteFile().validate({"path": "log", "content": "b\n", "append": True})
    (root / "log").write_text("a\n")
    await WriteFile().execute(parameters, changed(context, heartbeat=kept.append))
    assert kept == [{"offset": 2}]
    (root / "log").write_text("a\nb\nc\n")
    await WriteFile().execute(parameters, changed(context, resume=kept[0]))
    assert (root / "log").read_text() == "a\nb\nc\n"
    (root / "log").write_text("a\nc\n")
    await WriteFile().execute(parameters, changed(context, resume=kept[0]))
    assert (root / "log").read_text() == "a\nc\nb\n"


async def test_a_file_with_a_second_name_is_not_appended_to(root: Path, call: Call) -> None:
    """The other name may be outside the root; replacing leaves the other name alone."""
    (root.parent / "outside").write_text("keep")
    os.link(root.parent / "outside", root / "hard")
    with pytest.raises(StepFailed, match="hard links"):
        await call(WriteFile(), path="hard", content="x", append=True)
    await call(WriteFile(), path="hard", content="x")
    assert (root.parent / "outside").read_text() == "keep"


async def test_files_that_are_too_large_or_no_text_are_refused(root: Path, call: Call) -> None:
    (root / "large").write_text("x" * (ADAPTER_LIMIT + 1))
    (root / "wide").write_text("\1" * (ADAPTER_LIMIT // 2))
    (root / "binary").write_bytes(b"ab\xff")
    for name, category in (
        ("large", Category.RESOURCE),
        ("wide", Category.RESOURCE),
        ("binary", Category.LOGIC),
    ):
        with pytest.raises(StepFailed, match=name) as caught:
            await call(ReadFile(), path=name)
        assert caught.value.category is category
        assert caught.value.hint


async def test_a_byte_order_mark_is_no_content(root: Path, call: Call) -> None:
    (root / "v").write_bytes(b"\xef\xbb\xbfx")
    assert (await call(ReadFile(), path="v"))["content"] == "x"


async def test_files_are_healthy_only_where_the_root_can_be_guarded(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (await ReadFile().health_check()).healthy
    assert (await WriteFile().health_check()).healthy
    monkeypatch.setattr(files.os, "supports_dir_fd", set())
    health = await WriteFile().health_check()
    assert not health.healthy
    assert health.hint


def test_durations_are_estimated() -> None:
    assert 0 < ReadFile().estimate_duration(ReadFile().validate({"path": "a"})) < 1
    assert 0 < WriteFile().estimate_duration(WriteFile().validate({"path": "a", "content": ""})) < 1
