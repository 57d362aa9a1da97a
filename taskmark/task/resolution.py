"""From drafts to names: ids of steps, dependencies of phases, and what each of them reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from taskmark.task.codes import Code
from taskmark.task.diagnostics import Fix
from taskmark.task.drafts import Expression, OutputDraft, PhaseDraft, StepDraft
from taskmark.task.graph import Graph
from taskmark.task.model import GATES
from taskmark.task.names import Names, Reads, Scope
from taskmark.task.slugs import LONGEST_ID, slug
from taskmark.task.source_text import Findings, Place, Text, replacing, shown
from taskmark.task.validations import split_validation
from taskmark.task.yaml_nodes import Scalar


@dataclass
class PhaseReads:
    """What a phase reads of others."""

    steps: tuple[str, ...]
    phases: tuple[str, ...]


# --- ids ------------------------------------------------------------------------------------------


def check_phase_names(phases: Sequence[PhaseDraft], findings: Findings) -> None:
    """Notes every second phase of a name."""
    first: dict[str, PhaseDraft] = {}
    for phase in phases:
        other = first.setdefault(phase.slug, phase)
        if other is not phase and phase.slug:
            message = (
                f"phase “{shown(phase.name.value)}” has the name of the one at line {other.name.place().line}"
            )
            hint = f"both are `phases.{phase.slug}`; give one another name"
            findings.add(Code.DUPLICATE_PHASE, phase.name.place(), message, hint)
        _check_length(phase.slug, phase.name.place(), findings)


def _check_length(name: str, place: Place, findings: Findings) -> None:
    """Names are parts of ids, for which Temporal has limits."""
    if len(name) > LONGEST_ID:
        message = f"this name has {len(name)} characters"
        findings.add(Code.INVALID_NAME, place, message, f"{LONGEST_ID} are enough; say more in the text")


def assign_ids(phases: Sequence[PhaseDraft], findings: Findings) -> None:
    """Gives every step its id: its own, a gate's name, or `<phase>_<kind>_<position>`."""
    first: dict[str, Place] = {}
    duplicate_phases: set[str] = set()
    for phase in phases:
        # A second phase of one name is noted itself; its derived ids would only repeat that.
        repeated = phase.slug in duplicate_phases
        duplicate_phases.add(phase.slug)
        for position, step in enumerate(phase.steps, start=1):
            named, place = _own_name(step)
            step.id = slug(named) or derived_id(phase.slug, step.kind, position)
            if named and not slug(named):
                message = f"`{shown(named)}` cannot be an id"
                findings.add(Code.INVALID_NAME, place, message, "it needs a letter or a digit")
            elif named and len(step.id) > LONGEST_ID:
                _check_length(step.id, place, findings)
            elif step.id in first and not (repeated and not named):
                message = f"the step at line {first[step.id].line} has the id `{shown(step.id)}` already"
                findings.add(Code.DUPLICATE_STEP, place, message, "give this one another `id`")
            first.setdefault(step.id, place)


def derived_id(phase: str, kind: str, position: int) -> str:
    """Returns the id of a step that has no name of its own."""
    return slug(f"{phase}_{kind}_{position}")


def _own_name(step: StepDraft) -> tuple[str, Place]:
    if "id" in step.fields:
        return step.fields["id"], step.places["id"]
    if step.kind in GATES:
        return step.value.value, step.value.place()
    return "", step.place


# --- dependencies ---------------------------------------------------------------------------------


def resolve_dependencies(phases: Sequence[PhaseDraft], findings: Findings) -> None:
    """Turns `dependsOn` into slugs; notes unknown and repeated ones, and cycles as their path."""
    by_slug = {phase.slug: phase for phase in reversed(phases) if phase.slug}
    for phase in phases:
        resolved: dict[str, None] = {}
        for node in phase.depends_on:
            target = slug(node.text)
            if target in resolved:
                message = f"`{shown(node.text)}` stands here twice"
                findings.add(Code.DUPLICATE_DEPENDENCY, node.place(), message, fix=_without(node))
            elif _is_usable(phase, node, by_slug, findings):
                resolved[target] = None
        phase.resolved = tuple(resolved)
    for cycle in Graph({name: phase.resolved for name, phase in by_slug.items()}).cycles:
        _note_cycle(cycle, by_slug, findings)


def _without(node: Scalar) -> Fix | None:
    """Returns the fix that takes a value out of a list in brackets, with the comma before it."""
    row, column = node.start
    line = node.source.lines[row]
    comma = line.rfind(",", 0, column)
    if node.end[0] != row or comma < 0 or line[comma + 1 : column].strip():
        return None
    return replacing(node.source.place(row, comma), line[comma : node.end[1]], "")


def _is_usable(phase: PhaseDraft, node: Scalar, known: dict[str, PhaseDraft], findings: Findings) -> bool:
    name = node.text
    if slug(name) == phase.slug:
        message = f"phase “{shown(phase.name.value)}” cannot depend on itself"
        findings.add(Code.SELF_DEPENDENCY, node.place(), message)
        return False
    if slug(name) in known:
        return True
    phase.dependencies_known = False
    hint = findings.guess(name, [other.name.value for other in known.values() if other is not phase])
    findings.add(Code.UNKNOWN_PHASE, node.place(), f"there is no phase “{shown(name)}”", hint)
    return False


def _note_cycle(cycle: list[str], phases: dict[str, PhaseDraft], findings: Findings) -> None:
    begin = phases[cycle[0]]
    node = next(node for node in begin.depends_on if slug(node.text) == cycle[1])
    path = " → ".join(phases[name].name.value for name in cycle)
    message = f"these phases wait for each other: {path}"
    findings.add(Code.DEPENDENCY_CYCLE, node.place(), message, "remove one of these dependencies")


# --- reads ----------------------------------------------------------------------------------------


def resolve_reads(phases: Sequence[PhaseDraft], names: Names, findings: Findings) -> list[PhaseReads]:
    """Checks every expression in every phase; fills in what steps read, returns what phases read."""
    found = []
    for phase in phases:
        reads = Reads()
        for expression in phase.expressions:
            names.read(expression, Scope(phase), reads, findings)
        for step in phase.steps:
            _resolve_step(step, phase, names, reads, findings)
        for output in phase.outputs:
            _resolve_output(output, phase, names, reads, findings)
        if phase.parallel:
            _check_step_cycles(phase, findings)
        others = tuple(step for step in reads.steps if names.homes.get(step) is not phase)
        found.append(PhaseReads(others, tuple(reads.phases)))
    return found


def _resolve_step(
    step: StepDraft, phase: PhaseDraft, names: Names, phase_reads: Reads, findings: Findings
) -> None:
    scope = Scope(phase, step, reads_own_steps=True)
    if step.kind == "validation" and step.value.value:
        split_validation(step, names, scope)
    reads = Reads()
    for expression in step.expressions:
        names.read(expression, scope, reads, findings)
    step.reads_steps, step.reads_phases = tuple(reads.steps), tuple(reads.phases)
    phase_reads.steps.update(reads.steps)
    phase_reads.phases.update(reads.phases)


def _resolve_output(
    output: OutputDraft, phase: PhaseDraft, names: Names, reads: Reads, findings: Findings
) -> None:
    if output.expression is not None:
        names.read(output.expression, Scope(phase, reads_own_steps=True), reads, findings)
    elif not phase.steps:
        message = f"nothing gives the output `{output.name}`: this phase has no steps"
        hint = f"write `- {output.name}: expression`"
        findings.add(Code.OUTPUT_WITHOUT_SOURCE, output.place, message, hint)


def _check_step_cycles(phase: PhaseDraft, findings: Findings) -> None:
    by_id = {step.id: step for step in reversed(phase.steps)}
    for cycle in Graph({name: step.reads_steps for name, step in by_id.items()}).cycles:
        path = " → ".join(cycle)
        message = f"these steps wait for each other: {path}"
        findings.add(
            Code.STEP_CYCLE, by_id[cycle[0]].place, message, "they run side by side; let one not read"
        )


def resolve_task_outputs(
    outputs: Sequence[OutputDraft], phases: Sequence[PhaseDraft], names: Names, findings: Findings
) -> None:
    """Checks the task's outputs; one without expression takes a phase's output or a step's of that name."""
    for output in outputs:
        if output.expression is None:
            output.expression = _source_of(output, phases, names)
        if output.expression is None:
            message = f"nothing gives the output `{output.name}`"
            hint = f"write `- {output.name}: phases.<phase>.outputs.<name>`"
            findings.add(Code.OUTPUT_WITHOUT_SOURCE, output.place, message, hint)
        else:
            names.read(output.expression, Scope(), Reads(), findings)


def _source_of(output: OutputDraft, phases: Sequence[PhaseDraft], names: Names) -> Expression | None:
    """Returns the expression for a bare name: the last phase that has such an output, else a step."""
    name = output.name
    homes = [phase.slug for phase in phases if any(other.name == name for other in phase.outputs)]
    if homes:
        source = f"phases{_key(homes[-1])}.outputs{_key(name)}"
    elif slug(name) in names.homes:
        source = f"steps{_key(slug(name))}.output"
    else:
        return None
    return Expression(source, False, Text.at(source, *output.place))


def _key(name: str) -> str:
    return f".{name}" if name.isidentifier() else f"[{name!r}]"
