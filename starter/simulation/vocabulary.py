"""Names in a file of tests against the task that it tests: a typing error must not pass for a test."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from starter.simulation.declarations import Declarations, Mocks, keys
from starter.simulation.expectations import NAMES
from starter.simulation.mocks import FALLBACK, plain
from taskmark.errors import InvalidExpression, InvalidTask
from taskmark.plan.reach import agents_for, fallbacks_of
from taskmark.task import expressions
from taskmark.task.codes import Code
from taskmark.task.model import BUILT_IN_KINDS, GATES, Phase, Step, TaskDefinition
from taskmark.task.source_text import Findings

_CODES = {
    "steps": Code.UNKNOWN_STEP,
    "tools": Code.UNKNOWN_TOOL,
    "agents": Code.UNKNOWN_AGENT,
    "aggregates": Code.UNKNOWN_AGGREGATE,
    "kinds": Code.UNKNOWN_KIND,
    "phases": Code.UNKNOWN_PHASE,
    "outputs": Code.UNKNOWN_OUTPUT,
}


def check(declarations: Declarations, definition: TaskDefinition) -> None:
    """Raises `InvalidTask` with every name that the task does not have."""
    findings = Findings(declarations.file)
    known = _Known(definition)
    surroundings: list[tuple[str | int, ...]] = [
        ("defaults",),
        *(("tests", index) for index in range(len(declarations.content.tests))),
    ]
    for path in surroundings:
        for section in Mocks.model_fields:
            _check(declarations, (*path, "mocks", section), known.called(section), findings)
        _check(declarations, (*path, "decisions"), known.decided, findings, Code.UNKNOWN_NAME)
    for index, test in enumerate(declarations.content.tests):
        at: tuple[str | int, ...] = ("tests", index, "expect")
        for section, names in known.expected.items():
            _check(declarations, (*at, section), names, findings, _CODES.get(section, Code.UNKNOWN_STEP))
        for number, text in enumerate(test.expect.checks):
            _check_expression(declarations, (*at, "checks", number), text, findings)
    if findings.diagnostics:
        raise InvalidTask(sorted(findings.diagnostics, key=lambda found: (found.line, found.column)))


def _check(
    declarations: Declarations,
    path: tuple[str | int, ...],
    known: Iterable[str],
    findings: Findings,
    code: Code | None = None,
) -> None:
    names = set(known)
    section = str(path[-1])
    for key, place in keys(declarations, *path):
        if key not in names and plain(key) not in names:
            message = f"the task has nothing called `{key}` that belongs under `{section}`"
            findings.add(code or _CODES[section], place, message, findings.guess(key, names))


def _check_expression(
    declarations: Declarations, path: tuple[str | int, ...], text: str, findings: Findings
) -> None:
    place = declarations.place(*path)
    try:
        read = expressions.references(text)
    except InvalidExpression as error:
        findings.add(Code.INVALID_EXPRESSION, place, error.message, error.hint)
        return
    for reference in read:
        if reference.path[0] not in NAMES:
            message = f"a check cannot read `{reference.path[0]}`"
            findings.add(Code.UNKNOWN_NAME, place, message, findings.guess(reference.path[0], NAMES))


class _Known:
    """What a task has that tests may name."""

    def __init__(self, definition: TaskDefinition) -> None:
        self._steps = list(every_step(definition))
        own = [step.id for phase in definition.phases for step in phase.steps]
        slugs = [phase.slug for phase in definition.phases]
        outputs = [output.name for output in definition.outputs] or slugs
        self.expected = {"phases": slugs, "steps": own, "attempts": own, "outputs": outputs}

    def called(self, section: str) -> Iterator[str]:
        """Yields what may be mocked in a section."""
        for path, task, phase, step in self._steps:
            if section == "steps":
                yield from (path, step.id)
                if fallbacks_of(step, phase, task):
                    yield from (path + FALLBACK, step.id + FALLBACK)
            else:
                yield from callees(task, phase, step).get(section, ())

    @property
    def decided(self) -> Iterator[str]:
        """Yields gates by name and step, and phases that may be held."""
        for path, _, phase, step in self._steps:
            above = path.removesuffix(step.id)
            if step.kind in GATES:
                yield from (path, step.id, step.value, above + step.value)
            if phase.on_failure == "pause":
                yield from (phase.slug, above + phase.slug)


def every_step(
    definition: TaskDefinition, above: str = ""
) -> Iterator[tuple[str, TaskDefinition, Phase, Step]]:
    """Yields each step of a task and of its sub-tasks with its path, in the order of the file."""
    for phase in definition.phases:
        for step in phase.steps:
            yield above + step.id, definition, phase, step
            if step.kind == "task" and step.value in definition.tasks:
                yield from every_step(definition.tasks[step.value], f"{above}{step.id}/")


def callees(task: TaskDefinition, phase: Phase, step: Step) -> dict[str, tuple[str, ...]]:
    """Returns what a step calls, by the section of mocks it belongs to; nothing for one evaluated here."""
    found: dict[str, tuple[str, ...]] = {}
    match step.kind:
        case "tool":
            found["tools"] = (step.value,)
        case "agent" | "plain":
            found["agents"] = agents_for(step, phase, task)
        case "aggregate":
            found["aggregates"] = (step.value,)
        case kind if kind not in BUILT_IN_KINDS:
            found["kinds"] = (kind,)
        case _:
            pass
    for fallback in fallbacks_of(step, phase, task):
        if fallback.kind != "value":
            section = f"{fallback.kind}s"
            found[section] = (*found.get(section, ()), fallback.name)
    return found
