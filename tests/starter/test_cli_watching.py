"""Watching shows, hears and announces, and nothing of that can end it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from starter.beats import Beat
from starter.cli import watching
from starter.cli.exits import Exit
from starter.cli.plain import PlainView
from taskmark.contracts import Eta, Progress, TaskResult

ETA = Eta(remaining_seconds=180, low=120, high=360, confidence=0.8, basis="steps", samples=12)
PHASE: dict[str, Any] = {
    "name": "Build",
    "slug": "build",
    "status": "running",
    "counts": {"running": 1},
    "steps": [{"id": "s", "kind": "tool", "name": "compile", "status": "running"}],
}


class Client:
    """An execution that ends once somebody has heard it."""

    def __init__(self, fault: Exception | None = None) -> None:
        self._fault = fault
        self._heard = asyncio.Event()
        self._started = datetime.now(UTC) - timedelta(seconds=170)

    async def wait(self, _execution: str) -> TaskResult:
        await self._heard.wait()
        await asyncio.sleep(0.05)
        return TaskResult(execution_id="e", status="completed")

    async def progress(self, _execution: str) -> Progress:
        status, eta = ("completed", None) if self._heard.is_set() else ("running", ETA)
        base = {"execution_id": "e", "task": "T", "status": status, "eta": eta, "phases": [PHASE]}
        return Progress.model_validate(base | {"started_at": self._started})

    async def beats(self, _progress: Progress) -> dict[tuple[str, str], Beat]:
        self._heard.set()
        if self._fault is not None:
            raise self._fault
        return {("build", "s"): Beat("line 7")}


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("POLL_SECONDS", "LISTEN_SECONDS", "DRAW_SECONDS"):
        monkeypatch.setattr(watching, name, 0.01)


async def watched(client: Client) -> tuple[Exit, list[str]]:
    """Returns how watching ended, and the lines that it told, without their time."""
    told: list[str] = []
    view = PlainView(lambda line: told.append(line[9:]))
    found = await watching.watch(client, "e", asyncio.Event(), wait_for_people=True, view=view)  # type: ignore[arg-type]  # of a client it is what watching needs
    return found.exit, told


async def test_what_steps_say_and_how_the_estimate_did_are_told():
    code, told = await watched(Client())
    assert code is Exit.OK
    assert told == [
        "task T running",
        "phase Build started",
        "about 3 min left (2–6 min), 80 %, 12 runs",
        "step Build: compile says: line 7",
        "task T completed",
        "done early, in 2 min 50 s; about 6 min (5–9 min) were expected",
    ]


async def test_a_fault_in_what_steps_say_does_not_end_watching():
    code, told = await watched(Client(RuntimeError("no such encoding")))
    assert code is Exit.OK
    assert "task T completed" in told
