"""Workers killed again and again while agents that are programs work: what was answered is not paid twice."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from acceptance_place import PATIENCE, Place, kill

from starter.gateway import TaskClient
from taskmark.contracts import TaskResult
from taskmark.errors import Unreachable

DOUBLE = Path(__file__).parents[1] / "programs" / "claude_double.py"
TURNS = 3
AT_ONCE = 4
"""Calls in flight at most."""
TOKENS = 100
"""Of one turn of the double."""


def task(calls: int, tokens: int) -> str:
    """Returns a task with so many calls of an agent, each of a few turns."""
    turns = [{"seconds": 0.15}] * TURNS
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


def sessions(place: Place) -> dict[str, dict[str, Any]]:
    """Returns what the program has kept of each session."""
    files = (place.root / ".double").glob("*-*.json")
    return {file.stem: json.loads(file.read_text()) for file in files}


def paid(place: Place) -> Counter[tuple[str, Any]]:
    """Counts how often each turn of each session was paid for."""
    file = place.root / ".double" / "paid.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    return Counter((line["session"], line["turn"]) for line in lines)


@dataclass(frozen=True)
class Killer:
    """Kills the worker a moment after it has begun to work, and so on."""

    pause: tuple[float, float]
    """Seconds of that moment, at least and at most."""
    most: int
    """Kills in one half of the work."""

    async def until(
        self,
        end: asyncio.Future[Any],
        place: Place,
        workers: list[subprocess.Popen[bytes]],
        chance: random.Random,
    ) -> int:
        """Does so until something has come to its end; returns how often."""
        kills, known = 0, paid(place).total()
        while not end.done():
            await asyncio.wait({end}, timeout=0.05)
            turns = paid(place).total()
            if not end.done() and turns > known and kills < self.most:
                await asyncio.wait({end}, timeout=chance.uniform(*self.pause))
                await asyncio.to_thread(kill, workers[-1])
                kills, known = kills + 1, turns
                workers.append(place.worker())
        return kills


async def work(make_place: Callable[..., Place], chance: random.Random, calls: int, killer: Killer) -> None:
    """Runs the task, kills its worker all the while, and checks what was paid."""
    place = make_place(
        cli_agents=json.dumps({"claude": {"program": sys.executable, "arguments": ["-I", str(DOUBLE)]}}),
        heartbeat_seconds=1,
    )
    (place.root / "agents" / "coder.md").write_text("---\nname: Coder\nmodel: cli:claude\n---\nCode.\n")
    limit = calls * TURNS * TOKENS // 2
    async with TaskClient.open(place.settings, worker=False) as client:
        execution = await client.start(source=task(calls, limit))
        held = asyncio.ensure_future(_until_it_waits(client, execution))
        workers = [place.worker()]
        kills = await killer.until(held, place, workers, chance)
        held.result()
        done = sum(session["done"] for session in sessions(place).values())
        assert done * TOKENS <= limit + AT_ONCE * TURNS * TOKENS
        await client.raise_limit(execution, "tokens", 10 * limit)
        waiting = asyncio.ensure_future(client.wait(execution, timeout=20 * PATIENCE))
        kills += await killer.until(waiting, place, workers, chance)
        result = await waiting
    counts = paid(place)
    again = sum(count - 1 for count in counts.values())
    repeated = sum(count for (_, turn), count in counts.items() if turn == "again")
    print(f"{kills} kills: {sum(counts.values())} turns of {calls * TURNS}, {again} anew, {repeated} repeats")
    _check(result, place, counts, kills, calls)


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


def _check(
    result: TaskResult, place: Place, counts: Counter[tuple[str, Any]], kills: int, calls: int
) -> None:
    assert result.status == "completed", result.steps
    assert result.steps["work"].output == ["done"] * calls
    kept = sessions(place)
    assert len(kept) == calls, "each call has one session, however often its worker died"
    # A turn in flight when its worker dies is lost; one that was done is never paid for again.
    assert all(session["done"] == TURNS for session in kept.values())
    lost = sum(counts.values()) - calls * TURNS
    assert lost <= kills * AT_ONCE
    assert result.usage is not None
    assert result.usage.agent_calls == calls
    used = result.usage.tokens
    assert used <= (calls * TURNS + kills * AT_ONCE) * TOKENS


@pytest.mark.semantics("X3", "X4")
async def test_workers_that_die_pay_for_no_turn_that_was_done_again(
    make_place: Callable[..., Place], chance: random.Random
) -> None:
    await work(make_place, chance, 8, Killer((0.1, 0.8), most=2))


@pytest.mark.soak
async def test_fifty_calls_survive_kills_all_the_while(
    make_place: Callable[..., Place], chance: random.Random
) -> None:
    """The same with more calls and longer pauses at times."""
    await work(make_place, chance, 50, Killer((0.1, 4.0), most=100))
