"""Workers killed again and again while agents that are programs work: what was answered is not paid twice."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from acceptance_place import PATIENCE, Place, bound, kill

from starter.gateway import TaskClient
from taskmark.contracts import TaskResult
from taskmark.errors import Unreachable

DOUBLE = Path(__file__).parents[1] / "programs" / "claude_double.py"
TURNS = 3
AT_ONCE = 4
"""Calls in flight at most."""
TOKENS = 100
"""Of one turn of the double."""
SECONDS = 0.15
"""That a turn takes."""
KEPT_WITHIN = 0.5
"""Seconds after the last turn in which its answer is told and remembered."""


def task(calls: int, tokens: int) -> str:
    """Returns a task with so many calls of an agent, each of a few turns."""
    turns = [{"seconds": SECONDS}] * TURNS
    return f"""\
# Many agents
```yaml
budget: {{tokens: {tokens}}}
maxConcurrentSteps: {AT_ONCE}
```
## Phase: Work
parallel: true
### Steps
- agent: coder - Do {{{{ item }}}} PLAY:{json.dumps({"turns": turns})}
  id: work
  forEach: {list(range(calls))}
  retry: {{backoffMs: 10}}
"""


@dataclass
class Scene:
    """A worker that is killed a moment after it has begun to work, and so on; and what its programs note."""

    place: Place
    chance: random.Random
    pause: tuple[float, float]
    """Seconds of that moment, at least and at most."""
    most: int
    """Kills until something has come to its end."""
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)
    kills: list[float] = field(default_factory=list)
    """When each was."""

    async def kill_until(self, end: asyncio.Future[Any]) -> None:
        """Does so until something has come to its end."""
        kills, known = 0, len(self.paid())
        while not end.done():
            await asyncio.wait({end}, timeout=0.05)
            turns = len(self.paid())
            if not end.done() and turns > known and kills < self.most:
                await asyncio.wait({end}, timeout=self.chance.uniform(*self.pause))
                self.kills.append(await asyncio.to_thread(kill, self.workers[-1]))
                kills, known = kills + 1, turns
                self.workers.append(self.place.worker())

    def paid(self) -> list[dict[str, Any]]:
        """Returns the turns that were paid for."""
        file = self.place.root / ".double" / "paid.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    @property
    def done(self) -> list[int]:
        """How many turns of each session are done."""
        files = (self.place.root / ".double").glob("*-*.json")
        return [json.loads(file.read_text())["done"] for file in files]


async def work(scene: Scene, calls: int) -> None:
    """Runs the task with half of the budget that it needs, then with enough, and checks what was paid."""
    limit = calls * TURNS * TOKENS // 2
    async with TaskClient.open(scene.place.settings, worker=False) as client:
        execution = await client.start(source=task(calls, limit))
        scene.workers.append(scene.place.worker())
        held = asyncio.ensure_future(_until_it_waits(client, execution))
        await scene.kill_until(held)
        held.result()
        assert sum(scene.done) * TOKENS <= limit + AT_ONCE * TURNS * TOKENS
        await client.raise_limit(execution, "tokens", 10 * limit)
        ended = asyncio.ensure_future(client.wait(execution, timeout=20 * PATIENCE))
        await scene.kill_until(ended)
    _check(ended.result(), scene, calls)


async def _until_it_waits(client: TaskClient, execution: str) -> None:
    """Returns once all that is left waits for a higher limit."""
    async with asyncio.timeout(20 * PATIENCE):
        while True:
            with suppress(Unreachable):
                status = (await client.progress(execution)).status
                assert not status.is_final, status
                if status == "waiting":
                    return
            await asyncio.sleep(0.2)


def _check(result: TaskResult, scene: Scene, calls: int) -> None:
    assert result.status == "completed", result.steps
    assert result.steps["work"].output == ["done"] * calls
    assert scene.done == [TURNS] * calls, "each call has one session, however often its worker died"
    paid = scene.paid()
    again = [turn for turn in paid if turn["turn"] == "again"]
    in_flight, used = len(scene.kills) * AT_ONCE, 0 if result.usage is None else result.usage.tokens
    turns = f"{len(paid)} turns of {calls * TURNS}, {len(again)} answers asked again"
    print(f"{len(scene.kills)} kills: {turns}, {used} tokens charged of {len(paid) * TOKENS}")
    assert len(paid) - calls * TURNS <= in_flight, "only turns in flight are lost"
    for session in {turn["session"] for turn in again}:
        last = max(one["at"] for one in paid if one["session"] == session and one["turn"] == TURNS - 1)
        struck = (last < at < last + SECONDS + bound(KEPT_WITHIN) for at in scene.kills)
        assert any(struck), "its answer was asked again, though nobody died before it was kept"
    assert result.usage is not None
    assert result.usage.agent_calls == calls
    assert (len(paid) - in_flight) * TOKENS <= used <= len(paid) * TOKENS


@pytest.fixture
def scene(make_place: Callable[..., Place], chance: random.Random) -> Scene:
    """A place with the double in place of Claude Code."""
    double = {"program": sys.executable, "arguments": ["-I", str(DOUBLE)]}
    place = make_place(cli_agents=json.dumps({"claude": double}), heartbeat_seconds=1)
    (place.root / "agents" / "coder.md").write_text("---\nname: Coder\nmodel: cli:claude\n---\nCode.\n")
    return Scene(place, chance, (0.1, 0.8), most=2)


@pytest.mark.semantics("X3", "X4")
async def test_workers_that_die_pay_for_no_turn_that_was_done_again(scene: Scene) -> None:
    await work(scene, 8)


@pytest.mark.soak
async def test_fifty_calls_survive_kills_all_the_while(scene: Scene) -> None:
    """The same with more calls, without an end of the kills, and with longer pauses at times."""
    scene.pause, scene.most = (0.1, 3.0), 1000
    await work(scene, 50)
