"""Files that a repository would be lighter without."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from tasks.repo_health.area import Area, counted, table
from tasks.repo_health.git import Blob, Repository, shown

MIB: Final = 1024 * 1024
GENERATED: Final = re.compile(
    r"(^|/)(node_modules|__pycache__|\.venv|\.tox|\.mypy_cache|\.pytest_cache|[^/]+\.egg-info)/"
    r"|\.(pyc|pyo|class|o|obj|swp)$|(^|/)(\.DS_Store|Thumbs\.db)$"
)
"""Paths of what programs make again by themselves."""


def examine(repo: str, commit: str, large_mib: float) -> Area:
    """Looks for large files, and for files that a build or an editor made."""
    repository = Repository.open(repo, commit)
    files = repository.files()
    large = sorted((one for one in files if one.size > large_mib * MIB), key=lambda one: -one.size)
    made = [one for one in files if GENERATED.search(one.path)]
    packed = packed_bytes(repository)
    total = sum(one.size for one in files)
    return Area(
        "Size",
        max(100 - 10 * len(large) - 10 * len({kind(one) for one in made}), 0),
        f"{counted(len(files), 'file')} of {total / MIB:,.1f} MiB, a history of {packed / MIB:,.1f} MiB; "
        f"{counted(len(large), 'file')} above {large_mib:g} MiB, {len(made):,} that a program makes again",
        advice(large, made),
        ("file", "MiB", "why"),
        **table(
            [(shown(one.path), f"{one.size / MIB:.1f}", "large") for one in large]
            + [(shown(one.path), f"{one.size / MIB:.1f}", "made again by a program") for one in made]
        ),
        facts={"files": len(files), "bytes": total, "large_files": len(large), "generated_files": len(made)},
    )


def packed_bytes(repository: Repository) -> int:
    """Returns what the objects take on disk."""
    lines = repository.ask("count-objects", "-v").decode().splitlines()
    sizes = {
        name: int(value) for name, _, value in (line.partition(": ") for line in lines) if value.isdigit()
    }
    return 1024 * (sizes.get("size", 0) + sizes.get("size-pack", 0))


def kind(blob: Blob) -> str:
    """Returns what sort of generated file it is: its folder's kind, or its ending."""
    found = GENERATED.search(blob.path)
    return found.group(0).strip("/") if found else ""


def advice(large: Sequence[Blob], made: Sequence[Blob]) -> list[str]:
    """Returns what to do about it."""
    found = []
    if large:
        found.append("Keep large files in Git LFS, or publish them beside a release")
    if made:
        found.append("Name what programs make in `.gitignore` and take it out with `git rm -r --cached`")
    return found
