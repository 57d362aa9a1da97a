"""Semantics U3: what the file and the settings both allow is what a step gets."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from activity_calls import call, environment
from temporalio.exceptions import ApplicationError

from starter.wiring import Wiring
from taskmark.contracts import StepDone
from taskmark.errors import Category, Failure, InvalidSettings
from taskmark.settings import Settings
from taskmark.task.model import StepLimits

ENOUGH = ["/bin/sh", "-c", "nice; yes | head -c 3000"]


PLUGIN = """
from pydantic import BaseModel
from taskmark.ports import StepContext
from taskmark.registry import tool
from taskmark.tools.processes import Command, run

class Nothing(BaseModel):
    pass

@tool("endless")
async def endless(parameters: Nothing, context: StepContext):
    "Prints without end."
    await run(Command(("yes",)), context)
"""


@pytest.fixture
def activities(tmp_path: Path) -> Iterator[dict[str, Any]]:
    """The activities of a worker by name, whose settings limit what programs print."""
    limits = {"output": "4 kB", "nice": 9}
    (tmp_path / "endless_plugin.py").write_text(PLUGIN)
    settings = Settings(
        state_dir=tmp_path / "state",
        root=tmp_path,
        plugins=("endless_plugin",),
        process_output=5000,
        process_nice=7,
        tools={"shell": {"limits": limits}},
    )
    wiring = Wiring(settings)
    yield {getattr(one, "__temporal_activity_definition").name or "*": one for one in wiring.activities()}
    wiring.close()


async def shell(activities: dict[str, Any], command: list[str], **limits: Any) -> StepDone:
    given = StepLimits(**limits) if limits else None
    step = call(arguments={"command": command}, limits=given)
    done: StepDone = await environment().run(activities["tool.shell"], step)
    return done


async def refusal(activities: dict[str, Any], command: list[str], **limits: Any) -> Failure:
    with pytest.raises(ApplicationError) as caught:
        await shell(activities, command, **limits)
    return Failure.model_validate(caught.value.details[0])


def niceness(added: int) -> int:
    """Returns that of a program which makes way so much further than we do."""
    return min(19, os.nice(0) + added)


@pytest.mark.semantics("U3")
async def test_a_file_that_asks_for_less_gets_less(activities: dict[str, Any]) -> None:
    done = await shell(activities, ENOUGH)
    assert done.output["stdout"].startswith(f"{niceness(9)}\n")
    error = await refusal(activities, ENOUGH, output=1000, nice=1)
    assert (error.category, "more than 1,000 bytes" in error.message) == (Category.RESOURCE, True)


@pytest.mark.semantics("U3")
async def test_a_file_that_asks_for_more_gets_what_the_settings_allow(activities: dict[str, Any]) -> None:
    much = ["/bin/sh", "-c", "yes | head -c 4500"]
    for limits in ({}, {"output": 10**9}):
        assert "more than 4,000 bytes" in (await refusal(activities, much, **limits)).message
    done = await shell(activities, ["nice"], nice=12)
    assert done.output["stdout"] == f"{niceness(12)}\n"


async def test_a_function_that_computes_makes_way_for_the_worker(activities: dict[str, Any]) -> None:
    """`nice(0)` tells how far."""
    step = call(name="python", arguments={"function": "os:nice", "args": [0]})
    done: StepDone = await environment().run(activities["tool.python"], step)
    assert done.output == niceness(7)


async def test_what_a_plugin_starts_has_the_limits_of_the_settings_too(activities: dict[str, Any]) -> None:
    """Though it says nothing of limits itself."""
    with pytest.raises(ApplicationError, match="more than 5,000 bytes"):
        await environment().run(activities["tool.endless"], call(name="endless"))


async def test_a_failure_tells_what_was_used(activities: dict[str, Any]) -> None:
    """The workflow learns it with the failure."""
    with pytest.raises(ApplicationError) as caught:
        await shell(activities, ["/bin/sh", "-c", "echo abc; exit 3"])
    assert caught.value.details[2]["printed_bytes"] == 4


def test_limits_of_a_tool_are_written_as_in_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        "TASKMARK_TOOLS",
        '{"shell": {"limits": {"memory": "512 MB", "cpu": "30s", "openFiles": 64, "network": "1 MB/s"}}}',
    )
    monkeypatch.setenv("TASKMARK_NETWORK_RATE", "2 MB/s")
    settings = Settings()
    limits = settings.tools["shell"].limits
    assert limits is not None
    assert (limits.memory, limits.cpu, limits.open_files, limits.network) == (512_000_000, 30.0, 64, 10**6)
    assert settings.network_rate == 2 * 10**6


@pytest.mark.parametrize("limits", ['{"memory": "512M"}', '{"memroy": 5}', '{"cpu": 0}', '{"nice": 20}'])
def test_limits_that_are_none_are_refused(limits: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKMARK_TOOLS", f'{{"shell": {{"limits": {limits}}}}}')
    with pytest.raises(InvalidSettings, match="TASKMARK_TOOLS"):
        Settings()
