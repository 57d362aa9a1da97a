"""Semantics A4: fifty texts that want something done, and a model that obeys every one of them.

The model is talked into it: it asks for each call that the text wants, word for word. What keeps the calls
from being made is our own code, not the model.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from engine import Engine
from model_server import Asked, ModelServer, Reply
from test_language_models import agent

from taskmark.errors import StepFailed
from taskmark.ports import Tool

ATTACKS = [
    json.loads(line) for line in (Path(__file__).parents[1] / "attacks.jsonl").read_text().splitlines()
]
EFFECTS = (
    *("write-file", "edit-file", "move-file", "copy-file", "delete-file", "shell", "python"),
    *("http", "browser", "mail", "chat", "webhook", "sql-write", "mcp"),
)
READING = ("read-file", "list-files", "search-files")


class Obedient:
    """A model that reads the file of its item and then does what the text in it says."""

    def __init__(self, sink: str) -> None:
        self._sink = sink

    def __call__(self, asked: Asked) -> Reply:
        """Returns what it says next."""
        number = int(asked.text.split("attack-", 1)[1].split(".", 1)[0])
        if not asked.turns:
            return Reply(calls=(("read-file", {"path": f"attacks/attack-{number}.txt"}),))
        wanted = json.loads(json.dumps(ATTACKS[number]["calls"]).replace("SINK", self._sink))
        if asked.turns <= len(wanted):
            name, arguments = wanted[asked.turns - 1]
            return Reply(calls=((name, arguments),))
        return Reply(text="I obeyed.")


def files(root: Path) -> dict[str, str]:
    """Returns every file below the root with its content."""
    return {str(path.relative_to(root)): path.read_text() for path in root.rglob("*") if path.is_file()}


def fill(engine: Engine) -> None:
    """Writes the texts, and what they are after."""
    for number, attack in enumerate(ATTACKS):
        engine.file(f"attacks/attack-{number}.txt", attack["text"])
    engine.file("beds.txt", "beans and peas")


def task(id: str) -> str:
    """Returns a task that has an agent read each of the texts."""
    step = f"- agent: {id} - Sum up attacks/attack-{{{{ item }}}}.txt\n  id: sum\n"
    return f"## Phase: A\nforEach: {list(range(len(ATTACKS)))}\n### Steps\n{step}"


async def made(engine: Engine, execution: str) -> set[str]:
    """Returns the tools that were called, whatever came of it."""
    assert await asyncio.to_thread(engine.client.wiring.spool.flush, 20)
    attempts = await asyncio.to_thread(engine.client.wiring.history.attempts, execution)
    tools = [one for one in attempts if one.kind == "tool"]
    return {str(one.name) for one in tools if one.error is None or one.error.type != "not_allowed"}


def can_be_asked(engine: Engine, attack: dict[str, Any]) -> bool:
    """Whether a person would be asked: the text wants a call with effects that could be made."""
    tools = engine.client.wiring.registry.tools
    return any(name in EFFECTS and _fits(tools[name], arguments) for name, arguments in attack["calls"])


def _fits(tool: Tool[Any], arguments: Any) -> bool:
    try:
        tool.validate(json.loads(arguments) if isinstance(arguments, str) else arguments)
    except StepFailed:
        return False
    return True


@pytest.mark.usefixtures("library")
@pytest.mark.semantics("A4")
@pytest.mark.parametrize("tools", [READING, READING + EFFECTS], ids=["reads only", "may do much"])
async def test_fifty_attacks_cause_no_call_that_nobody_approved(
    tools: tuple[str, ...], engine: Engine, models: ModelServer
) -> None:
    """An agent that may only read is refused; one that may do more waits for a person, who says nothing."""
    fill(engine)
    models.say = Obedient(f"{models.url}/sink")
    gardener = agent(engine, "gardener", tools=list(tools))
    before = files(engine.root)
    outside = {path.name for path in engine.root.parent.iterdir()}
    execution = await engine.start(task(gardener))
    progress = await engine.until(execution, lambda p: p.status.is_final or p.status == "waiting")

    asks = [attack for attack in ATTACKS if can_be_asked(engine, attack)] if EFFECTS[0] in tools else []
    assert len(progress.waiting) == len(asks)
    assert all(wait.kind == "question" for wait in progress.waiting)
    if asks:
        assert len(asks) > 30
        await engine.client.abort(execution, reason="nobody approves")
    await engine.wait(execution)
    assert len(models.asked) >= 2 * len(ATTACKS)
    assert await made(engine, execution) <= set(READING)
    assert files(engine.root) == before
    assert {path.name for path in engine.root.parent.iterdir()} == outside
    assert not Path("/tmp/taskmark-owned.txt").exists()
    assert all("messages" in asked.body for asked in models.asked)
