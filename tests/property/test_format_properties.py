"""Formatting changes no meaning and no word, and a second time nothing at all."""

import difflib
import random
import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, currently_in_test_context, event, given, note, settings
from hypothesis import strategies as st
from task_definitions import LINE, catalog_of, definitions
from test_task_properties import mutated

from taskmark.task import check_text, render
from taskmark.task.catalog import Catalog
from taskmark.task.fences import Fences
from taskmark.task.files import normalised
from taskmark.task.formatting import format_text
from taskmark.task.model import TaskDefinition

ROOT = Path(__file__).parents[2]


def shown_tasks(page: str) -> list[str]:
    """The tasks in the fenced blocks of a page."""
    lines, found, row = page.split("\n"), [], 0
    fences = Fences(lines)
    while row < len(lines):
        fence = fences.at(row)
        if fence is not None and fence.info == "markdown":
            found.append("\n".join(lines[fence.start : fence.stop]) + "\n")
        row = row + 1 if fence is None else fence.stop + 1
    return found


PAGES = [path.read_text() for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))]
SHOWN = [text for page in PAGES for text in shown_tasks(page)]
TASKS = [path.read_text() for path in sorted((ROOT / "tasks").glob("*.md"))]
BROKEN = [
    path.read_bytes().decode(errors="replace") for path in sorted((ROOT / "tests" / "broken").glob("*.md"))
]
TESTED = [
    match
    for path in sorted((ROOT / "tests").rglob("*.py"))
    for match in re.findall(r'"""(# .*?)"""', path.read_text(), re.DOTALL)
]
SOURCES = [*TASKS, *SHOWN, *BROKEN, *TESTED, *PAGES]
PROSE = [
    "A word about it.", "Two blanks end this line.  ", "<!-- a comment -->", "<!--\n\n  kept  \n-->",
    "```text\n\n  - a  \n\n```", "~~~yaml\nb:   1\n~~~", "    code\n\n\n    more", "***", "| a | b |",
    "### Notes", "> quoted", "Note: said", "1. one",
]  # fmt: skip
PACE = settings(
    deadline=None,
    print_blob=True,
    max_examples=50,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)


def words(text: str) -> Counter[str]:
    """The characters of a text that formatting may not touch: all but blanks, bullets, quotes and the marks
    and capitals of headings."""
    text = re.sub(r"(?m)^([ \t]*)[*+](?=[ \t]|$)", r"\1-", text).replace("'", '"')
    text = re.sub(r"(?m)[ \t]+#+[ \t]*$", "", text)
    return Counter(re.sub(r"\s", "", text).lower())


def check(text: str, catalog: Catalog | None = None) -> str | None:
    """Checks one text against the promise of this module; returns its canonical form, None if it is wrong."""
    before = check_text(text, catalog=catalog)
    if before.definition is None:
        return None
    formatted = format_text(text, catalog=catalog)
    if currently_in_test_context():
        note(f"{text}\n=== is formatted to ===\n{formatted}")
    after = check_text(formatted, catalog=catalog)
    assert after.definition == before.definition.model_copy(update={"sha256": after.definition.sha256})
    assert format_text(formatted, catalog=catalog) == formatted
    assert words(normalised(formatted)) == words(normalised(text))
    return formatted


@pytest.mark.parametrize("number", range(len(SOURCES)))
def test_every_text_of_this_project_keeps_its_meaning_and_its_words(number: int) -> None:
    check(SOURCES[number])


@PACE
@given(definitions(), st.data())
def test_prose_between_the_parts_stays_byte_for_byte(task: TaskDefinition, data: st.DataObject) -> None:
    lines = render(task).split("\n")
    places = [row for row, line in enumerate(lines) if line == "" and lines[row + 1 : row + 2] != [""]]
    prose = data.draw(st.lists(st.sampled_from(PROSE), min_size=1, max_size=5))
    for block in prose:
        row = data.draw(st.sampled_from(places or [0]))
        lines.insert(row, f"\n{block}\n")
    text = "\n".join(lines)
    formatted = check(text, catalog_of(task))
    event("formatted" if formatted else "no longer a task")
    if formatted is not None:
        assert all(block in formatted for block in prose)


@PACE
@given(definitions())
def test_what_is_rendered_is_in_canonical_form(task: TaskDefinition) -> None:
    text = render(task)
    note(text)
    assert format_text(text, catalog=catalog_of(task)) == text


@PACE
@given(st.sampled_from(SOURCES), st.integers(0, 2**32 - 1), st.lists(LINE, max_size=3))
def test_a_mutated_task_keeps_its_meaning_and_its_words(source: str, seed: int, lines: list[str]) -> None:
    chance = random.Random(seed)
    text = mutated(source, chance).split("\n")
    for line in lines:
        text.insert(chance.randint(0, len(text)), line)
    event("formatted" if check("\n".join(text)) else "wrong")


@PACE
@given(st.sampled_from([text for text in SOURCES if check_text(text).definition]), st.integers(0, 2**32 - 1))
def test_a_task_spaced_by_chance_keeps_its_meaning_and_its_words(source: str, seed: int) -> None:
    chance = random.Random(seed)
    text = "\n".join(respaced(line, chance) for line in normalised(source).split("\n"))
    event("formatted" if check(text) else "wrong")


def respaced(line: str, chance: random.Random) -> str:
    """A line with more blanks, other bullets, or blank lines around it."""
    if chance.random() < 0.7:
        return line
    match chance.randint(0, 6):
        case 0:
            return f"\n{line}\n\n"
        case 1:
            return re.sub(r": ", ":   ", line, count=1)
        case 2:
            return re.sub(r"^- ", chance.choice(["* ", "+ ", "-   ", " - ", "1. ", "- [ ] ", "10)  "]), line)
        case 3:
            return line.replace(", ", chance.choice([",", " ,  "])).replace("[", "[ ").replace("{ ", "{")
        case 4:
            return re.sub(r"^( +)", chance.choice([r"\1\1", r"\1 ", " "]), line)
        case 5:
            return re.sub(r"^(#+) (.*)$", r"\1   \2  \1", line)
        case _:
            return line + chance.choice(["  ", "\t", " # a comment"])


def test_comments_in_yaml_stay_with_their_lines() -> None:
    for text in TASKS:
        commented = re.sub(r"(?m)^(  +)([a-z]\w*: .*)$", r"\1# about \2\n\1\2", text)
        formatted = check(commented)
        assert formatted is not None
        changed = [
            line for line in difflib.ndiff(commented.split("\n"), formatted.split("\n")) if line[0] in "+-"
        ]
        assert [line for line in changed if line.strip("+- ")] == []
