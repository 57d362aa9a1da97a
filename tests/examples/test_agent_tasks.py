"""`code-review` and `research-brief` on a real server: with their own programs, and with a model."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from examples_folder import ROOT, Example, example

for folder in (ROOT / "tests", ROOT / "tests" / "examples" / "repositories"):
    sys.path.insert(0, str(folder))

from example_repository import GitRepository  # noqa: E402 - found by the path above
from model_server import Asked, ModelServer, Reply, model_server  # noqa: E402 - found by the path above

from taskmark.contracts import TaskResult  # noqa: E402 - after the path above, as its neighbour
from taskmark.task import check_file  # noqa: E402 - after the path above, as its neighbour

BEFORE = '"""A shop."""\n\n\ndef price(amount):\n    return amount * 2\n'
AFTER = '''"""A shop."""

import subprocess

API_KEY = "9f8Zk2LmQ7xT4vBw1Rc6"


def price(amount, discounts=[]):
    # TODO: taxes
    return amount * 2


def pack(name):
    subprocess.run("tar cf " + name, shell=True)
'''
TEST = "def test_price():\n    assert True\n"
REVIEWERS = ("correctness", "security", "upkeep")
KEY = "sk-of-the-test"
NEWS = (
    "The old bridge was closed in 1998. It is to be opened again for bicycles in spring, says the council.\n"
)


@pytest.fixture(scope="module")
async def place(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Example]:
    """A folder where no key is set."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("ANTHROPIC_API_KEY", raising=False)
        async with example(tmp_path_factory.mktemp("agents")) as here:
            yield here


@pytest.fixture
def models(place: Example) -> Iterator[ModelServer]:
    """A provider for whose models the worker has a key, as long as the test runs."""
    before = dict(place.environment)
    with model_server() as server:
        provider = {"anthropic": {"baseUrl": server.url, "keys": ["ANTHROPIC_API_KEY"]}}
        place.environment |= {"ANTHROPIC_API_KEY": KEY, "TASKMARK_PROVIDERS": json.dumps(provider)}
        _another_worker(place)
        yield server
    place.environment.clear()
    place.environment.update(before)
    _another_worker(place)


def _another_worker(place: Example) -> None:
    place.kill_worker()
    place.start_worker()


@pytest.fixture(scope="module")
def shop(place: Example) -> Path:
    """A repository with a branch `feature` that changes what `main` has."""
    made = GitRepository(place.folder / "shop")
    made.commit("one", {"src/shop.py": BEFORE, "tests/test_shop.py": TEST})
    made.git("checkout", "-qb", "feature")
    made.commit("two", {"src/shop.py": AFTER, "package-lock.json": "{}\n", "with space.md": "# Shop\n"})
    made.git("checkout", "-qb", "tidy", "main")
    made.commit("two", {"src/shop.py": BEFORE + "\n\nRATE = 2\n", "tests/test_shop.py": TEST + "RATE = 2\n"})
    return made.folder


def why(result: TaskResult) -> str:
    """Returns why it failed."""
    assert result.status == "failed"
    assert result.error is not None
    return result.error.message


@pytest.mark.parametrize(
    "task", ["code-review", "research-brief", "research_brief/source", "research_brief/check"]
)
def test_the_task_files_have_no_errors_and_no_warnings(task: str) -> None:
    assert check_file(ROOT / "tasks" / f"{task}.md").diagnostics == ()


# --- a review -------------------------------------------------------------------------------------


async def test_without_a_key_a_branch_is_reviewed_by_rules(place: Example, shop: Path) -> None:
    """The report has each finding at its line, and what was not reviewed; no secret is in it."""
    done = await place.run("code-review", repo="shop", branch="feature")
    assert done.status == "completed", done.error
    assert (done.outputs["verdict"], done.outputs["votes"]) == ("changes", {"changes": 3})
    assert done.outputs["counts"] == {"high": 2, "medium": 2, "low": 1}
    for reviewer in REVIEWERS:
        assert done.steps[reviewer].fallback
        assert done.steps[reviewer].fallback_for.category == "configuration"
    report = (place.folder / done.outputs["report"]).read_text()
    numbers = {line: at for at, line in enumerate(AFTER.splitlines(), 1)}
    for line, said in {
        'API_KEY = "9f8Zk2LmQ7xT4vBw1Rc6"': "What looks like a password or key",
        "def price(amount, discounts=[]):": "A mutable default",
        "    # TODO: taxes": "TODO",
        '    subprocess.run("tar cf " + name, shell=True)': "A shell reads this command",
    }.items():
        assert f"- line {numbers[line]}: {said}" in report
    assert "| `package-lock.json` | made by a program |" in report
    assert "| `with space.md` | 1 | 0 |" in report
    assert "9f8Zk2" not in report


async def test_a_branch_with_nothing_to_find_is_approved(place: Example, shop: Path) -> None:
    done = await place.run("code-review", repo="shop", branch="tidy", mustApprove=True, report="tidy.md")
    assert done.status == "completed", done.error
    assert (done.outputs["verdict"], done.outputs["counts"]) == (
        "approve",
        {"high": 0, "medium": 0, "low": 0},
    )
    assert "Nothing was found." in (place.folder / "tidy.md").read_text()


@pytest.mark.parametrize(
    ("inputs", "reason"),
    [
        ({"repo": "agents"}, "agents is in no git repository"),
        ({"repo": "shop/src"}, "give its top folder"),
        ({"repo": "../elsewhere"}, "leads out of the root"),
        ({"repo": "shop", "base": "nowhere"}, "There is no commit nowhere in shop"),
        ({"repo": "shop", "branch": "--output=made"}, "There is no commit --output=made in shop"),
        ({"repo": "shop", "base": "feature", "branch": "feature"}, "There is nothing to review"),
        ({"repo": "shop", "branch": "feature", "maxLines": 1, "base": "tidy~1"}, None),
        ({"repo": "shop", "branch": "feature", "mustApprove": True}, "The reviewers ask for changes"),
    ],
)
async def test_what_cannot_be_reviewed_or_approved_fails_with_the_reason(
    place: Example, shop: Path, inputs: dict[str, Any], reason: str | None
) -> None:
    done = await place.run("code-review", **inputs)
    if reason is None:
        assert done.outputs["counts"] == {"high": 0, "medium": 0, "low": 0}
        assert "more than there is room for" in (place.folder / done.outputs["report"]).read_text()
    else:
        assert reason in why(done)
    assert not (shop / "made").exists()


async def test_with_a_key_models_review_and_one_high_finding_is_enough(
    place: Example, shop: Path, models: ModelServer
) -> None:
    """What a model says of a line that the diff does not have counts for nothing."""

    def say(asked: Asked) -> Reply:
        assert "subprocess.run" in asked.text
        if "Security reviewer" not in asked.text:
            return Reply(calls=(("final-answer", {"verdict": "approve", "findings": []}),))
        where = [("src/shop.py", 13, "high"), ("src/shop.py", 900, "high"), ("src/other.py", 1, "low")]
        found = [
            {"file": f, "line": n, "severity": s, "message": "<script> | of " + f"{n}"} for f, n, s in where
        ]
        return Reply(calls=(("final-answer", {"verdict": "changes", "findings": found}),))

    models.say = say
    done = await place.run("code-review", repo="shop", branch="feature", report="models.md")
    assert done.status == "completed", done.error
    assert (done.outputs["verdict"], done.outputs["votes"]) == ("changes", {"approve": 2, "changes": 1})
    assert done.outputs["counts"] == {"high": 1, "medium": 0, "low": 0}
    assert len(models.asked) == 3
    assert {one.key for one in models.asked} == {KEY}
    assert not any(done.steps[reviewer].fallback for reviewer in REVIEWERS)
    report = (place.folder / "models.md").read_text()
    assert "One finding of high severity is enough" in report
    assert "- line 13: &lt;script> | of 13 (security)" in report
    assert "- `src/shop.py:900`" in report.partition("At places that the diff does not have")[2]


# --- a brief --------------------------------------------------------------------------------------


async def test_without_a_key_a_brief_is_made_of_the_bundled_texts(place: Example) -> None:
    done = await place.run("research-brief")
    assert done.status == "completed", done.error
    counts = done.outputs["counts"]
    assert (counts["sources"], counts["unread"], counts["fails"], counts["unchecked"]) == (5, 0, 0, 0)
    assert counts["claims"] == counts["holds"] >= counts["points"] > 2
    brief = (place.folder / done.outputs["report"]).read_text()
    assert brief.startswith("# How well do heat pumps heat in cold weather?\n")
    assert "- The colder it is outdoors, the less heat an air-source heat pump can take from the air" in brief
    assert "- [1] tasks/research_brief/library/cold-weather.txt" in brief


async def test_a_source_that_cannot_be_read_is_noted_and_the_others_are_used(place: Example) -> None:
    """An address of this machine counts as one: nobody has allowed it."""
    (place.folder / "news.txt").write_text(NEWS)
    sources = ["news.txt", "gone.txt", "http://127.0.0.1:9/page"]
    done = await place.run("research-brief", topic="the bridge", sources=sources, report="bridge.md")
    assert done.status == "completed_with_errors"
    assert (done.outputs["counts"]["sources"], done.outputs["counts"]["unread"]) == (1, 2)
    brief = (place.folder / "bridge.md").read_text()
    assert "- The old bridge was closed in 1998. [1]" in brief
    assert "- not read: gone.txt" in brief


@pytest.mark.parametrize(
    ("inputs", "reason"),
    [
        ({"sources": ["gone.txt"]}, "None of the sources could be read"),
        ({"topic": "submarines"}, "The sources say nothing about the topic"),
        ({"sources": ["../"]}, "outside of the root"),
    ],
)
async def test_without_anything_to_write_from_it_fails_with_the_reason(
    place: Example, inputs: dict[str, Any], reason: str
) -> None:
    assert reason in why(await place.run("research-brief", **inputs))


async def test_with_a_key_models_write_and_what_they_invent_is_taken_out(
    place: Example, models: ModelServer
) -> None:
    """Also where the checker finds nothing wrong with it; what the checker doubts fails as well."""
    (place.folder / "news.txt").write_text(NEWS)
    claims = [
        {"claim": "The bridge closed in 1998.", "quote": "the old bridge was closed in 1998"},
        {"claim": "It cost 5 million.", "quote": "The bridge cost 5 million euros."},
        {"claim": "Bicycles may use it soon.", "quote": "It is to be opened again for bicycles in spring"},
    ]
    points = [
        {"text": "It is closed, and cost 5 million.", "claims": ["1.1", "1.2"]},
        {"text": "It was dear.", "claims": ["1.2", "7.7"]},
        {"text": "Soon it is open.", "claims": ["1.3"]},
    ]
    checks = [{"id": f"1.{n}", "supported": n != 3, "reason": "only planned"} for n in (1, 2, 3)]
    answers = {
        "# Note-taker": {"claims": claims},
        "# Brief writer": {"points": points},
        "# Fact checker": {"checks": checks},
    }

    def say(asked: Asked) -> Reply:
        assert ("is to be opened again" in asked.text) or "# Note-taker" not in asked.text
        return Reply(
            calls=(("final-answer", next(a for title, a in answers.items() if title in asked.text)),)
        )

    models.say = say
    done = await place.run("research-brief", topic="the bridge", sources=["news.txt"], report="checked.md")
    assert done.status == "completed", done.error
    assert len(models.asked) == 3
    expected = {"claims": 3, "holds": 1, "fails": 2, "unchecked": 0, "points": 1, "marked": 1, "removed": 2}
    assert expected.items() <= done.outputs["counts"].items()
    brief = (place.folder / "checked.md").read_text()
    assert "- It is closed, and cost 5 million. [1] *(not supported: 1.2)*" in brief
    assert "| 1.2 | [1] | fails: the quote is not in the source | The bridge cost 5 million euros. |" in brief
    assert "| 1.3 | [1] | fails: only planned |" in brief
    assert "- ~~It was dear.~~ (1.2, 7.7)" in brief
