"""A file of tests that is wrong: every problem with its place and what was probably meant."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from starter.simulation.expectations import equal
from starter.simulation.suite import Suite
from taskmark.errors import InvalidTask

Read = Callable[[str, str], Suite]
TASK = """
## Phase: First Look
### Steps
- tool: shell - Count
  id: count
  with: {command: [wc]}
- approval: release - Release it?
  timeout: 1h
### Outputs
- lines: steps.count.output.stdout
"""


def problems(suite: Read, tests: str) -> list[tuple[int, int, str, str, str | None]]:
    with pytest.raises(InvalidTask) as caught:
        suite(TASK, tests)
    return [(d.line, d.column, d.code, d.message, d.hint) for d in caught.value.diagnostics]


def test_every_problem_of_the_shape_is_told_at_once(suite: Read) -> None:
    found = problems(
        suite,
        """
        tests:
          - name: one
            mock: {}
            expect: {statos: failed, phases: {first_look: done}}
          - mocks:
              steps:
                count: {}
                other: {output: 1, outputs: [1]}
                third: {fails: {times: 0, message: x}, output: 1}
                fourth: {fails: {times: 1, message: x}}
            decisions: {release: maybe}
        """,
    )
    assert [(line, column) for line, column, *_ in found] == [
        (3, 5),
        (4, 14),
        (4, 51),
        (5, 5),
        (7, 16),
        (8, 16),
        (9, 32),
        (10, 17),
        (11, 26),
    ]
    assert found[0][2:] == ("unknown-key", "unknown key `mock`", "did you mean `mocks`?")
    assert found[1][4] == "did you mean `status`?"
    assert found[3][3] == "`name` is missing here"
    assert "output" in found[4][3]
    assert "exclude each other" in found[5][3]
    assert "after its failures" in found[7][3]
    assert "approve" in found[8][3]


def test_names_that_the_task_does_not_have_are_errors_with_hints(suite: Read) -> None:
    found = problems(
        suite,
        """
        defaults:
          mocks: {tools: {shel: {output: 1}}}
        tests:
          - name: one
            mocks:
              steps: {cuont: {output: 1}}
              agents: {ann: {output: 1}}
            decisions: {relase: approve}
            expect:
              phases: {first-look: completed}
              steps: {counted: completed}
              outputs: {lines: 1}
              checks: [outputs.lines >, output.lines > 1]
        """,
    )
    assert [(line, code) for line, _, code, _, _ in found] == [
        (2, "unknown-tool"),
        (6, "unknown-step"),
        (7, "unknown-agent"),
        (8, "unknown-name"),
        (10, "unknown-phase"),
        (11, "unknown-step"),
        (12, "unknown-output"),
        (13, "invalid-expression"),
        (13, "unknown-name"),
    ]
    hints = [hint for *_, hint in found]
    assert hints[0] == "did you mean `shell`?"
    assert hints[1] == "did you mean `count`?"
    assert hints[3] == "did you mean `release`?"
    assert hints[4] == "did you mean `first_look`?"
    assert hints[8] == "did you mean `outputs`?"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "missing-value"),
        ("tests: []", "invalid-value"),
        ("- a", "wrong-type"),
        ("tests: [*a]", "yaml-alias"),
        ("tests:\n  - name: a\n    name: b", "duplicate-key"),
        ("tests:\n  - name: a\n  - name: a", "invalid-name"),
        ("tests:\n  - name: ''", "invalid-value"),
        ("tests: {a: [}", "yaml-syntax"),
    ],
)
def test_a_file_that_holds_no_tests_is_refused(suite: Read, text: str, code: str) -> None:
    assert problems(suite, text)[0][2] == code


Json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.sampled_from([0.0, 1.0, 2.5])
    | st.text("ab", max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=1), inner, max_size=3),
    max_leaves=6,
)


@given(Json, Json)
def test_values_are_equal_if_their_json_is(one: Any, other: Any) -> None:
    """Numbers count by their value, and true is not 1."""

    def canonical(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: canonical(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [canonical(inner) for inner in value]
        return (type(value).__name__ if isinstance(value, bool) else "", value)

    assert equal(one, other) == (canonical(one) == canonical(other))
    assert equal(one, one)
