"""The health of tools is known in bounded time, whatever they do."""

import threading

from pydantic import BaseModel

from taskmark.ports import Health, Tool
from taskmark.tools.health import check_health


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
