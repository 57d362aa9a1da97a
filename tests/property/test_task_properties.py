"""Whatever the text: a definition or diagnostics with true places, soon, and nothing else."""

import random
import time

import pytest
from fuzzing import BITS, SOURCES, mutated
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from taskmark.task import check_text, parse_duration
from taskmark.task.model import TaskDefinition
from taskmark.task.packing import pack, unpack
from taskmark.task.slugs import slug
from taskmark.task.source_text import Findings
from taskmark.task.yaml_nodes import YamlSource, _Builder
from taskmark.task.yaml_quick import read_quickly

# A text that takes longer makes the reader go over it again and again; honest ones take milliseconds.
CPU_SECONDS = 3.0
PACE = settings(
    deadline=None,
    print_blob=True,
    max_examples=150,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def check(text: str) -> None:
    """Checks one text against the promise of this module."""
    begin = time.thread_time()
    checked = check_text(text)
    assert time.thread_time() - begin < CPU_SECONDS
    assert (checked.definition is None) == bool(checked.errors)
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    for found in checked.diagnostics:
        assert 1 <= found.line <= len(lines), found
        assert 1 <= found.column <= len(lines[found.line - 1]) + 1, found
    if checked.definition is not None:
        assert unpack(pack(checked.definition), TaskDefinition) == checked.definition
        assert TaskDefinition.model_validate_json(checked.definition.model_dump_json()) == checked.definition


@PACE
@given(st.text(max_size=2000))
def test_any_text_gives_a_definition_or_diagnostics(text: str) -> None:
    check(text)


@PACE
@given(
    st.lists(st.sampled_from([*BITS, "a", "tool: shell", "agent: a", "name: T", "x: 1"]), max_size=200).map(
        "".join
    )
)
def test_any_mixture_of_the_words_of_the_format_gives_a_definition_or_diagnostics(text: str) -> None:
    check(text)


@PACE
@given(st.sampled_from(SOURCES), st.integers(0, 2**32 - 1))
def test_any_mutation_of_a_task_gives_a_definition_or_diagnostics(source: str, seed: int) -> None:
    note(f"seed {seed}")
    check(mutated(source, random.Random(seed)))


KEY = st.from_regex(r"[A-Za-z][A-Za-z0-9]{0,8}", fullmatch=True)
WORDS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_./-]{0,8}( [A-Za-z0-9_./]{1,6}){0,2}", fullmatch=True)


@PACE
@given(st.dictionaries(KEY, WORDS, min_size=1, max_size=6), st.integers(0, 4))
def test_plain_lines_read_quickly_mean_the_same_as_read_by_the_yaml_library(
    mapping: dict[str, str], indent: int
) -> None:
    source = YamlSource([f"{' ' * indent}{key}: {value}" for key, value in mapping.items()], 7)
    assert read_quickly(source) == _Builder(source, Findings("")).build()


@PACE
@given(st.text(max_size=100))
def test_a_slug_is_its_own_slug_and_an_identifier_once_it_begins_with_a_letter(name: str) -> None:
    found = slug(name)
    assert slug(found) == found
    assert not found or f"a{found}".isidentifier()


@PACE
@given(st.integers(0, 10**9), st.sampled_from(["ms", "s", " seconds", "m", "h", " hours"]))
def test_a_duration_is_the_same_in_every_spelling(number: int, unit: str) -> None:
    factor = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}[unit.strip()[0] if unit != "ms" else "ms"]
    if number * factor <= 100 * 366 * 86_400:
        assert parse_duration(f"{number}{unit}") == pytest.approx(number * factor)
        assert parse_duration(round(number * factor * 1000)) == pytest.approx(number * factor)
