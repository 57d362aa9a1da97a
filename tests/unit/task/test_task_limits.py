"""Limits hold before anything expensive happens."""

import sys
import time
from pathlib import Path

import pytest

from taskmark.task import check_file, check_text

HEAD = "# T\n\n## Phase: A\n### Steps\n"
META = "# T\n\n```yaml\n"
MIB = 1024 * 1024


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("x" * (MIB + 1), "file-too-large"),
        ("é" * (MIB // 2 + 1), "file-too-large"),
        (HEAD + "- do it\n" * 10_001, "too-many-steps"),
        (f"{META}a: {'[' * 500_000}\n```\n", "nesting-too-deep"),
        (f"{META}a: {'{' * 500_000}\n```\n", "nesting-too-deep"),
        (f"{META}a: {'- ' * 100_000}\n```\n", "yaml-syntax"),
        (f"{META}{'- ' * 100_000}\n```\n", "nesting-too-deep"),
        (META + "a:\n" + "".join(" " * i + "- \n" for i in range(1, 1000)) + "```\n", "nesting-too-deep"),
        (f"{META}{'? ' * 50_000}\n```\n", "nesting-too-deep"),
        (f"{META}a: &a [x]\nb: [*a, *a]\n```\n", "yaml-alias"),
        (f"{META}a: !!python/name:os.system\n```\n", "yaml-tag"),
        (HEAD + f"- tool: shell\n  with:\n    a: {'[' * 60}\n" * 9000, "nesting-too-deep"),
        (HEAD + f"- validation: {'(' * 100_000}\n", "invalid-expression"),
        (HEAD + f"- wait: {'9' * 500_000}\n", "invalid-duration"),
        (f"{META}{'k' * 500_000}: 1\n```\n", "unknown-key"),
    ],
    ids=lambda value: value if len(value) < 30 else "text",
)
def test_a_file_beyond_a_limit_is_refused_at_once(text: str, code: str) -> None:
    begin = time.thread_time()
    checked = check_text(text)
    assert time.thread_time() - begin < 20
    assert code in [found.code for found in checked.errors]
    assert len(checked.errors) == 1


@pytest.mark.parametrize(
    "text",
    [
        "```markdown\n```yaml\n```\n" * 20_000,
        "````\n```\n" * 50_000,
        "~~~~~\n" + "~~~~\n## Phase: A\n" * 10_000,
        "<!--\n" * 100_000,
        "# T" + " " * 500_000 + "x",
        "#" + " " * 500_000 + "x #" + "#" * 100_000,
        "# T\n## Phase: a\nparallel:" + " " * 500_000 + "x",
        HEAD + "- " * 200_000,
        HEAD + "- a\n" + "  b\n" * 50_000,
        HEAD + "- a\n" + "b\n" * 50_000,
        HEAD + "- validation: " + "a - " * 100_000,
        HEAD + "- tool: shell - x\n  id: s\n" * 3_000,
    ],
    ids=lambda text: repr(text[:20]),
)
def test_hostile_texts_cost_time_in_proportion_to_their_length(text: str) -> None:
    begin = time.thread_time()
    check_text(text)
    assert time.thread_time() - begin < 30  # quadratic ones took minutes


def test_ten_thousand_steps_are_accepted() -> None:
    assert check_text(HEAD + "".join(f"- tool: shell - x\n  id: s{i}\n" for i in range(10_000))).definition


def test_nesting_up_to_the_limit_is_accepted() -> None:
    text = f"{META}onComplete: {'[' * 31}{']' * 31}\n```\n\n## Phase: A\n### Steps\n- tool: shell\n"
    assert check_text(text).errors == ()


def test_only_the_first_problems_get_a_guess_because_guessing_costs_time() -> None:
    found = check_text(META + "".join(f"versio{i}: 1\n" for i in range(300)) + "```\n").errors
    assert [bool(d.hint) for d in found] == [True] * 200 + [False] * 100


# --- refused at once ------------------------------------------------------------------------------

DEEP = 5_000
VALUE = HEAD + "- tool: shell - x\n  with:\n    a: "
VALIDATION = HEAD + "- validation: "
REFUSED = {
    "lists in brackets, closed": VALUE + "[" * DEEP + "]" * DEEP,
    "mappings in brackets": VALUE + "{a: " * DEEP + "}" * DEEP,
    "lists and mappings": VALUE + "[{a: " * DEEP,
    "lists in a line": VALUE[:-4] + "    a:\n      " + "- " * DEEP + "x",
    "lists line by line": META + "a:\n" + "".join(" " * i + "-\n" for i in range(1, 1_400)) + "```\n",
    "mappings line by line": META + "".join(" " * i + "a:\n" for i in range(1_300)) + "```\n",
    "complex keys": META + "? " * DEEP + "\n```\n",
    "double quotes": VALUE + '"' * (DEEP + 1),
    "single quotes": VALUE + "'" * (DEEP + 1),
    "quoted texts": VALUE + '"a",' * DEEP,
    "parentheses": VALIDATION + "(" * DEEP + "1" + ")" * DEEP,
    "lists in an expression": VALIDATION + "[" * DEEP + "]" * DEEP,
    "mappings in an expression": VALIDATION + "{1:" * DEEP,
    "signs": VALIDATION + "-" * DEEP + "1",
    "negations": VALIDATION + "not " * DEEP + "1",
    "keys": VALIDATION + "a" + ".a" * DEEP,
    "items": VALIDATION + "a" + "[0]" * DEEP,
    "calls": VALIDATION + "a" + ".split()" * DEEP,
    "filters": VALIDATION + "a" + "|list" * DEEP,
    "conjunctions": VALIDATION + "1 and " * DEEP + "1",
    "comparisons": VALIDATION + "1<" * DEEP + "1",
    "sums": VALIDATION + "1+" * DEEP + "1",
    "powers": VALIDATION + "2**" * DEEP + "1",
    "conditions": VALIDATION + "1 if 1 else " * DEEP + "1",
    "quotes in an expression": VALIDATION + "'" * (DEEP + 1),
    "loops": VALUE + "'" + "{% for a in inputs %}" * DEEP + "'",
    "blocks": VALUE + "'" + "{% if 1 %}" * DEEP + "'",
    "braces": VALUE + '"' + "{{" * DEEP + '"',
    "a billion laughs": META + "a: &a [x, x]\n" + "b: &b [*a, *a]\n" * 500 + "```\n",
    "anchors": META + "".join(f"a{i}: &x{i} 1\n" for i in range(10_000)) + "```\n",
    "a tag": META + "a: !!python/object/apply:os.system [x]\n```\n",
    "a huge integer": META + "maxConcurrentSteps: " + "9" * 500_000 + "\n```\n",
    "a huge duration": HEAD + "- wait: " + "9" * 500_000 + "\n",
    "a huge exponent": META + "maxConcurrentSteps: 1e" + "9" * 500_000 + "\n```\n",
    "a key many times": META + "name: a\n" * 2_000 + "```\n",
    "4 MB of lines": "x\n" * 2_000_000,
    "4 MB in one line": "x" * 4_000_000,
    "4 MB of steps": HEAD + "- tool: shell - x\n" * 230_000,
}  # fmt: skip


def at_once() -> float:
    """Seconds of processor time: few, for what takes minutes where it is not refused; more where each line is
    traced for coverage."""
    return 2.0 if sys.gettrace() is None else 6.0


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_hostile_is_refused_at_once(name: str) -> None:
    for chance in (1, 2, 3):  # a busy machine makes everything slower now and then, but not each time
        begin = time.thread_time()
        checked = check_text(REFUSED[name])
        if time.thread_time() - begin < at_once():
            break
        assert chance < 3
    assert checked.errors


@pytest.mark.parametrize("name", [name for name in REFUSED if name.startswith("4 MB")])
def test_of_a_file_of_4_mb_no_more_is_read_than_may_be(name: str, tmp_path: Path) -> None:
    path = tmp_path / "large.md"
    path.write_text(REFUSED[name])
    begin = time.thread_time()
    assert [error.code for error in check_file(path).errors] == ["file-too-large"]
    assert time.thread_time() - begin < at_once()


def test_reading_everything_everywhere_is_refused_before_it_is_worked_out() -> None:
    """`steps[…]` stands for every step it might read: nine thousand times nine thousand are too many."""
    phases = [
        f"## Phase: P{i}\n"
        + (f"dependsOn: [P{i - 1}]\n" if i else "")
        + "### Steps\n"
        + "- validation: steps - x\n" * 10
        for i in range(900)
    ]
    begin = time.thread_time()
    checked = check_text("# T\n" + "".join(phases))
    assert time.thread_time() - begin < 30
    assert [error.code for error in checked.errors] == ["invalid-expression"]
    assert "all of `steps`" in checked.errors[0].message


def test_reading_everything_now_and_then_is_accepted() -> None:
    steps = "".join(f"- tool: shell - x\n  id: s{i}\n" for i in range(2_000))
    checked = check_text(
        HEAD + steps + "- validation: steps['s' ~ 1].output.ok\n- validation: phases == {}\n"
    )
    assert checked.definition is not None
    assert len(checked.definition.phases[0].steps[2_000].reads_steps) == 2_000
