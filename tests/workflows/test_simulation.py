"""What a simulation says is what a real server and a real worker say."""

from __future__ import annotations

import asyncio
import textwrap
from pathlib import Path
from typing import Any

import pytest
from engine import Engine
from simulated_cases import CASES, Case

from activities.steps import filled
from starter.simulation import declarations
from starter.simulation.declarations import Decision, TaskTest
from starter.simulation.mocks import Mocks
from starter.simulation.simulated import simulate
from taskmark.contracts import StartTask, TaskResult

CHILD = """
# Child
```yaml
requirements: {count: integer}
```
## Phase: Count
### Steps
- validation: inputs.count > 0 - The count must be positive
- tool: effect
  id: counted
## Outputs
- count: inputs.count
"""


def declared(case: Case, tmp_path: Path) -> TaskTest:
    """Returns the test that a case declares, read from a file as a user's is."""
    parts = {name: getattr(case, name) for name in ("inputs", "mocks", "decisions")}
    text = "tests:\n  - name: it\n"
    for name, part in parts.items():
        text += f"    {name}:\n{textwrap.indent(textwrap.dedent(part).strip(), ' ' * 6)}\n"
    file = tmp_path / "it.tests.yaml"
    file.write_text(text)
    return declarations.read(file).content.tests[0]


def told(result: TaskResult) -> dict[str, Any]:
    """Returns everything of a result but times and ids."""

    def failure(error: Any) -> Any:
        return error and error.model_dump(include={"type", "message", "category", "affects", "step", "phase"})

    return {
        "status": result.status.value,
        "outputs": result.outputs,
        "error": failure(result.error),
        "phases": {
            slug: (p.status.value, p.attempts, p.outputs, p.reason, failure(p.error))
            for slug, p in result.phases.items()
        },
        "steps": {
            step: (s.status.value, s.attempts, s.output, s.fallback, s.reason, failure(s.error))
            for step, s in result.steps.items()
        },
    }


def differing(simulated: Any, real: Any, place: str = "") -> dict[str, Any]:
    """Returns what is not the same, by where it is: first the simulated, then the real value."""
    if isinstance(simulated, dict) and isinstance(real, dict) and simulated.keys() == real.keys():
        parts = [differing(simulated[key], real[key], f"{place}.{key}") for key in real]
        return {at: pair for part in parts for at, pair in part.items()}
    return {} if simulated == real else {place: (simulated, real)}


async def decide(engine: Engine, execution: str, decisions: dict[str, list[Decision]]) -> None:
    """Does what the test's people do, as soon as somebody waits for it, until it is cancelled."""
    left = {name: list(found) for name, found in decisions.items()}
    client = engine.client
    while any(left.values()):
        progress = await engine.until(execution, lambda p: p.waiting or p.status.is_final)
        if progress.status.is_final:
            return
        wait = progress.waiting[0]
        found = left[wait.step if wait.step in left else wait.name]
        if not found:
            await asyncio.sleep(0.02)
            continue
        decision, name = found.pop(0), wait.step or wait.name
        by = decision.by or "tester"
        match decision.decision:
            case "approve" | "reject" as word:
                word = {"approve": "approved", "reject": "rejected"}[word]
                await client.approve(execution, name, decision=word, by=by, comment=decision.comment)
            case "answer":
                await client.answer(execution, name, decision.answer, by=by)
            case "retry":
                await client.retry(execution, wait.phase, by=by)
            case "skip":
                await client.skip(execution, wait.phase, by=by)
            case "abort":
                await client.abort(execution, reason=decision.comment, by=by)
            case "timeout" if wait.deadline is None:
                continue  # it ran out before anybody looked, and the gate goes on waiting
            case "timeout":
                await engine.until(execution, lambda p, wait=wait: wait not in p.waiting)


async def really(engine: Engine, case: Case, test: TaskTest) -> TaskResult:
    """Runs the case on the real server and returns its result, with what was kept as artifacts."""
    source = "# Test\n\n" + textwrap.dedent(case.task).strip()
    execution = await start(engine, source, test)
    people = asyncio.create_task(decide(engine, execution, test.decisions))
    result = await engine.wait(execution)
    await people
    data = filled(result.model_dump(mode="json"), engine.client.wiring.artifacts)
    return TaskResult.model_validate(data)


async def start(engine: Engine, source: str, test: TaskTest) -> str:
    """Starts it with unchecked inputs, as anybody may who speaks to Temporal."""
    from uuid import uuid4

    execution = f"exec-{uuid4().hex[:12]}-test"
    client, wiring = engine.client.client, engine.client.wiring
    definition = wiring.compiler().definition(StartTask(source=source))
    start = StartTask(definition=definition, inputs=test.inputs, limits=wiring.compiler().limits)
    queue = wiring.settings.task_queue
    await client.start_workflow("TaskWorkflow", start, id=execution, task_queue=queue)
    return execution


async def simulated(engine: Engine, case: Case, test: TaskTest) -> TaskResult:
    """Simulates it. A simulation brings its own event loops, so it runs in another thread."""
    wiring = engine.client.wiring
    source = "# Test\n\n" + textwrap.dedent(case.task).strip()
    definition = wiring.compiler().definition(StartTask(source=source))
    mocks = Mocks(test, declarations.Surroundings())
    registry, limits = wiring.registry, wiring.compiler().limits
    run = await asyncio.to_thread(
        simulate, definition, test.inputs, mocks, test.decisions, registry=registry, limits=limits
    )
    return run.result


@pytest.mark.parametrize("name", CASES)
async def test_a_simulated_task_ends_as_on_a_real_server(engine: Engine, name: str, tmp_path: Path) -> None:
    """Statuses, outputs, attempts, reasons and failures of task, phases and steps are the same."""
    engine.file("tasks/child.md", CHILD)
    case = CASES[name]
    test = declared(case, tmp_path)
    real = await really(engine, case, test)
    assert differing(told(await simulated(engine, case, test)), told(real)) == {}
