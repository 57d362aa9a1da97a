"""`search-files`: lines that a regular expression is found in."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import Field, field_validator

from taskmark.contracts import ADAPTER_LIMIT
from taskmark.errors import StepFailed
from taskmark.ports import Health, StepContext, Tool
from taskmark.task.model import Json
from taskmark.tools.confinement import open_file
from taskmark.tools.listing import find
from taskmark.tools.processes import Command, ProcessLimits, launcher_health, run
from taskmark.tools.sizes import json_size
from taskmark.tools.validation import Arguments

SCANNER: Final = (sys.executable, "-I", "-S", str(Path(__file__).with_name("scan.py")))
SECONDS: Final = 30.0
LARGEST_FILE: Final = 4 * 1024**2
MOST_TEXT: Final = 64 * 1024**2


class SearchFilesParameters(Arguments):
    """Where to look, and for what."""

    path: str = Field(default=".", description="A file or directory under the root")
    pattern: str = Field(description="A regular expression, looked for in each line")
    files: str = Field(default="**/*", description="Which files of a directory")
    max_matches: int = Field(default=1000, ge=1, le=10_000)

    @field_validator("pattern")
    @classmethod
    def _is_expression(cls, pattern: str) -> str:
        """The problem is named before a process is started for it."""
        try:
            re.compile(pattern)
        except (re.error, RecursionError, OverflowError) as error:
            raise ValueError(f"no regular expression: {error}") from error
        return pattern


class SearchFiles(Tool[SearchFilesParameters]):
    """Searches text files. Binary files, links and files above 4 MiB are left out."""

    name = "search-files"
    parameters = SearchFilesParameters
    effects = False

    def __init__(self, limits: ProcessLimits | None = None) -> None:
        self._limits = limits or ProcessLimits(kept=16 * 1024**2, grace=0.2)

    async def execute(self, parameters: SearchFilesParameters, context: StepContext) -> Json:
        """Returns `matches` (file, line, text), how many `files` were searched, and `truncated`: whether
        there may be more.

        The search runs in a process of its own for at most 30 s, because a pattern may never end. Raises
        `StepFailed`.
        """
        text = await asyncio.to_thread(gather, context, parameters)
        command = Command(SCANNER, stdin=text.content(parameters), timeout=SECONDS)
        ended = await run(command, context, self._limits)
        if ended.exit_code:
            raise StepFailed(f"search-files: {ended.reason}")
        found = [json.loads(line) for line in ended.stdout.text.splitlines()]
        matches = _fitting(found)
        truncated = text.truncated or len(matches) < len(found) or len(found) == parameters.max_matches
        return {"matches": matches, "files": len(text.chunks), "truncated": truncated}

    def estimate_duration(self, parameters: SearchFilesParameters) -> float:
        """Seconds, for a project of usual size."""
        return 1.0

    async def health_check(self) -> Health:
        """Whether processes can be started."""
        return await launcher_health()


@dataclass(frozen=True)
class Text:
    """What is to be searched."""

    chunks: tuple[tuple[str, bytes], ...]
    """File and content."""
    truncated: bool
    """Whether there is more than is searched at one time."""

    def content(self, parameters: SearchFilesParameters) -> bytes:
        """Returns it as the scanner reads it."""
        request = json.dumps({"pattern": parameters.pattern, "most": parameters.max_matches})
        parts = [request.encode() + b"\n"]
        for file, content in self.chunks:
            parts += json.dumps({"file": file, "bytes": len(content)}).encode(), b"\n", content
        return b"".join(parts)


def gather(context: StepContext, parameters: SearchFilesParameters) -> Text:
    """Reads the text files that are to be searched. Raises `StepFailed`."""
    chunks: list[tuple[str, bytes]] = []
    total = 0
    for file in _candidates(context, parameters):
        content = _text_of(context, file)
        if content is None:
            continue
        if total + len(content) > MOST_TEXT:
            return Text(tuple(chunks), truncated=True)
        total += len(content)
        chunks.append((file, content))
    return Text(tuple(chunks), truncated=False)


def _candidates(context: StepContext, parameters: SearchFilesParameters) -> list[str]:
    """Returns the files in question: one that is named, else those of the directory."""
    try:
        os.close(open_file(context.root, parameters.path))
    except StepFailed:
        return find(context, parameters.path, parameters.files)
    return [parameters.path]


def _text_of(context: StepContext, file: str) -> bytes | None:
    """Returns a file's content, or nothing if it is binary, too large, unreadable or gone."""
    try:
        with open(open_file(context.root, file), "rb") as opened:
            content = opened.read(LARGEST_FILE + 1)
    except StepFailed:
        return None
    return None if len(content) > LARGEST_FILE or b"\0" in content[:8192] else content


def _fitting(found: list[Json]) -> list[Json]:
    """Returns the first matches, as many as an adapter may return."""
    budget = ADAPTER_LIMIT - 1024
    for number, match in enumerate(found):
        budget -= json_size(match) + 1
        if budget < 0:
            return found[:number]
    return found
