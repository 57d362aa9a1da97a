"""`metrics`: how much ran, how well, how long it took and what it cost, and how that changes."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from starter.cli import filters
from starter.cli.exits import Exit
from starter.cli.formats import Format, FormatOption, write_aligned, write_json, write_line
from starter.cli.printable import duration, one_line
from starter.cli.terminal import say, stdout, unicode_fits

if TYPE_CHECKING:
    from taskmark.store.measuring import Dimension, Measured, Period, Sums, Window

DAYS_BY_DAY = 31
"""Of more days the weeks are told."""
WIDE = 120
"""Columns from which on a table also has what was used."""
PERIODS = 7
"""The latest so many are shown as bars."""
_BARS = "▁▂▃▄▅▆▇█"


class By(StrEnum):
    """What `--by` takes."""

    TASK = "task"
    BUILD = "build"
    PROJECT = "project"
    AGENT = "agent"
    ASSIGNED_AGENT = "assigned-agent"
    TOOL = "tool"


class Per(StrEnum):
    """What `--per` takes."""

    DAY = "day"
    WEEK = "week"


def metrics(
    *,
    by: Annotated[
        By | None,
        typer.Option("--by", help="One line for each of these; agents and tools by their calls."),
    ] = None,
    task: filters.Task = None,
    build: filters.Build = None,
    project: filters.Project = None,
    agent: Annotated[
        str | None, typer.Option("--agent", help="Only calls of this agent.", show_default=False)
    ] = None,
    tool: Annotated[
        str | None, typer.Option("--tool", help="Only calls of this tool.", show_default=False)
    ] = None,
    since: Annotated[
        str, typer.Option("--since", metavar="WHEN", help=f"Began since: all, or {filters.WHEN}.")
    ] = "30d",
    until: filters.Until = None,
    per: Annotated[
        Per | None,
        typer.Option("--per", help="Periods of the trend; weeks if there are many days.", show_default=False),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=10_000, help="At most so many.")] = 20,
    output: FormatOption = Format.TABLE,
) -> Exit:
    """Show counts, success, durations, cost and their trend. Days are those of UTC."""
    from starter.cli.clients import history, settings
    from starter.wiring import Wiring

    chosen = {"task": task, "build": build, "project": project, "agent": agent, "tool": tool}
    dimension, name = _asked(by, {option: one for option, one in chosen.items() if one is not None})
    window = _window(since, until, per)
    store = history(Wiring(settings()))
    found = store.metrics(dimension, window, name) if store else ()
    if output is not Format.TABLE:
        _write(found[:limit], output)
    elif by is not None:
        _show_each(by, found[:limit], window)
    elif found:
        _show_one(found[0], dimension, window)
    if not found:
        say(f"Nothing began {_span(window)}." + (" See --since all." if window.since else ""))
    elif len(found) > limit and output is Format.TABLE:
        say(f"… and {len(found) - limit} more: --limit {len(found)}")
    return Exit.OK


def _asked(by: By | None, chosen: dict[str, str]) -> tuple[Dimension, str | None]:
    """Returns the dimension, and the value of it that alone is wanted. Raises `typer.BadParameter`."""
    from taskmark.store.measuring import Dimension

    options = [*([f"--by {by}"] if by else []), *(f"--{option}" for option in chosen)]
    if len(options) > 1:
        raise typer.BadParameter(
            f"{' and '.join(options)} do not go together: sums are kept for one of them at a time. "
            "docs/probes.sql has queries to start from"
        )
    if by is not None:
        return Dimension(by.replace("-", "_")), None
    for option, name in chosen.items():
        return Dimension(option), name
    return Dimension.EXECUTION, None


def _window(since: str, until: str | None, per: Per | None) -> Window:
    from taskmark.store.measuring import Window

    first = None if since == "all" else filters.day(since, "--since")
    end = filters.day(until, "--until")
    if first and end and first >= end:
        raise typer.BadParameter(f"no day is between {first} and {end}", param_hint="--until")
    days = ((end or datetime.now(UTC).date()) - first).days if first else DAYS_BY_DAY + 1
    if per is None:
        per = Per.DAY if days <= DAYS_BY_DAY else Per.WEEK
    return Window(first, end, per.value)


def _span(window: Window) -> str:
    parts = []
    if window.since:
        parts.append(f"from {window.since} on" if not window.until else f"from {window.since}")
    if window.until:
        parts.append(f"until {window.until - timedelta(days=1)}")
    return " ".join(parts) or "yet"


def _write(found: Sequence[Measured], output: Format) -> None:
    rows = [one.model_dump(mode="json") for one in found]
    if output is Format.JSON:
        write_json(rows)
        return
    for row in rows:
        write_line(row)


# --- one ------------------------------------------------------------------------------------------


def _show_one(one: Measured, dimension: Dimension, window: Window) -> None:
    facts = list(_facts(one, dimension, window))
    width = max(len(name) for name, _ in facts)
    for name, value in facts:
        typer.echo(f"{name:<{width}}  {one_line(value)}")
    rows = [_period_cells(period) for period in one.periods if period.total]
    if rows:
        typer.echo()
        heading = "DAY" if window.per == "day" else "WEEK OF"
        write_aligned((heading, _counted(dimension), "OK", "FAILED", "OPEN", "SUCCESS", "AVERAGE"), rows)


def _facts(one: Measured, dimension: Dimension, window: Window) -> Iterator[tuple[str, str]]:
    if one.name:
        yield str(dimension), one.name
    yield "began", _span(window) if window.since or window.until else "ever"
    yield "total", f"{one.total:,}"
    yield "completed", _with(one.completed, (one.completed_with_errors, "with errors"))
    yield "failed", _with(one.failed, (one.timed_out, "timed out"))
    for name in ("cancelled", "skipped"):
        if count := getattr(one, name):
            yield name, f"{count:,}"
    yield "in progress", f"{one.in_progress:,}"
    yield "success", " ".join(filter(None, (_rate(one) or "unknown", _line(one), _against(one))))
    if one.average_ms is not None:
        within = (f"{part} % {_brief(getattr(one, f'p{part}_ms'))}" for part in (50, 90, 95, 99))
        yield "duration", f"{_brief(one.average_ms)} on average; within {', '.join(within)}"
    for name, used in _used(one):
        yield name, used


def _with(count: int, among: tuple[int, str]) -> str:
    return f"{count:,} ({among[0]:,} {among[1]})" if among[0] else f"{count:,}"


def _used(one: Sums) -> Iterator[tuple[str, str]]:
    yield "retries", f"{one.retries:,}"
    yield "tokens", f"{one.tokens_used:,}"
    yield "cost", f"{one.cost:,.2f}"
    yield "questions", f"{one.questions_asked:,}"


def _against(one: Measured) -> str:
    if one.before is None or not one.before.total:
        return ""
    before = f"before: {_rate(one.before) or 'unknown'} of {one.before.total:,}"
    change = _change(one)
    return f"({change} points; {before})" if change else f"({before})"


def _period_cells(period: Period) -> tuple[str, ...]:
    return f"{period.start}", *_counts(period), _rate(period), _brief(period.average_ms)


# --- several --------------------------------------------------------------------------------------


def _show_each(by: By, found: Sequence[Measured], window: Window) -> None:
    if not found:
        return
    headings = [
        by.value.replace("-", " ").upper(),
        _counted(by),
        "OK",
        "FAILED",
        "OPEN",
        "SUCCESS",
        "50 %",
        "95 %",
    ]
    wide = stdout().width >= WIDE
    used = [name.upper() for name, _ in _used(found[0])] if wide else []
    trend = ["TREND"] if window.since or sys.stdout.isatty() else []
    rows = (_cells(one, wide=wide, trend=bool(trend)) for one in found)
    write_aligned((*headings, *used, *trend), rows, texts=("TREND",))


def _cells(one: Measured, *, wide: bool, trend: bool) -> list[str]:
    used = [value for _, value in _used(one)] if wide else []
    shown = [" ".join(filter(None, (_line(one), _change(one))))] if trend else []
    times = _brief(one.p50_ms), _brief(one.p95_ms)
    return [one_line(one.name), *_counts(one), _rate(one), *times, *used, *shown]


def _counted(by: str) -> str:
    return "CALLS" if by in ("agent", "tool") else "RUNS"


def _counts(one: Sums) -> tuple[str, str, str, str]:
    return f"{one.total:,}", f"{one.completed:,}", f"{one.failed:,}", f"{one.in_progress:,}"


def _rate(one: Sums) -> str:
    return "" if one.success_rate is None else f"{100 * one.success_rate:.1f}%"


def _brief(milliseconds: float | None) -> str:
    """Returns a duration in few characters, such as `3min20s`."""
    return "" if milliseconds is None else duration(milliseconds / 1000).replace(" ", "")


def _change(one: Measured) -> str:
    """Returns by how many points the success rate differs from that of the days before."""
    if one.before is None or one.before.success_rate is None or one.success_rate is None:
        return ""
    points = round(100 * (one.success_rate - one.before.success_rate))
    if not points:
        return "±0" if _pictured() else "0"
    return f"{'↑' if points > 0 else '↓'}{abs(points)}" if _pictured() else f"{points:+}"


def _line(one: Measured) -> str:
    """Returns the success rates of the latest periods as bars; nothing where only programs look."""
    if not _pictured() or len(one.periods) < 2:
        return ""
    rates = [period.success_rate for period in one.periods[-PERIODS:]]
    return "".join("·" if rate is None else _BARS[round(rate * (len(_BARS) - 1))] for rate in rates)


def _pictured() -> bool:
    return sys.stdout.isatty() and unicode_fits(sys.stdout)
