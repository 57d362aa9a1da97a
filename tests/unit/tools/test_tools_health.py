"""The health of tools is known in bounded time, whatever they do."""

import threading
import time

from pydantic import BaseModel

from taskmark.ports import Health, Tool
from taskmark.tools.health import Checkup, check_health


class Nothing(BaseModel):
    pass


class Fine(Tool):
    name = "fine"
    parameters = Nothing

    async def execute(self, parameters, context):
        return None


class Unwell(Fine):
    async def health_check(self):
        return Health(healthy=False, message="no key", hint="set one")


class Broken(Fine):
    async def health_check(self):
        raise RuntimeError("lost")


class Silent(Fine):
    def __init__(self, released):
        self.released = released

    async def health_check(self):
        # blocks the thread itself, which no cancellation ends
        self.released.wait()
        return Health(healthy=True)


def test_tools_say_themselves_how_they_are():
    found = check_health({"fine": Fine(), "unwell": Unwell()})
    assert found["fine"].healthy
    assert (found["unwell"].healthy, found["unwell"].message, found["unwell"].hint) == (
        False,
        "no key",
        "set one",
    )


def test_a_check_that_breaks_is_a_tool_that_is_not_healthy():
    found = check_health({"broken": Broken()})["broken"]
    assert not found.healthy
    assert "lost" in found.message


def test_a_check_that_blocks_holds_up_nobody_and_hides_no_other():
    released = threading.Event()
    try:
        found = check_health({"silent": Silent(released), "fine": Fine()}, patience=0.2)
    finally:
        released.set()
    assert not found["silent"].healthy
    assert "longer than 0.2 s" in found["silent"].message
    assert found["fine"].healthy


def test_no_tools_need_no_check():
    assert check_health({}) == {}


class Counting(Fine):
    def __init__(self):
        self.asked = 0

    async def health_check(self):
        self.asked += 1
        return Health(healthy=True)


def test_many_starts_ask_a_tool_once():
    tool = Counting()
    checkup = Checkup(patience=5)
    assert [checkup.ask({"counting": tool})["counting"].healthy for _ in range(3)] == [True] * 3
    assert tool.asked == 1


def test_an_old_answer_is_asked_for_again():
    tool = Counting()
    checkup = Checkup(patience=5, fresh_seconds=0)
    for _ in range(3):
        checkup.ask({"counting": tool})
    assert tool.asked == 3


def test_a_tool_that_kept_silent_delays_only_the_first_start():
    released = threading.Event()
    checkup = Checkup(patience=0.2)
    try:
        first = checkup.ask({"silent": Silent(released)})
        begun = time.monotonic()
        again = checkup.ask({"silent": Silent(released)})
        took = time.monotonic() - begun
    finally:
        released.set()
    assert first == again
    assert took < 0.1
