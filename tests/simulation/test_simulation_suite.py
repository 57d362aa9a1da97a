"""Tests of tasks: what they find, and what they say about it."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from starter.simulation.suite import Outcome, Problem, Suite, beside
from starter.wiring import Wiring
from taskmark.settings import Settings
from taskmark.task import parse_file

Run = Callable[[str, str], list[Outcome]]
TASKS = Path(__file__).parents[2] / "tasks"
COUNT = """
## Phase: Count
### Steps
- tool: shell - Count
  id: count
  timeout: 30s
  with: {command: [wc, -l, notes.txt]}
### Outputs
- lines: steps.count.output.stdout | int

## Outputs
- lines: phases.count.outputs.lines
"""
SHIPPED = sorted(TASKS.glob("*.tests.yaml"))


def only(outcomes: list[Outcome]) -> Problem:
    """Returns the one problem of the one test."""
    [outcome] = outcomes
    [problem] = outcome.problems
    return problem


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.name)
def test_the_tests_beside_our_own_tasks_pass(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also while no process can be started and no connection made: nothing outside is ever called."""

    def never(*_given: Any, **_named: Any) -> None:
        raise AssertionError("something outside was called")

    monkeypatch.setattr(subprocess, "Popen", never)
    monkeypatch.setattr(socket.socket, "connect", never)
    wiring = Wiring(Settings(root=TASKS.parent))
    task = file.with_name(file.name.removesuffix(".tests.yaml") + ".md")
    assert beside(task) == file
    definition = parse_file(task, catalog=wiring.catalog)
    outcomes = list(Suite(file, definition, wiring.registry, wiring.compiler().limits).run(lambda _: True))
    assert len(outcomes) > 4
    assert {outcome.name: outcome.problems for outcome in outcomes if not outcome.passed} == {}
    assert [outcome.unused for outcome in outcomes if outcome.unused] == []


def test_what_is_not_as_expected_is_told_with_its_place(run: Run) -> None:
    [outcome] = run(
        COUNT,
        """
        tests:
          - name: counts
            mocks: {steps: {count: {output: {stdout: "3"}}}}
            expect:
              status: failed
              outputs: {lines: 4}
              steps:
                count: skipped
              attempts: {count: 2}
              checks:
                - outputs.lines == 3
                - outputs.lines > 3
        """,
    )
    found = {
        problem.what: (problem.expected, problem.got, problem.place.line) for problem in outcome.problems
    }
    assert found == {
        "status": ("failed", "completed", 5),
        "outputs lines": ("4", "3", 6),
        "steps count": ("skipped", "completed", 8),
        "attempts count": ("2", "1", 9),
        "check": ("outputs.lines > 3", "outputs.lines is 3", 12),
    }
    assert not outcome.passed


def test_without_an_expectation_it_has_to_complete(run: Run) -> None:
    problem = only(
        run(
            COUNT,
            """
            tests:
              - name: it
                mocks: {steps: {count: {fails: {category: logic, message: no such file}}}}
            """,
        )
    )
    assert (problem.what, problem.expected) == ("status", "completed")
    assert problem.got == "failed (no such file)"


def test_an_expected_error_is_looked_for_in_the_message(run: Run) -> None:
    tests = """
        tests:
          - name: it
            mocks: {{steps: {{count: {{fails: {{category: logic, message: no such file}}}}}}}}
            expect: {{error: {error}}}
        """
    assert run(COUNT, tests.format(error="such file"))[0].passed
    assert only(run(COUNT, tests.format(error="disk"))).got == "no such file"


def test_a_step_without_a_mock_is_named_with_the_lines_to_add(run: Run) -> None:
    """The lines are right as they are: added to the test they make it pass."""
    tests = "tests:\n  - name: it\n    expect: {outputs: {lines: 0}}\n"
    problem = only(run(COUNT, tests))
    assert problem.what == "step `count` (tool shell) has no mock"
    added = tests + "\n".join(f"    {line}" for line in problem.add)
    assert run(COUNT, added)[0].passed


def test_a_fallback_without_a_mock_is_named_with_the_lines_to_add(run: Run) -> None:
    task = COUNT.replace("  timeout", "  fallback: {tool: http, with: {url: https://example.org}}\n  timeout")
    task = task.replace("stdout | int", "status")
    tests = (
        "tests:\n  - name: it\n    expect: {outputs: {lines: 200}}\n"
        "    mocks:\n      tools: {shell: {fails: {category: logic, message: x}}}\n"
    )
    problem = only(run(task, tests))
    assert problem.what == "step `count` (fallback to tool http) has no mock"
    added = tests + "\n".join(f"    {line}" for line in problem.add[1:])
    assert run(task, added)[0].passed


def test_a_mock_that_answers_nothing_is_reported(run: Run) -> None:
    [outcome] = run(
        COUNT,
        """
        tests:
          - name: it
            mocks:
              steps: {count: {output: {stdout: "1"}}}
              tools: {shell: {output: null}}
        """,
    )
    assert outcome.passed
    assert outcome.unused == ("mocks.tools.shell",)


def test_arguments_are_checked_as_the_real_tool_checks_them(run: Run) -> None:
    """A mock does not hide a `with` that the tool would refuse."""
    task = """
    ```yaml
    requirements: {command: object}
    ```
    ## Phase: A
    ### Steps
    - tool: shell - Run
      id: a
      with: {command: "{{ inputs.command }}"}
    """
    problem = only(
        run(
            task,
            """
            tests:
              - name: it
                inputs: {command: {a: 1}}
                mocks: {tools: {shell: {output: {}}}}
            """,
        )
    )
    assert "tool shell" in str(problem.got)


def test_days_pass_in_no_time(run: Run) -> None:
    """A wait and a slow call take time in the simulation only, and exactly as much as they should."""
    [outcome] = run(
        COUNT.replace("### Steps", "### Steps\n- wait: 30 days - For long").replace("30s", "2 hours"),
        """
        tests:
          - name: it
            mocks: {steps: {count: {output: {stdout: "1"}, takes: 1 hour}}}
            expect: {checks: seconds == 30 * 24 * 3600 + 3600}
        """,
    )
    assert outcome.passed, outcome.problems


def test_two_runs_of_a_test_are_the_same(run: Run) -> None:
    """Also where chance has a part: the backoff's spread."""
    tests = """
        tests:
          - name: it
            mocks: {steps: {count: {fails: {times: 2, message: busy}, output: {stdout: "1"}}}}
        """
    one, other = (run(COUNT, tests)[0].run for _ in range(2))
    assert one is not None
    assert one == other
    assert one.seconds > 2


GATES = """
## Phase: Ask
### Steps
- approval: release - Release it?
  approvers: [maria]
  timeout: 1 day
- question: count - How many?
  schema: {type: integer}
"""


def test_a_gate_without_a_decision_is_named_with_the_lines_to_add(run: Run) -> None:
    problem = only(run(GATES, "tests:\n  - name: it\n"))
    assert problem.what == "approval `release` waits, and the test says nothing about it"
    assert problem.add == ("decisions:", "  release: approve")


@pytest.mark.parametrize(
    ("decisions", "said"),
    [
        ("{release: approve, count: timeout}", "question `count` waits for ever"),
        ("{release: {decision: approve, by: bob}}", "bob may not decide"),
        ("{release: approve, count: {answer: many}}", "has to be of type integer"),
    ],
)
def test_a_decision_that_the_execution_would_not_take_fails_the_test(
    run: Run, decisions: str, said: str
) -> None:
    problem = only(run(GATES, f"tests:\n  - name: it\n    decisions: {decisions}\n"))
    assert said in problem.what
    assert problem.place.line == 3


def test_a_decision_in_time_and_one_too_late(run: Run) -> None:
    tests = """
        tests:
          - name: in time
            decisions: {{release: {{decision: approve, after: {after}}}, count: {{answer: 2}}}}
        """
    assert run(GATES, tests.format(after="23 hours"))[0].passed
    problem = only(run(GATES, tests.format(after="25 hours")))
    assert "nobody decided" in str(problem.got)


def test_a_decision_that_nobody_asked_for_is_reported(run: Run) -> None:
    [outcome] = run(
        GATES.replace("- approval", "- approval: other - Not this\n  if: 1 > 2\n  timeout: 1h\n- approval"),
        "tests:\n  - name: it\n    decisions: {release: approve, count: {answer: 1}, other: approve}\n",
    )
    assert outcome.passed
    assert outcome.unused == ("decisions.other",)


def test_fewer_outputs_than_calls_are_an_error(run: Run) -> None:
    task = COUNT.replace("  timeout", "  forEach: [1, 2, 3]\n  timeout").replace(" | int", "")
    outcomes = run(
        task.replace("steps.count.output.stdout", "steps.count.output | length"),
        'tests:\n  - name: it\n    mocks: {steps: {count: {outputs: [{stdout: "1"}]}}}\n',
    )
    assert "has 1 `outputs`, and this is call 2" in only(outcomes).what


def test_a_mocked_sub_task_is_not_run(run: Run, tmp_path: Path) -> None:
    """It gives outputs or fails, and its inputs can be checked; else its own steps are mocked by path."""
    (tmp_path / "child.md").write_text(
        "# Child\n```yaml\nrequirements: {n: integer}\n```\n## Phase: A\n### Steps\n"
        "- tool: shell - S\n  id: s\n  with: {command: [echo]}\n## Outputs\n- out: steps.s.output.stdout\n"
    )
    task = """
    ## Phase: A
    ### Steps
    - task: child - Do it
      id: done
      with: {n: 7}
    ## Outputs
    - out: steps.done.output.out
    """
    outcomes = run(
        task,
        """
        tests:
          - name: as a whole
            mocks: {steps: {done: {output: {out: yes}, takes: 1 hour}}}
            expect: {outputs: {out: yes}, checks: "calls.done[0].arguments.n == 7 and seconds == 3600"}
          - name: that fails
            mocks: {steps: {done: {fails: it broke}}}
            expect: {error: it broke}
          - name: by its steps
            mocks: {steps: {done/s: {output: {stdout: hello}}}}
            expect: {outputs: {out: hello}}
          - name: without mocks
            expect: {outputs: {out: hello}}
        """,
    )
    assert [outcome.passed for outcome in outcomes] == [True, True, True, False]
    assert outcomes[-1].problems[0].what == "step `done/s` (tool shell) has no mock"
    assert "done/s" in str(outcomes[-1].problems[0].add)


def test_each_sub_task_and_item_gets_what_is_said_about_its_steps(run: Run, tmp_path: Path) -> None:
    """Failures are counted and gates decided in each of them anew."""
    (tmp_path / "child.md").write_text(
        "# Child\n## Phase: A\n### Steps\n- approval: release - Sure?\n  timeout: 1h\n"
        "- tool: shell - S\n  id: s\n  with: {command: [echo]}\n## Outputs\n- by: steps.release.output.by\n"
    )
    task = """
    ## Phase: A
    ### Steps
    - task: child - Do it
      id: each
      forEach: [1, 2]
    ## Phase: B
    forEach: [1, 2]
    ### Steps
    - approval: twice - Sure?
      timeout: 1h
    ## Outputs
    - each: steps.each.output
    - twice: steps.twice.output
    """
    [outcome] = run(
        task,
        """
        tests:
          - name: it
            mocks: {steps: {s: {fails: {times: 1, message: busy}, output: null}}}
            decisions:
              release: {decision: approve, by: ann}
              twice: approve
              "twice[1]": {decision: approve, by: bob}
            expect:
              outputs: {each: [{by: ann}, {by: ann}]}
              checks:
                - calls['each/s'] | length == 4
                - outputs.twice[0].by == "tester" and outputs.twice[1].by == "bob"
        """,
    )
    assert outcome.passed, outcome.problems
    assert outcome.unused == ()


def test_a_mocked_sub_task_ends_with_the_time_limit(run: Run, tmp_path: Path) -> None:
    (tmp_path / "child.md").write_text("# Child\n## Phase: A\n### Steps\n- wait: 1s - W\n")
    [outcome] = run(
        "```yaml\nmaxExecutionTime: 1 minute\n```\n"
        "## Phase: A\n### Steps\n- task: child - Do it\n  id: done\n",
        """
        tests:
          - name: it
            mocks: {steps: {done: {output: {}, takes: 1 hour}}}
            expect: {status: timed_out, steps: {done: cancelled}, checks: seconds < 70}
        """,
    )
    assert outcome.passed, outcome.problems


def test_a_thousand_steps_are_run(run: Run) -> None:
    """The engine's turns and portions need no server either."""
    steps = "\n".join(f"- tool: shell - S\n  id: s{n}\n  with: {{command: [echo]}}" for n in range(1000))
    [outcome] = run(
        f"## Phase: A\nparallel: true\n### Steps\n{steps}\n",
        "tests:\n  - name: it\n    mocks: {tools: {shell: {output: {stdout: x}}}}\n",
    )
    assert outcome.passed, outcome.problems
