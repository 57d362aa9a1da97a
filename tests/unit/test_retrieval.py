"""What an attempt has read is told by its own input and output."""

from __future__ import annotations

import pytest

from taskmark.contracts import artifact_reference
from taskmark.retrieval import SOURCES, retrieval_of, written_by

MATCHES = {"matches": [{"path": "a.py", "line": 3}, {"path": "b.py"}, {"path": "a.py"}], "files": 9}


@pytest.mark.parametrize(
    ("kind", "name", "given", "output", "expected"),
    [
        ("tool", "read-file", {"path": "a.txt"}, {"content": "x"}, {"sources": ["a.txt"], "count": 1}),
        ("tool", "read-csv", {"path": "a"}, {"rows": [1, 2]}, {"sources": ["a"], "count": 1, "rows": 2}),
        (
            "tool",
            "search-files",
            {"pattern": "TODO"},
            MATCHES,
            {"sources": ["a.py", "b.py"], "count": 2, "results": 3, "query": "TODO"},
        ),
        (
            "tool",
            "web-search",
            {"query": "rain"},
            {"results": [{"title": "R", "url": "https://r.example"}]},
            {"sources": ["https://r.example"], "count": 1, "results": 1, "query": "rain"},
        ),
        ("tool", "list-files", {}, {"files": ["a", "b"]}, {"sources": ["a", "b"], "count": 2}),
        (
            "tool",
            "http",
            {"url": "https://a.example/x?token=secret"},
            {"status": 200, "text": ""},
            {"sources": ["https://a.example/x"], "count": 1, "status": 200},
        ),
        ("agent", "analyst", {}, {"sources": ["a", {"url": "u"}]}, {"sources": ["a", "u"], "count": 2}),
    ],
)
def test_sources_are_named_and_counted(
    kind: str, name: str, given: object, output: object, expected: object
) -> None:
    assert retrieval_of(kind, name, given, output) == expected


@pytest.mark.parametrize(
    ("kind", "name", "given", "output"),
    [
        ("tool", "shell", {"command": ["ls"]}, {"stdout": "a"}),
        ("tool", "read-file", {"path": "a.txt"}, None),
        ("tool", "read-file", {"path": "a.txt"}, artifact_reference("0" * 64, 9)),
        ("tool", "search-files", None, "nothing of ours"),
        ("tool", "http", {"url": 7}, {}),
        ("agent", "analyst", None, {"sources": "many"}),
        ("agent", "analyst", None, {"sources": []}),
        ("validation", None, None, True),
    ],
)
def test_what_reads_nothing_or_does_not_say_so_has_no_sources(
    kind: str, name: str | None, given: object, output: object
) -> None:
    assert retrieval_of(kind, name, given, output) is None


def test_of_many_sources_the_first_are_named_and_all_are_counted() -> None:
    found = retrieval_of("tool", "list-files", {}, {"files": [f"f{n}" for n in range(1000)]})
    assert found is not None
    assert (found["count"], len(found["sources"])) == (1000, SOURCES)


def test_files_are_those_a_writing_tool_tells() -> None:
    assert written_by("tool", "write-file", {"path": "a.txt", "bytes": 3}) == ("a.txt",)
    assert written_by("tool", "read-file", {"path": "a.txt"}) == ()
    assert written_by("agent", "write-file", {"path": "a.txt"}) == ()
    assert written_by("tool", "write-file", None) == ()


def test_a_browser_wrote_what_it_kept() -> None:
    kept = {"screenshots": [{"path": "a.png", "bytes": 1}], "downloads": [{"path": "b.pdf"}, {"name": "?"}]}
    assert written_by("tool", "browser", kept) == ("a.png", "b.pdf")
    assert written_by("tool", "browser", None) == ()
