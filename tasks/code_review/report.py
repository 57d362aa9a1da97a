"""The review as a page: what the reviewers say together, and where."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

from tasks.code_review.diff import parse

SEVERITIES: Final = ("high", "medium", "low")
LONGEST: Final = 600
"""Characters of what a reviewer says at once."""


@dataclass(frozen=True)
class Said:
    """A finding, and which of the reviewers told it."""

    severity: str
    file: str
    line: int
    message: str
    by: str


def render(
    *,
    base: str,
    branch: str,
    reviews: Mapping[str, Mapping[str, Any] | None],
    vote: Mapping[str, Any],
    files: Sequence[Mapping[str, Any]],
    left_out: Sequence[Mapping[str, str]],
    diff: str,
) -> dict[str, Any]:
    """Returns `verdict`, `counts` by severity, and the page as `markdown`.

    The verdict is what most reviewers say; changes on a tie, or if anything is of high severity. Findings
    at places that the diff does not have are told apart, and count for nothing.
    """
    known, elsewhere = _placed(_all(reviews), diff)
    counts = {severity: sum(one.severity == severity for one in known) for severity in SEVERITIES}
    approved = vote.get("winner") == "approve" and not vote.get("tie") and not counts["high"]
    verdict = "approve" if approved else "changes"
    parts = (
        f"# Review of `{_shown(branch)}` against `{_shown(base)}`",
        _headline(verdict, vote, counts),
        _table(("reviewer", "verdict", *SEVERITIES, "says"), _rows(reviews, known)),
        *_findings(known),
        *_elsewhere(elsewhere),
        "## What was reviewed",
        _table(
            ("file", "added", "deleted"),
            [(f"`{_shown(one['path'])}`", one["added"], one["deleted"]) for one in files],
        ),
        *_left_out(left_out),
    )
    return {"verdict": verdict, "counts": counts, "markdown": "\n\n".join(parts) + "\n"}


def _all(reviews: Mapping[str, Mapping[str, Any] | None]) -> Iterator[Said]:
    """Yields all findings, each once, as the first reviewer told it."""
    seen: set[tuple[str, int, str]] = set()
    for name, review in reviews.items():
        for one in (review or {}).get("findings", ()):
            key = (one["file"], one["line"], one["message"])
            if key not in seen:
                seen.add(key)
                yield Said(one["severity"], *key, by=name)


def _placed(said: Iterable[Said], diff: str) -> tuple[list[Said], list[Said]]:
    """Returns the findings whose lines the diff has, in order, and the others."""
    there = {(change.path, line.number) for change in parse(diff) for hunk in change.hunks for line in hunk}
    found = sorted(said, key=lambda one: (SEVERITIES.index(one.severity), one.file, one.line))
    known = [one for one in found if (one.file, one.line) in there]
    return known, [one for one in found if (one.file, one.line) not in there]


def _headline(verdict: str, vote: Mapping[str, Any], counts: Mapping[str, int]) -> str:
    votes = {name: int(number) for name, number in vote.get("votes", {}).items()}
    said = ", ".join(f"{number} for {name}" for name, number in votes.items())
    found = ", ".join(f"{number} {severity}" for severity, number in counts.items())
    word = "Approved" if verdict == "approve" else "Changes needed"
    by_one = verdict == "changes" and vote.get("winner") == "approve" and not vote.get("tie")
    why = " One finding of high severity is enough, whatever the vote." if by_one else ""
    return f"**{word}.** The reviewers voted: {said}. Findings: {found}.{why}"


def _rows(
    reviews: Mapping[str, Mapping[str, Any] | None], known: Sequence[Said]
) -> Iterator[tuple[object, ...]]:
    for name, review in reviews.items():
        if review is None:
            yield (name, "no answer", *("" for _ in SEVERITIES), "")
        else:
            mine = Counter(one.severity for one in known if one.by == name)
            numbers = [mine[severity] for severity in SEVERITIES]
            yield (name, review["verdict"], *numbers, _shown(review.get("summary", "")))


def _findings(known: Sequence[Said]) -> Iterator[str]:
    if not known:
        yield "Nothing was found."
    for severity, group in groupby(known, key=lambda one: one.severity):
        yield f"## {severity.capitalize()}"
        for file, here in groupby(group, key=lambda one: one.file):
            yield f"### `{_shown(file)}`"
            yield "\n".join(f"- line {one.line}: {_shown(one.message)} ({one.by})" for one in here)


def _elsewhere(said: Sequence[Said]) -> Iterator[str]:
    if said:
        yield "## At places that the diff does not have"
        yield "Look twice: a reviewer named a file or line that was not changed here."
        yield "\n".join(
            f"- `{_shown(one.file)}:{one.line}` {_shown(one.message)} ({one.severity}, {one.by})"
            for one in said
        )


def _left_out(left_out: Sequence[Mapping[str, str]]) -> Iterator[str]:
    if left_out:
        yield "## What was not reviewed"
        yield _table(("file", "why"), [(f"`{_shown(one['path'])}`", one["why"]) for one in left_out])


def _table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [
        columns,
        ["---"] * len(columns),
        *([str(cell).replace("|", "\\|") for cell in row] for row in rows),
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _shown(text: str) -> str:
    """Returns what somebody else wrote on one line, not too long, and without what would be markup."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    line = line.replace("<", "&lt;").replace("](", "] (")
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"
