"""Semantics U: what steps may use of the machine, each of them and all together."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from engine import Engine
from observing import unique

from taskmark.errors import Category
from taskmark.tools import launch

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what processes do")

UNCOUNTED = "what is written here is not counted"
BURNT = 0.3
"""Seconds of CPU that a step of `burning` uses."""
BURN = f"import time\nwhile time.process_time() < {BURNT}: pass"


WRITE = "for n in range({count}): open(f'part{{n}}', 'wb').write(b'x' * 600_000)\nimport time; time.sleep(60)"


def python(code: str) -> str:
    return json.dumps([sys.executable, "-I", "-c", code])


def shell(id: str, command: str, *more: str) -> str:
    """Returns a step that is tried once."""
    lines = (f"- tool: shell\n  id: {id}", "retry: {maxAttempts: 1}", f"with: {{command: {command}}}", *more)
    return "\n  ".join(lines)


def burning(id: str, *more: str, end: str = "") -> str:
    return shell(id, python(f"{BURN}\n{end}"), *more)


def task(limits: str, *phases: str) -> str:
    """Returns a task with limits, of which each phase has some steps."""
    parts = (f"## Phase: P{n}\n{steps}" for n, steps in enumerate(phases))
    return f"# Limited\n\n```yaml\nlimits: {limits}\n```\n\n" + "\n\n".join(parts)


@pytest.fixture
def written(tmp_path: Path) -> bool:
    """Whether the system tells what is written here: not in memory."""
    before = launch.written_by(os.getpid())
    (tmp_path / "probe").write_bytes(b"x" * 1_000_000)
    return launch.written_by(os.getpid()) - before >= 1_000_000


@pytest.mark.semantics("U1")
@pytest.mark.parametrize(
    ("limits", "command", "said"),
    [
        ("{memory: 100 MB}", python("b'x' * 500_000_000"), "MemoryError"),
        (
            "{cpu: 1s}",
            '["/bin/sh", "-c", "while :; do :; done & while :; do :; done"]',
            "more than 1 s of CPU",
        ),
        ("{output: 100 kB}", "[yes]", "printed more than 100,000 bytes"),
        ("{openFiles: 10}", python("[open('/dev/null') for n in range(10)]; input()"), "Too many open files"),
        (
            "{processes: 4}",
            '["/bin/sh", "-c", "for n in 1 2 3 4 5 6; do sleep 60 & done; wait"]',
            "its limit of 4 (processes)",
        ),
        ("{disk: 1 MB}", python(WRITE.format(count=3)), "its limit of 1,000,000 (written)"),
    ],
)
async def test_an_attempt_that_passes_a_limit_of_its_step_is_ended(
    limits: str, command: str, said: str, engine: Engine, written: bool
) -> None:
    """Its failure is one of a resource and says of which."""
    if "disk" in limits and not written:
        pytest.skip(UNCOUNTED)
    result = await engine.run(f"## Phase: A\n### Steps\n{shell('s', command, f'limits: {limits}')}")
    error = result.steps["s"].error
    assert error is not None
    assert error.category is Category.RESOURCE
    assert said in error.message


@pytest.mark.semantics("U2")
async def test_steps_that_say_nothing_have_the_limits_of_the_task(engine: Engine) -> None:
    """What a step says itself counts more, and the rest is the task's."""
    steps = f"parallel: true\n### Steps\n{shell('told', '[yes]')}\n" + shell(
        "own", '["/bin/sh", "-c", "nice; yes | head -c 5000"]', "limits: {output: 1 MB}"
    )
    result = await engine.run(task("{perStep: {output: 1 kB, nice: 19}}", steps))
    assert result.steps["told"].error is not None
    assert "printed more than 1,000 bytes" in result.steps["told"].error.message
    assert result.steps["own"].output["stdout"].startswith(f"{min(os.nice(0) + 19, 19)}\ny\ny\n")


@pytest.mark.semantics("U4")
async def test_once_nothing_is_left_no_attempt_begins_and_none_is_retried(engine: Engine) -> None:
    """Also in a later phase, which is told what those before have used."""
    phases = (
        f"### Steps\n{burning('a')}",
        f"dependsOn: [P0]\n### Steps\n{burning('b')}\n- tool: effect\n  id: c",
    )
    result = await engine.run(task("{cpu: 200ms}", *phases))
    assert result.status == "failed"
    assert result.steps["a"].status == "completed"
    error = result.steps["b"].error
    assert error is not None
    assert (error.type, error.category, result.steps["b"].attempts) == ("limit_reached", Category.RESOURCE, 0)
    assert error.message.startswith("the task has used 0.")
    assert error.message.endswith("s of its 200ms of CPU")
    assert error.hint is not None
    assert result.steps["c"].status == "skipped"
    assert result.consumed is not None
    assert BURNT <= result.consumed.cpu_seconds < 5


@pytest.mark.semantics("U4")
async def test_attempts_that_failed_have_used_what_they_used(engine: Engine) -> None:
    """So a step that fails again and again comes to the end of the task's limit, too."""
    step = burning("a", "critical: false", end="raise SystemExit(3)").replace(
        "maxAttempts: 1", "maxAttempts: 9"
    )
    result = await engine.run(task("{cpu: 500ms}", f"### Steps\n{step}"))
    error = result.steps["a"].error
    assert error is not None
    assert (error.type, result.steps["a"].attempts) == ("limit_reached", 2)


@pytest.mark.semantics("U4")
async def test_what_is_written_counts_for_all_items_together(engine: Engine, written: bool) -> None:
    if not written:
        pytest.skip(UNCOUNTED)
    step = shell("a", python("open('some{{ item }}', 'wb').write(b'x' * 2_000_000)"), "forEach: [1, 2, 3, 4]")
    phase = f"maxConcurrent: 1\n### Steps\n{step}"
    result = await engine.run(task("{disk: 3 MB}", phase))
    error = result.steps["a"].error
    assert error is not None
    assert "4,0" in error.message
    assert "bytes of its 3,000,000 bytes of what is written to disks" in error.message
    assert not (engine.root / "some3").exists()


@pytest.mark.semantics("U5")
async def test_phases_that_run_side_by_side_use_one_limit_together(engine: Engine) -> None:
    """The one that waits meanwhile hears of it while it runs."""
    name = unique()
    waiting = f"### Steps\n- tool: hold\n  id: h\n  with: {{name: {name}}}\n- tool: effect\n  id: e"
    execution = await engine.start(task("{cpu: 200ms}", f"### Steps\n{burning('a')}", waiting))
    await engine.until(execution, lambda progress: progress.phases[0].status == "completed")
    engine.release(name)
    result = await engine.wait(execution)
    assert result.steps["h"].status == "completed"
    assert result.steps["e"].error is not None
    assert result.steps["e"].error.type == "limit_reached"


@pytest.mark.semantics("U6")
@pytest.mark.parametrize(("end", "status"), [("", "completed"), ("raise SystemExit(3)", "failed")])
async def test_what_a_subtask_used_counts_for_the_task_that_runs_it(
    end: str, status: str, engine: Engine
) -> None:
    """However it ended."""
    name = f"burns-{unique()}"
    engine.file(f"tasks/{name}.md", f"# Burns\n\n## Phase: A\n### Steps\n{burning('inner', end=end)}\n")
    steps = f"### Steps\n- task: {name}\n  id: sub\n  critical: false\n{burning('after')}"
    result = await engine.run(task("{cpu: 200ms}", steps))
    assert result.steps["sub"].status == status
    assert result.steps["after"].error is not None
    assert result.steps["after"].error.type == "limit_reached"


@pytest.mark.semantics("U4")
async def test_without_limits_nothing_is_counted(engine: Engine) -> None:
    result = await engine.run(f"## Phase: A\n### Steps\n{burning('a')}")
    assert (result.status, result.consumed) == ("completed", None)
    started = (await engine.events(result.execution_id, phase="a"))[
        0
    ].workflow_execution_started_event_attributes
    assert b"quota" not in started.input.payloads[0].data
