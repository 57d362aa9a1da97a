"""What a file of tests says, checked: every problem with its place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from taskmark.contracts import ExecutionStatus, StepStatus
from taskmark.errors import Category, InvalidTask
from taskmark.task.codes import Code
from taskmark.task.durations import parse_duration
from taskmark.task.files import read_source
from taskmark.task.hints import did_you_mean
from taskmark.task.model import Json
from taskmark.task.source_text import Findings, Place
from taskmark.task.yaml_nodes import Items, Mapping, Node, YamlSource, read_mapping

SUFFIX = ".tests.yaml"
WORDS = ("approve", "reject", "timeout", "retry", "skip", "abort")
"""Decisions that are said in a word."""

Seconds = Annotated[float, BeforeValidator(parse_duration)]


class Declared(BaseModel):
    """Base of everything in the file: an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Fails(Declared):
    """A failure in place of an output; without `times` every attempt fails, without `items` every item."""

    message: str
    category: Category = Category.TRANSIENT
    times: int | None = Field(default=None, ge=1)
    items: list[int] | None = None
    """Which items of a `forEach` fail, counted from 0 as `index` is."""

    @property
    def always(self) -> bool:
        """Whether no call ever gets an output."""
        return self.times is None and self.items is None

    @model_validator(mode="before")
    @classmethod
    def _short(cls, given: Any) -> Any:
        return {"message": given} if isinstance(given, str) else given


class Mock(Declared):
    """What a call comes to: one output for all, one per item or call, or a failure; and how long it takes."""

    output: Json = None
    outputs: list[Json] | None = None
    fails: Fails | None = None
    takes: Seconds = 0.0

    @model_validator(mode="after")
    def _complete(self) -> Mock:
        given = self.model_fields_set
        if {"output", "outputs"} <= given:
            raise ValueError("`output` and `outputs` exclude each other")
        always = self.fails is not None and self.fails.always
        if not (always or given & {"output", "outputs"}):
            after = " after its failures" if self.fails else ""
            raise ValueError(f"say what it gives{after}: `output: …`")
        return self


class Mocks(Declared):
    """Mocks by step, and by what is called for steps that have none of their own."""

    steps: dict[str, Mock] = Field(default_factory=dict)
    tools: dict[str, Mock] = Field(default_factory=dict)
    agents: dict[str, Mock] = Field(default_factory=dict)
    aggregates: dict[str, Mock] = Field(default_factory=dict)
    kinds: dict[str, Mock] = Field(default_factory=dict)


class Decision(Declared):
    """What somebody decides when a gate or a held phase waits; `timeout`: nobody does."""

    decision: Literal["approve", "reject", "answer", "timeout", "retry", "skip", "abort"]
    answer: Json = None
    by: str = ""
    comment: str = ""
    after: Seconds = 0.0

    @model_validator(mode="before")
    @classmethod
    def _short(cls, given: Any) -> Any:
        if isinstance(given, str) and given in WORDS:
            return {"decision": given}
        if isinstance(given, dict) and "answer" in given:
            return {"decision": "answer", **given}
        if not isinstance(given, dict):
            raise ValueError(f"write one of {', '.join(WORDS)}, or {{answer: …}}")
        return given


def _as_list(given: Any) -> Any:
    return given if isinstance(given, list) else [given]


class Expected(Declared):
    """How it has to end. Without `status` and `error` it has to complete."""

    status: ExecutionStatus | None = None
    phases: dict[str, StepStatus] = Field(default_factory=dict)
    steps: dict[str, StepStatus] = Field(default_factory=dict)
    attempts: dict[str, int] = Field(default_factory=dict)
    outputs: dict[str, Json] = Field(default_factory=dict)
    checks: Annotated[list[str], BeforeValidator(_as_list)] = Field(default_factory=list)
    error: str | None = None


class Surroundings(Declared):
    """What tests are given; that of a test wins over the file's defaults, entry by entry."""

    inputs: dict[str, Json] = Field(default_factory=dict)
    mocks: Mocks = Mocks()
    decisions: dict[str, Annotated[list[Decision], BeforeValidator(_as_list)]] = Field(default_factory=dict)


class TaskTest(Surroundings):
    """One run of the task, and how it has to end."""

    name: str = Field(min_length=1)
    expect: Expected = Expected()


class TaskTests(Declared):
    """A whole file."""

    tests: list[TaskTest] = Field(min_length=1)
    defaults: Surroundings = Surroundings()


_KEYS: dict[str, type[BaseModel]] = {
    "tests": TaskTest,
    "defaults": Surroundings,
    "mocks": Mocks,
    **dict.fromkeys(Mocks.model_fields, Mock),
    "fails": Fails,
    "decisions": Decision,
    "expect": Expected,
}
"""Which keys stand below a key; for hints."""


@dataclass(frozen=True)
class Declarations:
    """The tests of a file, and where each word of it stands."""

    file: str
    content: TaskTests
    root: Mapping

    def place(self, *path: str | int) -> Place:
        """Returns where the value at the path stands, or the nearest thing above it."""
        return _find(self.root, path).place()


def read(path: Path) -> Declarations:
    """Reads a file of tests. Raises `InvalidTask` with every problem."""
    findings = Findings(str(path))
    text = read_source(path, findings)
    root = None if text is None else read_mapping(YamlSource(text.split("\n"), 1), findings)
    content = None
    if root is not None and not findings.has_errors:
        content = _content(root, findings)
    if root is None or content is None:
        raise InvalidTask(sorted(findings.diagnostics, key=lambda found: (found.line, found.column)))
    return Declarations(str(path), content, root)


def _content(root: Mapping, findings: Findings) -> TaskTests | None:
    try:
        content = TaskTests.model_validate(root.value)
    except ValidationError as error:
        for problem in error.errors(include_url=False):
            _note(problem, root, findings)
        return None
    _refuse_same_names(content, root, findings)
    return None if findings.has_errors else content


def _refuse_same_names(content: TaskTests, root: Mapping, findings: Findings) -> None:
    seen: dict[str, int] = {}
    for index, test in enumerate(content.tests):
        if test.name in seen:
            message = f"two tests are called “{test.name}”"
            findings.add(Code.INVALID_NAME, _find(root, ("tests", index, "name")).place(), message)
        seen[test.name] = index


def _note(problem: Any, root: Mapping, findings: Findings) -> None:
    """Notes one of pydantic's problems in our words, where it is."""
    path = [part for part in problem["loc"] if isinstance(part, str | int)]
    kind, place = problem["type"], _find(root, path).place()
    if kind == "extra_forbidden":
        key = str(path[-1])
        above = next((_KEYS[str(part)] for part in reversed(path[:-1]) if part in _KEYS), TaskTests)
        hint = did_you_mean(key, above.model_fields)
        findings.add(Code.UNKNOWN_KEY, _key(root, path), f"unknown key `{key}`", hint)
    elif kind == "missing":
        findings.add(Code.MISSING_VALUE, place, f"`{path[-1]}` is missing here")
    else:
        message = problem["msg"].removeprefix("Value error, ")
        name = f"`{path[-1]}`: " if path and isinstance(path[-1], str) else ""
        findings.add(Code.INVALID_VALUE, place, f"{name}{message[:1].lower()}{message[1:]}")


def _find(node: Node, path: Sequence[str | int]) -> Node:
    for part in path:
        below = _below(node, part)
        if below is None:
            break
        node = below
    return node


def _below(node: Node, part: str | int) -> Node | None:
    if isinstance(node, Items) and isinstance(part, int) and part < len(node.nodes):
        return node.nodes[part]
    entry = node.get(str(part)) if isinstance(node, Mapping) else None
    return entry.node if entry else None


def _key(root: Mapping, path: Sequence[str | int]) -> Place:
    """Returns where the last key of a path stands."""
    above = _find(root, path[:-1])
    entry = above.get(str(path[-1])) if isinstance(above, Mapping) else None
    return (entry.key if entry else above).place()


def keys(declarations: Declarations, *path: str | int) -> Iterator[tuple[str, Place]]:
    """Yields the keys below a path, with their places."""
    found: Node | None = declarations.root
    for part in path:
        found = _below(found, part) if found else None
    if isinstance(found, Mapping):
        for entry in found.entries:
            yield entry.key.text, entry.key.place()
