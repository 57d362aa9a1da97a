"""The release is made in a working tree of its own, so that yours is as before until the very end.

Everything here may be called again by a retry, or after a crash: each step looks first whether it has been
done. The folder is named by the execution (`TASKMARK_EXECUTION_ID`), so releases never meet in it.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tasks.release.git import Refused, git, repository, succeeds
from tasks.release.versions import write, written

WORKTREES: Final = Path(".release")
"""Under the root, where processes of steps may start; git is told to ignore it."""
CHANGELOG: Final = "CHANGELOG.md"
KEY: Final = "Release-Key"
"""Trailer of the commit: whose it is, so that a second attempt knows the first one's work."""


def prepare(repo: str, plan: Mapping[str, Any]) -> dict[str, str]:
    """Makes the working tree and in it the commit with version and changelog. Raises `Refused`, `Busy`."""
    folder, tree, key = repository(repo), place(), os.environ["TASKMARK_IDEMPOTENCY_KEY"]
    if not is_prepared(tree, key):
        discard(folder, tree)
        WORKTREES.mkdir(exist_ok=True)
        (WORKTREES / ".gitignore").write_text("*\n")
        # Forced twice: git keeps a place locked whose making was interrupted.
        forced = ("--force", "--force", "--detach", "--quiet")
        git(folder, "worktree", "add", *forced, str(tree.resolve()), plan["head"])
        for name in written(tree):
            write(tree, name, plan["version"])
        add_to_changelog(tree / CHANGELOG, plan["changelog"])
        git(tree, "add", "--", CHANGELOG, *written(tree))
        git(tree, "commit", "--quiet", "-m", f"Release {plan['version']}", "-m", f"{KEY}: {key}")
    return {"folder": str(tree), "commit": git(tree, "rev-parse", "HEAD")}


def archive(folder: str, plan: Mapping[str, Any]) -> None:
    """Builds where no command for it is given: the sources as they are committed, as a compressed archive."""
    name = f"{plan['name']}-{plan['version']}"
    target = Path(folder).resolve() / "dist" / f"{name}.tar.gz"
    target.parent.mkdir(exist_ok=True)
    git(Path(folder), "archive", "--format=tar.gz", f"--prefix={name}/", f"--output={target}", "HEAD")


def artefacts(folder: str) -> list[dict[str, Any]]:
    """Returns what was built, with sizes and checksums. Raises `Refused` if that is nothing."""
    built = sorted(
        path for path in (Path(folder) / "dist").glob("*") if path.is_file() and not path.is_symlink()
    )
    if not built:
        raise Refused("the build left nothing in dist/", "let the command of the input `build` write there")
    return [{"path": str(path), "bytes": path.stat().st_size, "sha256": sha256(path)} for path in built]


def clean_up(repo: str) -> dict[str, bool]:
    """Takes the working tree away; what it is not asked for stays."""
    folder, tree = repository(repo), place()
    existed = tree.exists()
    discard(folder, tree)
    return {"removed": existed}


def place() -> Path:
    """Returns the working tree of this execution."""
    name = re.sub(r"[^\w.-]", "-", os.environ["TASKMARK_EXECUTION_ID"])
    return WORKTREES / name.strip(".")


def is_prepared(tree: Path, key: str) -> bool:
    """Whether an earlier attempt has made the commit."""
    return (
        (tree / ".git").is_file()
        and succeeds(tree, "log", "-1", "--quiet")
        and key in git(tree, "log", "-1", f"--format=%(trailers:key={KEY},valueonly)")
    )


def discard(folder: Path, tree: Path) -> None:
    """Takes a working tree away, finished or not, and nothing else."""
    if tree.exists() and not succeeds(
        folder, "worktree", "remove", "--force", "--force", str(tree.resolve())
    ):
        shutil.rmtree(tree)
    git(folder, "worktree", "prune")
    if [path.name for path in WORKTREES.glob("*")] == [".gitignore"]:
        shutil.rmtree(WORKTREES)


def add_to_changelog(path: Path, section: str) -> None:
    """Puts a section above the earlier ones. Raises `Refused` if the changelog is no file of text."""
    if path.is_symlink():
        raise Refused(f"{CHANGELOG} is a link", "make it a file")
    old = path.read_text(encoding="utf-8") if path.exists() else "# Changelog\n"
    first = re.search(r"^## ", old, re.MULTILINE)
    at = first.start() if first else len(old)
    head = old[:at].rstrip("\n")
    path.write_text(f"{head}\n\n{section}\n{old[at:]}".rstrip("\n") + "\n", encoding="utf-8")


def sha256(path: Path) -> str:
    """Returns the checksum of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
