"""Which paths are taken, and how others are refused; hostile ones are in `test_tools_hostile_paths.py`."""

import os
import socket
from pathlib import Path

import pytest
from hostile_paths import make_outside

from taskmark.errors import Category, StepFailed
from taskmark.tools.confinement import components, directory, open_file, parent_directory, reporting


@pytest.fixture
def outside(root: Path) -> Path:
    return make_outside(root)


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
