"""What cannot be taken back: the branch, the tag, the registry. Each may be done again and is done once."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from tasks.release.git import Busy, Refused, git, repository, succeeds
from tasks.release.worktree import sha256

INDEX: Final = "index.json"
LOCK: Final = ".lock"


def advance_branch(repo: str, plan: Mapping[str, Any], commit: str) -> dict[str, Any]:
    """Moves the branch, and your working tree with it, to the release's commit.

    Raises `Refused` if somebody has committed meanwhile, and `Busy` while another git process is at work.
    """
    folder = repository(repo)
    if succeeds(folder, "merge-base", "--is-ancestor", commit, "HEAD"):
        return {"commit": commit, "moved": False}
    if git(folder, "symbolic-ref", "--short", "HEAD") != plan["branch"]:
        raise Refused(f"another branch than {plan['branch']} is checked out", f"git switch {plan['branch']}")
    if git(folder, "rev-parse", "HEAD") != plan["head"]:
        raise Refused("there are commits that the release does not have", "begin a new release")
    git(folder, "merge", "--ff-only", "--quiet", commit)
    return {"commit": commit, "moved": True}


def tag(repo: str, plan: Mapping[str, Any], commit: str) -> dict[str, Any]:
    """Tags the release's commit. Raises `Refused` if the tag is on another one."""
    folder, name = repository(repo), plan["tag"]
    if succeeds(folder, "rev-parse", "--verify", "--quiet", f"refs/tags/{name}"):
        if git(folder, "rev-parse", f"refs/tags/{name}^{{commit}}") != commit:
            raise Refused(f"the tag {name} is on another commit", f"look at it with git show {name}")
        return {"tag": name, "made": False}
    git(folder, "tag", "--annotate", "--cleanup=verbatim", "-m", plan["changelog"], name, commit)
    return {"tag": name, "made": True}


def upload(artefacts: Sequence[Mapping[str, Any]], plan: Mapping[str, Any], registry: str) -> dict[str, Any]:
    """Copies the artefacts to the registry, a folder under the root, as a version that never changes again.

    Raises `Busy` while somebody else uploads, and `Refused` if the version is there with other contents.
    """
    folder = Path(registry).resolve()
    if not folder.is_relative_to(Path.cwd().resolve()):
        raise Refused(f"the registry {registry!r} is outside of the root")
    if folder.exists() and not folder.is_dir():
        raise Refused(f"the registry {registry!r} is no folder", "move what is there, then retry")
    folder.mkdir(parents=True, exist_ok=True)
    files = {Path(one["path"]).name: one["sha256"] for one in artefacts}
    with locked(folder):
        index = read_index(folder)
        there = index.setdefault(plan["name"], {}).get(plan["version"])
        if there not in (None, files):
            raise Refused(f"{plan['name']} {plan['version']} is in the registry with other contents")
        target = folder / plan["name"] / plan["version"]
        if there is None:
            target.mkdir(parents=True, exist_ok=True)
            for one in artefacts:
                copy(Path(one["path"]), target, one["sha256"])
            index[plan["name"]][plan["version"]] = files
            replace(folder / INDEX, json.dumps(index, indent=2) + "\n")
    return {"folder": os.path.join(registry, plan["name"], plan["version"]), "uploaded": there is None}


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Holds the registry's lock, which the system lets go of when its holder dies. Raises `Busy`."""
    with (folder / LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Busy(f"somebody else is uploading to {folder.name} and holds {LOCK}") from error
        yield


def read_index(folder: Path) -> dict[str, dict[str, dict[str, str]]]:
    """Returns the checksums of all files, by project, version and name. Raises `Refused`."""
    try:
        found = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise Refused(f"{folder.name}/{INDEX} is no JSON: {error}", "repair it") from error
    if not isinstance(found, dict):
        raise Refused(f"{folder.name}/{INDEX} is no index of a registry")
    return found


def copy(source: Path, target: Path, checksum: str) -> None:
    """Puts a file in place, whole or not at all. Raises `Refused` if it is not what was approved."""
    partial = target / f".{source.name}.part"
    shutil.copyfile(source, partial)
    if sha256(partial) != checksum:
        partial.unlink()
        raise Refused(f"{source.name} has changed since it was approved", "begin a new release")
    partial.replace(target / source.name)


def replace(path: Path, text: str) -> None:
    """Writes a file, whole or not at all."""
    partial = path.with_name(f".{path.name}.part")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
