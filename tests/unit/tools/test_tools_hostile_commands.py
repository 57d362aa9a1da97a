"""Whatever words, variables, places and input a program is given: nobody but the program reads them."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from hostile_payloads import LOADED, corpus

from taskmark.agents.commands import CommandAgents
from taskmark.errors import Category, StepFailed
from taskmark.ports import Question, StepContext
from taskmark.task.expressions import render_value
from taskmark.task.model import Agent
from taskmark.tools import processes
from taskmark.tools.functions import Python
from taskmark.tools.shell import Shell

Call = Callable[..., Awaitable[Any]]

SAY_WORDS = "import sys, json; print(json.dumps(sys.argv[1:]))"
SAY_VARIABLES = "import os, json; print(json.dumps({k: v for k, v in os.environ.items() if k[:2] == 'V_'}))"
ALONE = 20
"""Of the payloads, so many are given alone as well; all of them in `make soak`."""


@pytest.fixture
def payloads(root: Path, left_behind: Callable[[], list[psutil.Process]]) -> Iterator[list[str]]:
    """The corpus; fails if any of it has made the canary, changed our environment or left a process."""
    before = environment()
    found = corpus(root / "canary")
    assert len(found) >= 500
    yield [payload for payload in found if "\0" not in payload]
    assert not (root / "canary").exists()
    assert environment() == before
    assert left_behind() == []


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}


def python(code: str, *words: str) -> list[str]:
    return [sys.executable, "-I", "-X", "utf8", "-c", code, *words]


def some(payloads: list[str]) -> list[str]:
    return payloads[:: len(payloads) // ALONE]


async def test_words_are_given_as_they_are(payloads: list[str], call: Call) -> None:
    """All of the corpus at once: had any shell read one of them, others would not arrive as they are."""
    output = await call(Shell(), command=python(SAY_WORDS, *payloads))
    assert json.loads(output["stdout"]) == payloads


async def test_words_made_of_templates_stay_one_word_and_are_not_read_again(
    payloads: list[str], call: Call
) -> None:
    template = python(SAY_WORDS, *(f"{{{{ p[{n}] }}}}" for n in range(len(payloads))))
    output = await call(Shell(), command=render_value(template, {"p": payloads}))
    assert json.loads(output["stdout"]) == payloads


async def test_variables_are_given_as_they_are(payloads: list[str], call: Call) -> None:
    given = {f"V_{n}": payload for n, payload in enumerate(payloads)}
    output = await call(Shell(), command=python(SAY_VARIABLES), env=given)
    assert json.loads(output["stdout"]) == given


async def test_input_is_given_as_it_is(payloads: list[str], call: Call) -> None:
    text = "\n".join(payload for payload in payloads if payload.isprintable())
    output = await call(Shell(), command=["cat"], stdin=text)
    assert output["stdout"] == text


async def test_values_for_a_function_are_given_as_they_are(payloads: list[str], call: Call) -> None:
    assert await call(Python(), function="builtins:list", args=[payloads]) == payloads
    named = {payload: payload for payload in payloads}
    assert await call(Python(), function="builtins:dict", kwargs=named) == named


@pytest.mark.parametrize("choose", [some, pytest.param(list, marks=pytest.mark.soak)], ids=["some", "all"])
async def test_a_payload_alone_acts_nowhere(
    choose: Callable[[list[str]], list[str]], payloads: list[str], root: Path, call: Call
) -> None:
    """As a word, a variable, the input and the place at once; as a program and as a function it is none."""
    for payload in choose(payloads):
        place = payload.replace("/", "_")[:80].strip(".") or "place"
        (root / place).mkdir(exist_ok=True)
        code = SAY_WORDS.replace("sys.argv[1:]", "[sys.argv[1], sys.stdin.buffer.read().decode()]")
        given = {"command": python(code, payload), "env": {"V": payload, payload.replace("=", ""): "x"}}
        output = await call(Shell(), **given, cwd=place, stdin=payload)
        assert json.loads(output["stdout"]) == [payload, payload]
        for tool, arguments in ((Shell(), {"command": [payload]}), (Python(), {"function": payload})):
            with pytest.raises(StepFailed) as caught:
                await call(tool, **arguments)
            assert caught.value.category is Category.CONFIGURATION


async def test_no_payload_is_a_place_by_itself(payloads: list[str], call: Call) -> None:
    for payload in payloads:
        with pytest.raises(StepFailed) as caught:
            await call(Shell(), command=["true"], cwd=payload)
        assert caught.value.category in (Category.CONFIGURATION, Category.LOGIC)


async def test_an_instruction_for_an_agent_that_is_a_program_is_one_word(
    payloads: list[str], context: StepContext
) -> None:
    """Also where the words of its command are written in one line."""
    model = f"command:{sys.executable} -I -X utf8 -c '{SAY_WORDS}' {{instruction}} 'x{{instruction}}'"
    agent = Agent(id="a", name="a", model=model, prompt="")
    for payload in some(payloads):
        answer = await CommandAgents().ask(agent, Question(payload, {}), context)
        assert answer.output == [payload, f"x{payload}"]


@pytest.mark.parametrize(
    "given",
    [
        {"env": {"A\0": "x"}},
        {"env": {"A": "x\0B=y"}},
        {"env": {"A=B": "x"}},
        {"env": {"": "x"}},
        {"env": {"A": "\ud800"}},
        {"env": {"\ud800": "x"}},
        {"stdin": "\ud800"},
        {"command": ["true", "\ud800"]},
        {"command": ["true\0"]},
        {"cwd": "\ud800"},
    ],
)
async def test_what_no_program_can_be_given_is_refused(given: dict[str, Any], call: Call) -> None:
    with pytest.raises(StepFailed) as caught:
        await call(Shell(), **{"command": ["true"], **given})
    assert caught.value.category is Category.CONFIGURATION


async def test_variables_reach_the_program_alone(root: Path, call: Call) -> None:
    """What is started in between, before any limit holds, is not loaded with what the step gives."""
    (root / "start.py").write_text("open('canary', 'w')")
    (root / "sitecustomize.py").write_text("open('canary', 'w')")
    (root / "start.sh").write_text("touch canary")
    given = {name: value.replace("{root}", str(root)) for name, value in LOADED.items()}
    output = await call(Shell(), command=["/usr/bin/env"], env=given)
    assert {f"{name}={value}" for name, value in given.items()} <= set(output["stdout"].splitlines())
    assert not (root / "canary").exists()


async def test_the_loader_is_asked_by_the_program_alone(root: Path, call: Call) -> None:
    """A trace of what is loaded has one file for each process that the variable has reached."""
    trace = {"LD_DEBUG": "files", "LD_DEBUG_OUTPUT": str(root / "trace")}
    output = await call(Shell(), command=["/bin/sh", "-c", "echo $$"], env=trace)
    traces = [path.name for path in root.glob("trace.*")]
    assert traces in ([], [f"trace.{output['stdout'].strip()}"])  # none where the loader knows no traces


TO_THE_LAUNCHER = """
import os, signal, sys, time
launcher, mine = os.getppid(), []
for fd in os.listdir(f"/proc/{launcher}/fd"):
    try:
        mine.append(os.open(f"/proc/{launcher}/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK))
    except OSError:
        pass
"""
FORGED = (
    *(
        "exit 0",
        "exit x",
        "exit 99999999999999999999",
        "signal 9999",
        "error 0",
        "error",
        "rss",
        "written -1",
    ),
    *(
        "pid 0",
        "pid 1",
        "pid -1",
        "pid x",
        "cpu \u00b2",
        "limit no_such",
        "limit grace",
        "\xff\xfe",
        "x" * 60_000,
    ),
)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets one program write into another's pipes")
@pytest.mark.parametrize("line", FORGED)
async def test_a_program_that_writes_in_its_launchers_name_harms_itself_alone(line: str, call: Call) -> None:
    """It can make its own step fail; but no more than fail, and the report is not read without end."""
    write = f"os.write(fd, ({line!r} + chr(10)).encode('latin-1'))"
    code = f"{TO_THE_LAUNCHER}\nfor fd in mine:\n try: {write}\n except OSError: pass"
    with suppress(StepFailed):
        await call(Shell(), command=[sys.executable, "-I", "-c", code])
    assert (await call(Shell(), command=["echo", "next"]))["stdout"] == "next\n"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets one program write into another's pipes")
async def test_a_program_that_kills_its_launcher_and_flees_holds_up_nobody(
    root: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody can find it then; but the step ends."""
    monkeypatch.setattr(processes, "FORCE_AFTER", 0.3)
    monkeypatch.setattr(processes, "LAST_WORDS", 0.3)
    flees = (
        "\nif os.fork() == 0:\n os.setsid(); open('fled', 'w').write(str(os.getpid())); time.sleep(60)"
        "\nwhile not os.path.exists('fled'): time.sleep(0.01)"
        "\nos.kill(launcher, signal.SIGKILL); time.sleep(60)"
    )
    tool = Shell(processes.ProcessLimits(grace=0.2))
    before = time.monotonic()
    try:
        with pytest.raises(StepFailed) as caught:
            await tool.execute(
                tool.validate({"command": [sys.executable, "-I", "-c", TO_THE_LAUNCHER + flees]}),
                StepContext(root=root, timeout=1.0),
            )
        assert caught.value.category is Category.TRANSIENT
        assert time.monotonic() - before < 9
    finally:
        os.kill(int((root / "fled").read_text()), signal.SIGKILL)
