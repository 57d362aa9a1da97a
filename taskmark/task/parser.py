"""Text to checked definition: every problem in one pass, and a definition if there is no error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from taskmark.errors import InvalidTask
from taskmark.task.advice import advise
from taskmark.task.arguments import input_misfits, note_misfits
from taskmark.task.catalog import Catalog
from taskmark.task.codes import Code
from taskmark.task.collecting import collector_resting
from taskmark.task.comparisons import Comparisons
from taskmark.task.diagnostics import Diagnostic, Severity
from taskmark.task.drafts import OutputDraft, PhaseDraft, StepDraft
from taskmark.task.files import is_too_large, normalised, read_source, sha256_of
from taskmark.task.metadata import Metadata, read_metadata
from taskmark.task.model import Output, Phase, Retry, Step, TaskDefinition
from taskmark.task.names import Names, Reads, Scope
from taskmark.task.options import BUILT_IN_KINDS
from taskmark.task.outline import STEP_LIMIT, Outline, count_steps, read_outline
from taskmark.task.phases import read_outputs, read_phase
from taskmark.task.resolution import (
    PhaseReads,
    assign_ids,
    check_phase_names,
    resolve_dependencies,
    resolve_reads,
    resolve_task_outputs,
)
from taskmark.task.slugs import LONGEST_ID, slug
from taskmark.task.source_text import Findings, Place
from taskmark.task.strays import check_strays
from taskmark.task.subtasks import COUNT_LIMIT, Subtasks
from taskmark.task.vocabulary import Vocabulary


@dataclass(frozen=True)
class Checked:
    """What checking a file gives: the definition if nothing prevents a start, and everything found."""

    definition: TaskDefinition | None
    diagnostics: tuple[Diagnostic, ...]

    @property
    def errors(self) -> tuple[Diagnostic, ...]:
        """What prevents a start."""
        return tuple(found for found in self.diagnostics if found.severity is Severity.ERROR)

    @property
    def warnings(self) -> tuple[Diagnostic, ...]:
        """What does not."""
        return tuple(found for found in self.diagnostics if found.severity is Severity.WARNING)


def parse_file(path: Path | str, *, catalog: Catalog | None = None) -> TaskDefinition:
    """Returns the task in a file. Raises `InvalidTask` with every diagnostic if it has errors.

    Without a catalog, tools are the built-in ones, and agents and other tasks are looked for beside the file.
    """
    return _definition(check_file(path, catalog=catalog))


def parse_text(
    text: str, *, file: str = "<text>", catalog: Catalog | None = None, task_id: str | None = None
) -> TaskDefinition:
    """Returns the task that a text describes. Raises `InvalidTask` with every diagnostic if it has errors.

    Without a catalog, tools are the built-in ones, and agents and other tasks are not looked up.
    """
    return _definition(check_text(text, file=file, catalog=catalog, task_id=task_id))


def check_file(path: Path | str, *, catalog: Catalog | None = None) -> Checked:
    """Returns the task in a file, or its errors; warnings in either case. Never raises for a wrong file."""
    path = Path(path)
    findings = Findings(str(path))
    text = read_source(path, findings)
    if text is None:
        return Checked(None, tuple(findings.diagnostics))
    return check_source(text, path, catalog=Catalog.beside(path) if catalog is None else catalog)


def check_source(text: str, path: Path, *, catalog: Catalog) -> Checked:
    """Returns what `check_file` does for a file with this text, whatever the file says now."""
    source = _source_path(path, catalog.root)
    subtasks = Subtasks(catalog, _parse, (source,))
    definition, diagnostics = _parse(normalised(text), str(path), subtasks, path.stem)
    if definition is not None:
        definition = definition.model_copy(update={"source_path": source.as_posix()})
    return Checked(definition, tuple(diagnostics))


def check_text(
    text: str, *, file: str = "<text>", catalog: Catalog | None = None, task_id: str | None = None
) -> Checked:
    """Returns the task that a text describes, or its errors; warnings in either case."""
    catalog = Catalog.default() if catalog is None else catalog
    findings = Findings(file)
    try:
        too_large = is_too_large(len(text.encode()), findings)
    except UnicodeEncodeError as error:
        line = text.count("\n", 0, error.start) + 1
        place = Place(line, error.start - text.rfind("\n", 0, error.start))
        findings.add(Code.NOT_UTF8, place, "this character cannot be written as UTF-8")
        too_large = True
    if too_large:
        return Checked(None, tuple(findings.diagnostics))
    definition, diagnostics = _parse(normalised(text), file, Subtasks(catalog, _parse), task_id)
    return Checked(definition, tuple(diagnostics))


def _definition(checked: Checked) -> TaskDefinition:
    if checked.definition is None:
        raise InvalidTask(checked.diagnostics)
    return checked.definition


def _source_path(path: Path, root: Path | None) -> Path:
    """Returns the path as given if it is relative, else from the root or the current folder."""
    if not path.is_absolute():
        return path
    for base in (root, Path.cwd()):
        if base is not None and path.resolve().is_relative_to(base.resolve()):
            return path.resolve().relative_to(base.resolve())
    return Path(path.name)


# --- one file -------------------------------------------------------------------------------------


def _parse(
    text: str, file: str, subtasks: Subtasks, task_id: str | None
) -> tuple[TaskDefinition | None, list[Diagnostic]]:
    findings = Findings(file)
    with collector_resting(len(text)):
        fields = _Parsing(subtasks, findings).fields(text, task_id)
        definition = None
        if fields is not None and not findings.has_errors:
            source = subtasks.path[-1].as_posix() if subtasks.path else ""
            definition = TaskDefinition(**fields, sha256=sha256_of(text), source_path=source)
    return definition, sorted(
        findings.diagnostics, key=lambda found: (found.file != file, found.line, found.column)
    )


class _Parsing:
    """Parses one file, step by step; each step goes on with what the one before could read."""

    def __init__(self, subtasks: Subtasks, findings: Findings) -> None:
        self._subtasks = subtasks
        self._catalog = subtasks.catalog
        self._findings = findings
        self._vocabulary = Vocabulary(self._catalog, findings)

    def fields(self, text: str, task_id: str | None) -> dict[str, Any] | None:
        """Returns the fields of the definition, right only if no error was noted; None beyond a limit."""
        findings = self._findings
        outline = read_outline(text, findings)
        if count_steps(outline) > STEP_LIMIT:
            message = f"this task has more than {STEP_LIMIT} steps"
            findings.add(Code.TOO_MANY_STEPS, Place(1, 1), message, "use `forEach`, or several tasks")
            return None
        metadata = read_metadata(outline.metadata, findings)
        kinds = BUILT_IN_KINDS | self._catalog.kinds
        phases = [read_phase(phase, kinds, findings) for phase in outline.phases]
        outputs = read_outputs(outline.outputs.items if outline.outputs else [], findings)
        reads, inputs_read = self._resolve(phases, outputs, metadata)
        self._look_up(phases, metadata)
        tasks = self._load_tasks(phases)
        check_strays(outline, kinds, findings)
        effects, agents = self._catalog.effects, self._vocabulary.agents
        advise(phases, metadata, findings, inputs_read=inputs_read, effects=effects, agents=agents)
        name = self._name(outline, metadata)
        retry = metadata.fields.get("retry", Retry())
        return {
            **metadata.fields,
            "id": task_id or slug(name),
            "name": name,
            "phases": _phases(phases, reads, retry) if not findings.has_errors else (),
            "outputs": _outputs(outputs),
            "agents": agents,
            "tasks": tasks,
        }

    def _name(self, outline: Outline, metadata: Metadata) -> str:
        title = outline.title.value if outline.title else ""
        name = str(metadata.fields.get("name") or title)
        if not slug(name) and metadata.readable and outline.intact and "name" not in metadata.places:
            place = outline.title.place() if outline.title else Place(1, 1)
            message, hint = "this task has no usable name", "begin the file with `# Name`"
            self._findings.add(Code.MISSING_NAME, place, message, hint)
        if len(slug(name)) > LONGEST_ID:
            place = outline.title.place() if outline.title else metadata.places.get("name", Place(1, 1))
            message = f"this name has {len(name)} characters"
            self._findings.add(Code.INVALID_NAME, place, message, f"{LONGEST_ID} are enough")
        if not outline.phases and outline.intact and not self._findings.gave_up:
            message = "this task has no phases, so it does nothing"
            self._findings.add(
                Code.NO_PHASES, Place(1, 1), message, "write `## Phase: name` and steps under it"
            )
        return name

    def _resolve(
        self, phases: list[PhaseDraft], outputs: list[OutputDraft], metadata: Metadata
    ) -> tuple[list[PhaseReads], set[str]]:
        """Returns what each phase reads of others, and the inputs that anything reads."""
        check_phase_names(phases, self._findings)
        assign_ids(phases, self._findings)
        resolve_dependencies(phases, self._findings)
        inputs = [key.text for key in metadata.input_keys]
        comparisons = Comparisons(metadata.fields.get("requirements", ()), phases)
        names = Names(
            inputs,
            phases,
            inputs_known=metadata.inputs_known,
            judge=comparisons.check,
            secrets=metadata.fields.get("secrets", ()) if metadata.readable else None,
        )
        reads = resolve_reads(phases, names, self._findings)
        resolve_task_outputs(outputs, phases, names, self._findings)
        for expression in (one for notice in metadata.notices for one in notice.expressions):
            names.read(expression, Scope(tells=True), Reads(), self._findings)
        return reads, names.inputs_read

    def _look_up(self, phases: list[PhaseDraft], metadata: Metadata) -> None:
        for agent in metadata.agents:
            self._vocabulary.check_agent(agent.text.strip(), agent.place())
        for notice in metadata.notices:
            self._vocabulary.check_notice(notice)
        # Of metadata that cannot be read nobody can say that agents are missing in them.
        has_default = bool(metadata.agents) or not metadata.readable
        for phase in phases:
            self._vocabulary.check_phase(phase, has_default=has_default)
        if "allow" in metadata.fields:
            self._vocabulary.check_allowed(metadata.fields["allow"], metadata.places["allow"])

    def _load_tasks(self, phases: list[PhaseDraft]) -> dict[str, TaskDefinition]:
        tasks: dict[str, TaskDefinition] = {}
        for step in (step for phase in phases for step in phase.steps if step.kind == "task"):
            task = self._subtasks.load(step.value, self._findings) if step.value.value else None
            if task is None:
                continue
            tasks[step.value.value] = task
            self._check_inputs(step, task)
            if self._subtasks.size(tasks) > COUNT_LIMIT:
                message = f"this task contains more than {COUNT_LIMIT} others"
                self._findings.add(Code.TASK_TOO_DEEP, step.value.place(), message)
                break
        return tasks

    def _check_inputs(self, step: StepDraft, task: TaskDefinition) -> None:
        what = f"task `{step.value.value}`"
        if step.arguments is not None and step.intact:
            note_misfits(what, step.arguments, partial(input_misfits, task.requirements), self._findings)
        self._vocabulary.check_arguments(
            what,
            step.arguments,
            step.place,
            known=[requirement.name for requirement in task.requirements],
            required=[requirement.name for requirement in task.requirements if requirement.required],
        )


# --- drafts to model ------------------------------------------------------------------------------


def _phases(drafts: Sequence[PhaseDraft], reads: Sequence[PhaseReads], retry: Retry) -> tuple[Phase, ...]:
    return tuple(
        Phase(
            name=draft.name.value,
            slug=draft.slug,
            depends_on=draft.resolved,
            steps=tuple(_step(step, retry) for step in draft.steps),
            agents=tuple(agent.value for agent in draft.agents),
            outputs=_outputs(draft.outputs),
            reads_steps=read.steps,
            reads_phases=read.phases,
            **draft.fields,
        )
        for draft, read in zip(drafts, reads, strict=True)
    )


def _step(draft: StepDraft, retry: Retry) -> Step:
    own = None if draft.retry is None else Retry(**{**retry.model_dump(), **draft.retry})
    return Step(
        **{**draft.fields, "id": draft.id},
        kind=draft.kind,
        value=draft.value.value,
        description=draft.description.value,
        retry=own,
        reads_steps=draft.reads_steps,
        reads_phases=draft.reads_phases,
    )


def _outputs(drafts: Sequence[OutputDraft]) -> tuple[Output, ...]:
    return tuple(
        Output(name=draft.name, expression=draft.expression.source if draft.expression else None)
        for draft in drafts
    )
