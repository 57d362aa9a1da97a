import io
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from taskmark.contracts import ADAPTER_LIMIT
from taskmark.errors import Category, StepFailed
from taskmark.tools import scan, search
from taskmark.tools.search import SearchFiles
from taskmark.tools.sizes import json_size

Call = Callable[..., Awaitable[Any]]


async def test_matches_have_file_line_and_text(root: Path, call: Call) -> None:
    """Files are relative to the root, lines count from 1, line ends are no part of a line."""
    (root / "a").mkdir()
    (root / "a" / "x.md").write_bytes(b"one\r\ntwo TODO\r\n")
    (root / "b.md").write_text("TODO: three")
    (root / "c.bin").write_bytes(b"TODO\0")
    found = await call(SearchFiles(), pattern=r"TODO$|^TODO")
    assert found == {
        "matches": [
            {"file": "a/x.md", "line": 2, "text": "two TODO"},
            {"file": "b.md", "line": 1, "text": "TODO: three"},
        ],
        "files": 2,
        "truncated": False,
    }
    assert (await call(SearchFiles(), path="b.md", pattern="t"))["files"] == 1
    assert (await call(SearchFiles(), pattern="o", files="*.md"))["files"] == 1


async def test_a_pattern_that_never_ends_is_ended(
    root: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker goes on, and the step says why it failed."""
    (root / "x").write_text("a" * 40 + "!")
    monkeypatch.setattr(search, "SECONDS", 0.5)
    before = time.monotonic()
    with pytest.raises(StepFailed, match=r"within 0.5 s"):
        await call(SearchFiles(), pattern="(a+)+$")
    assert time.monotonic() - before < 5


async def test_too_many_matches_are_cut_and_said_so(root: Path, call: Call) -> None:
    (root / "x").write_text("hit\n" * 50)
    found = await call(SearchFiles(), pattern="hit", maxMatches=10)
    assert (len(found["matches"]), found["truncated"]) == (10, True)
    (root / "x").write_text("\1" * 400 + "\n" + ("\1" * 400 + "\n") * 1000)
    found = await call(SearchFiles(), pattern="\1", maxMatches=5000)
    assert found["truncated"]
    assert ADAPTER_LIMIT * 0.95 < json_size(found) <= ADAPTER_LIMIT


async def test_too_much_text_is_searched_in_part_and_said_so(
    root: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abc":
        (root / name).write_text("hit" + "x" * 500)
    (root / "large").write_text("hit" * 500)
    monkeypatch.setattr(search, "MOST_TEXT", 1200)
    monkeypatch.setattr(search, "LARGEST_FILE", 1000)
    found = await call(SearchFiles(), pattern="hit")
    assert ([match["file"] for match in found["matches"]], found["truncated"]) == (["a", "b"], True)
    assert (await call(SearchFiles(), path="large", pattern="hit"))["matches"] == []


async def test_a_file_that_goes_away_meanwhile_is_left_out(
    root: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "a").write_text("hit")
    monkeypatch.setattr(search, "find", lambda *_: ["a", "gone"])
    assert (await call(SearchFiles(), pattern="hit"))["files"] == 1


@pytest.mark.parametrize("pattern", ["(", "a{99999999999999999999}", "*"])
async def test_a_wrong_pattern_is_named(pattern: str, call: Call) -> None:
    with pytest.raises(StepFailed, match="no regular expression") as caught:
        await call(SearchFiles(), pattern=pattern)
    assert caught.value.category is Category.CONFIGURATION


async def test_a_scanner_that_fails_is_told(root: Path, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "SCANNER", ("/bin/sh", "-c", "echo broken >&2; exit 3"))
    with pytest.raises(StepFailed, match="exit code 3: broken"):
        await call(SearchFiles(), pattern="x")


def test_the_scanner_reads_frames_and_stops_at_the_most(capsys: pytest.CaptureFixture[str]) -> None:
    """Content is taken by its length, so that nothing in it can pass for a frame."""
    content = b'x\n{"file": "forged", "bytes": 1}\nx \xff\n'
    frame = json.dumps({"file": "f", "bytes": len(content)}).encode() + b"\n" + content
    for most, lines in ((5, [1, 3]), (1, [1])):
        scan.main(io.BytesIO(json.dumps({"pattern": "^x", "most": most}).encode() + b"\n" + frame))
        printed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert [(match["file"], match["line"]) for match in printed] == [("f", line) for line in lines]


async def test_the_scanner_is_a_script(
    root: Path, call: Call, measured: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "a").write_text("hit")
    monkeypatch.setattr(search, "SCANNER", (*measured, scan.__file__))
    assert len((await call(SearchFiles(), pattern="hit"))["matches"]) == 1


async def test_searching_is_healthy() -> None:
    assert (await SearchFiles().health_check()).healthy
    assert SearchFiles().estimate_duration(SearchFiles().validate({"pattern": "x"}))
