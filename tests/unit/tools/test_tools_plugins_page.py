"""The page about plugins: its module is loaded and every part of it used."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskmark.errors import StepFailed
from taskmark.ports import Question, StepContext
from taskmark.privacy.detectors import BUILT_IN
from taskmark.privacy.scrubbing import Scrubber
from taskmark.registry import Registry, load
from taskmark.task.model import Agent
from taskmark.tools.testing import check_tool

PAGE = Path(__file__).parents[3] / "docs" / "plugins.md"


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    """The page's module, loaded as a worker does."""
    module, tests = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (tmp_path / "garden.py").write_text(module)
    (tmp_path / "test_garden.py").write_text(tests)
    yield load(["garden"], path=[tmp_path])
    sys.path.remove(str(tmp_path))
    del sys.modules["garden"]


async def test_the_example_of_the_page_works(registry: Registry, root: Path, context: StepContext) -> None:
    assert registry.broken == {}
    plant, water = registry.tool("plant"), registry.tool("water")
    assert await plant.execute(plant.validate({"plants": 12}), context) == {"planted": 12}
    assert (root / "bed.txt").read_text() == "x" * 12
    assert await water.execute(water.validate({"plants": 2}), context) == {"liters": 1.0}
    assert water.estimate_duration(water.validate({"plants": 2})) == 0.2
    assert (await water.health_check()).healthy
    with pytest.raises(StepFailed, match="the can is empty"):
        await water.execute(water.validate({"plants": 2000}), context)
    with pytest.raises(StepFailed, match="plants"):
        plant.validate({"plants": 0})
    assert await registry.aggregate("longest")(["a", "bbb"], {}) == "bbb"
    assert await registry.kind("season")("spring", "Sow", {}, context) == {"season": "spring", "todo": "Sow"}
    answer = await registry.provider("almanac").ask(Agent(id="hilda"), Question("?", {}), context)
    assert answer.output == "hilda says: after rain, sun"
    scrubber = Scrubber([*BUILT_IN.values(), registry.detectors["plot"]])
    assert scrubber.text("hilda@example.org has plot B-12") == "[email] has [plot]"


def test_the_tests_of_the_page_pass(registry: Registry, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_garden.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout
    assert "5 passed" in done.stdout


def test_the_page_tells_of_every_check(registry: Registry) -> None:
    found = check_tool(registry.tool("weed"), {"plants": 1})
    for check in (*found.passed, *found.left_out):
        assert f"`{check}`" in PAGE.read_text()
