"""What is recorded: one small task per way in which an execution can go.

Each scenario is the text of a task, and what people and workers do to it. Names of `hold` steps are those
of their scenarios, because their files in the root are shared.
"""

from __future__ import annotations

import textwrap
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine import Engine
from temporalio.client import WorkflowFailureError

from taskmark.contracts import TASK_QUEUE, TASK_WORKFLOW, Limits, StartTask

AGENTS = {
    **{"ann": "probe:yes", "bob": "probe:yes", "cid": "probe:no", "dud": "probe:fail"},
    "eve": "probe:asks",
}
NEWEST = Limits(heartbeat=1, progress_interval=0.2, engine=3)
"""The newest of the engine's ways when these histories were recorded; another one has other histories."""

Drive = Callable[[Engine, str], Awaitable[None]]


async def nothing(engine: Engine, execution: str) -> None:
    """Nobody interferes."""


@dataclass(frozen=True)
class Scenario:
    """One execution and how it must end."""

    text: str
    status: str
    drive: Drive = nothing
    start: dict[str, Any] | None = None
    """In place of the text: what a stranger hands to the workflow, compiled by the worker if at all."""
    limits: Limits | None = None


def fill(root: Path) -> None:
    """Writes the agents and tasks that the scenarios use."""
    (root / "agents").mkdir(parents=True)
    (root / "tasks").mkdir()
    for name, model in AGENTS.items():
        (root / "agents" / f"{name}.md").write_text(f"---\nname: {name}\nmodel: {model}\n---\nBe {name}.\n")
    (root / "tasks" / "part.md").write_text(PART)
    (root / "tasks" / "doomed.md").write_text(DOOMED)
    (root / "tasks" / "asking.md").write_text(ASKING)
    (root / "stalling.py").write_text(STALLING)


async def begin(engine: Engine, name: str, scenario: Scenario) -> str:
    """Starts a scenario and returns its execution's id, which is the same in every recording."""
    execution = f"exec-1-{name.replace('_', '-')}"
    start: Any = scenario.start
    if scenario.limits is not None:
        source = f"# Test\n\n{textwrap.dedent(scenario.text).strip()}"
        definition = engine.client.wiring.compiler().definition(StartTask(source=source))
        start = StartTask(definition=definition, limits=scenario.limits)
    if start is None:
        return await engine.start(scenario.text, id=execution)
    await engine.client.client.start_workflow(TASK_WORKFLOW, start, id=execution, task_queue=TASK_QUEUE)
    return execution


# --- what people and workers do -----------------------------------------------------------------------


async def pause_twice(engine: Engine, execution: str) -> None:
    """Pauses while a step runs, goes on, and pauses again at once."""
    name = execution.removeprefix("exec-1-")
    await engine.until_trace(execution, "start", name)
    await engine.client.pause(execution, reason="lunch", by="ann")
    await engine.until_status(execution, "pausing")
    engine.release(name)
    await engine.until_status(execution, "paused")
    await engine.client.resume(execution, by="ann")
    await engine.client.pause(execution)
    await engine.until(execution, lambda p: p.status in ("paused", "completed"))
    await engine.client.resume(execution)


async def pause_now(engine: Engine, execution: str) -> None:
    """Pauses so that the running step is interrupted after its first item, and goes on."""
    name = execution.removeprefix("exec-1-")
    engine.release(f"{name}-0")
    await engine.until_trace(execution, "item", f"{name}-0")
    await engine.client.pause(execution, by="ann")
    await engine.client.pause(execution, by="bob", mode="now")
    await engine.until_status(execution, "paused")
    engine.release(f"{name}-1", f"{name}-2")
    await engine.client.resume(execution, by="ann")


async def interrupt_and_abort(engine: Engine, execution: str) -> None:
    """Pauses so that the running step is interrupted, and aborts."""
    await engine.until_trace(execution, "start", execution.removeprefix("exec-1-"))
    await engine.client.pause(execution, mode="now")
    await engine.until_status(execution, "paused")
    await engine.client.abort(execution, by="ann")


async def forget_a_pause(engine: Engine, execution: str) -> None:
    """Pauses twice while a step runs; the second pause ends by itself."""
    name = execution.removeprefix("exec-1-")
    await engine.until_trace(execution, "start", name)
    await engine.client.pause(execution, by="ann")
    await engine.client.resume(execution, by="ann")
    await engine.client.pause(execution, by="bob")
    await engine.until_status(execution, "pausing")
    engine.release(name)


async def release_when_used_up(engine: Engine, execution: str) -> None:
    """Lets a step end once what its task may use is used up elsewhere."""
    await engine.until(execution, lambda progress: progress.phases[0].status == "completed")
    engine.release(execution.removeprefix("exec-1-"))


async def pause_during_subtask(engine: Engine, execution: str) -> None:
    """Pauses while only the sub-task runs."""
    await engine.until_trace(f"{execution}/only/sub", "start", "part")
    await engine.client.pause(execution)
    engine.release("part")
    await engine.until_status(execution, "paused")
    await engine.client.resume(execution)


async def pause_while_waiting(engine: Engine, execution: str) -> None:
    """Pauses while only a gate is open, decides it, goes on."""
    await engine.until_status(execution, "waiting")
    await engine.client.pause(execution)
    await engine.until_status(execution, "paused")
    await engine.client.approve(execution, "go", by="ann")
    await engine.client.resume(execution)


async def cancel(engine: Engine, execution: str) -> None:
    """Cancels as the Web UI does, while a step runs."""
    await engine.until_trace(execution, "start", execution.removeprefix("exec-1-"))
    await engine.client.client.get_workflow_handle(execution).cancel()


async def cancel_paused(engine: Engine, execution: str) -> None:
    """Cancels what is paused."""
    await engine.client.pause(execution)
    await engine.until_status(execution, "paused")
    await engine.client.client.get_workflow_handle(execution).cancel()


async def abort_long(engine: Engine, execution: str) -> None:
    """Aborts while the step `long` runs."""
    await engine.until_trace(execution, "start", "long")
    await engine.client.abort(execution, reason="wrong data", by="ann")


async def come_back(engine: Engine, execution: str) -> None:
    """Takes a service down until a step waits for it."""
    (engine.root / "down-replayed").touch()
    await engine.until(
        execution,
        lambda progress: any(
            step.error and "does not call it" in step.error
            for phase in progress.phases
            for step in phase.steps
            if step.id == "waits"
        ),
    )
    (engine.root / "down-replayed").unlink()


async def abort(engine: Engine, execution: str) -> None:
    """Aborts with a reason, while a step runs."""
    await engine.until_trace(execution, "start", execution.removeprefix("exec-1-"))
    await engine.client.abort(execution, reason="wrong data", by="ann")


async def terminate_child(engine: Engine, execution: str) -> None:
    """Terminates a phase from outside, while its step runs."""
    await engine.until_trace(execution, "start", execution.removeprefix("exec-1-"))
    await engine.client.client.get_workflow_handle(f"{execution}/first").terminate(reason="by hand")


def decide(gate: str, decision: str, comment: str = "") -> Drive:
    """Decides an approval once it waits."""

    async def drive(engine: Engine, execution: str) -> None:
        await engine.until(execution, lambda p: any(w.name == gate for w in p.waiting))
        await engine.client.approve(execution, gate, decision=decision, by="ann", comment=comment)

    return drive


async def answer(engine: Engine, execution: str) -> None:
    """Answers a question once it waits."""
    await engine.until_status(execution, "waiting")
    await engine.client.answer(execution, "colour", "blue", by="bob")


def hold(*decisions: str) -> Drive:
    """Decides about a held phase, as often as it is held."""

    async def drive(engine: Engine, execution: str) -> None:
        for number, decision in enumerate(decisions):
            await engine.until(
                execution,
                lambda p, n=number: any(w.kind == "retry" for w in p.waiting) and _tries(p) == n + 1,
            )
            await getattr(engine.client, decision)(execution, "first", by="ann")

    return drive


def _tries(progress: Any) -> int:
    return max(phase.attempt for phase in progress.phases)


async def release(engine: Engine, execution: str) -> None:
    """Lets the held step end once it runs."""
    name = execution.removeprefix("exec-1-")
    await engine.until_trace(execution, "start", name)
    engine.release(name)


async def decide_late(engine: Engine, execution: str) -> None:
    """Decides a gate once all items have ended, in another run of the phase than that which opened it."""
    await engine.until(
        execution,
        lambda p: any(step.items_done == 40 for phase in p.phases for step in phase.steps),
    )
    await engine.client.approve(execution, "go", by="ann")


async def decide_where_it_waits(engine: Engine, execution: str) -> None:
    """Pauses while only a gate of the sub-task waits, and decides it where it is."""
    progress = await engine.until_status(execution, "waiting")
    await engine.client.pause(execution, by="ann")
    await engine.until_status(execution, "paused")
    await engine.client.resume(execution, by="ann")
    await engine.until_status(execution, "waiting")
    await engine.client.approve(progress.waiting[0].execution, "go", by="ann")


async def give_it_time_again(engine: Engine, execution: str) -> None:
    """Lets what ran out of its time run again, and end this time; then with other inputs."""
    await engine.until_status(execution, "waiting")
    name = execution.removeprefix("exec-1-")
    engine.release(name)
    await engine.client.retry(execution, "first", by="ann")
    await engine.until(execution, lambda p: p.status == "waiting" and p.phases[0].attempt == 2)
    await engine.client.retry(execution, "first", inputs={"most": 5}, by="bob")


async def answer_the_agent(engine: Engine, execution: str) -> None:
    """Answers what an agent asks."""
    progress = await engine.until_status(execution, "waiting")
    await engine.client.answer(execution, progress.waiting[0].name, "blue", by="ann")


async def outcome(engine: Engine, execution: str) -> str:
    """Returns how it ended, once it has; `invalid_…` for what never began."""
    try:
        await engine.client.client.get_workflow_handle(execution).result()
    except WorkflowFailureError as error:
        kind = str(getattr(error.cause, "type", ""))
        if kind.startswith("invalid"):
            return kind
    return str((await engine.wait(execution)).status)


# --- the tasks ----------------------------------------------------------------------------------------

PART = """\
# Part

```yaml
requirements:
  amount: number
```

## Phase: Only
### Steps
- tool: hold - Hold
  with: {name: part}
- tool: effect - Work
  id: work
  with: {name: worked, value: "{{ inputs.amount * 2 }}"}

## Outputs
- doubled: steps.work.output.value
"""

ASKING = """\
# Asking

## Phase: Only
### Steps
- approval: go - Shall it?
"""

DOOMED = """\
# Doomed

## Phase: Only
### Steps
- validation: 1 > 2 - One is not more than two
"""

STALLING = '''\
"""A tool that cuts its worker off: while it runs, no heartbeat leaves the process."""

import time

from pydantic import BaseModel

from taskmark.ports import StepContext
from taskmark.registry import tool


class Stall(BaseModel):
    """For how long."""

    seconds: float


@tool("stall")
async def stall(parameters: Stall, context: StepContext) -> None:
    """Holds up the whole process."""
    time.sleep(parameters.seconds)
'''

LINE = """\
## Phase: First
### Steps
- tool: {kind} - Hold
  with: {{name: {name}}}
- tool: effect - Then
  with: {{name: then}}
## Phase: Second
dependsOn: [First]
### Steps
- tool: effect - Last
  with: {{name: last}}
"""


def line(name: str, kind: str = "hold") -> str:
    """Returns two phases whose first step holds."""
    return LINE.format(name=name, kind=kind)


def paced(name: str) -> str:
    """Returns a phase whose step goes on from its heartbeat."""
    step = f"- tool: pacing - In three items\n  with: {{name: {name}}}\n"
    return f"## Phase: Only\n### Steps\n{step}- tool: effect\n  with: {{name: n}}\n"


SCENARIOS: dict[str, Scenario] = {
    "completed": Scenario(
        """
        ## Phase: Measure
        ### Steps
        - tool: effect - Measure
          id: measure
          with: {name: a, value: 41}
        - validation: steps.measure.output.value > 0 - Nothing was measured
        ### Outputs
        - value: steps.measure.output.value + 1
        ## Phase: Report
        dependsOn: [Measure]
        ### Steps
        - tool: effect - Report
          with: {name: "b{{ phases.measure.outputs.value }}"}
        ## Outputs
        - answer: phases.measure.outputs.value
        """,
        "completed",
    ),
    "parallel": Scenario(
        """
        ## Phase: Left
        parallel: true
        ### Steps
        - tool: effect - One
          with: {name: l1, value: 1, seconds: 0.05}
        - tool: effect - Two
          with: {name: l2, value: 2}
        - tool: effect - Three
          id: three
          with: {name: l3, value: 3}
        - aggregate: count - How many
        ## Phase: Right
        parallel: true
        ### Steps
        - tool: effect - Four
          with: {name: r1, value: 4}
        - tool: effect - Five
          with: {name: r2, value: 5}
        ## Phase: Middle
        ### Steps
        - wait: 50ms - A moment
        ## Phase: Both
        dependsOn: [Left, Right, Middle]
        ### Steps
        - aggregate: list - All of it
        """,
        "completed",
    ),
    "narrow": Scenario(
        """
        ```yaml
        maxConcurrentPhases: 1
        maxConcurrentSteps: 2
        ```
        ## Phase: One
        parallel: true
        ### Steps
        - tool: effect - A
          with: {name: a}
        - tool: effect - B
          with: {name: b}
        - tool: effect - C
          with: {name: c}
        ## Phase: Two
        ### Steps
        - tool: effect - D
          with: {name: d}
        """,
        "completed",
    ),
    "agents": Scenario(
        """
        ## Phase: Ask
        ### Steps
        - Shall we go?
        - agent: cid - And you?
        ### Agents
        - ann
        - bob
        ## Phase: Decide
        dependsOn: [Ask]
        ### Steps
        - aggregate: vote - What they want
          with: {over: ["yes", "yes", "no"]}
        - This is only a note.
        """,
        "completed",
    ),
    "chosen_agents": Scenario(
        """
        ## Phase: Choose
        ### Steps
        - tool: effect - Who is asked
          id: choice
          with: {name: choice, value: [ann, cid, bob]}
        ### Outputs
        - chosen: steps.choice.output.value
        ## Phase: Ask
        parallel: true
        dependsOn: [Choose]
        ### Agents
        - ann
        - bob
        - cid
        - dud
        ### Steps
        - agent: "{{ item }}" - Yes or no?
          id: answers
          forEach: phases.choose.outputs.chosen
        - agent: "{{ phases.choose.outputs.chosen[index] }}" - And now?
          forEach: [1, 2]
          fallback: dud
        - aggregate: count - Answers
        """,
        "completed",
    ),
    "agent_not_listed": Scenario(
        """
        ## Phase: Ask
        ### Agents
        - ann
        - dud
        ### Steps
        - agent: "{{ item }}" - One may not be asked, and one of the others falls back
          forEach: [ann, zoe, dud]
          fallback: ann
        - agent: "{{ item }}" - None answers
          forEach: [zoe, dud, 7]
        - agent: "{{ 'z' ~ 'oe' }}" - Fails the phase
          critical: true
        """,
        "failed",
    ),
    "with_errors": Scenario(
        """
        ## Phase: Only
        ### Steps
        - tool: flaky - Not needed
          id: optional
          critical: false
          with: {name: x, category: logic}
        - tool: effect - Needs it
          with: {name: n, value: "{{ steps.optional.output.calls }}"}
        - agent: dud - Says nothing
        - agent: ann - Says something
        ### Outputs
        - calls: steps.optional.output.calls
        """,
        "completed_with_errors",
    ),
    "retried": Scenario(
        """
        ```yaml
        retry: {maxAttempts: 4, backoffMs: 20}
        ```
        ## Phase: Only
        ### Steps
        - tool: flaky - Third time lucky
          with: {name: f, failures: 2}
        - tool: flaky - Less of it
          with: {name: r, failures: 1, category: resource}
        - tool: flaky - Knock again
          with: {name: p, failures: 1, category: permission}
        """,
        "completed",
    ),
    "failed": Scenario(
        """
        ## Phase: First
        ### Steps
        - tool: flaky - Never works
          with: {name: f, category: logic}
        - tool: effect - Not reached
          with: {name: n}
        ## Phase: Second
        dependsOn: [First]
        ### Steps
        - tool: effect - Not reached
          with: {name: m}
        """,
        "failed",
    ),
    "failed_beside_another": Scenario(
        """
        ## Phase: First
        ### Steps
        - tool: hold - Runs on
          with: {name: failed-beside-another}
        - tool: effect - Not reached
          with: {name: n}
        ## Phase: Second
        ### Steps
        - tool: flaky - Never works
          with: {name: f, category: logic}
        """,
        "failed",
        release,
    ),
    "gave_up": Scenario(
        """
        ## Phase: Only
        ### Steps
        - tool: flaky - Never works
          retry: {maxAttempts: 3, backoffMs: 10}
          with: {name: f}
        """,
        "failed",
    ),
    "continued": Scenario(
        """
        ## Phase: First
        onFailure: continue
        ### Steps
        - tool: flaky - Never works
          with: {name: f, category: configuration}
        ## Phase: After
        dependsOn: [First]
        ### Steps
        - tool: effect - Skipped
          with: {name: s}
        ## Phase: Repair
        dependsOn: [First]
        if: phases.first.status == 'failed'
        ### Steps
        - tool: effect - Repair
          with: {name: r}
        """,
        "completed_with_errors",
    ),
    "not_valid": Scenario(
        """
        ## Phase: First
        ### Steps
        - validation: 1 > 2 - One is not more than two
        ## Phase: Second
        dependsOn: [First]
        ### Steps
        - tool: effect - Not reached
          with: {name: m}
        """,
        "failed",
    ),
    "wrong_expression": Scenario(
        """
        ## Phase: First
        ### Steps
        - tool: effect - Measure
          id: measure
          with: {name: a}
        - tool: effect - Looks for what is not there
          with: {name: "{{ steps.measure.output.nothing.at.all }}"}
        """,
        "failed",
    ),
    "skipped": Scenario(
        """
        ## Phase: Never
        if: 1 > 2
        ### Steps
        - tool: effect - No
          with: {name: a}
        ## Phase: Some
        ### Steps
        - tool: effect - No
          if: 1 > 2
          with: {name: b}
        - tool: effect - Yes
          if: 2 > 1
          with: {name: c}
        """,
        "completed",
    ),
    "step_for_each": Scenario(
        """
        ## Phase: Only
        maxConcurrent: 2
        ### Steps
        - tool: effect - Each
          id: each
          forEach: [3, 4, 5]
          with: {name: "i{{ index }}", value: "{{ item * 2 }}"}
        - tool: effect - None
          forEach: []
          with: {name: none}
        - tool: flaky - Some fail
          forEach: [logic, transient]
          critical: false
          retry: {maxAttempts: 2, backoffMs: 10}
          with: {name: "{{ item }}", failures: 1, category: "{{ item }}"}
        """,
        "completed_with_errors",
    ),
    "phase_for_each": Scenario(
        """
        ## Phase: Each
        forEach: "{{ ['x', 'y'] }}"
        ### Steps
        - tool: effect - First
          id: one
          with: {name: "{{ item }}1", value: "{{ index }}"}
        - tool: effect - Second
          with: {name: "{{ item }}2", value: "{{ steps.one.output.value }}"}
        ### Outputs
        - ones: steps.one.output.value
        """,
        "completed",
    ),
    "subtask": Scenario(
        """
        ## Phase: Only
        ### Steps
        - task: part - A task of its own
          id: sub
          with: {amount: 4}
        - validation: steps.sub.output.doubled == 8 - It is not doubled
        """,
        "completed",
        pause_during_subtask,
    ),
    "subtask_failed": Scenario(
        """
        ## Phase: Only
        ### Steps
        - task: part - Its input does not fit
          critical: false
          with: {amount: much}
        - task: doomed - It fails
        """,
        "failed",
    ),
    "worker_lost": Scenario(
        """
        ## Phase: Only
        ### Steps
        - tool: stall - Its worker is cut off
          heartbeat: 500ms
          retry: {maxAttempts: 2, backoffMs: 10}
          fallback: {value: none}
          with: {seconds: 1.5}
        """,
        "completed",
        limits=Limits(lost_attempts=1, progress_interval=0.2),
    ),
    "approved": Scenario(
        """
        ## Phase: Ask
        ### Steps
        - approval: go - Shall we go?
          timeout: 1h
        - tool: effect - Go
          with: {name: go}
        """,
        "completed",
        decide("go", "approved", "fine"),
    ),
    "rejected": Scenario(
        """
        ## Phase: Ask
        ### Steps
        - approval: go - Shall we go?
        - tool: effect - Go
          with: {name: go}
        """,
        "failed",
        decide("go", "rejected", "not today"),
    ),
    "rejected_and_skipped": Scenario(
        """
        ## Phase: Ask
        ### Steps
        - approval: go - Shall we go?
          onReject: skip
        - tool: effect - Reads it
          with: {name: "{{ steps.go.output.by }}"}
        - tool: effect - Goes anyway
          with: {name: anyway}
        """,
        "completed",
        decide("go", "rejected"),
    ),
    "answered": Scenario(
        """
        ## Phase: Ask
        ### Steps
        - question: colour - Which one?
        - tool: effect - Paint
          with: {name: "{{ steps.colour.output }}"}
        """,
        "completed",
        answer,
    ),
    "undecided": Scenario(
        """
        ## Phase: Ask
        ### Steps
        - approval: go - Shall we go?
          timeout: 300ms
        """,
        "failed",
    ),
    "waiting_and_paused": Scenario(
        """
        ## Phase: Ask
        ### Steps
        - approval: go - Shall we go?
          timeout: 1h
        - tool: effect - Go
          with: {name: go}
        """,
        "completed",
        pause_while_waiting,
    ),
    "paused": Scenario(line("paused"), "completed", pause_twice),
    "interrupted": Scenario(paced("interrupted"), "completed", pause_now),
    "interrupted_and_aborted": Scenario(paced("interrupted-and-aborted"), "cancelled", interrupt_and_abort),
    "forgotten": Scenario(
        "```yaml\npausedTimeout: {after: 2s}\n```\n" + line("forgotten"), "completed", forget_a_pause
    ),
    "cancelled": Scenario(line("cancelled"), "cancelled", cancel),
    "cancelled_paused": Scenario(
        """
        ## Phase: Only
        ### Steps
        - wait: 300ms - A moment
        - tool: effect - Not reached
          with: {name: n}
        """,
        "cancelled",
        cancel_paused,
    ),
    "aborted": Scenario(line("aborted"), "cancelled", abort),
    "timed_out": Scenario(
        f"```yaml\nmaxExecutionTime: 1s\n```\n{line('timed-out')}",
        "timed_out",
    ),
    "phase_timed_out": Scenario(
        """
        ## Phase: First
        timeout: 500ms
        onFailure: continue
        ### Steps
        - tool: hold - Too long
          with: {name: phase-timed-out}
        - tool: effect - Not reached
          with: {name: n}
        """,
        "completed_with_errors",
    ),
    "step_timed_out": Scenario(
        """
        ## Phase: First
        ### Steps
        - tool: hold - Too long
          timeout: 200ms
          retry: {maxAttempts: 2, backoffMs: 10}
          fallback: {value: {late: true}}
          with: {name: step-timed-out}
        """,
        "completed",
    ),
    "phase_retried": Scenario(
        """
        ## Phase: First
        retry: {maxAttempts: 3, backoffMs: 20}
        ### Steps
        - tool: effect - Kept
          with: {name: kept}
        - tool: flaky - Works in the second round
          retry: {maxAttempts: 1}
          with: {name: f, failures: 1}
        """,
        "completed",
    ),
    "fallback": Scenario(
        """
        ## Phase: First
        ### Steps
        - tool: flaky - Never works
          fallback: {tool: effect, with: {name: instead, value: 2}}
          with: {name: f, category: logic}
        - tool: flaky - Never works either
          fallback: {value: none}
          with: {name: g, category: logic}
        """,
        "completed",
    ),
    "held_and_retried": Scenario(
        """
        ## Phase: First
        onFailure: pause
        ### Steps
        - tool: flaky - Works in the third round
          retry: {maxAttempts: 1}
          with: {name: f, failures: 2}
        """,
        "completed",
        hold("retry", "retry"),
    ),
    "held_and_skipped": Scenario(
        """
        ## Phase: First
        onFailure: pause
        ### Steps
        - tool: flaky - Never works
          with: {name: f, category: logic}
        ## Phase: Second
        dependsOn: [First]
        ### Steps
        - tool: effect - Skipped
          with: {name: n}
        """,
        "completed_with_errors",
        hold("skip"),
    ),
    "child_terminated": Scenario(line("child-terminated"), "failed", terminate_child),
    "registered": Scenario(
        """
        ## Phase: Only
        ### Steps
        - shout: hello - As loud as you can
        - aggregate: longest - Of these
          with: {over: [a, abc, ab]}
        - tool: broken - It does not work
          critical: false
        """,
        "completed_with_errors",
    ),
    "large": Scenario(
        """
        ## Phase: Only
        ### Steps
        - tool: big - A lot
          id: lot
          with: {bytes: 33000}
        - validation: steps.lot.output.length == 33000 - It is not all there
        - tool: effect - Passes it on
          with: {name: p, value: "{{ steps.lot.output }}"}
        """,
        "completed",
    ),
    "timers_left": Scenario(
        """
        ```yaml
        maxExecutionTime: 10m
        ```

        ## Phase: First
        timeout: 5m
        parallel: true
        ### Steps
        - tool: effect
        - tool: effect

        ## Phase: Second
        dependsOn: [First]
        ### Steps
        - tool: effect
        - tool: flaky
          with: {category: logic}
        """,
        "failed",
        limits=Limits(engine=1),
    ),
    "continued_as_new": Scenario(
        f"""
        ## Phase: A
        parallel: true
        timeout: 1h
        ### Steps
        - approval: go - Shall we?
        - wait: 3s - A moment
        - tool: flaky - At the second attempt
          retry: {{maxAttempts: 2, backoffMs: 3000}}
          with: {{failures: 1}}
        - tool: effect
          id: all
          forEach: {list(range(40))}
          with: {{value: "{{{{ item }}}}", seconds: 0.01}}
        """,
        "completed",
        decide_late,
        limits=Limits(heartbeat=10, progress_interval=0.2, window=10, history_events=100, engine=2),
    ),
    "asked_below": Scenario(
        """
        ```yaml
        budget: {agentCalls: 4}
        notify:
          - on: [waiting, budget]
            tool: effect
            with: {name: "{{ event.kind }} {{ event.execution }}"}
        ```

        ## Phase: First
        ### Steps
        - agent: ann - Ask
          forEach: [1, 2, 3]
        - task: asking
          id: sub
        - tool: effect
        """,
        "completed",
        decide_where_it_waits,
        limits=NEWEST,
    ),
    "out_of_time": Scenario(
        """
        ```yaml
        requirements:
          most: {type: number, default: 1}
        ```

        ## Phase: First
        onFailure: pause
        timeout: 1500ms
        ### Steps
        - tool: effect
        - tool: hold
          with: {name: out-of-time}
        - validation: inputs.most > 2 - Too few
        """,
        "completed",
        give_it_time_again,
        limits=NEWEST,
    ),
    "rolled_back": Scenario(
        """
        ## Phase: Build
        rollback: true
        onFailure: continue
        ### Steps
        - tool: write-file - Make a file
          with: {path: rolled/back.txt, content: made}
        - tool: flaky - It fails
          retry: {maxAttempts: 1}

        ## Phase: Stay
        rollback: true
        ### Steps
        - tool: write-file - Make a file that stays
          with: {path: rolled/stays.txt, content: made}
        """,
        "completed_with_errors",
    ),
    "rolled_back_by_abort": Scenario(
        """
        ## Phase: Build
        rollback: true
        ### Steps
        - tool: write-file - Make a file
          with: {path: rolled/aborted.txt, content: made}
        - tool: effect - It takes its time
          id: long
          with: {name: long, seconds: 30}
        """,
        "cancelled",
        abort_long,
    ),
    "waited_for_a_circuit": Scenario(
        """
        ## Phase: Open
        onFailure: continue
        ### Steps
        - tool: remote - It is down
          retry: {maxAttempts: 5, backoffMs: 10}
          with: {name: replayed}

        ## Phase: Wait
        dependsOn: [Open]
        if: true
        ### Steps
        - tool: remote - It waits
          id: waits
          circuit: wait
          with: {name: replayed, value: 1}
        - tool: flaky - It says how long to leave it alone
          with: {failures: 1, after: 0.3}
        """,
        "completed_with_errors",
        come_back,
    ),
    "an_agent_asks": Scenario(
        """
        ## Phase: First
        ### Steps
        - agent: eve - Ask
          id: asked
          with: {asks: [{question: "Which colour?", name: colour}]}
        ### Outputs
        - said: steps.asked.output
        """,
        "completed",
        answer_the_agent,
        limits=NEWEST,
    ),
    "used_up": Scenario(
        """
        # Used up

        ```yaml
        limits: {cpu: 1ms, perStep: {processes: 64}}
        ```

        ## Phase: Compute
        ### Steps
        - tool: shell - Compute
          limits: {memory: 512 MB}
          with: {command: [sh, -c, "n=0; while [ $n -lt 50000 ]; do n=$((n+1)); done"]}

        ## Phase: Meanwhile
        ### Steps
        - tool: hold - Wait
          with: {name: used-up}
        - tool: effect - It does not begin any more
          critical: false
          fallback: {value: none}
        - tool: effect - Nor does this
        """,
        "failed",
        release_when_used_up,
        limits=NEWEST,
    ),
    "compiled": Scenario("", "completed", release, start={"source": f"# Test\n\n{line('compiled')}"}),
    "invalid_task": Scenario("", "invalid_task", start={"source": "# Test\n\n## Phase: A\nif: (\n"}),
    "invalid_inputs": Scenario("", "invalid_inputs", start={"task": "part", "inputs": {"amount": "much"}}),
    "invalid_start": Scenario("", "invalid_start", start={"inputs": {}}),
}
