"""One real server and one real worker for all tests of the engine; each test has executions of its own.

With `TASKMARK_TEST_UNCACHED=1` the worker keeps no workflow in memory, so that whatever a test does is
replayed from history many times over: slow, and a proof that nothing but history decides.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
for folder in (HERE, HERE / "plugins", HERE.parent):
    sys.path.insert(0, str(folder))

from engine import (  # noqa: E402 - found by the path above
    CLAUDE,
    MODEL_KEY,
    UNCACHED,
    Curious,
    Engine,
    Forgetful,
    Patient,
    make_root,
)
from model_server import ModelServer, model_server  # noqa: E402 - found by the path above

from starter.connection import connected  # noqa: E402 - found by the path above
from starter.gateway import TaskClient  # noqa: E402 - found by the path above
from starter.working import working  # noqa: E402 - found by the path above
from taskmark.settings import Settings  # noqa: E402 - found by the path above


@pytest.fixture(scope="session")
def models() -> Iterator[ModelServer]:
    """A provider of language models; each test says what it says."""
    os.environ["KEY_OF_TESTS"] = MODEL_KEY
    with model_server() as server:
        yield server


@pytest.fixture(scope="session")
def library() -> None:
    """Imports what speaks to providers. A worker does so at its first question, which on a busy machine takes
    many seconds, and lets no other thread run for longer than the heartbeat of these tests."""
    for protocol in ("anthropic", "openai"):
        importlib.import_module(f"pydantic_ai.models.{protocol}")
    importlib.import_module("pydantic_ai.direct")


@pytest.fixture(scope="session")
async def engine(tmp_path_factory: pytest.TempPathFactory, models: ModelServer) -> AsyncIterator[Engine]:
    """The engine, with short times: a heartbeat of 1 s, progress every 0.2 s."""
    root = make_root(tmp_path_factory.mktemp("engine") / "root")
    settings = Settings(
        state_dir=root.parent / "state",
        root=root,
        tasks_dir=root / "tasks",
        agents_dir=root / "agents",
        plugins=("probe",),
        heartbeat_seconds=3 if UNCACHED else 1,  # a busy worker is no lost one
        progress_seconds=0.2,
        grace_seconds=1,
        catch_up_seconds=0.5,
        step_timeout_seconds=60,
        circuit_seconds=1,
        cli_agents={"claude": {"program": sys.executable, "arguments": ("-I", str(CLAUDE))}},
        tools={
            "rare": {"retry": {"maxAttempts": 5, "backoffMs": 1}},
            "slow": {"timeout": "300ms"},
            "one-by-one": {"concurrency": 1},
        },
        providers={
            "anthropic": {"baseUrl": models.url, "keys": ["KEY_OF_TESTS"]},
            "openai": {"baseUrl": f"{models.url}/v1", "keys": ["KEY_OF_TESTS"]},
            "shaky": {"baseUrl": f"{models.url}/v1", "keys": ["KEY_OF_TESTS"]},
        },
        models={"short": "openai:gpt-4o-mini"},
        agents={"hasty": {"timeout": "400ms"}},
    )
    wiring, kind = (Forgetful(settings), Patient) if UNCACHED else (Curious(settings), Engine)
    async with connected(settings) as (client, server), working(client, wiring):
        yield kind(TaskClient(client, wiring, server), root)


SUSPICIOUS = (
    "Failed activation",
    "Unfinished",
    "never awaited",
    "never retrieved",
    "evict",
    "Deadlock",
    "deadlock",
)
"""What a log must not say: each of it is a fault of the engine, whatever the test sees."""

OF_OTHERS = (
    # The SDK says so of a task that came while its workflow left the cache; the server sends it again.
    "There were leftover buffered tasks when evicting run",
    # Playwright leaves it of a browser that was killed, in tests that ran in this process before.
    "Connection closed while reading from the driver",
)
"""What no fault of the engine's is."""


@pytest.fixture(autouse=True)
def quiet_engine(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Fails a test during which the worker complained about the engine's own code."""
    yield
    records = [record for when in ("setup", "call") for record in caplog.get_records(when)]
    said = [record.getMessage() for record in records if record.levelno >= logging.WARNING]
    ours = [text for text in said if not any(word in text for word in OF_OTHERS)]
    assert not [text for text in ours if any(word in text for word in SUSPICIOUS)]
