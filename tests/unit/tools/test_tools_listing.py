import os
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from taskmark.errors import Category, StepFailed
from taskmark.tools import listing
from taskmark.tools.listing import ListFiles

Call = Callable[..., Awaitable[Any]]
NAMES = ("a.md", "b.txt", "docs/c.md", "docs/deep/d.md", "docs/.hidden/e.md", ".dot", ".taskmark/state.db")


@pytest.fixture(autouse=True)
def tree(root: Path) -> None:
    for name in NAMES:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("")
    (root / "link.md").symlink_to("a.md")
    (root / "docs" / "loop").symlink_to("..")


@pytest.mark.parametrize(
    ("path", "pattern", "found"),
    [
        (".", "**/*", ["a.md", "b.txt", "docs/c.md", "docs/deep/d.md"]),
        (".", "*.md", ["a.md"]),
        (".", "**/*.md", ["a.md", "docs/c.md", "docs/deep/d.md"]),
        (".", "**", ["a.md", "b.txt", "docs/c.md", "docs/deep/d.md"]),
        (".", "docs/**", ["docs/c.md", "docs/deep/d.md"]),
        (".", "docs/*/*.md", ["docs/deep/d.md"]),
        (".", "**/deep/**/*", ["docs/deep/d.md"]),
        (".", "./*.[tx]*", ["b.txt"]),
        (".", "docs/.*/*", ["docs/.hidden/e.md"]),
        (".", ".*", [".dot"]),
        (".", "**/.hidden/*", ["docs/.hidden/e.md"]),
        (".", "a.md/x", []),
        ("docs", "*", ["docs/c.md"]),
        ("docs/deep/", "**/*", ["docs/deep/d.md"]),
    ],
)
async def test_a_pattern_finds_files_sorted_and_relative_to_the_root(
    path: str, pattern: str, found: list[str], call: Call
) -> None:
    """Links and the engine's state are left out, hidden names unless the pattern asks for them."""
    assert await call(ListFiles(), path=path, pattern=pattern) == {"files": found}


async def test_everything_is_the_default(call: Call) -> None:
    assert len((await call(ListFiles()))["files"]) == 4


@pytest.mark.parametrize("pattern", ["", "../*", "a\0b", "/"])
async def test_a_pattern_that_cannot_fit_is_refused(pattern: str, call: Call) -> None:
    with pytest.raises(StepFailed, match="cannot fit") as caught:
        await call(ListFiles(), pattern=pattern)
    assert caught.value.category is Category.CONFIGURATION


async def test_what_is_no_directory_is_refused(call: Call) -> None:
    for path in ("a.md", "gone"):
        with pytest.raises(StepFailed, match=path):
            await call(ListFiles(), path=path)


async def test_too_many_files_are_said_to_be_too_many(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "MOST_ENTRIES", 3)
    with pytest.raises(StepFailed, match="more than 3 files") as caught:
        await call(ListFiles())
    assert caught.value.category is Category.RESOURCE


async def test_a_directory_that_goes_away_meanwhile_is_skipped(
    root: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between seeing a directory and entering it, it may be gone or a link."""
    real = os.scandir

    def removing(descriptor: int) -> Any:
        with real(descriptor) as lazy:
            entries = list(lazy)
        if (root / "docs").exists():
            (root / "docs").rename(root.parent / "moved")
            (root / "docs").symlink_to(root.parent / "moved")
        return nullcontext(entries)

    monkeypatch.setattr(os, "scandir", removing)
    assert await call(ListFiles()) == {"files": ["a.md", "b.txt"]}


async def test_listing_is_healthy_and_quick() -> None:
    assert (await ListFiles().health_check()).healthy
    assert ListFiles().estimate_duration(ListFiles().validate({})) < 1
