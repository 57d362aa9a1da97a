"""The console script `taskmark`: every command, and how a process of ours ends.

Nothing heavy is imported here: a command imports what it needs when it runs, so that help and completion
answer at once.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import Annotated, NoReturn

import typer
from typer.main import get_command

from starter.cli import (
    awaiting,
    backfilling,
    codec,
    control,
    creating,
    drawing,
    estimating,
    events,
    executions,
    files,
    formatting,
    history,
    metrics,
    planning,
    replaying,
    retrying,
    scheduling,
    services,
    storing,
    telling,
    testing,
    tooling,
    upkeep,
    versions,
)
from starter.cli.exits import Exit
from starter.cli.help import Grouped, TakesNumbers, example

RUN, LOOK, DECIDE, WRITE, OPERATE = "Run", "Look", "Decide", "Write tasks", "Operate"
EXECUTION = "exec-1763712000000-example"

app = typer.Typer(
    cls=Grouped,
    rich_markup_mode=None,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=example("taskmark run tasks/example.md --input file=README.md"),
)
db = typer.Typer(
    cls=Grouped,
    rich_markup_mode=None,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="The history store: check, back up, tidy up, move.",
    epilog=example("taskmark db check"),
)

record = typer.Typer(
    cls=Grouped,
    rich_markup_mode=None,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Tell of work that Temporal does not run.",
    epilog=example("taskmark record start nightly-import --key 2026-01-31"),
)

eta = typer.Typer(
    cls=Grouped,
    rich_markup_mode=None,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="How good estimates of the remaining time were.",
    epilog=example("taskmark eta calibrate"),
)

schedule = typer.Typer(
    cls=Grouped,
    rich_markup_mode=None,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Tasks that start by themselves.",
    epilog=example('taskmark schedule set nightly --cron "0 6 * * 1-5"'),
)

_COMMANDS = (
    (
        RUN,
        "run",
        executions.run,
        ("run tasks/example.md --input file=README.md", "run example -i file=a.txt -o json"),
    ),
    (RUN, "start", executions.start, ("start tasks/example.md --input file=README.md",)),
    (RUN, "watch", executions.watch, (f"watch {EXECUTION}",)),
    (RUN, "wait", awaiting.wait, (f"wait {EXECUTION} --timeout 5m", f"wait {EXECUTION} -o json")),
    (
        LOOK,
        "list",
        history.list_executions,
        ("list --status failed --since 7d", 'list --search "connection refused" -o json', "list --waiting"),
    ),
    (LOOK, "show", history.show, (f"show {EXECUTION}", f"show {EXECUTION} -o json")),
    (LOOK, "logs", history.logs, (f"logs {EXECUTION} --follow",)),
    (
        LOOK,
        "events",
        events.events,
        (f"events {EXECUTION} --follow -o jsonl", f"events {EXECUTION} --after 12"),
    ),
    (LOOK, "metrics", metrics.metrics, ("metrics", "metrics --by task --since 7d", "metrics --tool shell")),
    (LOOK, "versions", versions.versions, ("versions example",)),
    (LOOK, "checkpoints", retrying.checkpoints, (f"checkpoints {EXECUTION}",)),
    (LOOK, "ui", services.ui, (f"ui {EXECUTION}",)),
    (
        DECIDE,
        "pause",
        control.pause,
        (f'pause {EXECUTION} --reason "database maintenance"', f"pause {EXECUTION} --now"),
    ),
    (DECIDE, "resume", control.resume, (f"resume {EXECUTION}",)),
    (DECIDE, "abort", control.abort, (f'abort {EXECUTION} --reason "wrong file"',)),
    (DECIDE, "approve", control.approve, (f'approve {EXECUTION} release --comment "checked by hand"',)),
    (DECIDE, "reject", control.reject, (f'reject {EXECUTION} release --comment "tests are missing"',)),
    (
        DECIDE,
        "answer",
        control.answer,
        (f"answer {EXECUTION} region eu-west", f"answer {EXECUTION} offset -5"),
    ),
    (
        DECIDE,
        "retry",
        retrying.retry,
        (
            f"retry {EXECUTION} --dry-run",
            f"retry {EXECUTION} --file tasks/example.md --input file=b.txt",
            f"retry {EXECUTION} --from report",
            f"retry {EXECUTION} measure --input file=b.txt",
        ),
    ),
    (DECIDE, "skip", control.skip, (f"skip {EXECUTION} measure",)),
    (DECIDE, "raise", control.raise_limit, (f"raise {EXECUTION} agentCalls 200",)),
    (WRITE, "new", creating.new, ("new", "new weekly-report --template pipeline")),
    (WRITE, "lint", files.lint, ("lint tasks/example.md", "lint tasks -o json")),
    (WRITE, "plan", planning.plan, ("plan tasks/example.md --input file=README.md", "plan example -o json")),
    (
        LOOK,
        "graph",
        drawing.graph,
        ("graph tasks/example.md", "graph example -o graph.svg", f"graph {EXECUTION} --format mermaid"),
    ),
    (WRITE, "test", testing.run_tests, ("test tasks/example.md", "test tasks -k empty -o json")),
    (WRITE, "schema", files.schema, ("schema > task.schema.json",)),
    (WRITE, "fmt", formatting.fmt, ("fmt tasks/example.md", "fmt tasks --check", "fmt - < draft.md")),
    (WRITE, "tools", tooling.tools, ("tools", "tools shell", "tools -o json")),
    (OPERATE, "dev", services.dev, ("dev",)),
    (OPERATE, "worker", services.worker, ("worker --workers 4",)),
    (OPERATE, "codec", codec.codec, ("codec",)),
    (OPERATE, "doctor", upkeep.doctor, ("doctor",)),
    (OPERATE, "replay", replaying.replay, ("replay --open", "replay --folder histories/ -o json")),
    (OPERATE, "backfill", backfilling.backfill, ("backfill", "backfill --from results/ --dry-run")),
)
for _group, _name, _function, _lines in _COMMANDS:
    _epilog = example(*(f"taskmark {line}" for line in _lines))
    _kind = TakesNumbers if _function is control.answer else None
    app.command(_name, cls=_kind, rich_help_panel=_group, epilog=_epilog)(_function)
for _name, _on_store, _lines in storing.COMMANDS:
    db.command(_name, epilog=example(*(f"taskmark db {line}" for line in _lines)))(_on_store)
for _name, _on_schedule, _lines in scheduling.COMMANDS:
    schedule.command(_name, epilog=example(*(f"taskmark schedule {line}" for line in _lines)))(_on_schedule)
record.command("start", epilog=example("taskmark record start nightly-import --key 2026-01-31"))(
    telling.start
)
record.command("progress", epilog=example(f'taskmark record progress {EXECUTION} load "12 of 40 files"'))(
    telling.progress
)
record.command("complete", epilog=example(f"taskmark record complete {EXECUTION} --result rows:=1200"))(
    telling.complete
)
record.command("fail", epilog=example(f'taskmark record fail {EXECUTION} "the disk is full" --will-retry'))(
    telling.fail
)
record.command("cancel", epilog=example(f"taskmark record cancel {EXECUTION} --reason duplicate"))(
    telling.cancel
)
eta.command(
    "calibrate",
    epilog=example("taskmark eta calibrate", "taskmark eta calibrate --task example --since 30d -o json"),
)(estimating.calibrate)
app.add_typer(eta, name="eta", rich_help_panel=LOOK)
app.add_typer(db, name="db", rich_help_panel=OPERATE)
app.add_typer(record, name="record", rich_help_panel=RUN)
app.add_typer(schedule, name="schedule", rich_help_panel=RUN)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"taskmark {version('taskmark')}")
        raise typer.Exit


@app.callback()
def taskmark(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Runs markdown task files as durable Temporal workflows."""


def run(argv: list[str]) -> int:
    """Carries out a command line and returns its exit code; the process goes on."""
    from starter.cli.failing import explain

    try:
        code = get_command(app).main(argv, prog_name="taskmark", standalone_mode=False)
    except typer.TyperException as error:
        return _misused(error)
    except typer.Abort:
        return Exit.DETACHED
    except SystemExit as ended:
        return _exited(ended)
    except (Exception, KeyboardInterrupt) as error:
        return explain(error)
    except BaseException as error:
        if type(error).__name__ != "CancelledError":
            raise
        return explain(error)
    return int(code or 0)


def _exited(ended: SystemExit) -> int:
    """Returns the exit code of what ends the process by itself: completion, and a pipe nobody reads."""
    if isinstance(ended.__context__, BrokenPipeError):
        return Exit.OK  # whoever reads has seen enough, as `head` has
    return ended.code if isinstance(ended.code, int) else Exit.OK


def _misused(error: typer.TyperException) -> int:
    """Shows what is wrong with the words of a command."""
    show = getattr(error, "show", None)
    if show is None:
        typer.echo(f"Error: {error.format_message()}", err=True)
    else:
        show()
    return Exit.USAGE


def main(argv: list[str] | None = None) -> NoReturn:
    """Carries out a command line and ends the process with its exit code.

    Temporal's native core aborts in about one of eight processes when the interpreter shuts down around
    it, always after the work is done. So when everything is closed and flushed the process ends without
    that shutdown; nor are workflows of a stopped worker collected, which would complain about it.
    """
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr] # the process's own are text streams
    sys.unraisablehook = _log_unraisable
    code = run(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            continue  # nobody reads it any more
    os._exit(code)


def _log_unraisable(problem: sys.UnraisableHookArgs) -> None:
    """Logs what went wrong where nobody can catch it, instead of writing it over what is shown."""
    error = problem.exc_value
    message = problem.err_msg or "ignored in"
    logging.getLogger("taskmark.cli").debug("%s %r", message, problem.object, exc_info=error)


if __name__ == "__main__":
    main()
