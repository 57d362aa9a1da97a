"""Agents that are language models, while their workers are killed: nothing is paid for twice."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable, Iterator

import pytest
from acceptance_place import PATIENCE, Place, kill, polls
from model_server import Asked, ModelServer, Reply, model_server

from starter.gateway import TaskClient
from taskmark.contracts import TaskResult

TOKENS = 120
"""Of one thing that the model says."""
SOON = 0.6
"""Seconds in which what has come is kept, on a busy machine: a kill in them loses it."""
NOTED = 0.3
"""Seconds until a busy machine notes what was asked: a worker may be killed in them."""
AT_ONCE = 4
THINKING = 1.2
"""Seconds that the model takes."""


@pytest.fixture
def models() -> Iterator[ModelServer]:
    """A model that first looks at the files, and then answers; each takes some time."""
    with model_server(_say) as server:
        yield server


def _say(asked: Asked) -> Reply:
    if not asked.turns:
        return Reply(calls=(("list-files", {"path": "."}),), before=THINKING)
    return Reply(text=f"bed {item(asked)} is dry", before=THINKING)


def item(asked: Asked) -> int:
    """Returns which question it is."""
    found = re.search(r"Look at bed (\d+)", asked.text)
    assert found is not None
    return int(found[1])


def task(items: int, budget: int) -> str:
    """Returns a task that asks so many questions, under a budget of tokens."""
    head = f"```yaml\nbudget: {{tokens: {budget}}}\nmaxConcurrentSteps: {AT_ONCE}\n```\n"
    step = f"- agent: ann - Look at bed {{{{ item }}}}\n  id: look\n  forEach: {list(range(items))}\n"
    return f"# Beds\n\n{head}\n## Phase: A\n### Steps\n{step}"


class Killer:
    """Kills one of two workers again and again, and starts another one each time."""

    def __init__(
        self, place: Place, client: TaskClient, models: ModelServer, every: float, most: int
    ) -> None:
        """It kills `most` workers, `every` so many seconds."""
        self._most = most
        self._models = models
        self._every = every
        self._place = place
        self._client = client
        self._workers: list[subprocess.Popen[bytes]] = []
        self.kills: list[float] = []
        self.ready = asyncio.Event()

    async def run(self) -> None:
        """Goes on until it has killed enough, or is cancelled."""
        self._workers = [self._place.worker(), self._place.worker()]
        for worker in self._workers:
            await polls(self._client, worker)
        self.ready.set()
        while len(self.kills) < self._most:
            await asyncio.sleep(self._every)
            while len(self._models.asked) < len(self._models.answered) + 2:
                await asyncio.sleep(0.02)  # a kill in the middle of nothing proves nothing
            self.kills.append(await asyncio.to_thread(kill, self._workers.pop(0)))
            self._workers.append(self._place.worker())
            await polls(self._client, self._workers[-1])  # else a slow machine would only start workers


def paid_twice(server: ModelServer, kills: list[float]) -> dict[tuple[int, int], list[float]]:
    """Returns when answers had come that were asked for again, though nobody was killed while they came."""
    answers: dict[tuple[int, int], list[tuple[float, float]]] = defaultdict(list)
    for asked, at in list(server.answered):
        answers[item(asked), asked.turns].append((asked.at, at))
    found: dict[tuple[int, int], list[float]] = defaultdict(list)
    for which, times in answers.items():
        for begin, end in times[:-1]:
            if not any(begin - NOTED <= kill <= end + SOON for kill in kills):
                found[which].append(end)
    return dict(found)


async def asks_under_kills(
    make_place: Callable[..., Place], models: ModelServer, items: int, limit: int, every: float, most: int
) -> tuple[TaskResult, list[float]]:
    """Runs the task under kills: to its limit, and after a raise to its end."""
    providers = json.dumps({"openai": {"baseUrl": f"{models.url}/v1", "keys": ["KEY_OF_TESTS"]}})
    place = make_place(providers=providers)
    (place.root / "agents/ann.md").write_text("---\nmodel: openai:gpt-4o-mini\ntools: LS\n---\nBe ann.\n")
    async with TaskClient.open(place.settings, worker=False) as client:
        killer = Killer(place, client, models, every, most)
        killing = asyncio.create_task(killer.run())
        try:
            await killer.ready.wait()
            execution = await client.start(source=task(items, limit))
            await _at_limit(client, execution)
            again = _again(models)
            assert len(models.answered) * TOKENS <= limit + (AT_ONCE * 2 + again) * TOKENS
            await client.raise_limit(execution, "tokens", 1_000_000)
            result = await client.wait(execution, timeout=4 * PATIENCE + 4 * items)
        finally:
            killing.cancel()
            await asyncio.gather(killing, return_exceptions=True)
        return result, killer.kills


def _again(models: ModelServer) -> int:
    """Returns how many answers were given more than once: they were in flight as a worker died."""
    return len(models.answered) - len({(item(asked), asked.turns) for asked, _ in models.answered})


async def _at_limit(client: TaskClient, execution: str) -> None:
    end = time.monotonic() + 3 * PATIENCE
    while True:
        try:
            waiting = (await client.progress(execution)).waiting
        except Exception:
            waiting = ()
        if any(wait.kind == "budget" for wait in waiting):
            return
        assert time.monotonic() < end, "it never came to its limit"
        await asyncio.sleep(0.1)


async def check(
    make_place: Callable[..., Place],
    models: ModelServer,
    *,
    items: int,
    limit: int,
    every: float,
    kills: int,
    most: int,
) -> None:
    """Runs the task and checks what was paid for."""
    result, killed = await asks_under_kills(make_place, models, items, limit, every, most)
    again = _again(models)
    print(f"{len(killed)} kills, {len(models.answered)} answers, {again} of them again")
    assert len(killed) >= kills
    assert len(models.asked) > 2 * items  # else nobody was killed in the middle of anything
    assert result.status == "completed"
    assert result.steps["look"].output == [f"bed {number} is dry" for number in range(items)]
    assert not paid_twice(models, killed)
    assert result.usage is not None
    assert result.usage.tokens == 2 * items * TOKENS


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the workers find in their environment."""
    monkeypatch.setenv("KEY_OF_TESTS", "sk-test")


@pytest.mark.timeout(300)
@pytest.mark.semantics("A6", "B2")
async def test_no_answer_is_paid_for_twice_while_workers_are_killed(
    make_place: Callable[..., Place], models: ModelServer
) -> None:
    """Twelve questions of two answers each, with a budget that ends in the middle."""
    await check(make_place, models, items=12, limit=8 * TOKENS, every=0.5, kills=1, most=3)


@pytest.mark.soak
@pytest.mark.timeout(900)
async def test_no_answer_of_fifty_questions_is_paid_for_twice_while_workers_are_killed(
    make_place: Callable[..., Place], models: ModelServer
) -> None:
    """The same with fifty."""
    await check(make_place, models, items=50, limit=40 * TOKENS, every=3.0, kills=6, most=1_000)


def test_an_answer_that_is_paid_for_twice_is_found(models: ModelServer) -> None:
    """What the others rest on."""
    asked = Asked("openai", {"messages": [{"role": "user", "content": "Look at bed 1"}]}, {}, 9.5)
    models.answered += [(asked, 10.0), (asked, 20.0)]
    assert paid_twice(models, [15.0]) == {(1, 0): [10.0]}
    assert not paid_twice(models, [10.2])
    assert not paid_twice(models, [9.7])
