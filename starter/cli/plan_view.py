"""The plan of a run as people read it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from starter.cli.printable import duration, interval, one_line, rough

if TYPE_CHECKING:
    from rich.console import Console

    from taskmark.plan.preview import PlannedGate, PlannedPhase, PlannedStep, Preview
    from taskmark.task.model import Requirement

FEW_STEPS = 12
"""A phase with more shows the first ten and counts the rest, and so does a task with many phases."""
FEW_PHASES = 40
WIDEST = 200
"""Characters of one value."""

_MARKS = {True: ("! ", "yellow"), None: ("? ", "cyan"), False: ("  ", "")}
_DECISIONS = {"skipped": ("– ", "dim"), "fails": ("✗ ", "bold red")}


def show_plan(plan: Preview, requirements: Sequence[Requirement], console: Console, *, every: bool) -> None:
    """Shows the plan; `every` step of it, or of large phases only the first."""
    page = _Page(console)
    _head(page, plan)
    _inputs(page, plan, requirements)
    shown = plan.phases if every or len(plan.phases) <= FEW_PHASES else plan.phases[: FEW_PHASES - 5]
    names = {phase.slug: phase.name for phase in plan.phases}
    by_wave = sorted(shown, key=lambda phase: phase.wave)
    wave = 0
    for phase in by_wave:
        if phase.wave != wave:
            wave = phase.wave
            page.blank()
            page.line(0, (f"Wave {wave}", "bold"))
        _phase(page, phase, names, every=every)
    if len(shown) < len(plan.phases):
        page.line(1, (f"… {len(plan.phases) - len(shown):,} more phases; --all shows them", "dim"))
    _legend(page, plan)
    _gates(page, plan.gates)
    _problems(page, plan)


class _Page:
    """Writes lines that wrap under themselves."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def blank(self) -> None:
        """Writes an empty line."""
        self._console.print()

    def line(self, level: int, *parts: str | tuple[str, str], hang: int = 0, cut: bool = False) -> None:
        """Writes text at a level of indentation, wrapped with `hang` more columns, or cut to one line."""
        from rich.text import Text

        text = Text.assemble(*parts)
        room = max(self._console.width - 2 * level, 20)
        if cut:
            text.truncate(min(room, WIDEST), overflow="ellipsis")
        first, rest = " " * 2 * level, " " * (2 * level + hang)
        for number, part in enumerate(text.wrap(self._console, room - hang)):
            part.rstrip()
            self._console.print(Text.assemble(rest if number else first, part), soft_wrap=True)

    def facts(self, facts: Sequence[tuple[str, str, str]]) -> None:
        """Writes names and what they are, in two columns; the third is a style."""
        width = max(len(name) for name, _, _ in facts) + 2
        for name, text, style in facts:
            self.line(0, (f"{name:<{width}}", "bold"), (one_line(text), style), hang=width)


def _head(page: _Page, plan: Preview) -> None:
    names = {phase.slug: phase.name for phase in plan.phases}
    steps = sum(len(phase.steps) for phase in plan.phases)
    counts = [_counted(len(plan.phases), "phase"), _counted(len(plan.waves), "wave"), _counted(steps, "step")]
    title = f"{plan.task} {plan.version}".strip()
    page.line(0, (one_line(title), "bold"), f" · {counts[0]} in {counts[1]} · {counts[2]}")
    page.blank()
    facts = [("expected", _expected(plan), ""), ("based on", _basis(plan), "")]
    facts += [("may be longer", reason, "") for reason in plan.at_least_because]
    if plan.critical_path:
        facts.append(("critical path", _path([names[slug] for slug in plan.critical_path]), ""))
    if plan.agents:
        facts.append(("agents", _usage(plan), ""))
    page.facts(facts)


def _expected(plan: Preview) -> str:
    if plan.expected_seconds < 0.5 and not plan.at_least_because:
        return _time(plan.expected_seconds)
    about, eta = "at least" if plan.at_least_because else "about", plan.eta
    if eta is None or eta.confidence is None:
        return f"{about} {_time(max(plan.expected_seconds, 0.5))}"
    between = interval(eta.low, eta.high)
    claim = f" ({between}), {100 * eta.confidence:.0f} %" if between else ""
    return f"{about} {_time(max(eta.remaining_seconds, 0.5))}{claim}"


def _basis(plan: Preview) -> str:
    runs = f"{plan.samples} earlier run{'' if plan.samples == 1 else 's'}"
    match plan.basis:
        case "history":
            return f"{runs} of this task"
        case "mixed":
            return f"{runs} of this task; for steps that never ran, their tools elsewhere or what is declared"
        case "tools" if plan.eta is not None:
            return f"{plan.eta.samples} uses of its tools and agents in other tasks; no earlier runs"
        case _:
            return "what the file declares and what is usual for such steps; no earlier runs"


def _path(names: Sequence[str]) -> str:
    if len(names) > 12:
        names = [*names[:6], f"… {len(names) - 11} more …", *names[-5:]]
    return " → ".join(names)


def _usage(plan: Preview) -> str:
    usage = plan.usage
    parts = [("at least " if usage.agent_calls_at_least else "") + _counted(usage.agent_calls, "call")]
    if usage.tokens is not None:
        parts.append(f"about {usage.tokens:,.0f} tokens")
    if usage.cost is not None:
        parts.append(f"about {usage.cost:.4g} in cost")
    known = (
        f"median of {_counted(usage.samples, 'run')}" if usage.samples else "tokens and cost are not known"
    )
    return f"{', '.join(parts)} to {_counted(len(plan.agents), 'agent')} ({known})"


def _inputs(page: _Page, plan: Preview, requirements: Sequence[Requirement]) -> None:
    if not requirements:
        return
    page.blank()
    page.line(0, ("Inputs", "bold"))
    for wanted in requirements:
        if wanted.name in plan.missing_inputs:
            about = f": {one_line(wanted.description)}" if wanted.description else ""
            page.line(1, f"{wanted.name}  ", (f"missing ({wanted.type}){about}", "yellow"), hang=2)
        else:
            page.line(1, f"{wanted.name}  ", (_value(plan.inputs.get(wanted.name)), "green"), cut=True)


def _phase(page: _Page, phase: PlannedPhase, names: Mapping[str, str], *, every: bool) -> None:
    mark, style = _DECISIONS.get(phase.decision, ("", ""))
    page.line(
        1,
        (mark + one_line(phase.name), f"bold {style}".strip()),
        ("".join(_about(phase, names)), "dim"),
        hang=2,
    )
    shown = phase.steps if every or len(phase.steps) <= FEW_STEPS else phase.steps[: FEW_STEPS - 2]
    if phase.decision != "skipped":
        for step in shown:
            _step(page, step)
        if len(shown) < len(phase.steps):
            page.line(2, (_rest(phase.steps[len(shown) :]), "dim"), hang=2)


def _about(phase: PlannedPhase, names: Mapping[str, str]) -> Iterator[str]:
    if phase.decision != "runs":
        word = "may be skipped" if phase.decision == "open" else phase.decision
        yield f" · {word}: {one_line(phase.reason)}"
    if phase.condition is not None:
        yield f" · if {one_line(phase.condition)}"
    if phase.depends_on:
        yield f" · after {one_line(', '.join(names[slug] for slug in phase.depends_on))}"
    yield from _times(phase)
    if phase.parallel:
        yield " · steps side by side"
    if phase.decision != "skipped":
        slack = "critical" if phase.critical else f"slack {duration(phase.slack_seconds)}"
        yield f" · {_time(phase.expected_seconds)}, {slack}"


def _times(one: PlannedPhase | PlannedStep) -> Iterator[str]:
    if one.items is not None:
        yield f" · for {_counted(one.items, 'item')}"
    elif one.for_each is not None:
        yield f" · for each of {_value(one.for_each)}"


def _step(page: _Page, step: PlannedStep) -> None:
    mark, style = _DECISIONS.get(step.decision) or _MARKS[step.effects]
    opening = "" if step.kind == "plain" else f"{step.kind}: "
    value = f"{step.value} - " if step.value and step.name != step.value else ""
    page.line(
        2, (mark, style), opening, one_line(f"{value}{step.name}"), ("".join(_notes(step)), "dim"), hang=4
    )
    if step.decision != "skipped":
        for name, value in step.arguments.items():
            page.line(4, (f"{one_line(name)}: ", "dim"), _value(value), cut=True)


def _notes(step: PlannedStep) -> Iterator[str]:
    if step.kind == "plain":
        yield f" → {', '.join(step.calls)}" if step.calls else " (a note: nobody is asked)"
    if step.kind == "agent" and step.calls != (step.value,):
        yield f" → among {', '.join(step.calls)}"
    if step.condition is not None:
        yield f" · if {one_line(step.condition)}"
    if step.decision in ("skipped", "fails"):
        yield f" · {step.decision}: {one_line(step.reason)}"
    yield from _times(step)


def _rest(steps: Sequence[PlannedStep]) -> str:
    kinds = Counter(f"{step.kind} {step.value}" if step.kind == "tool" else step.kind for step in steps)
    what = ", ".join(f"{count:,} {kind}" for kind, count in kinds.most_common(3))
    more = ", …" if len(kinds) > 3 else ""
    return f"… {len(steps):,} more steps ({what}{more}); --all shows them"


def _legend(page: _Page, plan: Preview) -> None:
    steps = [step for phase in plan.phases for step in phase.steps if step.decision != "skipped"]
    changes = sum(step.effects is True for step in steps)
    unknown = sum(step.effects is None for step in steps)
    if changes or unknown:
        page.blank()
    if changes:
        page.line(0, ("! ", "yellow"), f"{_counted(changes, 'step')} may change something outside")
    if unknown:
        page.line(
            0,
            ("? ", "cyan"),
            f"{_counted(unknown, 'step')}: whether it does, only the agent or plug-in knows",
        )


def _gates(page: _Page, gates: Sequence[PlannedGate]) -> None:
    if not gates:
        return
    page.blank()
    page.line(0, ("Waits for people", "bold"))
    for gate in gates[:FEW_PHASES]:
        prompt = f" - {one_line(gate.prompt)}" if gate.prompt else ""
        page.line(1, f"{gate.kind}: {one_line(gate.name)}{prompt}", (f" · {_terms(gate)}", "dim"), hang=2)
    if len(gates) > FEW_PHASES:
        page.line(1, f"… and {len(gates) - FEW_PHASES:,} more")


def _terms(gate: PlannedGate) -> str:
    who = f"decided by {one_line(', '.join(gate.approvers))}" if gate.approvers else "decided by anybody"
    if gate.timeout_seconds is None:
        return f"{who} · waits for ever"
    then = "then fails" if gate.on_timeout == "fail" else "then goes on waiting"
    return f"{who} · for {duration(gate.timeout_seconds)}, {then}"


def _problems(page: _Page, plan: Preview) -> None:
    hints = {tool.name: tool.hint for tool in plan.tools if tool.hint and not tool.healthy}
    missing = [f"input {name} is missing" for name in plan.missing_inputs]
    found = [*missing, *plan.problems]
    if not found:
        return
    page.blank()
    page.line(0, ("In the way of a run", "bold"))
    for problem in found[:FEW_PHASES]:
        page.line(1, ("✗ ", "bold red"), one_line(problem), hang=2)
    if len(found) > FEW_PHASES:
        page.line(1, f"… and {len(found) - FEW_PHASES:,} more")
    for name, hint in hints.items():
        page.line(1, (f"hint for {name}: ", "cyan"), one_line(hint or ""), hang=2)


def _value(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return one_line(text[: 4 * WIDEST])


def _counted(count: int, word: str) -> str:
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def _time(seconds: float) -> str:
    return rough(round(seconds)) if seconds >= 0.5 else "less than 1 s"
