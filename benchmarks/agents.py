"""What an agent's question costs beside the model's own time: asking, checking, tools, keeping, telling.

    python benchmarks/agents.py [-o json] [--questions 100] [--quick]

A server in a process of its own speaks the protocols of Anthropic and OpenAI and takes 50 ms for everything
that it says, as a very quick model would. What a question takes beyond that is ours, and the library's.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import reporting  # noqa: E402 - found by the path above
from starter.gateway import TaskClient  # noqa: E402 - the same
from taskmark.agents.llm.configured import Models, Provider  # noqa: E402 - the same
from taskmark.agents.llm.provider import LanguageModels  # noqa: E402 - the same
from taskmark.ports import NoTools, Question, StepContext, ToolCall  # noqa: E402 - the same
from taskmark.registry import load  # noqa: E402 - the same
from taskmark.settings import Settings  # noqa: E402 - the same
from taskmark.store.schema import open_store  # noqa: E402 - the same
from taskmark.store.sharing import StoredShared  # noqa: E402 - the same
from taskmark.task.model import Agent  # noqa: E402 - the same

THINKING = 0.05
"""Seconds that the model takes."""
TARGET_MS = 30.0
MODELS = {"anthropic": "anthropic:claude-haiku-4-5", "openai": "openai:gpt-4o-mini"}


@contextmanager
def server() -> Iterator[str]:
    """Yields the address of a server."""
    words = [sys.executable, str(ROOT / "tests/model_server.py"), str(THINKING)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(words, **pipes) as process:  # type: ignore[call-overload]  # the pipes are text
        yield process.stdout.readline().strip()
        process.stdin.close()


class Reading(NoTools):
    """Reads files, as a step would."""

    def __init__(self, context: StepContext) -> None:
        self._context = context
        self._tool = load().tools["read-file"]

    def find(self, name: str) -> Any:
        return self._tool

    async def call(self, call: ToolCall) -> Any:
        return await self._tool.execute(self._tool.validate(call.arguments), self._context)


async def asked(url: str, root: Path, questions: int) -> list[reporting.Row]:
    """Times questions one after the other, with a store in a file."""
    providers = {
        "anthropic": Provider("anthropic", url, ("KEY",)),
        "openai": Provider("openai", f"{url}/v1", ("KEY",)),
    }
    provider = LanguageModels(Models(providers, lookup=lambda _: "key"))
    shared = StoredShared(partial(open_store, f"sqlite:///{root / 'store.db'}"))
    (root / "beds.txt").write_text("beans and peas " * 100)
    context = StepContext(root=root, step="ask", shared=shared)

    async def ask(model: str, kind: str, item: int) -> None:
        agent = Agent(
            id="ann", model=model, prompt="Be ann.", tools=("read-file",) if kind == "a tool" else ()
        )
        question = Question("What?", {}, {"type": "integer"} if kind == "a schema" else None)
        own = replace(context, idempotency_key=f"{model} {kind} {item}", tools=Reading(context))
        await provider.ask(agent, question, own)

    rows = []
    for protocol, model in MODELS.items():
        for kind, turns in (("an answer", 1), ("a schema", 1), ("a tool", 2)):
            await ask(model, kind, -1)
            used = time.process_time()
            times = [await _timed(partial(ask, model, kind, item), turns) for item in range(questions)]
            used = (time.process_time() - used) / questions / turns
            rows.append({**_row(f"{protocol}: {kind}", times), "CPU ms": round(used * 1e3, 1)})
    return rows


async def _timed(act: Callable[[], Awaitable[None]], turns: int) -> float:
    began = time.perf_counter()
    await act()
    return ((time.perf_counter() - began) - turns * THINKING) / turns * 1e3


def _row(what: str, times: list[float]) -> reporting.Row:
    late = quantiles(times, n=20)[-1] if len(times) > 1 else times[0]
    return {"what": what, "median ms": round(median(times), 1), "95 % ms": round(late, 1)}


async def through_the_engine(url: str, folder: Path, steps: int) -> float:
    """Returns the milliseconds of a step in a task that asks so often, one after the other."""
    os.environ["KEY_OF_BENCHMARKS"] = "key"
    (folder / "agents").mkdir(parents=True)
    (folder / "agents/ann.md").write_text(f"---\nmodel: {MODELS['anthropic']}\n---\nBe ann.\n")
    settings = Settings(
        state_dir=folder / "state",
        root=folder,
        providers={"anthropic": {"baseUrl": url, "keys": ["KEY_OF_BENCHMARKS"]}},
    )
    lines = "".join(f"- agent: ann - What grows in bed {number}?\n" for number in range(steps))
    async with TaskClient.open(settings) as client:
        await client.execute(source="# Warm\n\n## Phase: A\n### Steps\n- agent: ann - Ready?\n")
        began = time.perf_counter()
        result = await client.execute(source=f"# Ask\n\n## Phase: A\n### Steps\n{lines}")
        took = (time.perf_counter() - began) / steps - THINKING
    assert result.status == "completed"
    return round(took * 1e3, 1)


def main() -> None:
    """Measures and tells."""
    parser = reporting.arguments(__doc__)
    parser.add_argument("--questions", type=int, default=100)
    options = parser.parse_args()
    questions = 3 if options.quick else options.questions
    with server() as url, tempfile.TemporaryDirectory(prefix="taskmark-bench-") as folder:
        rows = asyncio.run(asked(url, Path(folder), questions))
        whole = asyncio.run(through_the_engine(url, Path(folder, "engine"), questions))
    title = f"Beside the model's own time, per thing it says (target: under {TARGET_MS:g} ms)"
    reporting.give({"agents": rows, "whole_step_ms": whole}, options, partial(_show, title))


def _show(title: str, results: Any) -> None:
    reporting.table(title, results["agents"])
    print(f"\nA whole step, with workflow, activity, records and all: {results['whole_step_ms']} ms")


if __name__ == "__main__":
    main()
