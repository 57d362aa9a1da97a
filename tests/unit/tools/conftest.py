"""What the tests of tools share: a root of their own, and a call as the engine makes it."""

import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import coverage
import psutil
import pytest

from taskmark.ports import StepContext, Tool

sys.path.insert(0, str(Path(__file__).parents[2]))  # where the tests' PostgreSQL is


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A directory with nothing in it, and something outside of it."""
    root = tmp_path / "root"
    root.mkdir()
    return root


@pytest.fixture
def context(root: Path) -> StepContext:
    return StepContext(
        root=root,
        execution_id="exec-1",
        project="garden",
        worker_id="worker-1",
        idempotency_key="key-1",
        attempt=2,
        timeout=30.0,
    )


@pytest.fixture
def left_behind() -> Callable[[], list[psutil.Process]]:
    """The processes this test started that are still there; servers other tests share are none of them."""
    before = set(psutil.Process().children(recursive=True))
    return lambda: [child for child in psutil.Process().children(recursive=True) if child not in before]


@pytest.fixture
def call(context: StepContext) -> Callable[..., Awaitable[Any]]:
    """Calls a tool with arguments as they stand in a file."""

    async def call(tool: Tool[Any], **arguments: Any) -> Any:
        return await tool.execute(tool.validate(arguments), context)

    return call


@pytest.fixture
def measured(tmp_path: Path) -> tuple[str, ...]:
    """How to start a script of ours so that its lines are measured where coverage is; else as it is."""
    current = coverage.Coverage.current()
    if current is None:
        return (sys.executable, "-I")
    settings = tmp_path / "coverage.ini"
    data = Path(str(current.get_option("run:data_file"))).absolute()
    lines = ("[run]", "branch = true", "parallel = true", "patch = execv, _exit", "include = */taskmark/*")
    settings.write_text("\n".join((*lines, f"data_file = {data}")))
    return (sys.executable, "-m", "coverage", "run", f"--rcfile={settings}")
