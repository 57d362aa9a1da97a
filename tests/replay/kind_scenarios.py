"""What is recorded of every kind of step: the same handful of steps, met by each fate in turn.

What a step that calls something does is a word that it is given: `hold-x` waits for the file `release-x`,
`once-x` fails the first time, `no` always, anything else is its answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import replay_scenarios
from engine import Engine
from replay_scenarios import Scenario
from temporalio.client import WorkflowFailureError

RELUCTANT = '''\
"""A tool, an agent, an aggregate and a kind of step that do what a word says."""

import asyncio
from pathlib import Path

from pydantic import BaseModel

from taskmark.errors import Category, StepFailed
from taskmark.registry import agent_provider, aggregate, step_kind, tool

ROOT = Path(__file__).parent


class Told(BaseModel):
    """What to do."""

    word: str


async def obey(word):
    """Holds, fails once, fails always, or answers."""
    how, _, name = word.partition("-")
    while how == "hold" and not (ROOT / f"release-{name}").exists():
        await asyncio.sleep(0.02)
    if how == "once" and not (ROOT / word).exists():
        (ROOT / word).touch()
        raise StepFailed("not yet", Category.TRANSIENT)
    if how == "no":
        raise StepFailed("it says no", Category.LOGIC)
    return word


@tool("reluctant")
async def reluctant(parameters: Told, context):
    """Does what the word says."""
    return await obey(parameters.word)


@agent_provider("reluctant")
async def ask(agent, question, context):
    """Does what the word in its `with` says."""
    return await obey(question.context["with"]["word"])


@aggregate("reluctant")
async def combine(values, arguments):
    """Does what the word says, whatever the values are."""
    return await obey(arguments["word"])


@step_kind("reluctantly")
async def handle(value, description, arguments, context):
    """Does what the word says."""
    return await obey(arguments["word"])
'''

PART = """\
# Reluctant

```yaml
requirements:
  word: string
```

## Phase: Only
### Steps
- tool: reluctant - Does what it is told
  retry: {maxAttempts: 1}
  with: {word: "{{ inputs.word }}"}
"""

CALLS = {
    "tool": "tool: reluctant - Call",
    "agent": "agent: rex - Ask",
    "instruction": "Do as you are told",
    "custom": "reluctantly: so - Handle",
    "task": "task: reluctant - Run",
}
GATES = {"approval": "approval: go - Shall we?", "question": "question: colour - Which one?"}
AGGREGATE = {"aggregate": "aggregate: reluctant - Combine"}
HERE = {"note": "Only a note", "validation": "validation: 2 > 1 - It holds"}


def steps(kinds: dict[str, str], *more: str, word: str = "") -> str:
    """Returns list items, each with further lines, and with a word if they call something.

    In the word, `KIND` is the step's kind.
    """
    return "".join(_step(kind, text, more, word) for kind, text in kinds.items())


def _step(kind: str, text: str, more: Iterable[str], word: str) -> str:
    lines = [f"- {text}", f"  id: {kind}", *(f"  {line}" for line in more)]
    if word:
        over = "over: [1], " if kind in AGGREGATE else ""
        lines.append(f'  with: {{{over}word: "{word.replace("KIND", kind)}"}}')
    return "\n".join(lines) + "\n"


def phase(name: str, body: str, *options: str) -> str:
    """Returns a phase; what it instructs goes to an agent only if it is called so that it calls."""
    agents = "### Agents\n- rex\n" if name == "Calls" else ""
    return "\n".join((f"## Phase: {name}", *options, "### Steps", body + agents))


def wait(duration: str) -> dict[str, str]:
    """Returns a wait."""
    return {"wait": f"wait: {duration} - A moment"}


def busy(name: str, *options: str, moment: str = "1h") -> str:
    """Returns phases that have a step of every kind in flight or before them, until `name` is released."""
    word, first = f"hold-{name}", {"before": "tool: reluctant - Before the notes"}
    return (
        phase("Calls", steps(CALLS, word=word) + steps(GATES | wait(moment)), "parallel: true", *options)
        + phase("Combine", steps(AGGREGATE, word=word), *options)
        + phase("Notes", steps(first, word=word) + steps(HERE), *options)
    )


def everything() -> str:
    """Returns phases with a step of every kind."""
    return (
        phase("Calls", steps(CALLS, word="yes") + steps(GATES | wait("20ms")), "parallel: true")
        + phase("Combine", steps(AGGREGATE, word="yes"))
        + phase("Notes", steps(HERE))
    )


def fill(root: Path) -> None:
    """Writes the agents, tasks and plugins that all scenarios use."""
    replay_scenarios.fill(root)
    (root / "reluctant.py").write_text(RELUCTANT)
    (root / "agents" / "rex.md").write_text("---\nname: rex\nmodel: reluctant:so\n---\nBe rex.\n")
    (root / "tasks" / "reluctant.md").write_text(PART)
    (root / "tasks" / "everything.md").write_text(f"# Everything\n\n{everything()}")


# --- what people do -----------------------------------------------------------------------------------


async def until_busy(engine: Engine, execution: str) -> None:
    """Returns once all that can be in flight is, as the parent knows."""
    wanted = {*CALLS, *GATES, *AGGREGATE, "wait"}
    await engine.until(
        execution,
        lambda p: wanted <= {s.id for phase in p.phases for s in phase.steps if s.started_at},
    )
    await engine.until(execution, lambda p: len(p.waiting) == len(GATES))


async def until_told(engine: Engine, execution: str, slug: str) -> None:
    """Returns once a phase has told its parent of its steps, so that its history holds it."""
    while not any(
        event.HasField("external_workflow_execution_signaled_event_attributes")
        for event in await engine.events(execution, phase=slug)
    ):
        await asyncio.sleep(0.05)


async def decide(engine: Engine, execution: str, *, items: Iterable[str] = ("",)) -> None:
    """Decides the gates, of each item."""
    for item in items:
        await engine.until(
            execution, lambda p, i=item: {f"{g}{i}" for g in GATES} <= {w.step for w in p.waiting}
        )
        await engine.client.approve(execution, f"approval{item}" if item else "go", by="ann")
        await engine.client.answer(execution, f"question{item}" if item else "colour", "blue", by="ann")


async def decide_per_item(engine: Engine, execution: str) -> None:
    """Decides the gates of both items."""
    await decide(engine, execution, items=("[0]", "[1]"))


async def decide_again(engine: Engine, execution: str) -> None:
    """Decides when the phase runs for the second time; the first gates ended with the first round."""
    await engine.until(
        execution, lambda p: any(phase.attempt == 2 for phase in p.phases if phase.slug == "calls")
    )
    await decide(engine, execution)


async def decide_below(engine: Engine, execution: str) -> None:
    """Decides the gates of the sub-task."""
    below = f"{execution}/only/sub"
    await engine.until(execution, lambda p: any(s.started_at for phase in p.phases for s in phase.steps))
    await decide(engine, below)


async def raise_when_it_waits(engine: Engine, execution: str) -> None:
    """Consents to the fan-out, and raises the limit twice, the second time while it is paused."""
    await engine.until(execution, lambda p: any(w.kind == "approval" for w in p.waiting))
    await engine.client.approve(execution, "many-fan-out", by="ann")
    await engine.until(execution, lambda p: any(w.kind == "budget" for w in p.waiting))
    await engine.client.raise_limit(execution, "agentCalls", 4, by="ann")
    await engine.until(execution, lambda p: p.status == "waiting" and p.budget["agentCalls"].used == 4)
    await engine.client.pause(execution, by="ann")
    await engine.until_status(execution, "paused")
    await engine.client.raise_limit(execution, "agentCalls", 50)
    await engine.client.resume(execution, by="ann")


async def raise_and_decide_below(engine: Engine, execution: str) -> None:
    """Raises the limit that the sub-task's agents wait for, and decides its gates."""
    await engine.until(execution, lambda p: any(w.kind == "budget" for w in p.waiting))
    await engine.client.raise_limit(execution, "agentCalls", 50)
    await decide_below(engine, execution)


async def abort_over_budget(engine: Engine, execution: str) -> None:
    """Aborts what waits for tokens."""
    await engine.until_status(execution, "waiting")
    await engine.client.abort(execution, by="ann")


async def cancel(engine: Engine, execution: str) -> None:
    """Cancels what is busy."""
    await until_busy(engine, execution)
    await engine.client.client.get_workflow_handle(execution).cancel()


async def abort(engine: Engine, execution: str) -> None:
    """Aborts what is busy."""
    await until_busy(engine, execution)
    await engine.client.abort(execution, reason="wrong data", by="ann")


async def pause(engine: Engine, execution: str) -> None:
    """Pauses what is busy, lets it end, decides and goes on."""
    await until_busy(engine, execution)
    await engine.client.pause(execution, by="ann")
    await engine.until_status(execution, "pausing")
    engine.release(execution.removeprefix("exec-1-"))
    await engine.until_status(execution, "paused")
    await decide(engine, execution)
    await engine.client.resume(execution, by="ann")


async def kill_phases(engine: Engine, execution: str) -> None:
    """Terminates the busy phases, and waits until the sub-task that loses its parent has ended."""
    await until_busy(engine, execution)
    for slug in ("calls", "combine", "notes"):
        await until_told(engine, execution, slug)
        await engine.client.client.get_workflow_handle(f"{execution}/{slug}").terminate(reason="by hand")
    with suppress(WorkflowFailureError):
        await engine.client.client.get_workflow_handle(f"{execution}/calls/task").result()


async def kill_subtask(engine: Engine, execution: str) -> None:
    """Terminates a sub-task."""
    below = f"{execution}/only/sub"
    await engine.until(execution, lambda p: any(s.started_at for phase in p.phases for s in phase.steps))
    await engine.until(below, lambda p: any(s.started_at for phase in p.phases for s in phase.steps))
    handle = engine.client.client.get_workflow_handle
    await handle(below).terminate(reason="by hand")
    with suppress(WorkflowFailureError):
        await handle(f"{below}/only").result()


# --- the tasks ----------------------------------------------------------------------------------------

NEVER = "if: 1 > 2"
CANNOT = "if: ([] | first) > 0"
OPTIONAL = "critical: false"
ONE_TRY = "retry: {maxAttempts: 1}"
TWO_TRIES = "retry: {maxAttempts: 2, backoffMs: 10}"
TWO = "forEach: [1, 2]"
CARRY_ON = "onFailure: continue"
CALLED = {kind: text for kind, text in CALLS.items() if kind != "task"}

RESUMABLE = phase(
    "Calls",
    steps(CALLS | wait("20ms"), word="yes")
    + steps({"each": "tool: reluctant - Each"}, OPTIONAL, ONE_TRY, "forEach: [1, 2, 3]", word="no-{{ item }}")
    + steps({"more": "tool: reluctant - More"}, TWO, word="i{{ item }}"),
    "parallel: true",
    "checkpoint: called",
) + phase("Combine", steps(AGGREGATE, word="yes") + "- validation: 2 < 1 - Not yet\n")
"""What is gone on from: some of it completed, some items failed, and the end did not come."""

KIND_SCENARIOS: dict[str, Scenario] = {
    "kinds_retried": Scenario(
        phase("Calls", steps(CALLED, TWO_TRIES, word="once-retried-KIND"), "parallel: true")
        + phase("Combine", steps(AGGREGATE, TWO_TRIES, word="once-retried-KIND")),
        "completed",
    ),
    "kinds_failed": Scenario(
        phase(
            "Calls",
            steps(CALLS, OPTIONAL, word="no") + steps(GATES | wait("1s"), OPTIONAL, CANNOT),
            "parallel: true",
            CARRY_ON,
        )
        + phase("Combine", steps(AGGREGATE, OPTIONAL, word="no"))
        + phase("Notes", steps(HERE, OPTIONAL, CANNOT)),
        "completed_with_errors",
    ),
    "kinds_skipped": Scenario(
        phase("Calls", steps(CALLS, NEVER, word="yes") + steps(GATES | wait("1s"), NEVER), "parallel: true")
        + phase("Combine", steps(AGGREGATE, NEVER, word="yes"))
        + phase("Notes", steps(HERE, NEVER)),
        "completed",
    ),
    "kinds_cancelled": Scenario(busy("kinds-cancelled"), "cancelled", cancel),
    "kinds_aborted": Scenario(busy("kinds-aborted"), "cancelled", abort),
    "kinds_timed_out": Scenario(
        f"```yaml\nmaxExecutionTime: 2s\n```\n{busy('kinds-timed-out')}", "timed_out", until_busy
    ),
    "kinds_paused": Scenario(busy("kinds-paused", moment="2s"), "completed", pause),
    "kinds_killed": Scenario(busy("kinds-killed", CARRY_ON), "completed_with_errors", kill_phases),
    "kinds_in_a_phase_retried": Scenario(
        phase(
            "Calls",
            steps(CALLS, "critical: true", ONE_TRY, word="once-again-KIND") + steps(GATES | wait("50ms")),
            "parallel: true",
            TWO_TRIES,
        )
        + phase("Combine", steps(AGGREGATE, ONE_TRY, word="once-again-KIND"), TWO_TRIES)
        + phase(
            "Notes",
            steps(HERE) + steps({"after": "tool: reluctant - After"}, ONE_TRY, word="once-again-KIND"),
            TWO_TRIES,
        ),
        "completed",
        decide_again,
    ),
    "kinds_below": Scenario(
        phase("Only", "- task: everything - All of it\n  id: sub\n"), "completed", decide_below
    ),
    "kinds_for_each": Scenario(
        phase("Calls", steps({k: t for k, t in CALLS.items() if k != "instruction"}, TWO, word="i{{ item }}"))
        + phase("Combine", steps(AGGREGATE, TWO, word="i{{ item }}")),
        "completed",
    ),
    "kinds_per_item": Scenario(
        phase("Calls", steps(CALLS, word="i{{ item }}"), TWO)
        + phase("Combine", steps(AGGREGATE, word="i{{ item }}"), TWO)
        + phase("Notes", steps(HERE), TWO),
        "completed",
    ),
    "waits_per_item": Scenario(
        phase("Calls", steps(GATES | wait("20ms")), "parallel: true", TWO), "completed", decide_per_item
    ),
    "budget_raised": Scenario(
        "```yaml\nbudget: {agentCalls: 3, tokens: 1000, askAbove: {agentCalls: 2}}\n```\n"
        + phase("Calls", steps({"many": "agent: rex - Ask"}, "forEach: [1, 2, 3]", word="i{{ item }}"))
        + phase("Again", steps({"once": "agent: rex - Ask"}, ONE_TRY, word="once-budget"), TWO_TRIES),
        "completed",
        raise_when_it_waits,
    ),
    "budget_below": Scenario(
        "```yaml\nbudget: {agentCalls: 1}\n```\n"
        + phase("Only", "- task: everything - All of it\n  id: sub\n"),
        "completed",
        raise_and_decide_below,
    ),
    "budget_exceeded": Scenario(
        "```yaml\nbudget: {agentCalls: 1}\n```\n"
        + phase("Calls", steps({"many": "agent: rex - Ask"}, TWO, word="i{{ item }}")),
        "cancelled",
        abort_over_budget,
    ),
    "resumable": Scenario(RESUMABLE, "failed"),
    "resumed": Scenario(  # recorded after it, on the same server
        "",
        "completed",
        start={
            "resume_from": "exec-1-resumable",
            "source": f"# Test\n\n{RESUMABLE.replace('2 < 1', '2 < 3').replace('no-', 'is-')}",
        },
    ),
    "subtask_killed": Scenario(
        phase("Only", steps({"sub": CALLS["task"]}, word="hold-subtask-killed")), "failed", kill_subtask
    ),
}

SCENARIOS = {**replay_scenarios.SCENARIOS, **KIND_SCENARIOS}
"""Everything that is recorded."""
