"""What running steps say is told to whoever watches, of each step the newest, and nothing personal."""

from __future__ import annotations

import asyncio
import time

import pytest
from engine import PATIENCE, Engine

from starter.beats import MOST_PHASES, Beats

SAYS = """
## Phase: Build
parallel: true
### Steps
- tool: shell - Compile
  id: compile
  with:
    shell: true
    command: "printf '\\\\033[32mwrote to ann.miller@example.org\\\\033[0m\\\\n'; sleep 60"
- tool: python - Count
  id: count
  with: {function: "counting:count"}
- tool: pacing - Go on
  id: pace
  with: {name: beats, items: 3, keeps: true}
"""


async def until_said(engine: Engine, execution: str, *steps: str) -> Beats:
    """Returns what is said once all of these steps say something."""
    end = time.monotonic() + PATIENCE
    while True:
        beats = await engine.client.beats(await engine.client.progress(execution))
        if {step for (_, step), beat in beats.items() if beat.said} >= set(steps):
            return beats
        assert time.monotonic() < end, beats
        await asyncio.sleep(0.1)


@pytest.mark.semantics("Q17")
async def test_commands_functions_and_tools_say_what_they_do(engine: Engine) -> None:
    """Colours and personal data are left out; what a tool keeps for a later attempt is shown, too."""
    engine.file("counting.py", "import time\ndef count():\n    print('counted 3')\n    time.sleep(60)\n")
    execution = await engine.start(SAYS)
    engine.release("beats-0")
    beats = await until_said(engine, execution, "compile", "count", "pace")
    assert {step: beat.said for (phase, step), beat in beats.items() if phase == "build"} == {
        "compile": "wrote to [email]",
        "count": "counted 3",
        "pace": "1",
    }
    assert all(beat.taken and beat.lost == 0 and beat.since for beat in beats.values())
    await engine.client.abort(execution)
    await engine.wait(execution)
    assert await engine.client.beats(await engine.client.progress(execution)) == {}


async def test_items_of_a_phase_are_told_apart_and_of_many_phases_only_some_are_asked(
    engine: Engine,
) -> None:
    phases = "\n".join(
        f"## Phase: P{number}\nforEach: [1, 2]\n### Steps\n- tool: shell - s\n  id: s{number}\n"
        "  with: {shell: true, command: 'echo x; sleep 60'}"
        for number in range(MOST_PHASES + 1)
    )
    execution = await engine.start(phases)
    beats = await until_said(engine, execution, "s0[0]", "s0[1]")
    assert len({phase for phase, _ in beats}) <= MOST_PHASES
    await engine.client.abort(execution)
    await engine.wait(execution)
