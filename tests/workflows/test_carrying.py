"""A phase may continue as new at any point: in a simulation it does so all the time, and nothing changes."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import pytest
from engine import make_root
from simulated_cases import CASES, Case
from test_simulation import CHILD, declared, told

from starter.simulation import declarations
from starter.simulation.mocks import Mocks
from starter.simulation.simulated import simulate
from starter.wiring import Wiring
from taskmark.contracts import ENGINE, Limits, StartTask
from taskmark.settings import Settings
from workflows import carrying
from workflows.carrying import Carrier

LONG_ONES = {
    "attempts, fallbacks and gates between them": Case(
        """
        ## Phase: A
        parallel: true
        timeout: 1h
        ### Steps
        - tool: flaky
          id: twice
          retry: {maxAttempts: 3, backoffMs: 4000}
        - tool: effect
          id: items
          forEach: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]
          critical: false
          retry: {maxAttempts: 2, backoffMs: 3000}
          with: {value: "{{ item }}"}
        - tool: flaky
          id: other
          retry: {maxAttempts: 1}
          fallback: {tool: effect}
        - wait: 5s
          id: moment
        - approval: go - Shall we?
          id: go
          timeout: 30s
        - question: colour - Which one?
          id: colour
          timeout: 10s
          critical: false
        - tool: effect
          id: after
          with: {value: "{{ steps.items.output | length }} {{ steps.go.output.comment }}"}
        ### Outputs
        - items: steps.items.output
        """,
        mocks="""
        steps:
          twice: {output: 1, takes: 1s, fails: {message: not yet, times: 2}}
          items: {output: {n: 1}, takes: 1s, fails: {message: no, items: [3, 7]}}
          other: {output: 2, takes: 2s}
          after: {output: 3}
        """,
        decisions="{go: {decision: approve, by: ann, comment: yes, after: 20s}, colour: timeout}",
    ),
    "a phase that runs again, once per item": Case(
        """
        ## Phase: A
        forEach: [1]
        retry: {maxAttempts: 3, backoffMs: 5000}
        ### Steps
        - tool: effect
          id: first
          with: {value: "{{ item }}"}
        - tool: flaky
          id: second
          retry: {maxAttempts: 2, backoffMs: 1000}
        - validation: item > 0 - Sure
          id: sure
        ### Outputs
        - all: steps.first.output
        ## Phase: B
        dependsOn: [A]
        onFailure: pause
        ### Steps
        - validation: (phases.a.outputs.all | length) == 1 - All of them
        - tool: effect
          id: held
          retry: {maxAttempts: 1}
        """,
        mocks="""
        steps:
          first: {output: {n: 1}, takes: 2s}
          second: {output: 2, takes: 1s, fails: {message: not yet, times: 3}}
          held: {output: 3, takes: 1s, fails: {message: no, times: 1}}
        """,
        decisions="{b: {decision: retry, after: 5s}}",
    ),
}


def run(root: Path, case: Case, folder: Path) -> tuple[dict[str, Any], float]:
    """Returns how a case ends, and after how many simulated seconds."""
    wiring = Wiring(
        Settings(root=root, tasks_dir=root / "tasks", agents_dir=root / "agents", plugins=("probe",))
    )
    test = declared(case, folder)
    source = "# Test\n\n" + textwrap.dedent(case.task).strip()
    definition = wiring.compiler().definition(StartTask(source=source))
    mocks = Mocks(test, declarations.Surroundings())
    limits = Limits(engine=ENGINE, window=4)
    done = simulate(definition, test.inputs, mocks, test.decisions, registry=wiring.registry, limits=limits)
    return told(done.result), done.seconds


@pytest.mark.semantics("L1", "L3")
@pytest.mark.parametrize("every", [4, 5, 9])
@pytest.mark.parametrize("name", [*CASES, *LONG_ONES])
def test_a_phase_that_continues_as_new_all_the_time_ends_as_one_that_never_does(
    name: str, every: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After every few events, wherever the phase is."""
    root = make_root(tmp_path / "root")
    (root / "tasks" / "child.md").write_text(textwrap.dedent(CHILD).lstrip())
    case = {**CASES, **LONG_ONES}[name]
    expected, seconds = run(root, case, tmp_path)
    times = 0

    def is_due(carrier: Any) -> bool:
        return carrier._extent >= max(every, carrier._mark - 10_000) and not carrier._admission.stopped

    go = Carrier.go

    async def counted(self: Carrier, pack_up: Any) -> None:
        nonlocal times
        times += 1
        await go(self, pack_up)

    monkeypatch.setattr(Carrier, "_is_due", property(is_due))
    monkeypatch.setattr(Carrier, "go", counted)
    found, took = run(root, case, tmp_path)
    assert found == expected
    assert took == pytest.approx(seconds, rel=0.15, abs=0.5)  # backoffs have 10 % of chance
    assert times > (0 if name in LONG_ONES else -1)


SLOW = Case(
    """
    ## Phase: A
    parallel: true
    ### Steps
    - tool: effect
      id: slow
    - tool: effect
      id: items
      forEach: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]
    """,
    mocks="""
    steps:
      slow: {output: 1, takes: 500s}
      items: {output: 2, takes: 10s}
    """,
)


@pytest.mark.semantics("L2")
@pytest.mark.parametrize("hard", [True, False])
def test_near_the_limit_of_temporal_it_waits_however_long_something_takes(
    hard: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And otherwise not for long."""
    monkeypatch.setattr(carrying, "HARD", 8 if hard else 40_000)
    monkeypatch.setattr(Carrier, "_is_due", property(lambda one: one._extent >= max(8, one._mark - 10_000)))
    root = make_root(tmp_path / "root")
    found, seconds = run(root, SLOW, tmp_path)
    assert found["status"] == "completed"
    assert (500 < seconds < 560) if hard else (seconds < 502)
