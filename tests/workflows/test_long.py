"""Phases that go on for long: they continue as new, and nobody can tell but Temporal."""

from __future__ import annotations

import asyncio
import textwrap
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from datetime import UTC, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import pytest
from engine import Engine, make_root
from observing import stored_events, unique
from temporalio.service import RPCError

from starter.backfill import Rebuilt, backfill
from starter.connection import connected
from starter.gateway import TaskClient
from starter.wiring import Wiring
from starter.working import working
from taskmark.contracts import is_artifact, stands_for_items
from taskmark.records import AttemptRecord, EventRecord, PhaseRecord
from taskmark.settings import Settings
from taskmark.store.tables import Checkpoints, table


@asynccontextmanager
async def engine_with(root: Path, history_events: int) -> AsyncIterator[Engine]:
    """Runs an engine whose phases continue as new after so many events."""
    make_root(root)
    settings = Settings(
        state_dir=root.parent / "state",
        root=root,
        tasks_dir=root / "tasks",
        agents_dir=root / "agents",
        plugins=("probe",),
        heartbeat_seconds=10,
        progress_seconds=0.2,
        grace_seconds=1,
        step_timeout_seconds=60,
        history_events=history_events,
    )
    wiring = Wiring(settings)
    async with connected(settings) as (client, server), working(client, wiring):
        yield Engine(TaskClient(client, wiring, server), root)


@pytest.fixture(scope="module")
async def brief(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Engine]:
    """An engine whose phases continue as new often."""
    async with engine_with(tmp_path_factory.mktemp("brief") / "root", 200) as engine:
        yield engine


@pytest.fixture(scope="module")
async def usual(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Engine]:
    """An engine whose phases continue as new when they usually do."""
    async with engine_with(tmp_path_factory.mktemp("usual") / "root", 10_000) as engine:
        yield engine


async def runs(engine: Engine, workflow: str) -> list[list[Any]]:
    """Returns the events of each run of a workflow, from its first to its last."""
    own = engine.client.client
    first = (await own.get_workflow_handle(workflow).fetch_history()).events[0]
    run = first.workflow_execution_started_event_attributes.first_execution_run_id
    found = []
    while run:
        history = await own.get_workflow_handle(workflow, run_id=run).fetch_history()
        found.append(list(history.events))
        run = history.events[-1].workflow_execution_continued_as_new_event_attributes.new_execution_run_id
    return found


def most_at_once(traces: list[dict[str, Any]]) -> int:
    """Returns how many calls ran at once at most."""
    running = most = 0
    for trace in sorted(traces, key=lambda t: (t["at"], t["what"] == "start")):
        running += 1 if trace["what"] == "start" else -1
        most = max(most, running)
    return most


MANY = """
    ```yaml
    requirements:
      data: list
    ```

    ## Phase: A
    maxConcurrent: 7
    ### Steps
    - tool: effect
      id: all
      forEach: inputs.data
      with: {name: "n{{ item }}", value: "{{ item }}", seconds: 0.01}
    ### Outputs
    - all: steps.all.output
"""


@pytest.mark.semantics("L1", "L2")
async def test_a_long_list_continues_as_new_and_does_everything_once(brief: Engine) -> None:
    count = 300
    result = await brief.run(MANY, {"data": list(range(count))})
    assert result.status == "completed", result.error
    assert [one["value"] for one in result.outputs["a"]["all"]] == list(range(count))
    histories = await runs(brief, f"{result.execution_id}/a")
    assert len(histories) > 2
    traces = brief.traces(result.execution_id)
    assert Counter(t["name"] for t in traces if t["what"] == "start") == {f"n{n}": 1 for n in range(count)}
    assert 1 < most_at_once(traces) <= 7  # how many of such short steps meet is the machine's matter


PACED = """
    ```yaml
    requirements:
      data: list
    ```

    ## Phase: A
    parallel: true
    maxConcurrent: 5
    ### Steps
    - tool: pacing
      id: paced
      heartbeat: 4s
      with: {name: NAME}
    - tool: effect
      id: all
      forEach: inputs.data
      with: {name: "n{{ item }}"}
"""


@pytest.mark.semantics("L1", "C13", "C14")
async def test_a_step_that_a_pause_interrupted_goes_on_in_the_next_run(brief: Engine) -> None:
    """It holds no place, so the phase continues as new while it is paused, and takes along where it was."""
    name = unique()
    execution = await brief.start(PACED.replace("NAME", name), {"data": list(range(600))})
    brief.release(f"{name}-0")
    await brief.until_trace(execution, "item", f"{name}-0")
    for _ in range(20):
        await asyncio.sleep(0.5)
        await brief.client.pause(execution, mode="now")
        await brief.until_status(execution, "paused")
        await asyncio.sleep(0.5)
        if len(await runs(brief, f"{execution}/a")) > 1:
            break
        await brief.client.resume(execution)
    assert len(await runs(brief, f"{execution}/a")) > 1
    brief.release(f"{name}-1", f"{name}-2")
    await brief.client.resume(execution)
    result = await brief.wait(execution)
    assert (result.status, result.steps["paced"].attempts) == ("completed", 1)
    assert result.steps["paced"].output == {"from": 1, "attempt": 1}


MIXED = """
    ```yaml
    requirements:
      data: list
    ```

    ## Phase: A
    parallel: true
    maxConcurrent: 5
    ### Steps
    - approval: go - Shall we?
      id: gate
      timeout: 1h
    - question: colour - Which one?
      id: colour
    - wait: 4s - A moment
      id: pause
    - tool: effect
      id: all
      forEach: inputs.data
      with: {name: "n{{ item }}", value: "{{ item }}", seconds: 0.01}
    - tool: effect
      id: after
      with: {name: after, value: "{{ steps.all.output | length }} {{ steps.gate.output.by }}"}
    ### Outputs
    - colour: steps.colour.output
    - after: steps.after.output.value
"""


@pytest.mark.semantics("L3", "L4")
async def test_gates_and_waits_are_the_same_ones_in_every_run(brief: Engine) -> None:
    count = 300
    execution = await brief.start(MIXED, {"data": list(range(count))})
    opened = await brief.until(execution, lambda p: len(p.waiting) == 2)
    await brief.until(
        execution, lambda p: any(s.id == "all" and s.status == "completed" for s in p.phases[0].steps)
    )
    waiting = (await brief.client.progress(execution)).waiting
    assert [(w.name, w.since, w.deadline) for w in waiting] == [
        (w.name, w.since, w.deadline) for w in opened.waiting
    ]
    await brief.client.approve(execution, "go", by="ann")
    await brief.client.answer(execution, "colour", "blue", by="bob")
    result = await brief.wait(execution)
    assert result.status == "completed", result.error
    assert result.outputs["a"] == {"colour": "blue", "after": f"{count} ann"}
    assert len(await runs(brief, f"{execution}/a")) > 2
    wait = result.steps["pause"]
    assert wait.started_at
    assert wait.finished_at
    assert 4 <= (wait.finished_at - wait.started_at).total_seconds() < 8
    await stored_events(brief, execution, "execution_completed")
    events = await asyncio.to_thread(brief.client.wiring.history.events, execution)
    counted = Counter((e.kind, e.step) for e in events)
    assert {
        kind: counted[kind, "gate"] for kind in ("step_started", "waiting", "decided", "step_completed")
    } == {
        "step_started": 1,
        "waiting": 1,
        "decided": 1,
        "step_completed": 1,
    }
    assert counted["phase_started", ""] == 1
    assert not counted["step_cancelled", "gate"]


@pytest.mark.semantics("L2")
async def test_what_takes_long_holds_nobody_back_for_long(brief: Engine) -> None:
    count, name = 260, unique("held")
    text = MANY.replace(
        "### Outputs", "- tool: hold\n      id: slow\n      with: {name: NAME}\n    ### Outputs"
    )
    text = text.replace("maxConcurrent: 7", "maxConcurrent: 7\n    parallel: true").replace("NAME", name)
    execution = await brief.start(text, {"data": list(range(count))})
    await brief.until(
        execution, lambda p: any(s.id == "all" and s.items_done == count for s in p.phases[0].steps)
    )
    brief.release(name)
    result = await brief.wait(execution)
    assert result.status == "completed", result.error
    ends = sorted(t["at"] for t in brief.traces(execution) if t["what"] == "end" and t["name"] != name)
    gaps = [later - earlier for earlier, later in pairwise(ends)]
    assert len([gap for gap in gaps if gap > 1.5]) >= 1  # it tried
    assert max(gaps) < 8


PATIENT = """
    ## Phase: A
    timeout: 30s
    retry: {maxAttempts: 2, backoffMs: 3000}
    parallel: true
    ### Steps
    - tool: flaky
      id: twice
      retry: {maxAttempts: 3, backoffMs: 6000}
      with: {name: twice, failures: 1}
    - tool: flaky
      id: items
      forEach: [1, 2]
      retry: {maxAttempts: 2, backoffMs: 5000}
      with: {name: "items{{ item }}", failures: "{{ 3 if item == 2 else 0 }}"}
      fallback: {tool: flaky, with: {name: instead, failures: 1}}
    - tool: effect
      id: all
      forEach: inputs.data
      with: {name: "n{{ item }}", seconds: 0.01}
"""


@pytest.mark.semantics("L1", "L3")
async def test_attempts_and_fallbacks_go_on_in_the_next_run(brief: Engine) -> None:
    head = "```yaml\nrequirements:\n  data: list\n```\n\n"
    count = 250
    execution = await brief.start(head + textwrap.dedent(PATIENT), {"data": list(range(count))})
    result = await brief.wait(execution)
    assert result.status == "completed", result.error
    assert len(await runs(brief, f"{execution}/a")) > 2
    calls = Counter(t["name"] for t in brief.traces(execution) if t["what"] == "start")
    assert (calls["twice"], calls["items1"], calls["items2"], calls["instead"]) == (2, 1, 2, 2)
    assert {calls[f"n{n}"] for n in range(count)} == {1}
    assert (result.steps["twice"].attempts, result.steps["items"].fallback) == (2, True)
    twice = [t["at"] for t in brief.traces(execution) if t["name"] == "twice" and t["what"] == "start"]
    assert 5 < twice[1] - twice[0] < 12


@pytest.mark.semantics("L4")
async def test_backfill_tells_of_all_runs(brief: Engine) -> None:
    count = 150
    result = await brief.run(MANY, {"data": list(range(count))})
    histories = await runs(brief, f"{result.execution_id}/a")
    assert len(histories) > 1
    kept = Rebuilt()
    done = await backfill(brief.client.client, kept, only=[result.execution_id])
    assert not done.problems
    attempts = [r for r in kept.records if isinstance(r, AttemptRecord)]
    assert sorted(a.item for a in attempts if a.item is not None) == list(range(count))
    phases = [r for r in kept.records if isinstance(r, PhaseRecord) and r.started_at]
    began = histories[0][2].event_time.ToDatetime(UTC)
    # a workflow's clock is a float: it may round where this cuts
    assert {abs(p.started_at - began) < timedelta(microseconds=2) for p in phases if p.started_at} == {True}
    told = Counter((r.kind, r.step) for r in kept.records if isinstance(r, EventRecord))
    assert {
        told[kind] for kind in (("phase_started", ""), ("step_started", "all"), ("step_completed", "all"))
    } == {1}


LARGE = """
    ```yaml
    requirements:
      data: list
    ```

    ## Phase: Lanes
    forEach: inputs.data
    ### Steps
    - validation: item >= 0 - No item is negative
      id: checked
    - validation: item >= 0 - And neither is it now
      id: again
    ### Outputs
    - all: steps.checked.output

    ## Phase: Items
    ### Steps
    - tool: effect
      id: one
      forEach: inputs.data
      with: {value: "{{ item }}"}

    ## Phase: Read
    dependsOn: [Lanes, Items]
    ### Steps
    - validation: steps.one.output[1000].value == 1000 - It is the last one
    - validation: (steps.checked.output | length) == 1001 - All were checked
    - validation: phases.lanes.outputs.all[1000] == true - The output of the phase is there

    ## Phase: Combine
    dependsOn: [Items]
    ### Steps
    - aggregate: count - How many answers
      id: counted
    - aggregate: longest - By an activity
      id: longest
"""


@pytest.mark.semantics("L5", "L6")
async def test_the_outputs_of_many_items_are_one_document(usual: Engine) -> None:
    result = await usual.run(LARGE, {"data": list(range(1001))})
    assert result.status == "completed", result.error
    for name in ("one", "checked", "again"):
        assert stands_for_items(result.steps[name].output), name
    assert result.steps["checked[1000]"].output is None
    assert is_artifact(result.outputs["lanes"]["all"])
    assert result.steps["counted"].output == 1001
    assert "'value': 10" in result.steps["longest"].output
    events = await usual.events(result.execution_id)
    # Nothing for each item; how many workflow tasks there are depends on the machine.
    assert len(events) < 500


# --- while it goes on ---------------------------------------------------------------------------------


RATE = 100
"""Signals per second."""

ASKED = """
    ```yaml
    requirements:
      data: list
    ```

    ## Phase: A
    parallel: true
    maxConcurrent: 5
    ### Steps
    - tool: effect
      id: all
      forEach: inputs.data
      with: {name: "n{{ item }}", value: "{{ item }}", seconds: 0.01}
    ### Outputs
    - all: steps.all.output

    ## Phase: Gates
    forEach: inputs.gates
    ### Steps
    - approval: go - Shall we go on with {{ item }}?
      id: go
    - tool: effect
      id: gone
      with: {name: "gone{{ item }}"}
"""


async def at_rate(count: int, send: Callable[[int], Coroutine[Any, Any, None]]) -> None:
    """Sends so many signals, a hundred a second, however long each of them takes."""
    begin = time.monotonic()
    tasks: list[asyncio.Task[None]] = []
    while len(tasks) < count:
        due = min(count, int((time.monotonic() - begin) * RATE) + 1)
        tasks += [asyncio.create_task(send(number)) for number in range(len(tasks), due)]
        await asyncio.sleep(0.01)
    await asyncio.gather(*tasks)


async def hammer(engine: Engine, execution: str, count: int) -> None:
    """Pauses and resumes alternately."""
    handle = engine.client.client.get_workflow_handle(execution)
    await at_rate(count, lambda n: handle.signal("resume" if n % 2 else "pause", {"by": f"h{n}"}))
    await handle.signal("resume")


async def hammer_phase(engine: Engine, execution: str, count: int) -> None:
    """Signals a phase directly, with a wish that it knows and with words that are none."""
    handle = engine.client.client.get_workflow_handle(f"{execution}/a")

    async def send(number: int) -> None:
        with suppress(RPCError):  # it may have ended
            await handle.signal("control", {"wish": {"epoch": 0}} if number % 2 else "nonsense")

    await at_rate(count, send)


async def approve_all(engine: Engine, execution: str, count: int) -> None:
    """Decides gate after gate, each as soon as it is there."""
    for number in range(count):
        step = f"go[{number}]"
        await engine.until(execution, lambda p, s=step: s in {w.step for w in p.waiting})
        assert (await engine.client.approve(execution, step, by="ann"))["decision"] == "approved"


@pytest.mark.semantics("L7")
@pytest.mark.parametrize(("count", "seconds"), [(400, 8), pytest.param(10_000, 60, marks=pytest.mark.soak)])
async def test_no_signal_and_no_update_is_lost_while_it_continues_as_new(
    brief: Engine, count: int, seconds: int
) -> None:
    """A hundred signals a second, and decisions between them."""
    text = ASKED.replace("data: list", "data: list\n      gates: list")
    data = {"data": list(range(count)), "gates": list(range(10))}
    execution = await brief.start(text, data)
    signals = RATE * seconds
    await asyncio.gather(
        hammer(brief, execution, signals),
        approve_all(brief, execution, 10),
        hammer_phase(brief, execution, signals),
    )
    async with asyncio.timeout(1200):
        result = await brief.client.wait(execution, timeout=1200)
    assert result.status == "completed", result.error
    assert [one["value"] for one in result.outputs["a"]["all"]] == list(range(count))
    calls = Counter(t["name"] for t in brief.traces(execution) if t["what"] == "start")
    assert calls == {f"n{n}": 1 for n in range(count)} | {f"gone{n}": 1 for n in range(10)}
    assert len(await runs(brief, f"{execution}/a")) > 3
    own = await brief.events(execution)
    assert len(own) < 40_000
    heard = [
        e for e in own if e.workflow_execution_signaled_event_attributes.signal_name in ("pause", "resume")
    ]
    assert len(heard) == signals + 1
    assert len(await stored_events(brief, execution, "decided", 10)) == 10


@pytest.mark.semantics("L8", "T10")
async def test_waits_and_gates_of_weeks_cost_nothing_while_nothing_happens(brief: Engine) -> None:
    execution = await brief.start(
        """
        ## Phase: A
        parallel: true
        timeout: 300 days
        ### Steps
        - wait: 3 weeks
        - approval: go - Shall we?
          timeout: 30 days
        - question: colour - Which one?
        """
    )
    await brief.until(execution, lambda p: len(p.waiting) == 2 and p.status == "waiting")
    await asyncio.sleep(1)  # five times the interval of progress
    before = [len(await brief.events(execution, phase=phase)) for phase in (None, "a")]
    await asyncio.sleep(4)
    assert [len(await brief.events(execution, phase=phase)) for phase in (None, "a")] == before
    assert max(before) < 60
    await brief.client.abort(execution)
    assert (await brief.wait(execution)).status == "cancelled"


FIFTY = "\n\n".join(
    f"""## Phase: P{number}
### Steps
- tool: effect
  id: s{number}
  forEach: [1, 2, 3, 4, 5, 6, 7, 8]
  with: {{seconds: 0.2}}
"""
    for number in range(50)
)


@pytest.mark.soak
@pytest.mark.semantics("L9")
async def test_fifty_phases_that_report_leave_a_history_below_the_limits(brief: Engine) -> None:
    execution = await brief.start(f"```yaml\nmaxConcurrentPhases: 50\n```\n\n{FIFTY}")
    result = await brief.client.wait(execution, timeout=600)
    assert result.status == "completed", result.error
    events = await brief.events(execution)
    signals = [e for e in events if e.HasField("workflow_execution_signaled_event_attributes")]
    assert len(signals) <= 8_000
    assert len(events) <= 40_000


NUMBERED = "```yaml\nrequirements:\n  data: list\n```\n\n"
SHAPES = {
    "items": (
        "## Phase: A\n### Steps\n- tool: effect\n  forEach: inputs.data\n  with: {value: '{{ item }}'}\n",
        10_000,
        10_000,
    ),
    "lanes": (
        "## Phase: A\nforEach: inputs.data\n### Steps\n"
        "- tool: effect\n  id: one\n  with: {value: '{{ item }}'}\n"
        "- tool: effect\n  with: {value: '{{ steps.one.output.value }}'}\n",
        3_000,
        6_000,
    ),
    "steps": (
        "## Phase: A\nparallel: true\n### Steps\n"
        + "".join(f"- tool: effect\n  id: s{n}\n" for n in range(3_000)),
        1,
        3_000,
    ),
}


@pytest.mark.soak
@pytest.mark.semantics("L1", "L6")
@pytest.mark.parametrize("shape", SHAPES)
async def test_thousands_of_calls_keep_to_time_and_memory(usual: Engine, shape: str) -> None:
    text, count, calls = SHAPES[shape]
    process = psutil.Process()
    before, most = process.memory_info().rss, 0
    execution = await usual.start(NUMBERED + text, {"data": list(range(count))})
    waiting = asyncio.create_task(usual.client.wait(execution, timeout=1800))
    while not waiting.done():
        most = max(most, process.memory_info().rss)
        await asyncio.sleep(0.1)
    result = await waiting
    assert result.status == "completed", result.error
    assert most - before < 400 * 1024 * 1024
    traces = usual.traces(execution)
    assert len({t["key"] for t in traces}) == calls
    assert most_at_once(traces) <= 80
    for history in [*await runs(usual, f"{execution}/a"), await usual.events(execution)]:
        assert len(history) < 12_000
        assert longest_task(history) < 4  # seconds, which the server allows


def longest_task(history: list[Any]) -> float:
    """Returns how many seconds the longest workflow task took."""
    longest, started = 0.0, 0
    for event in history:
        if event.HasField("workflow_task_started_event_attributes"):
            started = event.event_time.ToNanoseconds()
        elif event.HasField("workflow_task_completed_event_attributes"):
            longest = max(longest, (event.event_time.ToNanoseconds() - started) / 1e9)
    return longest


BUDGET = """
    ```yaml
    requirements:
      data: list
    budget: {agentCalls: 90, tokens: 5000}
    ```

    ## Phase: A
    maxConcurrent: 5
    ### Steps
    - agent: tok - Ask
      forEach: inputs.data
      id: all
"""


@pytest.mark.semantics("B10", "L1")
async def test_what_was_granted_and_used_goes_on_with_the_next_run(brief: Engine) -> None:
    execution = await brief.start(BUDGET, {"data": list(range(120))})
    progress = await brief.until_status(execution, "waiting")
    assert progress.budget["agentCalls"].used == 90
    assert len(await runs(brief, f"{execution}/a")) > 1
    assert len(brief.traces(execution)) == 90
    for _ in range(40):  # what happens meanwhile makes its history longer, too
        await brief.client.pause(execution)
        await brief.client.resume(execution)
    await brief.until_status(execution, "waiting")
    await brief.client.raise_limit(execution, "agentCalls", 121)
    result = await brief.wait(execution)
    assert (result.status, len(brief.traces(execution))) == ("completed", 120)
    assert result.usage is not None
    assert (result.usage.agent_calls, result.usage.tokens) == (120, 1200)


@pytest.mark.semantics("K11")
async def test_what_a_phase_did_in_several_runs_is_reused_item_by_item(brief: Engine) -> None:
    """Its checkpoint comes in parts, also when the histories are read again."""
    name = unique("parts")
    text = f"""
        # Parts

        ```yaml
        requirements:
          items: list
          bad: {{type: integer, default: 119}}
        ```
        ## Phase: A
        maxConcurrent: 7
        ### Steps
        - tool: effect
          id: first
          with: {{name: {name}-first}}
        - tool: mixed
          id: each
          forEach: inputs.items
          retry: {{maxAttempts: 1}}
          with: {{name: "{{{{ item }}}}"}}
        - tool: effect
          id: last
          with: {{name: {name}-last}}
        """
    source = textwrap.dedent(text)
    items = [f"{name}-{i}" for i in range(119)]
    first = await brief.client.start(source=source, inputs={"items": [*items, "fail"]}, id=unique("exec"))
    assert (await brief.wait(first)).status == "failed"
    parts = len(await runs(brief, f"{first}/a"))
    assert parts > 1
    told = await stored_events(brief, first, "execution_failed")
    assert told
    for wiped in (False, True):
        if wiped:
            with brief.client.wiring.store.begin() as connection:
                connection.execute(table(Checkpoints).delete())
        again = await brief.client.retry_from(
            first, inputs={"items": [*items, f"{name}-good"]}, id=unique("exec")
        )
        result = await brief.wait(again)
        assert result.status == "completed"
        assert result.steps["first"].reused == first
        assert set(brief.names(again)) == {f"{name}-good", f"{name}-last"}, wiped
        assert str(result.steps["each"].anew).endswith("119 of 120 items are reused")
