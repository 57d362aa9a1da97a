"""The programs that answer for the agents of `code-review` and `research-brief` where no model does."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

ROOT = Path(__file__).parents[2]
for folder in (ROOT, Path(__file__).parent / "repositories"):
    sys.path.insert(0, str(folder))

from example_repository import GitRepository  # noqa: E402 - found by the path above

from tasks.code_review import report  # noqa: E402 - found by the path above
from tasks.code_review.diff import choose, parse  # noqa: E402 - found by the path above
from tasks.code_review.reviewer import review  # noqa: E402 - found by the path above
from tasks.research_brief import facts, notes, page, reader, sources  # noqa: E402 - found by the path above
from tasks.research_brief.sentences import scores, sentences  # noqa: E402 - found by the path above

AWS = "AKIA" + "Q7ZP2LXVBK" + "R4TNWS"


def diff_of(files: dict[str, str]) -> str:
    """Returns a diff that adds files."""
    parts = []
    for path, text in files.items():
        lines = text.splitlines()
        added = "".join(f"+{line}\n" for line in lines)
        parts.append(
            f"diff --git a/{path} b/{path}\n--- /dev/null\n+++ b/{path}\n@@ -0,0 +1,{len(lines)} @@\n{added}"
        )
    return "".join(parts)


def found(side: str, text: str, path: str = "src/a.py") -> list[tuple[int, str]]:
    """Returns lines and severities of what is found in a new file."""
    return [(one["line"], one["severity"]) for one in review(side, diff_of({path: text}))["findings"]]


# --- diffs ----------------------------------------------------------------------------------------


def test_the_lines_of_a_diff_of_git_are_those_of_the_file(tmp_path: Path) -> None:
    """Also behind several hunks, of names that git quotes, and where lines look like those of a diff."""
    made = GitRepository(tmp_path / "made")
    before = [f"line {number}" for number in range(60)]
    names = ["plain.py", "with space.py", 'quo"te\tä.py']
    made.commit("one", dict.fromkeys(names, "\n".join(before)))
    after = before.copy()
    after[3:5] = ["--- a/other.py", "+++ b/other.py", "@@ -1 +1 @@", "new"]
    after[40] = "changed"
    del after[55]
    made.commit("two", dict.fromkeys(names, "\n".join(after) + "\n"))
    changes = parse(made.git("diff", "HEAD~1", "HEAD"))
    assert sorted(change.path for change in changes) == sorted(names)
    for change in changes:
        assert len(change.hunks) > 1
        there = [line for hunk in change.hunks for line in hunk if line.kind != "-"]
        assert all(after[line.number - 1] == line.text for line in there)
        assert "changed" in [line.text for line in change.lines("+")]


@given(st.text(alphabet='+-@ a\n\\\t"/', max_size=200))
def test_nothing_that_is_no_diff_breaks_the_reading(text: str) -> None:
    assert parse(text) == []
    assert isinstance(parse(f"--- a/x\n+++ b/x\n@@ -1,9 +1,9 @@\n{text}"), list)


def test_the_smallest_files_are_chosen_and_the_others_named_with_the_reason() -> None:
    numstat = "\0".join(
        [
            "90\t20\tlarge.py",
            "5\t0\ta.py",
            "3\t3\t",
            "old.py",
            "new.py",
            "-\t-\tp.png",
            "1\t1\tuv.lock",
            "1\t1\t\ufffd.py",
            "",
        ]
    )
    chosen = choose(numstat, 20)
    assert chosen["paths"] == ["a.py", "old.py", "new.py"]
    assert [one["path"] for one in chosen["files"]] == ["a.py", "new.py"]
    assert {one["path"]: one["why"] for one in chosen["left_out"]} == {
        "p.png": "binary",
        "uv.lock": "made by a program",
        "\ufffd.py": "its name is no UTF-8, so git cannot be asked for it",
        "large.py": "110 lines, more than there is room for",
    }


# --- rules ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("side", "line", "severity"),
    [
        ("correctness", "<<<<<<< HEAD", "high"),
        ("correctness", "except:", "medium"),
        ("correctness", "def f(a, b={}):", "medium"),
        ("correctness", "if a is 5:", "medium"),
        ("correctness", "assert (a == 1, 'one')", "high"),
        ("correctness", "if a == None:", "low"),
        ("correctness", "breakpoint()", "high"),
        ("security", f"x = '{AWS}'", "high"),
        ("security", "-----BEGIN RSA PRIVATE KEY-----", "high"),
        ("security", 'password = "hV7#kq2!pZ0wLm"', "high"),
        ("security", "eval(text)", "high"),
        ("security", "run(c, shell=True)", "high"),
        ("security", "get(url, verify=False)", "high"),
        ("security", "os.system(c)", "medium"),
        ("security", "pickle.loads(b)", "medium"),
        ("security", "yaml.load(text)", "medium"),
        ("security", 'c.execute(f"select {a}")', "high"),
        ("security", 'c.execute("select %s" % a)', "high"),
        ("security", "hashlib.md5(b)", "low"),
    ],
)
def test_a_rule_finds_what_it_is_for(side: str, line: str, severity: str) -> None:
    assert found(side, f"a = 1\n{line}\n") == [(2, severity)]


@pytest.mark.parametrize(
    ("side", "line"),
    [
        ("correctness", "# except:"),
        ("correctness", "text = 'if a is 5: breakpoint()'"),
        ("correctness", '"""'),
        ("correctness", "assert (a == 1), 'one'"),
        ("security", "model.eval()"),
        ("security", "ast.literal_eval(text)"),
        ("security", "pattern.exec(text)"),
        ("security", "yaml.load(text, Loader=yaml.SafeLoader)"),
        ("security", 'password = "change-me-please"'),
        ("security", 'token = "aaaaaaaaaaaaaaaa"'),
        ("security", 'c.execute("select ?", (a,))'),
        ("security", "# run(c, shell=True)"),
        ("security", """text = 'c.execute(f"select {a}")'"""),
    ],
)
def test_a_rule_leaves_alone_what_only_looks_like_it(side: str, line: str) -> None:
    assert found(side, f"a = 1\n{line}\n") == []


def test_an_error_that_is_swallowed_is_found_at_its_handler() -> None:
    text = "try:\n    a()\nexcept OSError:\n    pass\nexcept KeyError:\n    b()\n"
    assert found("correctness", text) == [(3, "medium")]


def test_signs_of_one_language_are_not_looked_for_in_another() -> None:
    assert found("correctness", "if (a == b) { debugger;\ndebugger;\n}", "a.ts") == [(2, "high"), (1, "low")]
    assert found("correctness", "if (a == null) {}\n", "a.ts") == []
    assert found("correctness", "except:\n", "a.ts") == []


def test_a_document_is_no_program() -> None:
    assert found("security", "Never write `eval(text)`.\n", "README.md") == []


def test_a_secret_is_never_repeated() -> None:
    assert AWS[4:] not in json.dumps(review("security", diff_of({"a.py": f"key = '{AWS}'\n"})))


def test_code_without_a_test_is_told_once_and_with_one_only_what_it_does_not_name() -> None:
    code = "def one():\n    a()\n\n\ndef two():\n    b()\n\n\ndef _own():\n    c()\n"
    assert found("upkeep", code) == [(1, "medium")]
    both = review("upkeep", diff_of({"src/a.py": code, "tests/test_a.py": "def test_one():\n    one()\n"}))
    assert [(one["line"], one["message"]) for one in both["findings"]] == [
        (5, "No new line of a test names the function `two`")
    ]
    assert both["verdict"] == "approve"


def test_a_long_function_and_what_was_left_for_later_are_found() -> None:
    long = "def f():\n" + "    a()\n\n" * 40 + "b = 1  # TODO: c\nprint(b)\n"
    told = review("upkeep", diff_of({"src/a.py": long, "tests/test_a.py": "f()\n"}))["findings"]
    assert [(one["line"], one["severity"]) for one in told] == [(1, "medium"), (82, "low"), (83, "low")]
    assert "80 lines" in told[0]["message"]
    assert found("upkeep", "print(1)\n", "src/cli/a.py") == [(1, "medium")]


def test_a_test_that_is_gone_is_found_and_one_that_moved_is_not() -> None:
    head = "--- a/tests/test_a.py\n+++ b/tests/test_a.py\n@@ -1,4 +1,1 @@\n"
    gone = f"{head}-def test_b():\n-    b()\n-def test_c():\n a = 1\n"
    moved = diff_of({"tests/test_other.py": "def test_c():\n"})
    told = review("upkeep", gone + moved)["findings"]
    assert [one["message"] for one in told] == ["The test `test_b` is gone: say why"]


def test_the_worst_of_many_findings_are_told() -> None:
    told = review("security", diff_of({"a.py": "md5(a)\n" * 60 + "eval(a)\n"}))
    assert len(told["findings"]) == 50
    assert (told["findings"][0]["line"], told["verdict"]) == (61, "changes")
    assert "61 found by rules; the first 50 are told" in told["summary"]


def test_the_reviewer_is_a_program_that_reads_its_question() -> None:
    asked = {"context": {"phases": {"collect": {"outputs": {"diff": diff_of({"a.py": "eval(a)\n"})}}}}}
    command = [sys.executable, "-m", "tasks.code_review.reviewer", "security"]
    done = subprocess.run(
        command, cwd=ROOT, input=json.dumps(asked), capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout)["findings"][0]["line"] == 1


def test_a_reviewer_without_an_answer_is_shown_and_a_tie_is_no_approval() -> None:
    vote = {"winner": "approve", "votes": {"approve": 1.0, "changes": 1.0}, "tie": ["approve", "changes"]}
    reviews = {"one": {"verdict": "approve", "findings": []}, "two": None}
    told = report.render(
        base="main", branch="HEAD", reviews=reviews, vote=vote, files=[], left_out=[], diff=""
    )
    assert told["verdict"] == "changes"
    assert "| two | no answer |" in told["markdown"]


# --- sources and sentences ------------------------------------------------------------------------


def test_folders_give_their_texts_and_each_source_counts_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "texts").mkdir()
    for name in ("b.txt", "a.md", "c.png"):
        (tmp_path / "texts" / name).touch()
    told = sources.listed(["texts", "texts/b.txt", "https://example.org/x", "https://example.org/x"])
    assert [(one["number"], one["source"], one["is_address"]) for one in told] == [
        (1, "texts/a.md", False),
        (2, "texts/b.txt", False),
        (3, "https://example.org/x", True),
    ]


@pytest.mark.parametrize("given_sources", [[], [""], ["/tmp"], [f"{n}.txt" for n in range(41)]])
def test_no_sources_and_too_many_are_refused(
    given_sources: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(sources.NoSources):
        sources.listed(given_sources)


def test_of_a_page_the_text_is_read_and_not_its_scripts() -> None:
    body = "<nav>Menu</nav><p>One &amp; two.</p><script>x</script><p>3</p>"
    html = f"<html><head><style>b{{}}</style></head><body>{body}"
    assert sources.plain(html) == "One & two.\n\n3"
    for nothing in ("", "  \n", {"a": 1}, "<html><script>x</script></html>"):
        with pytest.raises(sources.NoSources):
            sources.plain(nothing)


def test_sentences_are_whole_and_headings_are_none() -> None:
    text = "A Heading\n\nThe first sentence has 2.5 percent\nin it. Then a second one follows here! Short.\n"
    assert sentences(text) == ["The first sentence has 2.5 percent in it.", "Then a second one follows here!"]


def test_what_has_more_words_of_the_topic_scores_higher() -> None:
    best, less, none = scores("old bridges", ["An old bridge stands there.", "A bridge.", "A river."])
    assert best > less > none == 0


# --- facts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("quote", "holds"),
    [
        ("the “old” bridge\n was closed", True),
        ('The "old" BRIDGE was closed.', True),
        ("the new bridge was closed", False),
        ("bridge", False),
        ("", False),
    ],
)
def test_a_quote_has_to_be_in_the_text_but_for_how_it_is_typed(quote: str, *, holds: bool) -> None:
    assert facts.occurs(quote, 'In 1998 the "old" bridge  was closed.') is holds


def test_a_figure_that_its_quote_does_not_say_fails() -> None:
    claim = {"claim": "It closed in 1999.", "quote": "the bridge was closed in 1998"}
    assert facts.problem(claim, "Then the bridge was closed in 1998.") == "the quote does not say 1999"


def test_the_brief_joins_what_says_the_same_and_cites_both() -> None:
    told = [
        {"source": 1, "claims": [{"id": "1.1", "claim": "The old bridge was closed in 1998.", "quote": ""}]},
        {"source": 2, "claims": [{"id": "2.1", "claim": "The old bridge closed in 1998.", "quote": ""}]},
    ]
    context = {"inputs": {"topic": "bridge"}, "phases": {"gather": {"outputs": {"notes": told}}}}
    [point] = reader.brief(context)["points"]
    assert sorted(point["claims"]) == ["1.1", "2.1"]


def test_where_nobody_could_check_nothing_stays() -> None:
    gathered = [{"text": "a", "claims": [{"claim": "c", "quote": "q"}]}, None]
    numbered = notes.numbered([{"number": 1, "source": "x"}, {"number": 2, "source": "y"}], gathered)
    points = [{"text": "C.", "claims": ["1.1"]}]
    cited = notes.cited(numbered["notes"], gathered, points)
    for checked in (None, [None]):
        told = page.render(
            topic="t",
            notes=numbered["notes"],
            unread=numbered["unread"],
            points=points,
            cited=cited,
            checked=checked,
        )
        assert (told["counts"]["unchecked"], told["counts"]["removed"], told["counts"]["points"]) == (1, 1, 0)
        assert "nobody could check it" in told["markdown"]
