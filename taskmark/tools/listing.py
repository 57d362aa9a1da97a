"""`list-files`, and the walk that it shares with `search-files`."""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Iterator

from pydantic import Field

from taskmark.errors import Category, StepFailed
from taskmark.ports import StepContext
from taskmark.task.model import Json
from taskmark.tools.confinement import LONGEST_PATH, STATE_DIRECTORY, components, directory, reporting
from taskmark.tools.files import FileTool
from taskmark.tools.sizes import capped
from taskmark.tools.stoppable import check_wanted, in_thread
from taskmark.tools.validation import Arguments

MOST_ENTRIES = 200_000
DEEPEST = 64


class ListFilesParameters(Arguments):
    """Where to look, and for what."""

    path: str = Field(default=".", description="A directory under the root")
    pattern: str = Field(
        default="**/*",
        description="Relative to `path`; `**` is any directories; hidden names need a pattern with a dot",
    )


class ListFiles(FileTool[ListFilesParameters]):
    """Lists files by pattern. Links are left out."""

    name = "list-files"
    parameters = ListFilesParameters
    effects = False

    async def execute(self, parameters: ListFilesParameters, context: StepContext) -> Json:
        """Returns `files`: sorted, relative to the root, as other tools take them. Raises `StepFailed`."""
        files = await in_thread(find, context, parameters.path, parameters.pattern)
        return capped({"files": files}, source="list-files", advice="narrow `path` or `pattern`")

    def estimate_duration(self, parameters: ListFilesParameters) -> float:
        """Seconds, for a project of usual size."""
        return 0.2


def find(context: StepContext, path: str, pattern: str) -> list[str]:
    """Returns the regular files under `path` that the pattern fits, sorted, relative to the root."""
    prefix = "".join(f"{name}/" for name in components(context.root, path))
    parts = [part for part in pattern.split("/") if part not in ("", ".")]
    # Several `**` in a row mean no more than one, and are as much more work.
    wanted = [part for place, part in enumerate(parts) if not part == "**" == parts[place - 1] or not place]
    if not wanted or ".." in wanted or "\0" in pattern or len(pattern) > LONGEST_PATH:
        raise StepFailed(
            f"pattern {pattern[:200]!r} cannot fit any file", Category.CONFIGURATION, hint='try "**/*.md"'
        )
    expressions = [None if part == "**" else re.compile(fnmatch.translate(part)) for part in wanted]
    hidden = any(part.startswith(".") for part in wanted)
    with directory(context.root, path) as descriptor, reporting(path):
        found = [
            name for name in _walk(descriptor, hidden=hidden) if _fits(name.split("/"), wanted, expressions)
        ]
    return sorted(prefix + name for name in found)


def _walk(start: int, *, hidden: bool) -> Iterator[str]:
    """Yields the regular files below a directory, never entering links. Raises `StepFailed` if too many."""
    pending = [""]
    seen = 0
    while pending:
        current = pending.pop()
        check_wanted()
        for entry in _entries(start, current):
            seen += 1
            if seen > MOST_ENTRIES:
                raise StepFailed(
                    f"more than {MOST_ENTRIES:,} files",
                    Category.RESOURCE,
                    hint="name a directory further down",
                )
            if entry.name.casefold() == STATE_DIRECTORY or (entry.name.startswith(".") and not hidden):
                continue
            if entry.is_file(follow_symlinks=False):
                yield current + entry.name
            elif entry.is_dir(follow_symlinks=False) and current.count("/") < DEEPEST:
                pending.append(f"{current}{entry.name}/")


def _entries(start: int, current: str) -> list[os.DirEntry[str]]:
    """Returns what a directory below `start` holds; nothing if it is gone, a link by now, or not ours."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.dup(start)
    try:
        for name in current.split("/")[:-1]:
            deeper = os.open(name, flags, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = deeper
        with os.scandir(descriptor) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return []
    finally:
        os.close(descriptor)


def _fits(names: list[str], wanted: list[str], expressions: list[re.Pattern[str] | None]) -> bool:
    """Whether the pattern fits the whole path; `**` fits any number of directories, also none."""
    reachable = {0}
    for name in names:
        reachable = _after(reachable, name, wanted, expressions)
    ending = len(wanted)
    while ending and wanted[ending - 1] == "**":
        ending -= 1
    return max(reachable, default=-1) >= ending


def _after(
    places: set[int], name: str, wanted: list[str], expressions: list[re.Pattern[str] | None]
) -> set[int]:
    """Returns where in the pattern one may stand after one more name."""
    following: set[int] = set()
    seen: set[int] = set()
    pending = list(places)
    while pending:
        place = pending.pop()
        if place == len(wanted) or place in seen:
            continue
        seen.add(place)
        expression = expressions[place]
        if expression is None:
            pending.append(place + 1)
            if not name.startswith("."):
                following.add(place)
        elif expression.match(name) and (wanted[place].startswith(".") or not name.startswith(".")):
            following.add(place + 1)
    return following
