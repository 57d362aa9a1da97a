"""Which files are meant by the words of a command line: the same ones by each command that takes several."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from starter.compiling import Compiler
from taskmark.errors import InvalidTask
from taskmark.task.files import read_exactly
from taskmark.task.outline import looks_like_task
from taskmark.task.source_text import Findings

_PASSED_OVER = frozenset({"node_modules", "__pycache__"})


def task_files(
    compiler: Compiler, words: Sequence[str], missing: Callable[[InvalidTask], object]
) -> list[Path]:
    """Returns the files that words mean, each once: a file, a task's id, a folder with all tasks below it.
    What a word says that means none is given to `missing`."""
    found: dict[Path, Path] = {}
    for word in words:
        try:
            paths = list(tasks_below(Path(word))) if is_folder(word) else [task_file(compiler, word)]
        except InvalidTask as error:
            missing(error)
            continue
        for path in paths:
            found.setdefault(path.resolve(), path)
    return list(found.values())


def is_folder(word: str) -> bool:
    """Whether the word names a folder; an empty one, such as an unset variable leaves, does not."""
    return bool(word) and os.path.isdir(word)


def task_file(compiler: Compiler, word: str) -> Path:
    """Returns the file of a task given by id or path, as a person would write it. Raises `InvalidTask`."""
    found, given, here = compiler.find(word), Path(word), Path.cwd()
    if given.is_file() and given.samefile(found):
        return given
    return found.relative_to(here) if found.is_relative_to(here) else found


def tasks_below(folder: Path) -> Iterator[Path]:
    """Yields every task below a folder, also those that cannot be read. Markdown with neither phases nor
    steps is documentation."""
    for path in _markdown(folder):
        text = read_exactly(path, Findings(str(path)))
        if text is None or looks_like_task(text):
            yield path


def _markdown(folder: Path) -> Iterator[Path]:
    """Yields the markdown files below a folder in order, none of hidden folders, through no link to one."""
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if name[0] != "." and name not in _PASSED_OVER)
        paths = (Path(place, name) for name in sorted(files) if name.endswith(".md"))
        yield from (path for path in paths if path.is_file())  # a pipe would be waited for
