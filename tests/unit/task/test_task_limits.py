"""Limits hold before anything expensive happens."""

import time

import pytest

from taskmark.task import check_text

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
    assert time.thread_time() - begin < 4
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
    assert time.thread_time() - begin < 6  # quadratic ones took minutes


def test_ten_thousand_steps_are_accepted() -> None:
    assert check_text(HEAD + "".join(f"- tool: shell - x\n  id: s{i}\n" for i in range(10_000))).definition


def test_nesting_up_to_the_limit_is_accepted() -> None:
    text = f"{META}notify: {'[' * 31}{']' * 31}\n```\n\n## Phase: A\n### Steps\n- tool: shell\n"
    assert check_text(text).errors == ()


def test_only_the_first_problems_get_a_guess_because_guessing_costs_time() -> None:
    found = check_text(META + "".join(f"versio{i}: 1\n" for i in range(300)) + "```\n").errors
    assert [bool(d.hint) for d in found] == [True] * 200 + [False] * 100
