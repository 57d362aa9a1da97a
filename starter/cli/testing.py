"""`test`: runs tasks against mocks, without a server, and says what is not as expected."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from starter.cli.exits import Exit
from starter.cli.formats import Format, FormatOption, write_json, write_line
from starter.cli.naming import tasks_beginning
from starter.cli.printable import one_line, printable
from starter.cli.terminal import command, say, stdout

if TYPE_CHECKING:
    from rich.text import Text

    from starter.simulation.suite import Outcome, Problem
    from starter.wiring import Wiring
    from taskmark.errors import InvalidTask

Row = dict[str, Any]


def run_tests(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE...",
            help="Task files, ids of tasks, or folders; the tests of x.md are in x.tests.yaml.",
            autocompletion=tasks_beginning,
            show_default=False,
        ),
    ],
    keyword: Annotated[
        str,
        typer.Option("-k", metavar="TEXT", help="Only tests with this in their name.", show_default=False),
    ] = "",
    init: Annotated[bool, typer.Option("--init", help="Write a file of tests to begin with.")] = False,
    output: FormatOption = Format.TABLE,
) -> Exit:
    """Run a task's tests against mocks, without a server.

    Nothing outside is called and no time passes, but the engine's own logic runs: retries, timeouts, gates
    and parallel phases behave as they do in `run`.
    """
    from starter.cli.clients import settings
    from starter.cli.failing import explain
    from starter.wiring import Wiring

    wiring = Wiring(settings())
    missing: list[InvalidTask] = []
    paths = _tasks(wiring, files, missing.append, tested=not init)
    for one in missing:
        explain(one)
    if not paths and not missing:
        found = "no task without tests" if init else "no tests"
        say(f"{found} here: a task x.md is tested by a file x.tests.yaml beside it")
        return Exit.USAGE
    if init:
        return Exit.USAGE if missing else _init(wiring, paths)
    return _Session(wiring, keyword, output, wrong_files=len(missing)).run(paths)


def _tasks(
    wiring: Wiring, words: Sequence[str], missing: Callable[[InvalidTask], object], *, tested: bool
) -> list[Path]:
    """Returns the task files that words mean; of a folder those with tests, or those without."""
    from starter.choosing import is_folder, task_files
    from starter.simulation.declarations import SUFFIX
    from starter.simulation.suite import beside

    def found(words: Sequence[str]) -> list[Path]:
        return task_files(wiring.compiler(confined=False), words, missing)

    folders = [word for word in words if is_folder(word)]
    named = [
        word.removesuffix(SUFFIX) + ".md" if word.endswith(SUFFIX) else word
        for word in words
        if word not in folders
    ]
    listed = [path for path in found(folders) if beside(path).is_file() is tested]
    return list(dict.fromkeys([*found(named), *listed]))


class _Session:
    """Runs the tests of several tasks and counts what came of them."""

    def __init__(self, wiring: Wiring, keyword: str, output: Format, *, wrong_files: int) -> None:
        self._wiring = wiring
        self._keyword = keyword.casefold()
        self._output = output
        self._rows: list[Row] = []
        self._wrong_files = wrong_files

    def run(self, paths: list[Path]) -> Exit:
        """Runs them all and returns the exit code that tells of them together."""
        started = time.perf_counter()
        for path in paths:
            self._run_file(path)
        if self._output is Format.JSON:
            write_json(self._rows)
        failed = sum(not row["passed"] for row in self._rows)
        if self._rows or not self._wrong_files:
            say(_summary(len(self._rows), failed, time.perf_counter() - started))
        if self._wrong_files or not self._rows:
            return Exit.USAGE
        return Exit.FAILED if failed else Exit.OK

    def _run_file(self, path: Path) -> None:
        from starter.cli.failing import explain
        from starter.simulation.suite import Suite, beside
        from taskmark.errors import InvalidTask

        wiring, file = self._wiring, beside(path)
        try:
            definition = _definition(wiring, path)
            if not file.is_file():
                self._wrong_files += 1
                _say_missing(wiring, path, file)
                return
            suite = Suite(file, definition, wiring.registry, wiring.compiler().limits)
        except InvalidTask as error:
            self._wrong_files += 1
            explain(error)
            return
        shown = False
        for outcome in suite.run(lambda name: self._keyword in name.casefold()):
            if self._output is Format.TABLE and not shown:
                stdout().print(one_line(str(file)), style="bold", soft_wrap=True)
                shown = True
            self._take(str(file), outcome)

    def _take(self, file: str, outcome: Outcome) -> None:
        row = _row(file, outcome)
        self._rows.append(row)
        if self._output is Format.JSONL:
            write_line(row)
        elif self._output is Format.TABLE:
            for line in _lines(file, outcome):
                stdout().print(line, soft_wrap=True)


def _definition(wiring: Wiring, path: Path) -> Any:
    from taskmark.task import parse_file

    return parse_file(path, catalog=wiring.catalog)


def _row(file: str, outcome: Outcome) -> Row:
    return {
        "file": file,
        "test": outcome.name,
        "line": outcome.place.line,
        "passed": outcome.passed,
        "milliseconds": round(outcome.milliseconds, 1),
        "simulated_seconds": outcome.run.seconds if outcome.run else None,
        "status": outcome.run.result.status.value if outcome.run else None,
        "problems": [
            {
                "what": problem.what,
                "expected": problem.expected,
                "got": problem.got,
                "line": problem.place.line,
                "column": problem.place.column,
                "add": list(problem.add),
            }
            for problem in outcome.problems
        ],
        "unused": list(outcome.unused),
    }


def _lines(file: str, outcome: Outcome) -> Iterator[Text]:
    from rich.text import Text

    mark, style = ("✓", "green") if outcome.passed else ("✗", "bold red")
    if not _fits(mark):
        mark = "ok" if outcome.passed else "FAILED"
    taken = (f"  {outcome.milliseconds:.0f} ms", "dim")
    yield Text.assemble("  ", (mark, style), f" {one_line(outcome.name)}", taken)
    for problem in outcome.problems:
        yield from _described(file, problem)
    for name in outcome.unused:
        yield Text.assemble(("      unused: ", "yellow"), f"{one_line(name)} answered nothing")


def _described(file: str, problem: Problem) -> Iterator[Text]:
    from rich.text import Text

    place = (f"  {one_line(file)}:{problem.place.line}:{problem.place.column}", "dim")
    yield Text.assemble(("      ", ""), (printable(problem.what), "red"), place)
    if problem.expected is not None:
        yield Text(f"        expected: {printable(problem.expected)}")
        yield Text(f"        got:      {printable(problem.got or '')}")
    if problem.add:
        yield Text("        add to this test:")
        for line in problem.add:
            yield Text(f"          {printable(line)}", style="cyan")


def _fits(mark: str) -> bool:
    import sys

    try:
        mark.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _summary(tests: int, failed: int, seconds: float) -> str:
    if not tests:
        return "no test has that in its name"
    passed = f"{tests - failed} passed" + (f", {failed} failed" if failed else "")
    return f"{passed} in {seconds:.2f} s"


# --- a file to begin with -------------------------------------------------------------------------


def _say_missing(wiring: Wiring, path: Path, file: Path) -> None:
    """Says which file was looked for, and shows what could be in it."""
    from starter.simulation.template import template

    say(f"{path} has no tests: there is no {file}")
    say(f"  write one to begin with: {command('test', str(path), '--init')}, such as this:")
    stdout().print(printable(template(_definition(wiring, path), str(path))), soft_wrap=True)


def _init(wiring: Wiring, paths: list[Path]) -> Exit:
    from starter.simulation.suite import beside
    from starter.simulation.template import template

    for path in paths:
        file = beside(path)
        text = template(_definition(wiring, path), str(path))
        try:
            with file.open("x", encoding="utf-8") as written:
                written.write(text)
        except FileExistsError:
            say(f"{file} is there already, and was left as it is")
            return Exit.USAGE
        say(f"{file} is written: put in what each step gives, then run: {command('test', str(path))}")
    return Exit.OK
