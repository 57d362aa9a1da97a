"""The tool `python`: functions of the user's, each call in a process of its own."""

import asyncio
import json
import logging
import subprocess
import sys
import textwrap
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from taskmark.contracts import ADAPTER_LIMIT
from taskmark.errors import Category, StepFailed
from taskmark.ports import StepContext
from taskmark.tools import call as caller
from taskmark.tools.functions import FunctionCall, Python, call_function

Call = Callable[..., Awaitable[Any]]
USERS = """
import asyncio, dataclasses, json, os, sys
from pydantic import BaseModel
from taskmark.errors import Category, StepFailed

class Model(BaseModel):
    x: int

@dataclasses.dataclass
class Place:
    model: Model

class Refused(Exception):
    category = "permission"

class Odd(Exception):
    category = "weird"

class Tools:
    @staticmethod
    def twice(x): return 2 * x

def add(a, b=1): return a + b
async def later(x): await asyncio.sleep(0); return x
def models(): return [Place(Model(x=1)), Model(x=2), (3,)]
def environment(): return [os.environ["TASKMARK_IDEMPOTENCY_KEY"], os.getcwd(), sys.stdin.read()]
def noisy():
    print("to stdout"); os.write(1, b"raw"); print("to stderr", file=sys.stderr); os.system("echo child")
    return "value"
def fails(): raise ValueError("no luck")
def refused(): raise Refused("not allowed")
def odd(): raise Odd("odd")
def typed(): raise StepFailed("too much", Category.RESOURCE, hint="use less")
def leaves(): sys.exit(3)
def dies(): print("last words", file=sys.stderr, flush=True); os._exit(4)
def memory(): raise MemoryError
def not_json(): return {1, 2}
def not_a_number(): return float("nan")
def huge(n): return "x" * n
number = 5
"""


@pytest.fixture(autouse=True)
def users(root: Path) -> None:
    """A module of the user's in the root, and one that cannot be read."""
    (root / "users.py").write_text(textwrap.dedent(USERS))
    (root / "wrong.py").write_text("def (:")


@pytest.mark.parametrize(
    ("arguments", "value"),
    [
        ({"function": "users:add", "args": [1], "kwargs": {"b": 2}}, 3),
        ({"function": "users:later", "args": [{"a": [None]}]}, {"a": [None]}),
        ({"function": "users:models"}, [{"model": {"x": 1}}, {"x": 2}, [3]]),
        ({"function": "users:Tools.twice", "args": ["ab"]}, "abab"),
        ({"function": "os.path:join", "args": ["a", "b"]}, "a/b"),
        ({"function": "builtins:max", "args": [1, 2]}, 2),
    ],
)
async def test_a_function_is_called_and_its_value_returned(arguments: Any, value: Any, call: Call) -> None:
    """Of the root or installed, plain or asynchronous, with models and dataclasses as JSON."""
    assert await call(Python(), **arguments) == value


async def test_a_function_knows_where_it_runs(root: Path, call: Call) -> None:
    assert await call(Python(), function="users:environment") == ["key-1", str(root.resolve()), ""]


async def test_modules_are_searched_in_the_configured_paths(tmp_path: Path, call: Call) -> None:
    (tmp_path / "extra").mkdir()
    (tmp_path / "extra" / "more.py").write_text("def f(): return __name__")
    assert await call(Python(paths=[tmp_path / "extra"]), function="more:f") == "more"


async def test_what_a_function_prints_disturbs_nothing(call: Call, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged."""
    with caplog.at_level(logging.INFO, "taskmark.step"):
        assert await call(Python(), function="users:noisy") == "value"
    assert "to stdout" in caplog.text
    assert "to stderr" in caplog.text


@pytest.mark.parametrize(
    ("function", "category", "message"),
    [
        ("fails", Category.TRANSIENT, "users:fails: ValueError: no luck"),
        ("refused", Category.PERMISSION, "users:refused: Refused: not allowed"),
        ("odd", Category.TRANSIENT, "users:odd: Odd: odd"),
        ("typed", Category.RESOURCE, "users:typed: too much"),
        ("memory", Category.RESOURCE, "users:memory: MemoryError: "),
        ("leaves", Category.TRANSIENT, "users:leaves: SystemExit: it ended the process with exit code 3"),
        ("dies", Category.TRANSIENT, "users:dies ended without a result, exit code 4: last words"),
        ("not_json", Category.LOGIC, "users:not_json: it returned a set that is no JSON value"),
        ("not_a_number", Category.LOGIC, "users:not_a_number: it returned a float that is no JSON value"),
        ("add", Category.CONFIGURATION, "users:add: missing a required argument: 'a'"),
        ("nothing", Category.CONFIGURATION, "users:nothing: module 'users' has no attribute 'nothing'"),
        ("number", Category.CONFIGURATION, "users:number: it is a int, not a function"),
    ],
)
async def test_what_goes_wrong_is_told_with_its_category(
    function: str, category: Category, message: str, call: Call
) -> None:
    with pytest.raises(StepFailed) as caught:
        await call(Python(), function=f"users:{function}")
    assert caught.value.message.startswith(message)
    assert caught.value.category is category


async def test_a_failure_keeps_hint_and_traceback(call: Call) -> None:
    with pytest.raises(StepFailed) as caught:
        await call(Python(), function="users:typed")
    assert caught.value.hint == "use less"
    assert "in typed" in "".join(caught.value.__notes__)


@pytest.mark.parametrize(
    "function", ["nowhere:f", "wrong:f", "no_colon", "a b:c", "a:", ":b", "../x:f", "-c:x"]
)
async def test_what_is_no_function_is_configuration(function: str, call: Call) -> None:
    with pytest.raises(StepFailed) as caught:
        await call(Python(), function=function)
    assert caught.value.category is Category.CONFIGURATION


async def test_a_value_that_is_too_large_is_refused(call: Call) -> None:
    for size in (ADAPTER_LIMIT, 3 * ADAPTER_LIMIT):
        with pytest.raises(StepFailed, match="bytes of JSON") as caught:
            await call(Python(), function="users:huge", args=[size])
        assert caught.value.category is Category.RESOURCE


async def test_a_call_without_end_is_ended(root: Path, context: StepContext) -> None:
    (root / "slow.py").write_text("def f():\n    while True: pass")
    with pytest.raises(StepFailed, match="did not end"):
        await call_function(FunctionCall("slow:f"), replace(context, timeout=0.5))


async def test_the_tool_is_healthy() -> None:
    assert (await Python().health_check()).healthy


# The process's own side, called here so that its lines are measured too.


@pytest.fixture
def importable(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(root))
    monkeypatch.delitem(sys.modules, "users", raising=False)


@pytest.mark.usefixtures("importable")
@pytest.mark.parametrize(
    ("function", "args", "answer"),
    [
        ("users:add", [1], {"value": 2}),
        ("users:models", [], {"value": [{"model": {"x": 1}}, {"x": 2}, [3]]}),
        ("builtins:max", [1, 2], {"value": 2}),
        ("users:fails", [], "ValueError"),
        ("users:leaves", [], "SystemExit"),
        ("users:memory", [], "MemoryError"),
        ("users:not_json", [], ""),
        ("users:add", [], ""),
        ("users:number", [], ""),
        ("users:nothing", [], ""),
    ],
)
def test_an_answer_holds_a_value_or_an_error(function: str, args: list[Any], answer: Any) -> None:
    given = json.loads(caller.perform(function, args, {}))
    assert given == answer if isinstance(answer, dict) else given["error"]["type"] == answer


@pytest.mark.usefixtures("importable")
async def test_an_asynchronous_function_is_awaited() -> None:
    answer = await asyncio.to_thread(caller.perform, "users:later", [5], {})
    assert json.loads(answer) == {"value": 5}


def test_the_script_reads_a_request_and_writes_the_answer(
    root: Path, tmp_path: Path, measured: tuple[str, ...]
) -> None:
    """The answer's descriptor is not handed on to what the function starts."""
    with (tmp_path / "answer").open("w+b") as answer:
        request = {"function": "users:environment", "args": [], "kwargs": {}, "paths": [str(root)]}
        subprocess.run(
            [*measured, caller.__file__, str(answer.fileno())],
            input=json.dumps(request).encode(),
            pass_fds=[answer.fileno()],
            env={"TASKMARK_IDEMPOTENCY_KEY": "k"},
            check=True,
        )
    assert json.loads((tmp_path / "answer").read_text())["value"][0] == "k"
