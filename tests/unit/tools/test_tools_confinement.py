"""Whatever a path says, nothing outside the root is read or written."""

import os
import socket
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from taskmark.errors import Category, StepFailed
from taskmark.ports import StepContext
from taskmark.tools.confinement import components, directory, open_file, parent_directory, reporting
from taskmark.tools.files import ReadFile, WriteFile, read_bytes, replace
from taskmark.tools.listing import ListFiles

OUTSIDE = "OUTSIDE"
Call = Callable[..., Awaitable[Any]]


@pytest.fixture
def outside(root: Path) -> Path:
    """A directory beside the root, and every kind of link that leads there."""
    outside = root.parent / "outside"
    outside.mkdir()
    (outside / "secret").write_text(OUTSIDE)
    (outside / OUTSIDE).write_text("a name that no listing may show")
    (root / "inside").mkdir()
    (root / "inside" / "file").write_text("inside")
    (root / "link").symlink_to(outside)
    (root / "relative").symlink_to("../outside")
    (root / "file-link").symlink_to(outside / "secret")
    (root / "dangling").symlink_to(outside / "new")
    (root / "loop").symlink_to("loop")
    (root / "chain1").symlink_to("chain2")
    (root / "chain2").symlink_to("link")
    (root / "inside" / "up").symlink_to("..")
    (root / "inner").symlink_to("inside")
    (root / "proc").symlink_to("/proc/self/root")
    return outside


def corpus(root: Path, outside: Path) -> list[str]:
    """Returns more than 300 paths that try to get out."""
    targets = ["secret", "new", "", ".", "deep/new", "../outside/secret"]
    links = [
        "link",
        "relative",
        "chain1",
        "chain2",
        "inside/up/link",
        "inner/up/relative",
        "loop",
        "proc",
        "dangling",
    ]
    climbs = [
        "..",
        "../..",
        "inside/../..",
        "./..",
        "..//..",
        "inside/./../..",
        "inside/up/..",
        "a/b/../../..",
    ]
    wraps = ["{}", "./{}", "{}/", ".//{}", "inside/../{}"]
    absolute = [
        str(outside),
        "/proc/self/root" + str(outside),
        f"{root}/../outside",
        f"//{outside}",
        f"{root}-x",
    ]
    absolute += [f"/proc/self/cwd/{outside}", f"/dev/fd/0/../{outside}", f"{root}x/../../outside", "/"]
    found = [wrap.format(f"{link}/{target}") for wrap in wraps for link in links for target in targets]
    found += [f"{climb}/outside/{target}" for climb in climbs for target in targets]
    found += [f"{place}/{target}" for place in absolute for target in targets]
    found += [
        "file-link",
        "inside/\0/secret",
        "\0",
        "secret\0.txt",
        "",
        "..",
        "~/secret",
        "..\\outside\\secret",
    ]
    found += [
        "․․/outside/secret",
        "..%2foutside",
        "‥/outside/secret",
        "\udc80/../../outside",
        "\ud800",
        "x" * 5000,
    ]
    found += [
        "x" * 300,
        "/".join(["d"] * 2100),
        "/etc/passwd",
        "/dev/stdin",
        "/dev/fd/0",
        "/proc/self/environ",
    ]
    return found


async def outcome(work: Awaitable[Any]) -> Any:
    """Returns what a call returns, or which kind of final failure it is."""
    try:
        return await work
    except StepFailed as error:
        return {Category.CONFIGURATION: 1, Category.LOGIC: 2, Category.PERMISSION: 3}[error.category]


async def test_no_path_of_the_corpus_reads_or_writes_outside(root: Path, outside: Path, call: Call) -> None:
    """Each path is read, written, appended to and listed; what is outside stays unseen and unchanged."""
    paths = corpus(root, outside)
    assert len(set(paths)) >= 300
    for path in paths:
        for tool, more in (
            (ReadFile(), {}),
            (WriteFile(), {"content": "x"}),
            (WriteFile(), {"content": "x", "append": True}),
            (ListFiles(), {}),
        ):
            seen = await outcome(call(tool, path=path, **more))
            assert OUTSIDE not in str(seen), path
    assert sorted(entry.name for entry in outside.iterdir()) == [OUTSIDE, "secret"]
    assert (outside / "secret").read_text() == OUTSIDE
    assert sorted(entry.name for entry in root.parent.iterdir()) == ["outside", "root"]


def test_swapping_a_directory_for_a_link_leads_nobody_out(
    root: Path, outside: Path, context: StepContext
) -> None:
    """While a thread swaps them thousands of times, readers and writers only ever meet the directory."""
    real, link = root / "spot", root / "spot-link"
    real.mkdir()
    (real / "secret").write_text("inside")
    link.symlink_to(outside)
    stopped = threading.Event()
    swaps = 0

    def swap() -> None:
        nonlocal swaps
        while not stopped.is_set():
            os.rename(real, root / "away")
            os.rename(link, real)
            os.rename(real, link)
            os.rename(root / "away", real)
            swaps += 1

    swapper = threading.Thread(target=swap)
    swapper.start()
    reads = writes = tries = 0
    deadline = time.monotonic() + 8
    try:
        while (tries < 4000 or swaps < 2000) and time.monotonic() < deadline:
            tries += 1
            try:
                assert read_bytes(context, "spot/secret", 100) == b"inside"
                reads += 1
                if tries % 10 == 0:
                    replace(context, "spot/secret", b"inside", False)
                    writes += 1
            except StepFailed:
                pass
    finally:
        stopped.set()
        swapper.join()
    print(f"{tries} tries, {reads} reads, {writes} writes, {swaps} swaps")
    assert reads > 50
    assert swaps > 500
    assert (outside / "secret").read_text() == OUTSIDE
    assert sorted(entry.name for entry in outside.iterdir()) == [OUTSIDE, "secret"]


def test_paths_inside_are_taken_relative_or_absolute(root: Path, tmp_path: Path) -> None:
    """Also with dots that stay inside, and when the root itself is reached through a link."""
    (tmp_path / "alias").symlink_to(root)
    for base in (root, tmp_path / "alias"):
        for path in ("a/b", "./a//b/", "a/x/../b", f"{base}/a/b", f"{root}/a/b", f"/{root}/a/b"):
            assert components(base, path) == ("a", "b"), path
    assert components(root, ".") == components(root, str(root)) == ()
    assert components(Path("/"), "/etc") == ("etc",)


@pytest.mark.parametrize("path", [".taskmark/history.db", "a/.TaskMark/x", ".taskmark"])
def test_the_engines_own_state_is_refused(root: Path, path: str) -> None:
    with pytest.raises(StepFailed, match="belongs to the engine"):
        components(root, path)


def test_a_link_is_named_in_the_message(root: Path, outside: Path) -> None:
    for path, name in (("link/secret", "link"), ("file-link", "file-link"), ("inside/up/x", "up")):
        with pytest.raises(StepFailed, match=f"'{name}' is a link") as caught:
            open_file(root, path)
        assert caught.value.category is Category.CONFIGURATION


def test_pipes_sockets_and_directories_are_no_files(root: Path) -> None:
    """And opening them never waits."""
    os.mkfifo(root / "pipe")
    (root / "folder").mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(root / "socket"))
        for name in ("pipe", "folder", "socket"):
            with pytest.raises(StepFailed) as caught:
                open_file(root, name)
            assert caught.value.category is Category.LOGIC


def test_missing_directories_are_made_only_when_asked(root: Path) -> None:
    with pytest.raises(StepFailed, match=r"no such file"), directory(root, "a/b"):
        pass
    with directory(root, "a/b", create=True):
        assert (root / "a" / "b").is_dir()
    (root / "file").write_text("")
    with pytest.raises(StepFailed) as caught, directory(root, "file/b", create=True):
        pass
    assert caught.value.category is Category.LOGIC


def test_a_directory_that_another_makes_meanwhile_is_used(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between finding nothing and making it, another step may make it."""
    make = os.mkdir

    def late(name: str, *, dir_fd: int) -> None:
        make(name, dir_fd=dir_fd)
        make(name, dir_fd=dir_fd)

    monkeypatch.setattr(os, "mkdir", late)
    with directory(root, "a", create=True):
        assert (root / "a").is_dir()


def test_the_root_itself_is_no_file(root: Path) -> None:
    with pytest.raises(StepFailed, match="root itself"), parent_directory(root, "."):
        pass


def test_a_missing_root_is_named(tmp_path: Path) -> None:
    with pytest.raises(StepFailed, match=r"gone: no such file"), directory(tmp_path / "gone", "."):
        pass


@pytest.mark.parametrize(
    ("number", "category"), [(28, Category.RESOURCE), (13, Category.PERMISSION), (5, Category.TRANSIENT)]
)
def test_errors_of_the_system_have_categories(number: int, category: Category) -> None:
    """A full disk is a lack of resources, an I/O error may pass."""
    with pytest.raises(StepFailed, match=r"^p: ") as caught, reporting("p"):
        raise OSError(number, os.strerror(number))
    assert caught.value.category is category
