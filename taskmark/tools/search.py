"""`search-files`: lines that a regular expression is found in, or those that words fit best.

Both are done by a script in a process of its own: an expression may never end, and ranking takes computing
that would keep the worker from everything else.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from pydantic import Field, field_validator, model_validator

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
RANKER: Final = (sys.executable, "-I", "-S", str(Path(__file__).with_name("rank.py")))
SECONDS: Final = 30.0
LARGEST_FILE: Final = 4 * 1024**2
MOST_TEXT: Final = 64 * 1024**2
MOST_WORDS: Final = 32
"""Of a query; the others are left out."""
_WORD: Final = re.compile(r"[^\W_]+")


class SearchFilesParameters(Arguments):
    """Where to look, and for what."""

    path: str = Field(default=".", description="A file or directory under the root")
    pattern: str | None = Field(default=None, description="A regular expression, looked for in each line")
    query: str | None = Field(
        default=None, max_length=1000, description="Words, as people type them: what fits best comes first"
    )
    files: str = Field(default="**/*", description="Which files of a directory")
    max_matches: int = Field(default=1000, ge=1, le=10_000, description="Of a pattern")
    limit: int = Field(default=20, ge=1, le=1000, description="Places that a query finds, at most")

    @field_validator("pattern")
    @classmethod
    def _is_expression(cls, pattern: str | None) -> str | None:
        """The problem is named before a process is started for it."""
        try:
            re.compile(pattern or "")
        except (re.error, RecursionError, OverflowError) as error:
            raise ValueError(f"no regular expression: {error}") from error
        return pattern

    @field_validator("query")
    @classmethod
    def _has_words(cls, query: str | None) -> str | None:
        """Without any, nothing could fit."""
        if query is not None and not _words(query):
            raise ValueError("it has no words")
        return query

    @model_validator(mode="after")
    def _one_question(self) -> Self:
        """Of two questions one would go unanswered, and a limit of the other one unheeded."""
        if (self.pattern is None) == (self.query is None):
            raise ValueError('give "pattern" or "query"')
        if "limit" in self.model_fields_set and self.query is None:
            raise ValueError('"limit" is for a query; of a pattern it is "maxMatches"')
        if "max_matches" in self.model_fields_set and self.pattern is None:
            raise ValueError('"maxMatches" is for a pattern; of a query it is "limit"')
        return self

    @property
    def most(self) -> int:
        """How many matches are returned at most."""
        return self.limit if self.pattern is None else self.max_matches

    @property
    def request(self) -> dict[str, Json]:
        """Returns what the script is told."""
        if self.pattern is None:
            return {"words": _words(self.query or ""), "most": self.most}
        return {"pattern": self.pattern, "most": self.most}


def _words(query: str) -> list[str]:
    """Returns the distinct words of a query, in lower case."""
    return list(dict.fromkeys(_WORD.findall(query.lower())))[:MOST_WORDS]


class SearchFiles(Tool[SearchFilesParameters]):
    """Searches text files. Binary files, links and files above 4 MiB are left out."""

    name = "search-files"
    parameters = SearchFilesParameters
    effects = False

    def __init__(self, limits: ProcessLimits | None = None) -> None:
        self._limits = limits or ProcessLimits(kept=16 * 1024**2, grace=0.2)

    async def execute(self, parameters: SearchFilesParameters, context: StepContext) -> Json:
        """Returns `matches` (file, line, text; of a query also `score`, by which they are sorted), how many
        `files` were searched, and `truncated`: whether there may be more.

        The search takes at most 30 s. Raises `StepFailed`.
        """
        text = await asyncio.to_thread(gather, context, parameters)
        script = RANKER if parameters.pattern is None else SCANNER
        command = Command(script, stdin=text.content(parameters.request), timeout=SECONDS, says=False)
        ended = await run(command, context, self._limits)
        if ended.exit_code:
            raise StepFailed(f"search-files: {ended.reason}")
        found = [json.loads(line) for line in ended.stdout.text.splitlines()]
        matches = _fitting(found)
        truncated = text.truncated or len(matches) < len(found) or len(found) == parameters.most
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

    def content(self, request: dict[str, Json]) -> bytes:
        """Returns it as the scripts read it, after what they are told to do."""
        parts = [json.dumps(request).encode() + b"\n"]
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
