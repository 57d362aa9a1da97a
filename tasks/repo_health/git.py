"""Questions to git about one commit, asked so that the repository cannot answer with a command of its own.

A repository may come from a stranger. Only objects are read, never the working tree: so no filter, hook or
link in it has a say, and uncommitted changes play no part.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

QUIET: Final = (
    "--no-pager",
    "--literal-pathspecs",
    *("-c", "core.fsmonitor=false"),
    *("-c", "core.hooksPath=/dev/null"),
    *("-c", "log.showSignature=false"),
    *("-c", "blame.ignoreRevsFile="),
    *("-c", "core.quotePath=false"),
)
"""Settings that could start a program or change what is printed, overruled."""
ENVIRONMENT: Final = {
    "LC_ALL": "C",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ALLOW_PROTOCOL": "none",  # a partial clone would fetch what it lacks
}
REGULAR_MODES: Final = ("100644", "100755")
"""Files; links and submodules are neither followed nor read."""
LARGEST_TEXT: Final = 1024 * 1024
"""Bytes; what is larger is no text that a person wrote."""
BINARY_PROBE: Final = 8000
"""Bytes in which a NUL means binary, as git itself decides it."""


class NotARepository(ValueError):
    """There is no git repository at this path, or none that may be read."""

    category = "logic"
    hint = "give the top folder of a git repository under the root (setting `root`), with at least one commit"


class GitFailed(RuntimeError):
    """Git refused, or took too long."""

    category = "logic"


@dataclass(frozen=True)
class Blob:
    """A file of the commit. Bytes of its path that are not UTF-8 are surrogates."""

    path: str
    object: str
    size: int
    """Bytes."""

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]

    @property
    def suffix(self) -> str:
        """`.py` and the like, in lower case, or nothing."""
        return os.path.splitext(self.name)[1].lower()


@dataclass
class Deadline:
    """How long a look at something may take; afterwards it says that it was cut short."""

    seconds: float
    cut: bool = False
    _began: float = field(default_factory=time.monotonic)

    @property
    def left(self) -> float:
        """Seconds; once they are used up, the look counts as cut short."""
        left = self.seconds - (time.monotonic() - self._began)
        self.cut = self.cut or left <= 0
        return max(left, 0.0)


@dataclass(frozen=True)
class Repository:
    """One commit of a repository."""

    folder: Path
    commit: str

    @classmethod
    def open(cls, path: str, commit: str = "HEAD") -> Repository:
        """Returns the repository at this path under the current directory. Raises `NotARepository`."""
        root, folder = Path.cwd().resolve(), Path(path).resolve()
        if not folder.is_relative_to(root):
            raise NotARepository(f"{path!r} is outside of the root")
        if not folder.is_dir():
            raise NotARepository(f"{path!r} is no folder")
        found = cls(folder, commit)
        try:
            inside = found.ask("rev-parse", "--absolute-git-dir", "--git-common-dir").decode().splitlines()
            named = found.ask("rev-parse", "--verify", f"{commit}^{{commit}}").decode().strip()
        except GitFailed as error:
            raise NotARepository(f"{path!r} is no git repository with a commit: {error}") from error
        if not all((folder / place).resolve().is_relative_to(root) for place in inside):
            raise NotARepository(f"{path!r} keeps its history outside of the root")
        return cls(folder, named)

    def ask(self, *words: str, seconds: float = 60.0) -> bytes:
        """Returns what a git command prints. Raises `GitFailed`."""
        try:
            done = subprocess.run(
                self._line(words),
                env=self._environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=max(seconds, 0.1),
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise GitFailed(f"git {words[0]} took more than {seconds:.0f} s") from error
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip().splitlines()
            raise GitFailed(f"git {words[0]}: {said[0][:300] if said else f'exit code {done.returncode}'}")
        return done.stdout

    def files(self) -> list[Blob]:
        """Returns the files of the commit, in the order of their paths."""
        entries = self.ask("ls-tree", "-r", "-z", "--long", "--full-tree", self.commit).split(b"\0")
        return [blob for entry in entries if entry and (blob := _blob(entry)) is not None]

    def texts(self, blobs: Iterable[Blob], deadline: Deadline) -> Iterator[tuple[Blob, str]]:
        """Yields the files that are text, as long as there is time. Bytes that are not UTF-8 are replaced."""
        wanted = [blob for blob in blobs if 0 < blob.size <= LARGEST_TEXT]
        with subprocess.Popen(
            self._line(("cat-file", "--batch")),
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        ) as process:
            for blob in wanted:
                if not deadline.left:
                    break
                content = _content(process, blob)
                if content is not None and b"\0" not in content[:BINARY_PROBE]:
                    yield blob, content.decode("utf-8", "replace")
            process.terminate()

    def text(self, path: str, files: Sequence[Blob]) -> str:
        """Returns the text of one file, or nothing if there is no such text file."""
        found = [blob for blob in files if blob.path == path]
        return next((text for _, text in self.texts(found, Deadline(10))), "")

    def _line(self, words: Sequence[str]) -> list[str]:
        return ["git", *QUIET, "-C", str(self.folder), *words]

    @property
    def _environment(self) -> dict[str, str]:
        """Little of ours; no repository is looked for above the folder."""
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "GIT_CEILING_DIRECTORIES": str(self.folder.parent),
            **ENVIRONMENT,
        }


def shown(text: str, longest: int = 120) -> str:
    """Returns a text of the repository's on one line: control characters escaped, and no longer than that."""
    line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[: longest + 1])
    return line if len(line) <= longest else line[: longest - 1] + "…"


def _blob(entry: bytes) -> Blob | None:
    """Reads one line of `ls-tree --long`: mode, type, object, size, tab, path."""
    about, _, path = entry.partition(b"\t")
    mode, _, name, size = about.decode().split()
    if mode not in REGULAR_MODES:
        return None
    return Blob(path.decode("utf-8", "surrogateescape"), name, int(size))


def _content(process: subprocess.Popen[bytes], blob: Blob) -> bytes | None:
    """Asks a running `cat-file --batch` for one file; nothing if the repository lacks it."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(blob.object.encode() + b"\n")
    process.stdin.flush()
    heading = process.stdout.readline().split()
    if len(heading) != 3:
        return None
    return process.stdout.read(int(heading[2]) + 1)[:-1]
