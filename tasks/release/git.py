"""Git as the owner of the repository would call it: with their own settings, but never with a question."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Final

NO_QUESTIONS: Final = {"GIT_TERMINAL_PROMPT": "0", "GIT_EDITOR": "true", "LC_ALL": "C"}
BUSY: Final = ("index.lock", "cannot lock ref", ".lock': File exists")
"""What git says while another git process writes to the same repository."""


class Refused(ValueError):
    """The release cannot be made as things are; trying again changes nothing."""

    category = "logic"

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class Busy(RuntimeError):
    """Another process is writing to the same place; it will be done in a moment."""

    category = "transient"
    hint = "if no other process is at work, its lock is stale: delete the file named here"


def git(folder: Path, *words: str) -> str:
    """Returns what a git command prints. Raises `Busy` if another one holds a lock, else `Refused`."""
    done = _run(folder, words)
    if done.returncode == 0:
        return done.stdout.strip("\n")
    said = (done.stderr.strip() or done.stdout.strip())[:1000]
    if any(sign in said for sign in BUSY):
        raise Busy(f"git {words[0]}: {said}")
    if "Please tell me who you are" in said or "empty ident" in said:
        raise Refused("git knows no name for the release's commit", "git config user.name and user.email")
    raise Refused(f"git {words[0]}: {said}")


def succeeds(folder: Path, *words: str) -> bool:
    """Whether a git command that only asks a question says yes."""
    return _run(folder, words).returncode == 0


def repository(path: str) -> Path:
    """Returns the top folder of a repository under the current directory. Raises `Refused`."""
    root, folder = Path.cwd().resolve(), Path(path).resolve()
    if not folder.is_relative_to(root) or not folder.is_dir():
        raise Refused(f"{path!r} is no folder under the root", "give a folder under the setting `root`")
    if not succeeds(folder, "rev-parse", "--git-dir"):
        raise Refused(f"{path!r} is no git repository", "run `git init` there, or give another folder")
    top = Path(git(folder, "rev-parse", "--show-toplevel")).resolve()
    if top != folder:
        raise Refused(
            f"{path!r} is a folder inside of the repository {top}", "give the repository's top folder"
        )
    return folder


def _run(folder: Path, words: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["git", "--no-pager", "-C", str(folder), *words],
        env=os.environ | NO_QUESTIONS | {"GIT_CEILING_DIRECTORIES": str(Path.cwd().resolve().parent)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
