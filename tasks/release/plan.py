"""What the release will be: its version, and what has changed since the last one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from tasks.release.git import Refused, git, repository, succeeds
from tasks.release.versions import Version, written

CONVENTIONAL: Final = re.compile(r"(?P<type>[a-z]+)(?:\((?P<scope>[^)]*)\))?(?P<breaking>!)?: (?P<what>.+)")
SECTIONS: Final = {"feat": "Features", "fix": "Fixes", "perf": "Performance", "docs": "Documentation"}
"""By type of conventional commits; everything else is a change."""
BREAKING: Final = "Breaking changes"
CHANGES: Final = "Changes"
MOST_ENTRIES: Final = 200
LONGEST_SUBJECT: Final = 200


@dataclass(frozen=True)
class Change:
    """One commit, as the changelog has it."""

    section: str
    text: str


def plan(repo: str, bump: str) -> dict[str, Any]:
    """Says what will be released from the newest commit. Changes nothing. Raises `Refused`."""
    folder = repository(repo)
    if not succeeds(folder, "rev-parse", "--verify", "--quiet", "HEAD"):
        raise Refused(f"{repo!r} has no commit yet")
    if not succeeds(folder, "symbolic-ref", "--quiet", "HEAD"):
        raise Refused("no branch is checked out", "git switch to the branch to release from")
    if changes := git(folder, "status", "--porcelain", "--untracked-files=no"):
        raise Refused(f"there are changes that are not committed:\n{changes[:500]}", "commit or stash them")
    last = last_release(folder)
    current = current_version(folder, last)
    new = current.bumped(bump)
    if succeeds(folder, "rev-parse", "--verify", "--quiet", f"refs/tags/v{new}"):
        raise Refused(
            f"the tag v{new} exists already", "give another bump, or correct the version in the files"
        )
    found = list(changes_since(folder, last))
    if not found:
        raise Refused(f"nothing was committed since {last}", "there is nothing to release")
    return {
        "name": folder.name,
        "previous": str(current),
        "version": str(new),
        "tag": f"v{new}",
        "head": git(folder, "rev-parse", "HEAD"),
        "branch": git(folder, "symbolic-ref", "--short", "HEAD"),
        "summary": summary(folder.name, current, new, found),
        "changelog": changelog(str(new), found),
    }


def last_release(folder: Path) -> str:
    """Returns the highest version tag that the newest commit contains, or nothing."""
    tags = git(folder, "tag", "--list", "v*", "--merged", "HEAD").splitlines()
    versions = [Version.parse(tag[1:]) for tag in tags if re.fullmatch(r"v\d+\.\d+\.\d+", tag)]
    return f"v{max(versions)}" if versions else ""


def current_version(folder: Path, last: str) -> Version:
    """Returns the version in the project's files, else that of the last tag. Raises `Refused`."""
    found = written(folder)
    if len(set(found.values())) > 1:
        said = ", ".join(f"{name} says {version}" for name, version in found.items())
        raise Refused(f"the files do not agree on the version: {said}", "make them the same")
    return Version.parse(next(iter(found.values()), last[1:] or "0.0.0"))


def changes_since(folder: Path, last: str) -> Iterator[Change]:
    """Yields the commits since the last release, newest first; merges say nothing of their own."""
    since = [f"{last}..HEAD"] if last else ["HEAD"]
    log = git(folder, "log", "--no-merges", "-z", "--format=%s%n%b", *since, "--")
    for message in filter(None, log.split("\0")):
        subject, _, body = message.partition("\n")
        yield change(subject, body)


def change(subject: str, body: str) -> Change:
    """Returns the entry for a commit, whether it keeps to conventional commits or not."""
    found = CONVENTIONAL.fullmatch(subject.strip())
    text = subject.strip() if found is None else found["what"]
    scope = f"**{found['scope']}:** " if found is not None and found["scope"] else ""
    entry = f"{scope}{text[:1].upper()}{text[1:LONGEST_SUBJECT]}"
    if (found is not None and found["breaking"]) or re.search(r"^BREAKING[ -]CHANGE: ", body, re.MULTILINE):
        return Change(BREAKING, entry)
    return Change(SECTIONS.get(found["type"], CHANGES) if found is not None else CHANGES, entry)


def summary(name: str, current: Version, new: Version, changes: Sequence[Change]) -> str:
    """Returns what somebody who is to approve it has to know, on one line."""
    breaking = sum(one.section == BREAKING for one in changes)
    number = f"{len(changes):,} change{'' if len(changes) == 1 else 's'}"
    return f"{name} {new} (before: {current}) with {number}, {breaking or 'none'} of them breaking"


def changelog(version: str, changes: Sequence[Change]) -> str:
    """Returns the release's part of the changelog."""
    lines = [f"## {version} - {datetime.now(UTC).date().isoformat()}"]
    shown = changes[:MOST_ENTRIES]
    for section in (BREAKING, *SECTIONS.values(), CHANGES):
        entries = [f"- {one.text}" for one in shown if one.section == section]
        lines += ["", f"### {section}", "", *entries] if entries else []
    if len(changes) > MOST_ENTRIES:
        lines += ["", f"… and {len(changes) - MOST_ENTRIES:,} earlier commits."]
    return "\n".join(lines) + "\n"
