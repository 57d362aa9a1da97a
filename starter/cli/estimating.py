"""`eta`: how good estimates of the remaining time were."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from starter.cli import filters
from starter.cli.exits import Exit
from starter.cli.formats import Format, FormatOption, write_aligned, write_document
from starter.cli.printable import one_line
from starter.cli.terminal import say

if TYPE_CHECKING:
    from taskmark.plan.calibration import Calibration, Quality
    from taskmark.settings import Settings
    from taskmark.store.filtering import ExecutionFilter

HEADINGS = ("", "RUNS", "ESTIMATES", "CLAIMED", "HELD", "WIDTH", "ERROR")
LEGEND = (
    "CLAIMED: how often an interval should hold what remained; HELD: how often it did.",
    "WIDTH: of the interval, compared with what remained, on average.",
    "ERROR: the median; above 0 the estimate was too long, below it too short.",
)
LONGEST = 24
"""Characters of a task's id that are shown: a table has to fit eighty columns."""


def calibrate(
    *,
    task: filters.Task = None,
    since: filters.Since = None,
    project: filters.Project = None,
    output: FormatOption = Format.TABLE,
) -> Exit:
    """Compare past estimates of the remaining time with how long it took.

    Of each execution that completed an estimate is kept at each ten percent of its progress.
    """
    from starter.cli.clients import settings

    found = settings()
    wanted = filters.execution_filter(found, file=None, since=since, until=None, task=task, project=project)
    result = _calibration(found, wanted)
    if output is Format.TABLE:
        _show(result)
    else:
        write_document(_json(result), output)
    if not result.executions:
        say(_nothing(any(one is not None for one in (task, since, project))))
    return Exit.OK


def _calibration(settings: Settings, wanted: ExecutionFilter) -> Calibration:
    from starter.cli.clients import has_store
    from starter.wiring import Wiring
    from taskmark.plan.calibration import calibration
    from taskmark.store.estimates import expected

    return calibration(expected(Wiring(settings).store, wanted) if has_store(settings) else ())


def _json(result: Calibration) -> dict[str, Any]:
    def rounded(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: rounded(part) for name, part in value.items()}
        if isinstance(value, tuple | list):
            return [rounded(part) for part in value]
        return round(value, 4) if isinstance(value, float) else value

    told: dict[str, Any] = rounded(asdict(result))
    return told


def _nothing(filtered: bool) -> str:
    which = "None of these executions" if filtered else "No execution here"
    return (
        f"{which} has completed with estimates yet. They are kept by themselves: run a task, and ask again."
    )


def _show(result: Calibration) -> None:
    if not result.executions:
        return
    several = "" if result.executions == 1 else "s"
    typer.echo(f"{result.executions:,} execution{several} that completed, with estimates on the way")
    typer.echo()
    write_aligned(HEADINGS, list(_rows(result)))
    for line in ("", *LEGEND):
        say(line)


def _rows(result: Calibration) -> Iterator[tuple[str, ...]]:
    if result.whole:
        yield _row("all", result.whole)
    yield from (_row(f"at {one.name} %", one) for one in result.percents)
    yield from (_row(f"from {one.name}", one) for one in result.bases)
    if result.declared:
        yield _row("as declared", result.declared)
    yield from (_row(f"task {_shortened(one.name)}", one) for one in result.worst)


def _row(name: str, one: Quality) -> tuple[str, ...]:
    claimed = "" if one.confidence is None else f"{one.confidence:.0%}"
    counts = (f"{one.executions:,}", f"{one.estimates:,}")
    return name, *counts, claimed, f"{one.coverage:.0%}", _share(one.width), f"{one.error:+.0%}"


def _share(value: float) -> str:
    return f"{value:.0%}" if value < 10 else f"{value:,.0f} x"


def _shortened(name: str) -> str:
    name = one_line(name)
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"
