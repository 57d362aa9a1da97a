"""The command line as people run it: side by side, interrupted, and with exit codes to rely on."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import psutil
import pytest
from acceptance_place import PATIENCE, Place, eventually, kill
from acceptance_tasks import CHAIN, LONG, MANY, expected_effects

from starter.gateway import TaskClient

GOOD = "# Good\n\n## Phase: Only\n### Steps\n- tool: effect\n  id: one\n"
SLOW = "# Slow\n\n## Phase: Only\n### Steps\n- tool: effect\n  with: {seconds: 60}\n"
BAD = "# Bad\n\n## Phase: Only\n### Steps\n- validation: 1 > 2 - One is not more than two\n"


@pytest.fixture
def own(make_place: Callable[..., Place]) -> Place:
    """A place of the test's own, where no server runs yet."""
    return make_place()


def test_two_runs_at_once_share_one_server(own: Place) -> None:
    """Both complete, and with the second of them the server is gone too."""
    own.task("many", MANY)
    runs = [own.command("run", "many", "--id", f"run-{n}", "-o", "json") for n in range(2)]
    servers = set()
    while any(run.poll() is None for run in runs):
        servers |= set(_servers(own))
        time.sleep(0.05)
    assert [run.returncode for run in runs] == [0, 0], [own.said(run) for run in runs]
    assert len(servers) == 1
    for number in range(2):
        assert own.effects(f"run-{number}") == expected_effects(f"run-{number}")
    eventually(lambda: not own.processes(), 15)


def _servers(place: Place) -> Iterator[int]:
    for process in place.processes():
        with suppress(psutil.Error):  # one that is just ending has no words any more
            if "start-dev" in process.cmdline():
                yield process.pid


def exit_codes(place: Place, count: int) -> None:
    """Runs good and bad tasks, so many together, and checks every exit code."""
    place.task("good", GOOD)
    place.task("bad", BAD)
    keeper = place.command("ui")  # keeps the server up: its start is not what is counted here
    wrong = []
    for number in range(0, count, 2):
        pair = {name: place.command("run", name, "--id", f"{name}-{number}") for name in ("good", "bad")}
        codes = {name: run.wait(PATIENCE) for name, run in pair.items()}
        if codes != {"good": 0, "bad": 1}:
            wrong.append((number, codes, [place.said(run) for run in pair.values()]))
    keeper.send_signal(signal.SIGTERM)
    assert keeper.wait(PATIENCE) == 0
    assert not wrong


def test_ten_of_ten_exit_codes_are_right(own: Place) -> None:
    """0 for a task that completes, 1 for one that fails."""
    exit_codes(own, 10)


@pytest.mark.soak
def test_two_hundred_of_two_hundred_exit_codes_are_right(own: Place) -> None:
    """No crash at the end of the interpreter changes one."""
    exit_codes(own, 200)


@pytest.mark.semantics("C11")
def test_what_was_interrupted_goes_on_with_the_next_command(own: Place) -> None:
    """Everything is killed, also the server and its supervisor; `watch`, `run` of another task and `dev`
    each take the execution up where it was."""
    own.task("chain", CHAIN)
    own.task("slow", SLOW)
    own.command("run", "chain", "--id", "run-0")
    for words in (("watch", "run-0"), ("run", "slow"), ("dev",)):
        before = len(own.effects("run-0"))
        eventually(lambda n=before: len(own.effects("run-0")) > n)
        for process in own.processes():
            process.kill()
        eventually(lambda: not own.processes(), 15)
        last = own.command(*words)
    eventually(lambda: [t["step"] for t in own.traces("run-0") if t["what"] == "end"][-1:] == ["chain7"])
    last.send_signal(signal.SIGTERM)
    assert last.wait(PATIENCE) == 0, own.said(last)
    assert sorted(own.effects("run-0").values()) == [f"chain{n}" for n in range(8)]


async def test_a_run_survives_the_death_of_its_server(own: Place) -> None:
    """The server is killed under a command that watches: it comes back, and the command ends well."""
    own.task("many", MANY)
    run = own.command("run", "many", "--id", "run-0", "-o", "json")
    await asyncio.to_thread(eventually, lambda: len(own.effects("run-0")) >= 2)
    kill(own.server())
    assert await asyncio.to_thread(run.wait, PATIENCE) == 0, own.said(run)
    assert own.effects("run-0") == expected_effects("run-0")


async def test_a_paused_execution_is_paused_for_the_next_command_too(own: Place) -> None:
    """A pause that nobody took back holds over the end of everything."""
    async with TaskClient.open(own.settings, worker=True) as client:
        execution = await client.start(source=LONG)
        await asyncio.to_thread(eventually, lambda: own.begun(execution, "long"))
        await client.pause(execution)
        while (await client.progress(execution)).status != "paused":
            await asyncio.sleep(0.05)
    eventually(lambda: not own.processes(), 15)
    async with TaskClient.open(own.settings, worker=True) as client:
        assert (await client.progress(execution)).status == "paused"
        await client.resume(execution)
        assert (await client.wait(execution, timeout=PATIENCE)).status == "completed"
