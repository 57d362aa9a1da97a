"""Who works on the repository, how lately, and what was left lying."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from tasks.repo_health.area import Area, counted, points, table
from tasks.repo_health.git import Repository, shown

MOST_COMMITS: Final = 50_000
"""Read from the newest; older ones are only counted."""
MOST_BRANCHES: Final = 1000
DAY: Final = 86_400
RECENT_DAYS: Final = 365
STALE_DAYS: Final = 180
ENOUGH_COMMITS: Final = 20
"""In the last year, to say by them who works on it."""
NEWEST: Final = 100
"""Commits by which it is said if they are fewer."""
MEANT_TO_STAY: Final = re.compile(
    r"(gh-pages|main|master|trunk|stable|develop(ment)?|production|"
    r"(releases?|stable|maint|maintenance|support|lts)[/-].+|v?\d+([.-]\d+)*([.-]x)?)$",
    re.IGNORECASE,
)
"""Branches that are kept on purpose: pages, and lines of older versions."""


@dataclass(frozen=True)
class Commit:
    """One commit that is no merge."""

    time: int
    """Seconds since 1970, as the author's clock had it."""
    author: str
    email: str


@dataclass(frozen=True)
class Branch:
    """The tip of a branch."""

    name: str
    time: int
    author: str


def examine(repo: str, commit: str) -> Area:
    """Looks at commits, authors and branches."""
    repository = Repository.open(repo, commit)
    now = datetime.now(UTC).timestamp()
    everything, total = commits(repository), count(repository)
    recent = [one for one in everything if now - one.time <= RECENT_DAYS * DAY]
    enough = len(recent) >= ENOUGH_COMMITS
    factor = bus_factor([one for one in (recent if enough else everything[:NEWEST]) if not is_bot(one)])
    basis = "the commits of the last year" if enough else f"the newest {min(total, NEWEST):,} commits"
    stale = [
        one
        for one in branches(repository)
        if now - one.time > STALE_DAYS * DAY and not MEANT_TO_STAY.match(one.name)
    ]
    last = (now - max((one.time for one in everything), default=0)) / DAY
    score = (
        points(last, none_at=730, all_at=90, most=40)
        + points(factor, none_at=0, all_at=3, most=40)
        + points(len(stale), none_at=10, all_at=0, most=20)
    )
    return Area(
        "History",
        score,
        f"{counted(total, 'commit')} by {counted(len({one.email for one in everything}), 'author')}, "
        f"{len(recent):,} in the last year, the last {age(last)} ago; "
        f"{counted(factor, 'person', 'people')} wrote half of {basis} (bus factor)",
        advice(factor, basis, last, stale),
        ("stale branch", "last commit", "by"),
        **table([(shown(one.name), day(one.time), shown(one.author, 40)) for one in stale]),
        facts=facts(total, recent, factor, stale) | {"days_since_last": round(last, 1)},
    )


def commits(repository: Repository) -> list[Commit]:
    """Returns the newest commits that are no merges, newest first."""
    words = ("log", "--no-merges", f"--max-count={MOST_COMMITS}", "-z", "--format=%at%x09%aE%x09%aN")
    records = repository.ask(*words, repository.commit, "--").decode("utf-8", "replace").split("\0")
    parted = [record.split("\t", 2) for record in records if record]
    return [Commit(int(time or 0), name, email.lower()) for time, email, name in parted]


def count(repository: Repository) -> int:
    """Returns how many commits there are, merges included."""
    return int(repository.ask("rev-list", "--count", repository.commit, "--"))


def branches(repository: Repository) -> list[Branch]:
    """Returns the branches here and on remotes, each name once, the one HEAD is on left out, oldest first."""
    fields = "%(refname)%09%(symref)%09%(committerdate:unix)%09%(authorname)"
    words = ("for-each-ref", f"--count={MOST_BRANCHES}", "--sort=committerdate", f"--format={fields}")
    lines = repository.ask(*words, "refs/heads", "refs/remotes").decode("utf-8", "replace").splitlines()
    found: dict[str, Branch] = {}
    for line in lines:
        ref, symbolic, time, author = line.split("\t", 3)
        name = ref.split("/", 2 if ref.startswith("refs/heads/") else 3)[-1]
        if not symbolic and time:
            found[name] = Branch(name, int(time), author)
    at_head = repository.ask("for-each-ref", f"--points-at={repository.commit}", "--format=%(refname)")
    on_head = {ref.rpartition("/")[2] for ref in at_head.decode("utf-8", "replace").splitlines()}
    return [branch for branch in found.values() if branch.name not in on_head]


def is_bot(commit: Commit) -> bool:
    """Whether a program signs as the author."""
    return "[bot]" in commit.author or "[bot]" in commit.email


def bus_factor(people: Sequence[Commit]) -> int:
    """Returns how many authors it takes to have written half of the commits."""
    written = Counter(one.email for one in people)
    seen = 0
    for place, (_, share) in enumerate(written.most_common(), 1):
        seen += share
        if seen * 2 >= len(people):
            return place
    return 0


def advice(factor: int, basis: str, last_days: float, stale: Sequence[Branch]) -> list[str]:
    """Returns what to do about it."""
    found = []
    if factor == 1:
        found.append(f"One person wrote half of {basis}: have somebody else review and release")
    if last_days > STALE_DAYS:
        found.append("Say in the README whether this is finished, looked after or abandoned")
    if stale:
        found.append(f"Merge or delete {counted(len(stale), 'branch', 'branches')} older than half a year")
    return found


def facts(total: int, recent: Sequence[Commit], factor: int, stale: Sequence[Branch]) -> dict[str, Any]:
    """Returns the numbers."""
    return {
        "commits": total,
        "recent_commits": len(recent),
        "recent_authors": len({one.email for one in recent}),
        "bus_factor": factor,
        "stale_branches": len(stale),
    }


def day(time: int) -> str:
    """Returns the date of a time; clocks of authors say anything."""
    try:
        return datetime.fromtimestamp(time, UTC).date().isoformat()
    except (ValueError, OverflowError, OSError):
        return "unknown"


def age(days: float) -> str:
    """Returns how long ago something was."""
    if days < 1:
        return "less than a day"
    return counted(round(days), "day") if days < 365 * 2 else counted(round(days / 365.25), "year")
