"""What a tool needs is looked for before it is called."""

import sys

import pytest
from pydantic import BaseModel

from taskmark.errors import StepFailed
from taskmark.tools.function_tool import FunctionDetails, function_tool
from taskmark.tools.health import check_health
from taskmark.tools.needs import health_of


class Nothing(BaseModel):
    pass


def made(*needs):
    calls = []

    def call(parameters: Nothing, context) -> str:
        calls.append(1)
        return "done"

    return function_tool(call, FunctionDetails("needy", needs=needs)), calls


def test_programs_modules_and_variables_that_are_there_are_no_complaint(monkeypatch):
    monkeypatch.setenv("A_KEY", "k")
    assert health_of(["sh", "python:json.decoder", "$A_KEY"]).healthy


@pytest.mark.parametrize(
    ("need", "message", "hint"),
    [
        ("no-such-program", "there is no program no-such-program on the PATH", "install no-such-program"),
        ("python:no_such.module", "the Python module no_such.module is not installed", "install no_such"),
        ("$NO_SUCH_KEY", "the variable NO_SUCH_KEY is not set", "set NO_SUCH_KEY in the environment"),
    ],
)
def test_what_is_missing_is_told_with_what_to_do(need, message, hint):
    health = health_of(["sh", need])
    assert (health.healthy, health.message) == (False, message)
    assert hint in health.hint


async def test_a_function_whose_needs_are_missing_is_not_called(root, context):
    tool, calls = made("no-such-program")
    with pytest.raises(StepFailed, match="no program no-such-program") as caught:
        await tool.execute(Nothing(), context)
    assert (caught.value.category, calls) == ("configuration", [])
    assert not check_health({"needy": tool})["needy"].healthy


async def test_a_function_whose_needs_are_there_is_called(root, context):
    tool, calls = made(sys.executable)
    assert await tool.execute(Nothing(), context) == "done"
    assert calls == [1]
