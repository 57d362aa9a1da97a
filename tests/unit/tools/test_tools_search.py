import io
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from taskmark.contracts import ADAPTER_LIMIT
from taskmark.errors import Category, StepFailed
from taskmark.tools import rank, scan, search
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


# --- words ----------------------------------------------------------------------------------------


def places(found: Any) -> list[tuple[str, int]]:
    return [(match["file"], match["line"]) for match in found["matches"]]


async def test_words_are_found_where_they_fit_best(root: Path, call: Call) -> None:
    """More of the words first, then the rarer ones; the line is the one of a passage that says most."""
    (root / "a.md").write_text("# Paint\n\nthe wall is dry\nso paint it\n\nthe end\n")
    (root / "b.md").write_text("\n".join(["the paint"] * 3) + "\n\nwhen the paint\r\non the wall dries\r\n")
    (root / "c.bin").write_bytes(b"paint wall\0")
    found = await call(SearchFiles(), query="Paint, WALL dry?")
    assert places(found)[:2] == [("a.md", 3), ("b.md", 6)]
    assert found["matches"][0]["text"] == "the wall is dry"
    assert found["matches"][1]["text"] == "on the wall dries"
    scores = [match["score"] for match in found["matches"]]
    assert scores == sorted(scores, reverse=True)
    assert scores[-1] > 0
    assert (found["files"], found["truncated"]) == (2, False)
    assert places(await call(SearchFiles(), query="paint", files="a*")) == [("a.md", 1), ("a.md", 4)]
    assert (await call(SearchFiles(), query="umbrella"))["matches"] == []


async def test_a_rare_word_says_more_than_a_common_one(root: Path, call: Call) -> None:
    (root / "x").write_text("\n\n".join(["the door"] * 20 + ["the key"] + ["the door"] * 20))
    assert places(await call(SearchFiles(), query="the key", limit=1)) == [("x", 41)]


async def test_words_are_found_in_names_and_as_beginnings_but_not_in_the_middle(
    root: Path, call: Call
) -> None:
    (root / "x").write_text("retry_policy = 3\n\nRetryPolicy\n\nretries\n\nunretryable\n\ncart\n\nart\n")
    found = await call(SearchFiles(), query="retry")
    assert places(found) == [("x", 1), ("x", 3)]
    assert places(await call(SearchFiles(), query="art")) == [("x", 11)]


async def test_words_are_found_in_scripts_without_spaces(root: Path, call: Call) -> None:
    (root / "x").write_text("今日の天気予報です\n\nWIE ÜBLICH: Straße\n\n")
    assert places(await call(SearchFiles(), query="天気")) == [("x", 1)]
    assert places(await call(SearchFiles(), query="üblich")) == [("x", 3)]


async def test_of_many_places_the_best_are_returned_and_it_is_said(root: Path, call: Call) -> None:
    (root / "x").write_text("\n\n".join(["rain and some more words here"] * 50 + ["rain"]))
    found = await call(SearchFiles(), query="rain", limit=5)
    assert (len(found["matches"]), found["truncated"]) == (5, True)
    assert places(found)[0] == ("x", 101)
    assert len((await call(SearchFiles(), query="rain"))["matches"]) == 20


async def test_what_is_shown_of_a_long_line_has_the_word_in_it(root: Path, call: Call) -> None:
    (root / "x").write_text("x" * 3000 + " needle " + "y" * 3000)
    (root / "y").write_text("needle " + "y " * 3000)
    for match in (await call(SearchFiles(), query="needle"))["matches"]:
        assert "needle" in match["text"]
        assert len(match["text"]) == 500


async def test_ranking_is_bounded_in_time_and_ended(
    root: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "x").write_text("rain " * 800_000)
    monkeypatch.setattr(search, "SECONDS", 0.05)
    with pytest.raises(StepFailed, match=r"within 0.05 s"):
        await call(SearchFiles(), query="rain")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({}, 'give "pattern" or "query"'),
        ({"pattern": "a", "query": "b"}, 'give "pattern" or "query"'),
        ({"query": "?! -"}, "it has no words"),
        ({"query": "a", "maxMatches": 5}, '"maxMatches" is for a pattern'),
        ({"pattern": "a", "limit": 5}, '"limit" is for a query'),
        ({"query": "a", "limit": 0}, '"limit"'),
        ({"query": "a" * 1001}, '"query"'),
    ],
)
def test_one_question_is_asked_with_a_limit_of_its_own(arguments: dict[str, Any], problem: str) -> None:
    with pytest.raises(StepFailed, match="tool search-files") as caught:
        SearchFiles().validate(arguments)
    assert problem in caught.value.message
    assert caught.value.category is Category.CONFIGURATION


def test_the_ranker_reads_what_the_scanner_reads(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing in a file's content can pass for a frame; of equals the first wins."""
    content = b'rain\n\n{"file": "forged", "bytes": 1}\n\n\xff rain \xff\n\nrain\n'
    frame = json.dumps({"file": "f", "bytes": len(content)}).encode() + b"\n" + content
    request = json.dumps({"words": ["rain"], "most": 2}).encode() + b"\n"
    rank.main(io.BytesIO(request + frame + b'{"file": "empty", "bytes": 0}\n'))
    printed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(match["file"], match["line"]) for match in printed] == [("f", 1), ("f", 7)]
    rank.main(io.BytesIO(request))
    assert capsys.readouterr().out == ""


def test_a_passage_is_what_stands_between_blank_lines_and_a_few_lines_long() -> None:
    text = "\n \na\nb\n\t\n" + "c\n" * 12 + "d"
    found = list(rank.passages(text))
    assert [(first, len(lines)) for first, lines in found] == [(3, 2), (6, 10), (16, 3)]


def test_a_whole_word_counts_more_than_the_beginning_of_a_longer_one() -> None:
    words = rank.Words(["the", "there", "port"])
    assert words.count("the there thereby other ports port_1 x.port") == {
        "the": 1,
        "there": 1.5,
        "port": 2.5,
    }
    assert words.count("theme") == {}


async def test_the_ranker_is_a_script(
    root: Path, call: Call, measured: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "a").write_text("hit")
    monkeypatch.setattr(search, "RANKER", (*measured, rank.__file__))
    assert len((await call(SearchFiles(), query="hit"))["matches"]) == 1
