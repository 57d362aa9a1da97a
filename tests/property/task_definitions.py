"""Definitions of every shape that a task file can say, and texts that are hard to write down."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from taskmark.task import secret_references
from taskmark.task.catalog import Catalog
from taskmark.task.durations import duration_text
from taskmark.task.files import sha256_of
from taskmark.task.inputs import SIZED
from taskmark.task.model import (
    EVENTS,
    Agent,
    AskAbove,
    Budget,
    Fallback,
    Notification,
    Output,
    PausedTimeout,
    Phase,
    Requirement,
    Retry,
    Schedule,
    Step,
    StepLimits,
    TaskDefinition,
    TaskLimits,
)
from taskmark.task.rendering import render
from taskmark.task.resolution import derived_id
from taskmark.task.slugs import slug

HOSTILE = [
    "yes", "no", "on", "1.0", "1", "null", "~", "0x1f", "0o7", "1_000", "2026-01-01", "1:30", "true", ".5",
    "-", "--", "---", "...", "?", ": ", " - ", "a: b", "- a", "# a", " #", "a #", "*a", "&a", "!a", "|", ">",
    "%", "@", "`", "```", "~~~", "'", '"', '""', "\\", "\\n", "[", "]", "{", "}", "{}", "[a, b]", "[[[[", ",",
    "{{ execution.id }}", "<!--", "-->", "## Phase: x", "### Steps", "[ ]", "[x] a", "1. a", "key:", "a:b",
    "tool: x", "\t", "\u00a0", "\u0085", "\u2028", "\u200b", "\ufeff", "\x7f", "\x0b", "\x1f", "é", "中文",
    "🙂", "ना", "ß", "Ⅷ", "x" * 300, "=", "<<", "y", "nan", ".inf", "1e5", "+1", "00", "12e03", "1.0.0",
    "5 minutes",
]  # fmt: skip
WORD = st.from_regex(r"[a-z]{1,8}", fullmatch=True)
LETTERS = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), max_size=12)
LINE = st.lists(st.one_of(st.sampled_from(HOSTILE), LETTERS, WORD), min_size=1, max_size=5).map(" ".join)
LINES = st.lists(st.one_of(LINE, st.sampled_from(["", " ", "  a", "a "])), max_size=4).map("\n".join)
KINDS = ("plain", "tool", "agent", "validation", "aggregate", "approval", "question", "task", "wait", "send")
CONDITIONS = st.sampled_from(
    ["true", "1 > 0", "execution.id == 'a - b'", '"x: y" ~ "#"', "[1, {'a': 2}][0]", "- 1"]
)
SECONDS = st.one_of(
    st.integers(1, 10**9).map(lambda ms: ms / 1000), st.integers(1, 3_000_000_000).map(float), st.just(1e-9)
)
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**20), 10**20), st.floats(allow_nan=False, allow_infinity=False)
)


def sound(text: str) -> str:
    """A text in which nothing but whole templates looks like one."""
    return re.sub(r"\{(?=[{%#])(?!\{ execution\.id \}\})", "(", text)


def stripped(text: str) -> bool:
    return bool(text) and text == text.strip()


ANY_TEXT = st.one_of(LINE, LINES).map(sound)
NAME = ANY_TEXT.map(str.strip).filter(bool)
SECRET = st.from_regex(secret_references.NAME, fullmatch=True)
JSON: Any = st.recursive(
    st.one_of(SCALARS, ANY_TEXT),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(ANY_TEXT, inner, max_size=3)),
    max_leaves=6,
)
GIVEN = JSON.filter(lambda value: value is not None)
MAPPING = st.dictionaries(ANY_TEXT, JSON, max_size=3)
NOTIFICATIONS = st.lists(
    st.builds(
        Notification,
        on=st.lists(st.sampled_from(EVENTS), min_size=1, unique=True).map(tuple),
        tool=st.sampled_from(["shell", "http", "told"]),
        arguments=MAPPING,
    ),
    min_size=1,
    max_size=2,
).map(tuple)
INPUT = st.from_regex(r"[^\W\d]\w{0,6}(-\w{1,3})?", fullmatch=True)
AGENT = st.from_regex(r"\w[\w-]{0,6}(\.[\w-]{1,3})?", fullmatch=True)
CHOICE = st.one_of(CONDITIONS, st.just("'}}\" - ' ~ {'a': {'b': 1}}['a'].b")).map("{{{{ {} }}}}".format)
RETRY = st.builds(Retry, max_attempts=st.integers(1, 9), backoff_ms=st.integers(0, 100_000))


def line_of(text: str) -> str:
    return " ".join(re.sub(r"[\n]", " ", text).split(" ")).strip()


ONE_LINE = LINE.map(sound).map(line_of).filter(stripped)
VALUE = ONE_LINE.filter(lambda text: " - " not in f" {text} ")


@st.composite
def several_lines(draw: Any) -> str:
    """A text as the reader joins it from the lines of an item: paragraphs, lists and fenced blocks."""
    text = f"{draw(WORD)} {draw(WORD)}"
    for _ in range(draw(st.integers(1, 4))):
        line = f"{draw(WORD)} {draw(ONE_LINE)}"
        match draw(st.integers(0, 3)):
            case 0:
                text += f"\n\n{line}"
            case 1:
                text += f"\n- {line}"
            case 2:
                text += f"\n1. {line}"
            case _:
                text += f"\n```\n{line}\n    {draw(WORD)}\n```"
    return text


DESCRIPTION = st.one_of(ONE_LINE, several_lines())


@st.composite
def requirements(draw: Any) -> Requirement:
    kind = draw(
        st.sampled_from(
            ["string", "number", "integer", "boolean", "date", "duration", "list", "object", "enum"]
        )
    )
    fields: dict[str, Any] = {
        "description": draw(st.one_of(st.just(""), NAME)),
        "optional": draw(st.booleans()),
    }
    if kind == "enum":
        fields["values"] = tuple(draw(st.lists(st.one_of(SCALARS, ANY_TEXT), min_size=1, max_size=4)))
    elif kind in SIZED and draw(st.booleans()):
        low = draw(st.floats(-1e9, 1e9))
        fields |= {"min": low, "max": draw(st.one_of(st.none(), st.floats(low, 2e9)))}
    elif draw(st.booleans()):
        fields["default"] = draw(DEFAULTS[kind])
    return Requirement(name=draw(INPUT), type=kind, **fields)


DEFAULTS: dict[str, Any] = {
    "string": ANY_TEXT,
    "number": st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False)),
    "integer": st.integers(-(10**200), 10**200),
    "boolean": st.booleans(),
    "date": st.dates().map(str),
    "duration": st.one_of(SECONDS.map(duration_text), st.integers(0, 10**9), st.just("PT5M")),
    "list": st.lists(JSON, max_size=3),
    "object": MAPPING,
}  # fmt: skip


def unique(strategy: Any, most: int = 3) -> Any:
    return st.lists(strategy, max_size=most, unique=True).map(tuple)


@dataclass
class Drawing:
    """One definition in the making: what it has named so far."""

    draw: Callable[[Any], Any]
    ids: set[str]
    looked_up: bool = False
    """Whether other tasks are looked up, so that what they are given is checked."""
    kinds: tuple[str, ...] = KINDS
    listed: bool = False
    """Whether the phase lists agents, so that its steps may choose among them."""

    def maybe(self, strategy: Any) -> Any:
        return self.draw(st.one_of(st.none(), strategy))

    def new_id(self, wanted: str) -> str | None:
        """The id that a name gives, once."""
        found = slug(wanted)
        if not found or len(found) > 128 or found in self.ids:
            return None
        self.ids.add(found)
        return found

    def step(self, phase: str, position: int) -> Step:
        draw = self.draw
        kind = draw(st.sampled_from(self.kinds))
        gate = kind in ("approval", "question")
        value = self.value(kind)
        description = draw(DESCRIPTION) if kind == "plain" or draw(st.booleans()) else ""
        if kind == "plain" and re.match(r"[A-Za-z][\w-]*:(\s|$)", description):
            description = f"( {description}"
        if kind == "validation" and description:
            description = f"so {description}"  # what is an expression itself would be part of the value
        own = self.new_id(draw(NAME)) or (self.new_id(value) if gate else None)
        fallible = {"tool": ("tool", "agent", "value"), "agent": ("agent", "tool", "value")}.get(
            kind, ("value", "agent")
        )
        fields: dict[str, Any] = {}
        if gate:
            own = own or self.new_id(f"gate {phase} {position}")
            fields = {
                "on_timeout": draw(st.sampled_from(["fail", "pause"])),
                "on_reject": draw(st.sampled_from(["fail", "skip"])),
                "approvers": draw(unique(NAME)),
                "answer_schema": self.maybe(MAPPING),
            }
        if kind not in ("plain", "validation", "approval", "question", "wait"):
            fields["for_each"] = self.maybe(st.one_of(CONDITIONS, st.lists(JSON, max_size=3)))
        if kind not in ("validation", "aggregate", "approval", "question", "wait"):
            fields["fallback"] = self.maybe(st.sampled_from(fallible).flatmap(fallback))
        if kind not in ("plain", "validation", "approval", "question", "wait", "aggregate"):
            fields["arguments"] = {} if kind == "task" and self.looked_up else draw(MAPPING)
        return Step(
            id=own or derived_id(phase, kind, position), kind=kind, value=value, description=description,
            condition=self.maybe(CONDITIONS), timeout=self.maybe(SECONDS), heartbeat=self.maybe(SECONDS),
            retry=self.maybe(RETRY), critical=self.maybe(st.booleans()),
            cache=self.maybe(st.one_of(SECONDS, st.just(0.0))),
            idempotency_key=self.maybe(ANY_TEXT.filter(str.strip)),
            complexity=self.maybe(st.sampled_from(["low", "medium", "high"])), estimate=self.maybe(SECONDS),
            limits=self.maybe(STEP_LIMITS), **fields,
        )  # fmt: skip

    def value(self, kind: str) -> str:
        if kind == "plain":
            return ""
        agent = st.one_of(AGENT, CHOICE) if self.listed else AGENT
        by_kind = {"agent": agent, "validation": CONDITIONS, "wait": SECONDS.map(duration_text)}
        value: str = self.draw(
            by_kind.get(kind, VALUE.filter(lambda text: bool(slug(text)) and len(slug(text)) < 100))
        )
        return value

    def phase(self, name: str, earlier: list[str]) -> Phase:
        draw, found = self.draw, slug(name)
        agents = draw(unique(AGENT))
        self.listed = bool(agents)
        steps = tuple(self.step(found, position) for position in range(1, draw(st.integers(0, 4)) + 1))
        outputs = draw(st.lists(INPUT, unique=True, max_size=3))
        bare = st.one_of(st.none(), CONDITIONS) if steps else CONDITIONS
        return Phase(
            name=name, slug=found, steps=steps, parallel=draw(st.booleans()),
            depends_on=draw(unique(st.sampled_from(earlier)) if earlier else st.just(())),
            condition=self.maybe(CONDITIONS),
            for_each=self.maybe(st.one_of(CONDITIONS, st.lists(JSON, max_size=3))),
            max_concurrent=self.maybe(st.integers(1, 99)),
            timeout=self.maybe(SECONDS), retry=self.maybe(RETRY),
            on_failure=draw(st.sampled_from(["fail", "continue", "pause"])), checkpoint=self.maybe(NAME),
            agents=agents,
            outputs=tuple(Output(name=one, expression=draw(bare)) for one in outputs),
        )  # fmt: skip


def fallback(kind: str) -> Any:
    if kind == "value":
        return st.builds(Fallback, kind=st.just(kind), value=JSON)
    name = AGENT if kind == "agent" else NAME
    return st.builds(Fallback, kind=st.just(kind), name=name, arguments=st.one_of(st.none(), MAPPING))


PHASE_NAME = ONE_LINE.filter(lambda text: 0 < len(slug(text)) <= 128)
TITLE = NAME.filter(lambda text: 0 < len(slug(text)) <= 128)
SCHEDULE = st.builds(
    Schedule,
    cron=st.sampled_from(["0 6 * * 1-5", "@daily", "*/5 * * * *"]),
    timezone=st.sampled_from(["UTC", "Europe/Berlin"]),
    overlap=st.sampled_from(["skip", "bufferOne", "allowAll"]),
    catch_up=st.one_of(st.none(), SECONDS, st.just(0.0)),
)
PAUSED_TIMEOUT = st.builds(PausedTimeout, after=SECONDS, then=st.sampled_from(["resume", "abort"]))
ASK_ABOVE = st.builds(
    AskAbove,
    agent_calls=st.one_of(st.none(), st.integers(1, 99)),
    cost=st.one_of(st.none(), st.floats(0, 1e9, exclude_min=True)),
)
BUDGET = st.builds(
    Budget,
    tokens=st.one_of(st.none(), st.integers(1, 2**52)),
    cost=st.one_of(st.none(), st.floats(0, 1e9, exclude_min=True)),
    ask_above=st.one_of(st.none(), ASK_ABOVE),
    agent_calls=st.one_of(st.none(), st.integers(1, 99)),
)


SIZE = st.one_of(st.integers(1, 2**53 - 1), st.integers(1, 4000).map(lambda n: n * 1000**2 * 1024))
STEP_LIMITS = st.builds(
    StepLimits,
    memory=st.one_of(st.none(), SIZE),
    cpu=st.one_of(st.none(), SECONDS),
    output=st.one_of(st.none(), SIZE),
    open_files=st.one_of(st.none(), st.integers(1, 9999)),
    processes=st.one_of(st.none(), st.integers(1, 9999)),
    disk=st.one_of(st.none(), SIZE),
    network=st.one_of(st.none(), SIZE),
    nice=st.one_of(st.none(), st.integers(0, 19)),
)
TASK_LIMITS = st.builds(
    TaskLimits,
    cpu=st.one_of(st.none(), SECONDS),
    disk=st.one_of(st.none(), SIZE),
    received=st.one_of(st.none(), SIZE),
    sent=st.one_of(st.none(), SIZE),
    per_step=st.one_of(st.none(), STEP_LIMITS),
)


@st.composite
def definitions(draw: Any, *, sub_tasks: bool = False, kinds: tuple[str, ...] = KINDS) -> TaskDefinition:
    """Any definition that a task file can say, with agents and other tasks frozen in."""
    drawing = Drawing(draw, set(), sub_tasks, kinds)
    name = draw(TITLE)
    phases: list[Phase] = []
    for title in draw(st.lists(PHASE_NAME, max_size=3, unique_by=slug)):
        phases.append(drawing.phase(title, [phase.slug for phase in phases]))
    outputs = draw(st.lists(INPUT, unique=True, max_size=3))
    task = TaskDefinition(
        id=slug(name), name=name, description=draw(st.one_of(st.just(""), NAME)),
        version=draw(st.one_of(st.just(""), NAME)), max_execution_time=drawing.maybe(SECONDS),
        retry=draw(RETRY),
        requirements=tuple(draw(st.lists(requirements(), max_size=3, unique_by=lambda one: one.name))),
        default_agents=draw(unique(AGENT)), max_concurrent_phases=drawing.maybe(st.integers(1, 99)),
        max_concurrent_steps=drawing.maybe(st.integers(1, 99)), project=drawing.maybe(NAME),
        secrets=draw(unique(SECRET)), budget=drawing.maybe(BUDGET), schedule=drawing.maybe(SCHEDULE),
        limits=drawing.maybe(TASK_LIMITS),
        paused_timeout=drawing.maybe(PAUSED_TIMEOUT),
        notify=drawing.maybe(NOTIFICATIONS), on_complete=drawing.maybe(GIVEN), phases=tuple(phases),
        outputs=tuple(Output(name=one, expression=draw(CONDITIONS)) for one in outputs),
    )  # fmt: skip
    agents = {name: draw(AGENTS).model_copy(update={"id": name}) for name in named_agents(task)}
    tasks: dict[str, TaskDefinition] = {}
    known = dict(agents)
    named = (
        {step.value for phase in phases for step in phase.steps if step.kind == "task"} if sub_tasks else ()
    )
    for reference in sorted(named):
        inner = draw(definitions(kinds=tuple(kind for kind in KINDS if kind != "task")))
        own = {name: known.setdefault(name, agent) for name, agent in inner.agents.items()}
        inner = inner.model_copy(update={"requirements": (), "agents": own})
        tasks[reference] = frozen(inner, len(tasks))
    return task.model_copy(update={"agents": agents, "tasks": tasks})


AGENTS = st.builds(
    Agent, id=st.just(""), name=ANY_TEXT, model=st.one_of(st.none(), ANY_TEXT), prompt=ANY_TEXT
)


def named_agents(task: TaskDefinition) -> list[str]:
    """Every agent that a definition names, once."""
    steps = [step for phase in task.phases for step in phase.steps]
    named = [
        *task.default_agents,
        *(agent for phase in task.phases for agent in phase.agents),
        *(step.value for step in steps if step.kind == "agent" and step.agent_expression is None),
        *(step.fallback.name for step in steps if step.fallback and step.fallback.kind == "agent"),
    ]
    return list(dict.fromkeys(named))


def frozen(task: TaskDefinition, number: int) -> TaskDefinition:
    """A definition as another one holds it: from a file of its own."""
    update = {"sha256": sha256_of(render(task)), "source_path": f"sub{number}/{task.id}.md"}
    return task.model_copy(update=update)


def catalog_of(*tasks: TaskDefinition) -> Catalog:
    """A catalog in which exists what these definitions name, and which gives what they froze."""
    everything = [*tasks, *(sub for task in tasks for sub in task.tasks.values())]
    steps = [step for task in everything for phase in task.phases for step in phase.steps]
    agents = {name: agent for task in everything for name, agent in task.agents.items()}
    files = {name: sub for task in tasks for name, sub in task.tasks.items()}

    def find(name: str, referrer: Path | None) -> tuple[Path, str] | None:
        return (
            (Path(files[name].source_path), render(files[name])) if name in files and not referrer else None
        )

    return Catalog(
        tools=dict.fromkeys(
            [
                *(step.value for step in steps),
                *(step.fallback.name for step in steps if step.fallback),
                *(notice.tool for task in everything for notice in task.notify or ()),
            ]
        ),
        kinds=frozenset({"send"}),
        aggregates=frozenset(step.value for step in steps),
        agent=agents.get,
        task=find if files else None,
    )
