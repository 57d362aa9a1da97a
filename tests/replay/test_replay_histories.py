"""Every recorded history replays; a change that would break a running execution is seen."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from collections import Counter
from pathlib import Path

import matrix
import pytest
import recorded
from kind_scenarios import SCENARIOS
from replaying import replay

from taskmark.contracts import PHASE_WORKFLOW, TASK_WORKFLOW

HERE = Path(__file__).parent


async def replay_in_process(*workflows: Path, scenario: str = "", seed: int = 0) -> dict[str, str]:
    """Returns what a process with another hash seed, or other workflows, cannot replay."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(HERE / "replaying.py"), f"{scenario}*", *map(str, workflows)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONHASHSEED": str(seed)},
    )
    out, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    found: dict[str, str] = json.loads(out.splitlines()[-1])  # the lines before are the core's log
    return found


async def test_every_recorded_history_replays() -> None:
    """Executions that began with an older version go on with this one."""
    assert await replay(recorded.load()) == {}


@pytest.mark.parametrize(
    "seeds",
    [(0, 1), (2, 3), *(pytest.param(pair, marks=pytest.mark.soak) for pair in ((4, 5), (6, 7), (8, 9)))],
)
async def test_histories_replay_whatever_the_hash_seed(seeds: tuple[int, int]) -> None:
    """No order of a set or of a dictionary's hashes decides anything."""
    assert await asyncio.gather(*(replay_in_process(seed=seed) for seed in seeds)) == [{}, {}]


def test_each_scenario_and_its_phases_are_recorded() -> None:
    """The corpus is complete: fifty histories at least, each scenario, both workflows."""
    histories = recorded.load()
    types = Counter(
        history.events[0].workflow_execution_started_event_attributes.workflow_type.name
        for history in histories
    )
    ids = {history.workflow_id for history in histories}
    assert {f"exec-1-{name.replace('_', '-')}" for name in SCENARIOS} <= ids
    assert min(types[TASK_WORKFLOW], types[PHASE_WORKFLOW]) >= 25


def test_every_kind_of_step_meets_every_fate_in_some_history() -> None:
    """What can happen to a step is recorded for each kind; what cannot has its reason, and does not occur."""
    found = set(matrix.cells(recorded.load()))
    every = {(kind, fate) for kind in matrix.KINDS for fate in matrix.FATES}
    assert every - found == set(matrix.IMPOSSIBLE)


def test_the_histories_hold_every_kind_of_end_and_event() -> None:
    """Each way in which an activity, a timer, a child, a signal or an update can go occurs."""
    wanted = {
        *(f"activity_task_{end}" for end in ("completed", "failed", "timed_out", "canceled")),
        *(f"timer_{end}" for end in ("fired", "canceled")),
        *(f"child_workflow_execution_{end}" for end in ("completed", "failed", "canceled", "terminated")),
        *(f"workflow_execution_{end}" for end in ("completed", "failed", "canceled", "signaled")),
        *("workflow_execution_update_completed", "external_workflow_execution_signaled"),
    }
    assert {f"{kind}_event_attributes" for kind in wanted} <= recorded.kinds(recorded.load())


@pytest.mark.parametrize("path", sorted(recorded.FOLDER.glob("*.json")), ids=lambda path: path.stem)
def test_a_recorded_file_is_small_and_tells_nothing_of_its_machine(path: Path) -> None:
    """No folder, host or process of whoever recorded it; small enough to be read."""
    assert path.stat().st_size < 96 * 1024
    for text in recorded.texts(json.loads(path.read_text(encoding="utf-8"))):
        for private in recorded.PRIVATE:
            assert not private.search(text), text


# --- planted changes ----------------------------------------------------------------------------------

PLANTED = {
    "phases start in the opposite order": (
        "parallel",
        "phases.py",
        "for phase in definition.phases)\n",
        "for phase in reversed(definition.phases))\n",
    ),
    "parallel steps start in the opposite order": (
        "parallel",
        "phase.py",
        "gather(STEPS, (partial(run, step) for step in lane.steps))",
        "gather(STEPS, (partial(run, step) for step in reversed(lane.steps)))",
    ),
    "a step's activity has another type": (
        "completed",
        "steps.py",
        "TOOL_ACTIVITY + step.value, step.value",
        "KIND_ACTIVITY + step.value, step.value",
    ),
    "a step's activity is called twice": (
        "completed",
        "calls.py",
        "                attempting = _attempt(activity, request, heartbeat, limits, admission, observer)",
        "                await _attempt(activity, request, heartbeat, limits, admission, observer)\n"
        "                attempting = _attempt(activity, request, heartbeat, limits, admission, observer)",
    ),
    "another wait before a retry": (
        "retried",
        "calls.py",
        "await _pause_between(again.delay, admission, gave_up)",
        "await workflow.sleep(again.delay)\n        await workflow.sleep(again.delay)",
    ),
    "a phase gets another workflow id": (
        "completed",
        "phases.py",
        "id=phase_workflow_id(self._execution, phase.slug)",
        "id=phase_workflow_id(self._execution, phase.name)",
    ),
    "a timer more": (
        "failed",
        "task.py",
        "await self._run_phases(definition)",
        "await asyncio.sleep(1)\n            await self._run_phases(definition)",
    ),
    "another key of a side effect": (
        "completed",
        "steps.py",
        "key = idempotency_key(start.execution_id, self._phase.slug, self._effect(step), item)",
        "key = idempotency_key(start.task_id, self._phase.slug, self._effect(step), item)",
    ),
    "arguments that are not filled in": (
        "completed",
        "steps.py",
        "arguments, places = self._effort.render_call(step.arguments, names, usable)",
        "arguments, places = step.arguments, ()",
    ),
    "a phase that hears nothing of those before": (
        "completed",
        "phases.py",
        'phases={slug: names["phases"][slug] for slug in dict.fromkeys(read)},',
        "phases={},",
    ),
}
"""By what is changed: the scenario that sees it, the file, the text before and after."""


@pytest.mark.parametrize("change", PLANTED)
async def test_a_planted_change_of_order_or_payload_is_caught(change: str, tmp_path: Path) -> None:
    """The test of the test: a workflow that acts otherwise than it did does not replay."""
    scenario, file, before, after = PLANTED[change]
    copy = shutil.copytree(HERE.parents[1] / "workflows", tmp_path / "workflows")
    text = (copy / file).read_text()
    assert text.count(before) == 1, "the place to plant the change has moved"
    (copy / file).write_text(text.replace(before, after))
    problems = await replay_in_process(tmp_path, scenario=scenario)
    assert any(problem.startswith(("Nondeterminism", "Payload")) for problem in problems.values()), problems


async def test_an_unchanged_copy_of_the_workflows_replays(tmp_path: Path) -> None:
    """What catches planted changes is the change, not the copy."""
    shutil.copytree(HERE.parents[1] / "workflows", tmp_path / "workflows")
    assert await replay_in_process(tmp_path, scenario="p") == {}
