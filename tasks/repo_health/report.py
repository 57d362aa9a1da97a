"""The report: one page of markdown from what the looks at the areas gave."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tasks.repo_health.area import counted
from tasks.repo_health.git import Repository, shown

AREAS: Final = ("history", "tests", "dependencies", "size", "secrets", "todos", "links")
"""In the order of the report."""
FIRST: Final = 3
"""Pieces of advice at the top."""
DEAD: Final = (404, 410)
"""Statuses that say that a page is gone; others, such as 403, may be meant for programs only."""


def describe(repo: str) -> dict[str, Any]:
    """Returns what is examined: one commit, so that all areas see the same. Raises `NotARepository`."""
    repository = Repository.open(repo)
    shallow = repository.ask("rev-parse", "--is-shallow-repository").strip() == b"true"
    name = repository.folder.name
    place = repository.folder.relative_to(Path.cwd().resolve()).as_posix()
    return {
        "name": shown(name),
        "slug": re.sub(r"[^\w.-]+", "-", name if place == "." else place).strip(".-")[-60:] or "repository",
        "commit": repository.commit,
        "date": repository.ask("log", "-1", "--format=%cs", repository.commit, "--").decode().strip(),
        "shallow": shallow,
    }


def render(about: Mapping[str, Any], areas: Mapping[str, Any], web: Any) -> dict[str, Any]:
    """Returns the report, the score of each area, and the mean of them. `web` is what links to the web
    answered, in the order of the addresses; areas that could not be examined are absent."""
    known = {name: areas[name] for name in AREAS if isinstance(areas.get(name), Mapping)}
    scores = {name: area["score"] for name, area in known.items() if area["score"] is not None}
    overall = round(sum(scores.values()) / len(scores)) if scores else None
    missing = [name for name in AREAS if name not in known]
    dead = dead_links(known.get("links", {}), web)
    parts = [
        heading(about, overall, missing),
        overview(known),
        first_things(known),
        *(section(area, dead if name == "links" else []) for name, area in known.items()),
        asked(known.get("links", {}), web),
    ]
    return {
        "markdown": "\n\n".join(filter(None, parts)) + "\n",
        "score": overall,
        "scores": scores,
        "missing": missing,
        "dead_links": len(dead),
    }


def heading(about: Mapping[str, Any], overall: int | None, missing: Sequence[str]) -> str:
    """Returns title, overall score and what to know before reading."""
    lines = [
        f"# Health of {text(about['name'])}",
        f"Commit {about['commit'][:12]} of {about['date']}, as committed: the working tree plays no part.",
        f"**{'No score' if overall is None else f'{overall} of 100'}**, the mean of the areas below.",
    ]
    if about["shallow"]:
        lines.append(
            "The clone is shallow, so its history is not whole: ages and authors are those of what is here."
        )
    if missing:
        lines.append(f"Not examined, because the step failed: {', '.join(missing)}.")
    return "\n\n".join(lines)


def overview(areas: Mapping[str, Any]) -> str:
    """Returns the table of scores."""
    rows = [(area["name"], rating(area["score"]), text(area["summary"])) for area in areas.values()]
    return grid(("area", "score", "in short"), rows)


def first_things(areas: Mapping[str, Any]) -> str:
    """Returns what to do first: the first advice of the areas with the lowest scores."""
    worst = sorted(areas.values(), key=lambda area: 100 if area["score"] is None else area["score"])
    lines = [f"- {text(area['name'])}: {text(area['advice'][0])}." for area in worst if area["advice"]]
    return "\n".join(("What to do first:\n", *lines[:FIRST])) if lines else ""


def asked(links: Mapping[str, Any], web: Any) -> str:
    """Returns how many links to the web were asked for; it follows the section of the links."""
    told = statuses(web)
    if not told:
        return ""
    total = counted(links.get("facts", {}).get("addresses", len(told)), "address", "addresses")
    silent = "" if any(told) else " None answered: this machine may not reach the web, or not be allowed to."
    return f"{len(told):,} of {total} of the web were asked for.{silent}"


def section(area: Mapping[str, Any], dead: Sequence[Sequence[str]]) -> str:
    """Returns an area's own part."""
    rows = [[text(cell) for cell in row] for row in area["rows"]]
    summary = text(area["summary"])
    parts = [f"## {area['name']}: {rating(area['score'])}", f"{summary[:1].upper()}{summary[1:]}."]
    parts += ["\n".join(f"- {text(line)}." for line in area["advice"])] if area["advice"] else []
    parts += [grid(area["columns"], rows)] if rows else []
    parts += [f"… and {area['left_out']:,} more."] if area["left_out"] else []
    parts += [grid(("address", "problem"), [[text(cell) for cell in row] for row in dead])] if dead else []
    parts += ["Cut short: there was no time for all of it."] if area["cut"] else []
    return "\n\n".join(parts)


def dead_links(links: Mapping[str, Any], web: Any) -> list[tuple[str, str]]:
    """Returns the addresses that did not answer, or that answered that the page is gone; none if nothing
    answered at all, which says more about this machine than about them."""
    told = statuses(web)
    found = []
    for url, status in zip(links.get("facts", {}).get("urls", []), told if any(told) else [], strict=False):
        if not status:
            found.append((url, "no answer"))
        elif status in DEAD:
            found.append((url, f"status {status}"))
    return found


def statuses(web: Any) -> list[int]:
    """Returns the statuses that addresses answered with, 0 for no answer."""
    answers = web if isinstance(web, list) else []
    return [int(one.get("status") or 0) if isinstance(one, Mapping) else 0 for one in answers]


def rating(score: int | None) -> str:
    """Returns a score as it is shown."""
    return "nothing to judge" if score is None else str(score)


def grid(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns a markdown table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def text(value: str) -> str:
    """Returns a text of the repository's as markdown that shows it and does nothing else."""
    return re.sub(r"([\\`*_\[\]|~])", r"\\\1", html.escape(value, quote=False))
