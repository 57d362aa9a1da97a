"""How an execution ended, readable: its outputs on stdout; what failed and where to look on stderr."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from starter.cli.printable import duration, one_line, printable, size
from starter.cli.terminal import command, stderr, stdout

if TYPE_CHECKING:
    from rich.console import RenderableType

    from taskmark.contracts import StepOutcome, TaskResult
    from taskmark.errors import Failure

LINES = 80
"""Of one nested output; `-o json` has all of it."""
FAILURES = 10
"""Failed steps that are listed."""
NESTING = 3
"""Levels of objects that are laid out; deeper ones are shown as JSON."""
CELL = 200
"""Characters of a text in a table of outputs."""
_STYLES = {"completed": "bold green", "completed_with_errors": "bold yellow"}


def show_verdict(result: TaskResult, task: str) -> None:
    """Shows how it ended, on stderr: the status, and what went wrong."""
    from rich.text import Text

    console = stderr()
    took = ""
    if result.started_at and result.finished_at:
        took = f" after {duration((result.finished_at - result.started_at).total_seconds())}"
    status = result.status.value
    told = Text.assemble(
        (status.replace("_", " "), _STYLES.get(status, "bold red")), f"{took}: {one_line(task)}"
    )
    console.print()
    console.print(told, soft_wrap=True)
    if result.error:
        for line in failure_lines(result.error):
            console.print(f"  {line}", soft_wrap=True)
    for line in (*_failed_steps(result), *_fallbacks(result)):
        console.print(f"  {line}", style="yellow", soft_wrap=True)


def failure_lines(error: Failure) -> Iterator[str]:
    """Yields what happened and where, what else is affected, and what to do."""
    where = " / ".join(place for place in (error.phase, error.step) if place)
    yield f"{where}: {printable(error.message)}" if where else printable(error.message)
    if error.affects:
        yield f"affected: {one_line(', '.join(error.affects))}"
    if error.hint:
        yield f"hint: {printable(error.hint)}"


def _failed_steps(result: TaskResult) -> Iterator[str]:
    """Yields what failed beside the execution's own error: steps, and items of steps that completed."""
    told = result.error.step if result.error else None
    failed = [(name, s) for name, s in result.steps.items() if _has_failed(s) and name != told]
    for name, step in failed[:FAILURES]:
        yield _failed_step(name, step)
    if len(failed) > FAILURES:
        yield f"… and {len(failed) - FAILURES} more failed steps"


def _fallbacks(result: TaskResult) -> Iterator[str]:
    """Yields which steps completed with their fallback, and why."""
    used = [(name, s.fallback_for) for name, s in result.steps.items() if s.fallback and s.fallback_for]
    for name, failure in used[:FAILURES]:
        yield f"! {result.steps[name].phase} / {name} used its fallback: {one_line(failure.message)}"
    if len(used) > FAILURES:
        yield f"… and {len(used) - FAILURES} more fallbacks"


def _has_failed(step: StepOutcome) -> bool:
    status = step.status.value
    return status == "failed" or (status == "completed" and step.error is not None)


def _failed_step(name: str, step: StepOutcome) -> str:
    reason = one_line(step.error.message) if step.error else "no reason was given"
    if step.status.value == "completed":
        return f"✗ {step.phase} / {name}, in part: {reason}"
    attempts = f" after {step.attempts} attempts" if step.attempts > 1 else ""
    return f"✗ {step.phase} / {name}{attempts}: {reason}"


def show_ways_on(execution: str, *, web_ui: bool) -> None:
    """Shows the commands that answer further questions: they still work when every link is dead."""
    console = stderr()
    console.print()
    ways = [("history", "show"), ("events", "logs"), *([("web ui", "ui")] if web_ui else [])]
    for label, verb in ways:
        console.print(f"  {label + ':':<9} {command(verb, execution)}", style="dim", soft_wrap=True)


# --- outputs --------------------------------------------------------------------------------------


def show_outputs(outputs: Mapping[str, Any]) -> None:
    """Shows outputs on stdout: texts as text, nested values as tables or JSON."""
    console = stdout()
    if outputs:
        stderr().print()
    simple = {name: value for name, value in outputs.items() if _is_simple(value)}
    width = max((len(printable(name)) for name in simple), default=0)
    for name, value in outputs.items():
        for part in _output(printable(name), value, width):
            console.print(part, soft_wrap=isinstance(part, str))


def _output(name: str, value: Any, width: int) -> Iterator[RenderableType]:
    from rich.padding import Padding
    from rich.text import Text

    if _is_simple(value):
        yield Text.assemble(
            (f"{name + ':':<{width + 1}} ", "bold"), _simple(value), no_wrap=True, overflow="ignore"
        )
        return
    yield Text(f"\n{name}:", style="bold")
    yield Padding(_nested(value, NESTING), (0, 0, 0, 2), expand=False)


def _is_simple(value: Any) -> bool:
    return isinstance(value, bool | int | float | None) or (
        isinstance(value, str) and "\n" not in value.strip()
    )


def _simple(value: Any) -> str:
    return printable(value.strip()) if isinstance(value, str) else json.dumps(value)


def _nested(value: Any, levels: int) -> RenderableType:
    from rich.text import Text

    from taskmark.contracts import ARTIFACT_KEY, is_artifact

    if isinstance(value, str):
        return Text(_shortened(printable(value.strip())))
    if is_artifact(value):
        return Text(
            f"{size(int(value.get('size', 0)))}, kept as artifact {printable(str(value[ARTIFACT_KEY]))}"
        )
    if _is_table(value):
        return _table(value)
    if isinstance(value, Mapping) and value and levels:
        return _object(value, levels)
    if isinstance(value, list) and all(map(_is_simple, value)):
        return Text(_shortened("\n".join(f"- {_simple(one)}" for one in value)) or "(none)")
    return Text(_shortened(printable(json.dumps(value, ensure_ascii=False, indent=2))))


def _object(value: Mapping[str, Any], levels: int) -> RenderableType:
    """Returns the simple values of an object first, then each other one under its name."""
    from rich.console import Group
    from rich.padding import Padding
    from rich.text import Text

    simple = {name: one for name, one in value.items() if _is_simple(one)}
    parts: list[RenderableType] = [_pairs(simple)] if simple else []
    for name, one in value.items():
        if name not in simple:
            parts.append(Text(f"{printable(name)}:", style="dim"))
            parts.append(Padding(_nested(one, levels - 1), (0, 0, 0, 2), expand=False))
    return Group(*parts)


def _is_table(value: Any) -> bool:
    """Whether it is a list of flat objects with much the same keys."""
    if not isinstance(value, Sequence) or isinstance(value, str) or not 0 < len(value) <= LINES:
        return False
    if not all(isinstance(row, Mapping) and all(map(_is_simple, row.values())) for row in value):
        return False
    return 0 < len({key for row in value for key in row}) <= 8


def _table(rows: Sequence[Mapping[str, Any]]) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    keys = list(dict.fromkeys(key for row in rows for key in row))
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for key in keys:
        numbers = all(isinstance(row.get(key), int | float) for row in rows)
        table.add_column(printable(key), justify="right" if numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(_cell(row.get(key, ""))) for key in keys))
    return table


def _cell(value: Any) -> str:
    text = _simple(value)
    return text if len(text) <= CELL else text[: CELL - 1] + "…"


def _pairs(value: Mapping[str, Any]) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, one in value.items():
        grid.add_row(Text(printable(name)), Text(_simple(one)))
    return grid


def _shortened(text: str) -> str:
    lines = text.split("\n")
    if len(lines) <= LINES:
        return text
    return "\n".join([*lines[:LINES], f"… {len(lines) - LINES} more lines; `-o json` has them all"])
