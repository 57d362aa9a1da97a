"""What is wrong with each file that the words of a command line mean, and fixing it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from starter.choosing import is_folder, task_file, tasks_below
from taskmark.errors import InvalidTask
from taskmark.task.codes import Code
from taskmark.task.diagnostics import Diagnostic
from taskmark.task.files import SIZE_LIMIT, decoded, read_exactly
from taskmark.task.fixes import Fixed, fixed
from taskmark.task.parser import check_source, check_text
from taskmark.task.rewriting import rewrite
from taskmark.task.source_text import Findings, Place

if TYPE_CHECKING:
    from starter.wiring import Wiring

STDIN = "-"
SHOWN_STDIN = "<stdin>"


@dataclass(frozen=True)
class Linted:
    """One file, or what was to be one, after looking at it."""

    file: str
    text: str | None = None
    """What it says now, with its own line ends; absent if it cannot be read."""
    diagnostics: tuple[Diagnostic, ...] = ()
    fixed: int = 0
    """How many problems were fixed in it."""
    folder: bool = False
    """Whether it is a folder, in which no task was found."""


class Linter:
    """Checks files with what this process knows of tools, agents and folders."""

    def __init__(self, wiring: Wiring, *, fix: bool = False) -> None:
        self._wiring = wiring
        self._fix = fix
        self._seen: set[Path] = set()

    def lint(self, words: Sequence[str], stdin: bytes = b"") -> Iterator[Linted]:
        """Yields what each word means, each file once: a file, a folder with all below it, a task's id,
        or `-` for the text given as `stdin`."""
        for word in words:
            if word == STDIN:
                yield self._text(stdin)
            elif is_folder(word):
                yield from self._folder(Path(word))
            else:
                yield from self._named(word)

    def _named(self, word: str) -> Iterator[Linted]:
        try:
            path = task_file(self._wiring.compiler(confined=False), word)
        except InvalidTask as error:
            yield Linted(word, diagnostics=error.diagnostics)
            return
        yield from self._file(path)

    def _folder(self, folder: Path) -> Iterator[Linted]:
        """Yields every task below a folder, or that there is none."""
        found = False
        for path in tasks_below(folder):
            found = True
            yield from self._file(path)
        if not found:
            yield Linted(str(folder), folder=True)

    # --- one file -----------------------------------------------------------------------------------

    def _file(self, path: Path) -> Iterator[Linted]:
        real = path.resolve()
        if real in self._seen:
            return
        self._seen.add(real)
        findings = Findings(str(path))
        text = read_exactly(path, findings)
        if text is None:
            yield Linted(str(path), diagnostics=tuple(findings.diagnostics))
        elif self._fix:
            yield self._fixed(path, text)
        else:
            yield Linted(str(path), text, self._check(path, text))

    def _check(self, path: Path, text: str) -> tuple[Diagnostic, ...]:
        found = check_source(text, path, catalog=self._wiring.catalog).diagnostics
        return tuple(_own_fix(diagnostic, str(path)) for diagnostic in found)

    def _fixed(self, path: Path, text: str) -> Linted:
        done = fixed(text, lambda changed: self._check(path, changed))
        if not done.applied:
            return Linted(str(path), text, done.diagnostics)
        try:
            if rewrite(path, text, done.text):
                return _linted(str(path), done)
            reason = "it was changed in the meantime"
        except OSError as error:
            reason = error.strerror or str(error)
        findings = Findings(str(path))
        findings.add(Code.UNREADABLE_FILE, Place(1, 1), f"this file cannot be written: {reason}")
        return Linted(str(path), text, (*findings.diagnostics, *self._check(path, text)))

    def _text(self, data: bytes) -> Linted:
        findings = Findings(SHOWN_STDIN)
        text = decoded(data[: SIZE_LIMIT + 1], findings)
        if text is None:
            return Linted(SHOWN_STDIN, diagnostics=tuple(findings.diagnostics))
        if self._fix:
            return _linted(SHOWN_STDIN, fixed(text, self._check_text))
        return Linted(SHOWN_STDIN, text, self._check_text(text))

    def _check_text(self, text: str) -> tuple[Diagnostic, ...]:
        found = check_text(text, file=SHOWN_STDIN, catalog=self._wiring.catalog).diagnostics
        return tuple(_own_fix(diagnostic, SHOWN_STDIN) for diagnostic in found)


def _linted(file: str, done: Fixed) -> Linted:
    return Linted(file, done.text, done.diagnostics, done.applied)


def _own_fix(diagnostic: Diagnostic, file: str) -> Diagnostic:
    """Returns the diagnostic with a fix only if it is for that file: agents and sub-tasks have files of
    their own, which nobody named."""
    return diagnostic if diagnostic.file == file else diagnostic.model_copy(update={"fix": None})
