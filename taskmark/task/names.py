"""What expressions may name: inputs, phases, steps, and who may read whom."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from taskmark.errors import InvalidExpression
from taskmark.task import notices
from taskmark.task.codes import Code
from taskmark.task.drafts import Expression, PhaseDraft, StepDraft
from taskmark.task.expressions import Reference, references
from taskmark.task.graph import Graph
from taskmark.task.secret_references import ROOT as SECRETS
from taskmark.task.secret_uses import misuse
from taskmark.task.source_text import Findings, shown

ROOTS = ("inputs", "phases", "steps", "execution", "project")
PER_ITEM = ("item", "index")
WHOLE_READS = 200_000
"""How much all expressions together may read without naming it, as `steps[inputs.name]` does: every such
one stands for everything that it might read, and a definition holds it all."""

_PHASE_PARTS = ("outputs", "status")
_STEP_PARTS = ("output", "status")
_SIGNS = {
    "=": "`==` compares",
    "&": "write `and`",
    "|": "write `or`; a single `|` applies a filter",
    "!": "write `not`, or `!=`",
    "?": "write `a if condition else b`",
}
_PLACE_IN_TEXT = re.compile(r" \(at character \d+\)$")


class Problem(NamedTuple):
    """What is wrong with one name in an expression."""

    code: Code
    part: int
    """Which part of the chain of keys is wrong."""
    message: str
    hint: str | None = None
    absorbs: tuple[str, ...] = ()
    """Names that are wrong for the same reason."""


@dataclass(frozen=True)
class Scope:
    """Where an expression stands. Without a phase it reads the whole task."""

    phase: PhaseDraft | None = None
    step: StepDraft | None = None
    reads_own_steps: bool = False
    """Whether the phase's own steps have run when it is evaluated."""
    knows_order: bool = True
    """Whether it matters what has run by then."""
    tells: bool = False
    """Whether it is that of a notification, which reads an event and no outputs."""

    @property
    def reader(self) -> PhaseDraft | None:
        """The phase whose dependencies limit what can be read."""
        return self.phase if self.knows_order else None

    def has_items(self, *, per_item: bool) -> bool:
        """Whether `item` and `index` are known."""
        in_step = per_item and self.step is not None and "for_each" in self.step.fields
        return in_step or (self.phase is not None and self.phase.has_items and self.reads_own_steps)


@dataclass
class Reads:
    """What expressions read, in order of appearance."""

    steps: dict[str, None] = field(default_factory=dict)
    phases: dict[str, None] = field(default_factory=dict)


EVERY_INPUT = "*"
"""In place of an input's name: it is computed, or could not be read."""


class Names:
    """Every name of a task."""

    def __init__(
        self,
        inputs: Iterable[str],
        phases: Sequence[PhaseDraft],
        *,
        inputs_known: bool,
        judge: Callable[[Expression, Findings], None],
        secrets: Collection[str] | None = (),
    ) -> None:
        """`judge` is shown each expression that can be read, while its tree is at hand; `secrets` are those
        that the task declares, None if nobody can say."""
        self._judge = judge
        self._secrets = secrets
        self._inputs = tuple(inputs)
        self._inputs_known = inputs_known
        self.inputs_read: set[str] = set()
        """The inputs that anything read so far."""
        self.phases = {phase.slug: phase for phase in reversed(phases) if phase.slug}
        self.homes: dict[str, PhaseDraft] = {}
        """The phase of each step."""
        self._orders: dict[str, int] = {}
        for phase in phases:
            for order, step in enumerate(phase.steps):
                self.homes.setdefault(step.id, phase)
                self._orders.setdefault(step.id, order)
        self.graph = Graph({phase.slug: phase.resolved for phase in self.phases.values()})
        # Of what could not be read nobody can say what it lacks: one mistake, one message.
        self._certain = (
            len(self.phases) == len(phases)
            and not self.graph.cycles
            and all(phase.dependencies_known for phase in phases)
        )
        self._candidates: dict[str, list[str]] = {}
        self._room = WHOLE_READS
        self._steps_known = all(step.readable for phase in phases for step in phase.steps)

    # --- reading an expression --------------------------------------------------------------------

    def read(self, expression: Expression, scope: Scope, reads: Reads, findings: Findings) -> None:
        """Checks an expression, notes every wrong name in it, and adds what it reads."""
        found = self.parse(expression, findings)
        if found is not None:
            self._judge(expression, findings)
        absorbed: tuple[str, ...] = ()
        for reference in found or ():
            if reference.path[0] in absorbed:
                continue
            if reference.path[0] == SECRETS:
                problem = self._secret(reference, expression, findings)
            elif scope.tells and reference.path[0] not in ("inputs", "execution", "project"):
                problem = self._told(reference, findings)
            else:
                problem = self.problem(reference, scope, per_item=expression.per_item, findings=findings)
            problem = problem or self._add(reference, scope, reads)
            if problem is None:
                continue
            absorbed = problem.absorbs or absorbed
            offset = _offset_of(reference, problem.part, expression.source)
            findings.add(problem.code, expression.place(offset), problem.message, problem.hint)

    def _secret(self, reference: Reference, expression: Expression, findings: Findings) -> Problem | None:
        wrong = misuse(reference, expression, self._secrets, findings)
        return None if wrong is None else Problem(wrong.code, wrong.part, wrong.message, wrong.hint)

    @staticmethod
    def parse(expression: Expression, findings: Findings) -> tuple[Reference, ...] | None:
        """Returns what an expression refers to, or None after noting that it cannot be read."""
        try:
            return references(expression.source, template=expression.template)
        except InvalidExpression as error:
            what = "template" if expression.template else "expression"
            message = f"this {what} cannot be read: {_PLACE_IN_TEXT.sub('', error.message)}"
            offset = error.offset or 0
            hint = error.hint or _expected(expression, offset)
            findings.add(Code.INVALID_EXPRESSION, expression.place(offset), message, hint)
            return None

    def _add(self, reference: Reference, scope: Scope, reads: Reads) -> Problem | None:
        """Adds what a name reads; returns a problem only where too much is read without being named."""
        root, *rest = reference.path
        if root == "inputs":
            self.inputs_read.update(rest[:1] or (EVERY_INPUT,))
            return None
        if root not in ("phases", "steps") or self._room < 0:
            return None
        into = reads.phases if root == "phases" else reads.steps
        if rest:
            into[rest[0]] = None
            return None
        found = self._readable_phases(scope) if root == "phases" else self._readable_steps(scope)
        into.update(dict.fromkeys(found))
        if self._room >= 0:
            return None
        message = f"this task reads all of `{root}` so often that it would read {WHOLE_READS:,} and more"
        return Problem(Code.INVALID_EXPRESSION, 0, message, f"name what is read: `{root}.<name>`")

    def _readable_phases(self, scope: Scope) -> list[str]:
        """What `phases[…]` may turn out to read."""
        self._room -= len(self.phases)
        return list(self.phases) if scope.phase is None else self.graph.reachable(scope.phase.slug)

    def _readable_steps(self, scope: Scope) -> list[str]:
        # A computed key in a parallel phase reads other phases only: waiting for all others would never end.
        own = scope.phase is not None and not (scope.phase.parallel and scope.step)
        candidates = self._readable_homes(scope.phase)
        self._room -= len(candidates)
        return [
            step
            for step in candidates
            if (own or self.homes[step] is not scope.phase) and self._step_problem(step, scope) is None
        ]

    def _readable_homes(self, phase: PhaseDraft | None) -> list[str]:
        """Returns the steps of a phase and of those it depends on, worked out once for each phase."""
        if phase is None:
            return list(self.homes)
        if phase.slug not in self._candidates:
            self._candidates[phase.slug] = [
                step for step, home in self.homes.items() if home is phase or self._depends(phase, home.slug)
            ]
        return self._candidates[phase.slug]

    # --- what is wrong with a name ----------------------------------------------------------------

    def problem(
        self, reference: Reference, scope: Scope, *, per_item: bool, findings: Findings
    ) -> Problem | None:
        """Returns what is wrong with a name, or None."""
        root, *rest = reference.path
        if root == "project" or (root in PER_ITEM and scope.has_items(per_item=per_item)):
            return None
        match root:
            case "inputs":
                return self._input(rest, findings)
            case "phases":
                return self._phase(rest, scope, findings)
            case "steps":
                return self._step(rest, scope, findings)
            case "execution":
                return self._part(root, rest, ("id",), 1)
            case _:
                return self._unknown(root, findings)

    def _told(self, reference: Reference, findings: Findings) -> Problem | None:
        root, *rest = reference.path
        parts = {"event": notices.EVENT_PARTS, "task": notices.TASK_PARTS}.get(root)
        if parts is not None and (not rest or rest[0] in parts):
            return None
        if parts is not None:
            message = f"there is no `{root}.{shown(rest[0])}`"
            return Problem(Code.UNKNOWN_NAME, 1, message, findings.guess(rest[0], parts))
        hint = findings.guess(root, notices.ROOTS)
        message = f"a notification knows no `{shown(root)}`; it reads {', '.join(notices.ROOTS)}"
        return Problem(Code.UNKNOWN_NAME, 0, message, hint)

    def _unknown(self, root: str, findings: Findings) -> Problem:
        if root in PER_ITEM:
            return Problem(Code.UNKNOWN_NAME, 0, f"`{root}` is known only under a `forEach`")
        for table, path in ((self._inputs, "inputs"), (self.phases, "phases"), (self.homes, "steps")):
            if root in table:
                return Problem(
                    Code.UNKNOWN_NAME, 0, f"there is no name `{root}`", f"did you mean `{path}.{root}`?"
                )
        return Problem(Code.UNKNOWN_NAME, 0, f"there is no name `{shown(root)}`", findings.guess(root, ROOTS))

    def _input(self, rest: list[str], findings: Findings) -> Problem | None:
        if not rest or rest[0] in self._inputs or not self._inputs_known:
            return None
        message = f"this task has no input `{shown(rest[0])}`"
        return _missing(Code.UNKNOWN_INPUT, rest[:1], message, ("inputs", self._inputs), findings)

    def _phase(self, rest: list[str], scope: Scope, findings: Findings) -> Problem | None:
        if not rest:
            return None
        slug = rest[0]
        if slug not in self.phases:
            hint = findings.guess(slug, self.phases)
            return Problem(Code.UNKNOWN_PHASE, 1, f"there is no phase `{shown(slug)}`", hint)
        if scope.reader is not None and not self._depends(scope.reader, slug):
            return Problem(Code.NOT_A_DEPENDENCY, 1, *_not_depending(scope.reader, self.phases[slug]))
        wrong = self._part(f"phases.{slug}", rest[1:], _PHASE_PARTS, 2)
        if wrong is not None or len(rest) < 3 or rest[1] != "outputs":
            return wrong
        outputs = [output.name for output in self.phases[slug].outputs]
        if rest[2] in outputs:
            return None
        message = f"phase `{slug}` has no output `{shown(rest[2])}`"
        problem = _missing(
            Code.UNKNOWN_OUTPUT, rest[:3], message, (f"phases.{slug}.outputs", outputs), findings
        )
        return problem._replace(hint=problem.hint or "list it under the phase's `### Outputs`")

    def _depends(self, phase: PhaseDraft, slug: str) -> bool:
        return not self._certain or self.graph.reaches(phase.slug, slug)

    @staticmethod
    def _part(path: str, rest: list[str], parts: tuple[str, ...], position: int) -> Problem | None:
        if not rest or rest[0] in parts:
            return None
        known = " and ".join(f"`{path}.{part}`" for part in parts)
        return Problem(
            Code.UNKNOWN_NAME, position, f"there is no `{path}.{shown(rest[0])}`", f"there is {known}"
        )

    def _step(self, rest: list[str], scope: Scope, findings: Findings) -> Problem | None:
        if not rest:
            return None
        if rest[0] not in self.homes and not self._steps_known:
            return None
        if rest[0] not in self.homes:
            message = f"there is no step `{shown(rest[0])}`"
            return _missing(Code.UNKNOWN_STEP, rest[:1], message, ("steps", self.homes), findings)
        return self._step_problem(rest[0], scope) or self._part(f"steps.{rest[0]}", rest[1:], _STEP_PARTS, 2)

    def _step_problem(self, step: str, scope: Scope) -> Problem | None:
        phase, home = scope.reader, self.homes[step]
        if phase is None:
            return None
        if home is not phase:
            if self._depends(phase, home.slug):
                return None
            message, hint = _not_depending(phase, home)
            return Problem(Code.NOT_A_DEPENDENCY, 1, f"step `{step}` cannot be read here: {message}", hint)
        if scope.step is not None and scope.step.id == step:
            return Problem(Code.LATER_STEP, 1, f"step `{step}` cannot read itself")
        if not scope.reads_own_steps:
            message = f"step `{step}` has not run yet when its phase decides this"
            return Problem(Code.LATER_STEP, 1, message, "read a step of an earlier phase")
        return self._order_problem(step, scope)

    def _order_problem(self, step: str, scope: Scope) -> Problem | None:
        assert scope.phase is not None
        if scope.step is None or scope.phase.parallel or self._orders[step] < self._orders[scope.step.id]:
            return None
        message = f"step `{step}` comes after this one, which reads it"
        return Problem(Code.LATER_STEP, 1, message, f"move `{step}` before it")


def _expected(expression: Expression, offset: int) -> str | None:
    """Returns what to write instead of a sign of another language."""
    if not expression.template and "{{" in expression.source:
        return "this is an expression as it stands: leave the braces out"
    return next((hint for sign, hint in _SIGNS.items() if expression.source.startswith(sign, offset)), None)


def _not_depending(phase: PhaseDraft, other: PhaseDraft) -> tuple[str, str]:
    if phase is other:
        return f"phase `{phase.slug}` cannot read its own outputs", "read its steps: `steps.<id>.output`"
    message = f"phase `{phase.slug}` does not depend on `{other.slug}`"
    return message, f"add `{shown(other.name.value)}` to its `dependsOn`"


def _missing(
    code: Code, path: list[str], message: str, known: tuple[str, Iterable[str]], findings: Findings
) -> Problem:
    """Returns that the last key of a path is not there. A dash in an expression is a minus, so that
    `outputs.my-file` reads `outputs.my` and a name `file`: that is one problem, with one hint."""
    where, names = known
    hint = findings.guess(path[-1], names)
    dashed = next((name for name in names if name.startswith(f"{path[-1]}-")), None) if hint else None
    if dashed is None:
        return Problem(code, len(path), message, hint)
    hint = f"a dash is a minus here: write `{where}['{dashed}']`"
    return Problem(code, len(path), message, hint, tuple(dashed.split("-")[1:]))


def _offset_of(reference: Reference, part: int, source: str) -> int:
    """Returns where a part of a chain begins, as far as it is written with dots."""
    before = ".".join(reference.path[:part])
    dotted = ".".join(reference.path[: part + 1])
    if part and source.startswith(dotted, reference.offset):
        return reference.offset + len(before) + 1
    return reference.offset
