"""The agent files, the data's description and the processes that the engine starts."""

import json
import re

import pytest
from committee_meeting import ROOT, TASK, agent
from ruamel.yaml import YAML

from taskmark.errors import Category, StepFailed
from taskmark.ports import StepContext
from taskmark.task import check_file
from taskmark.tools.functions import FunctionCall, call_function

FILES = sorted((ROOT / "agents").glob("*.md"))
FILES = [file for file in FILES if "tasks.investment_committee." in file.read_text()]
FUNCTION_CONTEXT = StepContext(root=ROOT, timeout=30)


def parts(file):
    _, front, prompt = file.read_text().split("---\n", 2)
    return YAML(typ="safe").load(front), prompt


def answer_form(prompt):
    return json.loads(re.search(r"```json\n(.*?)```", prompt, re.DOTALL)[1])


def test_the_task_file_has_no_errors_and_no_warnings():
    assert check_file(TASK).diagnostics == ()


def test_every_agent_file_of_the_committee_has_a_seat():
    assert [file.stem for file in FILES] == sorted(check_file(TASK).definition.agents)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_an_agent_file_is_one_that_coding_agents_read(file):
    front, prompt = parts(file)
    assert front["name"] == file.stem
    assert front["description"].endswith(".")
    assert {"## Method", "## Answer"} <= set(prompt.splitlines())


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_prompt_asks_for_the_fields_that_the_function_answers(file, meeting):
    held = meeting(timeHorizon="short")
    held.hold()
    context = {"inputs": held.inputs, "phases": held.phases}
    said, form = held.ask(file.stem, context), answer_form(parts(file)[1])
    assert form.keys() == said.keys()
    assert form.get("figures", {}).keys() <= said.get("figures", {}).keys()


def test_the_readme_of_the_data_says_what_is_in_the_files(ticker, frame):
    data = frame(ticker)
    readme = (ROOT / "tasks/investment_committee/data/README.md").read_text()
    row = next(line for line in readme.splitlines() if line.startswith(f"| `{ticker.lower()}.csv`"))
    assert f"| {len(data):,} | {data.index[0].date()} | {data.index[-1].date()} |" in row
    assert all(f"`{column}`" in row for column in data.columns)


async def test_a_member_answers_the_same_in_a_process_of_its_own(meeting):
    context = {"inputs": meeting().inputs, "phases": {}, "steps": {}, "with": {}}
    call = FunctionCall("tasks.investment_committee.price_action:trend", ["Judge the trend", context])
    assert await call_function(call, FUNCTION_CONTEXT) == agent("trend-analyst")("", context)


async def test_an_unknown_ticker_is_not_tried_again():
    call = FunctionCall("tasks.investment_committee.market:describe", kwargs={"ticker": "GOLD"})
    with pytest.raises(StepFailed, match="no prices for ticker 'GOLD'") as failure:
        await call_function(call, FUNCTION_CONTEXT)
    assert failure.value.category is Category.LOGIC
