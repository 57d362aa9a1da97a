"""Fixing a file never harms it: whatever is wrong with it, no error is new afterwards."""

import random
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from taskmark.registry import load
from taskmark.task import check_text
from taskmark.task.catalog import Catalog
from taskmark.task.diagnostics import Diagnostic, Edit, Fix
from taskmark.task.fixes import Fixed, applied, compatible, fixed

BROKEN = sorted((Path(__file__).parents[1] / "broken").glob("*.md"))
REGISTRY = load()
CATALOG = replace(Catalog.default(), tools=REGISTRY.schemas(), misfits=REGISTRY.misfits)
PACE = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
MISTAKES = [
    ("maxExecutionTime", "max_execution_time"), ("dependsOn", "depends-on"), ("tool:", "Tool:"), ("  ", "\t"),
    ("true", "yes"), ("## Phase", "## Phases"), ("### Steps", "#### Step"), ("string", "str"), ('"{{', "{{"),
    ("with:", "wiht:"), ("command", "comand"), ("timeout", "timout"), ("\n  ", "\n"), ("]", ", A]"),
]  # fmt: skip


def check(text: str) -> tuple[Diagnostic, ...]:
    return check_text(text, catalog=CATALOG).diagnostics


def errors(text: str) -> Counter[tuple[str, str]]:
    found = [one for one in check(text) if one.severity == "error"]
    return Counter((one.code, re.sub(r"line \d+", "", one.message)) for one in found)


def mend(text: str) -> Fixed:
    """Fixes a text, and proves the promises of this module on it."""
    done = fixed(text, check)
    assert errors(done.text) <= errors(text)
    assert errors(text).total() - errors(done.text).total() >= (done.applied > 0)
    assert fixed(done.text, check).text == done.text
    assert list(done.diagnostics) == list(check(done.text))
    return done


@pytest.mark.parametrize("path", BROKEN, ids=lambda path: path.stem)
def test_fixing_a_broken_file_makes_no_new_error_and_doing_it_again_changes_nothing(path: Path) -> None:
    mend(path.read_bytes().decode())


@PACE
@given(st.sampled_from(BROKEN), st.integers(0, 2**32 - 1))
def test_fixing_a_file_with_further_mistakes_makes_no_new_error(path: Path, seed: int) -> None:
    chance, text = random.Random(seed), path.read_bytes().decode()
    for right, wrong in chance.sample(MISTAKES, 3):
        text = text.replace(right, wrong, chance.randint(1, 3))
    mend(text)


@PACE
@given(st.sampled_from(BROKEN), st.booleans(), st.sampled_from(["\n", "\r\n", "\r"]))
def test_line_ends_and_byte_order_mark_stay_and_change_nothing_else(path: Path, bom: bool, end: str) -> None:
    text = path.read_text()
    plain = fixed(text, check)
    mark = "\ufeff" if bom else ""
    other = fixed(mark + text.replace("\n", end), check)
    assert other.text == mark + plain.text.replace("\n", end)
    assert other.applied == plain.applied


def test_at_least_some_broken_files_become_better() -> None:
    assert sum(mend(path.read_text()).applied for path in BROKEN) >= 25


def test_an_edit_whose_old_text_is_not_there_is_left_out() -> None:
    def fix(line: int, column: int, old: str) -> Fix:
        return Fix(edits=(Edit(line=line, column=column, old=old, new="x"),))

    fixes = [fix(1, 1, "one"), fix(1, 2, "ne"), fix(2, 1, "three"), fix(9, 1, ""), fix(2, 1, "")]
    assert compatible("one\ntwo", fixes) == [fixes[0], fixes[4]]
    assert applied("one\ntwo", [fixes[0], fixes[4]]) == "x\nxtwo"
