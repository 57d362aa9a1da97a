"""The JSON Schema for editors is that of the code, and fits every task there is."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from taskmark.task import check_text
from taskmark.task.fences import Fences
from taskmark.task.metadata import METADATA_FIELDS
from taskmark.task.options import BUILT_IN_KINDS
from taskmark.task.outline import read_outline
from taskmark.task.phases import PHASE_KEYS, option_sources
from taskmark.task.schema import task_schema
from taskmark.task.source_text import Findings
from taskmark.task.steps import STEP_KEYS, _split_body
from taskmark.task.yaml_nodes import YamlSource, read_mapping

ROOT = Path(__file__).parents[3]
KEPT = ROOT / "docs" / "schema" / "task.schema.json"
SCHEMA = task_schema()
TYPES: dict[str, Any] = {
    "string": str, "integer": int, "number": (int, float), "boolean": bool, "object": dict, "array": list,
}  # fmt: skip


def fits(value: Any, schema: Any) -> bool:
    """Whether a value fits a schema, for the words of JSON Schema that ours uses; any other is an error."""
    known = {"$schema", "title", "description", "$defs", "minItems"}
    return all(word in known or WORDS[word](value, schema) for word in schema)


def _is(value: Any, name: str) -> bool:
    return isinstance(value, TYPES[name]) and (not isinstance(value, bool) or name == "boolean")


def _properties(value: Any, schema: Any) -> bool:
    known, others = schema.get("properties", {}), schema.get("additionalProperties", {})
    found = value.items() if isinstance(value, dict) else ()
    return all(
        fits(item, known[key]) if key in known else others and fits(item, others) for key, item in found
    )


WORDS: dict[str, Any] = {
    "type": lambda value, schema: any(_is(value, name) for name in _names(schema["type"])),
    "enum": lambda value, schema: value in schema["enum"],
    "exclusiveMinimum": lambda value, schema: value > schema["exclusiveMinimum"],
    "minimum": lambda value, schema: value >= schema["minimum"],
    "maximum": lambda value, schema: value <= schema["maximum"],
    "anyOf": lambda value, schema: any(fits(value, one) for one in schema["anyOf"]),
    "required": lambda value, schema: set(schema["required"]) <= set(value),
    "items": lambda value, schema: (
        not isinstance(value, list) or all(fits(v, schema["items"]) for v in value)
    ),
    "properties": _properties,
    "additionalProperties": lambda value, schema: "properties" in schema or _properties(value, schema),
}


def _names(types: Any) -> list[str]:
    return [types] if isinstance(types, str) else types


def blocks(text: str) -> Iterator[tuple[Any, Any]]:
    """Yields every piece of YAML of a task with the schema it has to fit."""
    outline, findings = read_outline(text, Findings("")), Findings("")
    sources: list[tuple[YamlSource | None, Any]] = [(outline.metadata, SCHEMA)]
    for phase in outline.phases:
        sources += [(source, SCHEMA["$defs"]["phase"]) for source in option_sources(phase)]
        for item in phase.items("steps"):
            body = _split_body(item, BUILT_IN_KINDS, findings)
            sources.append((body.mapping, SCHEMA["$defs"]["step"]))
    for source, schema in sources:
        mapping = read_mapping(source, findings) if source else None
        if mapping is not None:
            yield mapping.value, schema


def documents() -> Iterator[Any]:
    """Yields every task in tasks/ and every one shown in the documentation, but for the page of mistakes."""
    for path in sorted((ROOT / "tasks").glob("*.md")):
        yield pytest.param(path.read_text(), id=path.name)
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        if path.name == "diagnostics.md":
            continue
        lines, row = path.read_text().split("\n"), 0
        fences = Fences(lines)
        while row < len(lines):
            fence = fences.at(row)
            if fence is not None and fence.info == "markdown":
                yield pytest.param("\n".join(lines[fence.start : fence.stop]), id=f"{path.name}:{row + 1}")
            row = row + 1 if fence is None else fence.stop + 1


@pytest.mark.parametrize("text", list(documents()))
def test_every_block_of_yaml_in_tasks_and_documentation_fits_the_schema(text: str) -> None:
    assert [value for value, schema in blocks(text) if not fits(value, schema)] == []


@pytest.mark.parametrize("path", sorted((ROOT / "tests" / "broken").glob("*.md")), ids=lambda path: path.stem)
def test_what_the_parser_accepts_fits_the_schema(path: Path) -> None:
    text = path.read_text(errors="replace")
    if not check_text(text).errors:
        assert all(fits(value, schema) for value, schema in blocks(text))


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("task", {"max_retries": 3}),
        ("task", {"maxConcurrentSteps": 0}),
        ("task", {"requirements": {"file": "strin"}}),
        ("task", {"requirements": {"file": {"min": 1}}}),
        ("task", {"retry": {"attempts": 3}}),
        ("task", {"schedule": {"timezone": "UTC"}}),
        ("phase", {"parallel": "yes"}),
        ("phase", {"dependsOn": {"a": 1}}),
        ("step", {"complexity": "huge"}),
        ("step", {"with": ["a"]}),
        ("step", {"fallback": {"with": {}}}),
    ],
    ids=str,
)
def test_what_an_editor_can_see_to_be_wrong_does_not_fit(part: str, value: Any) -> None:
    assert not fits(value, SCHEMA if part == "task" else SCHEMA["$defs"][part])


def test_the_kept_schema_is_that_of_the_code() -> None:
    """Write it anew with `taskmark schema > docs/schema/task.schema.json`."""
    assert json.loads(KEPT.read_text()) == SCHEMA


def test_the_schema_has_every_key_that_the_parser_takes() -> None:
    assert set(SCHEMA["properties"]) == set(METADATA_FIELDS)
    assert set(SCHEMA["$defs"]["phase"]["properties"]) == PHASE_KEYS
    assert set(SCHEMA["$defs"]["step"]["properties"]) == STEP_KEYS
