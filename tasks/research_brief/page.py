"""The brief as a page: what holds, where it is from, and how it was checked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

LONGEST: Final = 240
"""Characters of a quote that the table shows."""


@dataclass(frozen=True)
class Point:
    """A sentence of the brief, after its claims were checked."""

    text: str
    good: tuple[str, ...]
    """Claims that hold."""
    bad: tuple[str, ...]
    """Claims that fail, were not checked, or are none that anybody noted."""

    @property
    def cites(self) -> str:
        """The sources of its claims that hold, as `[1][3]`."""
        return "".join(
            f"[{number}]" for number in sorted({int(claim.partition(".")[0]) for claim in self.good})
        )


def render(
    *,
    topic: str,
    notes: Sequence[Mapping[str, Any]],
    unread: Sequence[str],
    points: Sequence[Mapping[str, Any]],
    cited: Sequence[Mapping[str, Any]],
    checked: Sequence[Mapping[str, Any] | None] | None,
) -> dict[str, Any]:
    """Returns `counts`, and the page as `markdown`. `checked` has the results for each source of `cited`,
    none where it could not be checked.

    A point stays if a claim that it cites holds; it is marked if another one does not.
    """
    claims = [(one, claim) for one in cited for claim in one["claims"]]
    results = {check["id"]: check for found in checked or () if found for check in found["results"]}
    told = [_point(one, results) for one in points]
    kept = [one for one in told if one.good]
    removed = [one for one in told if not one.good]
    counts = {
        "sources": len(notes),
        "unread": len(unread),
        "claims": len(claims),
        **{name: sum(_result(results, c["id"]) == name for _, c in claims) for name in RESULTS},
        "points": len(kept),
        "marked": sum(bool(one.bad) for one in kept),
        "removed": len(removed),
    }
    parts = (
        f"# {_shown(topic)}",
        _headline(counts),
        "\n".join(_line(one) for one in kept) or "Nothing is left that a source supports.",
        "## Sources",
        "\n".join(_sources(notes, unread)),
        "## Fact check",
        _table(("claim", "source", "result", "quote"), (_row(one, claim, results) for one, claim in claims)),
        *_removed(removed),
    )
    return {"counts": counts, "markdown": "\n\n".join(parts) + "\n"}


RESULTS: Final = ("holds", "fails", "unchecked")


def _point(point: Mapping[str, Any], results: Mapping[str, Mapping[str, Any]]) -> Point:
    ids = tuple(dict.fromkeys(map(str, point["claims"])))
    good = tuple(claim for claim in ids if _result(results, claim) == "holds")
    return Point(point["text"], good, tuple(claim for claim in ids if claim not in good))


def _result(results: Mapping[str, Mapping[str, Any]], id: str) -> str:
    return str(results.get(id, {}).get("result", "unchecked"))


def _headline(counts: Mapping[str, int]) -> str:
    of = f"{counts['sources']} of {counts['sources'] + counts['unread']} sources"
    said = f"{counts['holds']} of {counts['claims']} claims hold"
    more = [f"{counts[name]} {name}" for name in ("fails", "unchecked") if counts[name]]
    words = {"marked": "marked", "removed": "removed"}
    edits = [f"{counts[name]} {word}" for name, word in words.items() if counts[name]]
    return f"From {of}; {', '.join([said, *more])}. Points: {', '.join([str(counts['points']), *edits])}."


def _line(point: Point) -> str:
    mark = f" *(not supported: {', '.join(point.bad)})*" if point.bad else ""
    return f"- {_shown(point.text)} {point.cites}{mark}"


def _sources(notes: Sequence[Mapping[str, Any]], unread: Sequence[str]) -> Iterator[str]:
    for one in notes:
        number = len(one["claims"])
        yield f"- [{one['source']}] {_shown(one['name'])} ({number} {'note' if number == 1 else 'notes'})"
    yield from (f"- not read: {_shown(name)}" for name in unread)


def _row(
    source: Mapping[str, Any], claim: Mapping[str, Any], results: Mapping[str, Mapping[str, Any]]
) -> tuple[str, ...]:
    check = results.get(claim["id"], {"reason": "nobody could check it"})
    reason = f": {check['reason']}" if check["reason"] else ""
    quote = claim["quote"] if len(claim["quote"]) <= LONGEST else f"{claim['quote'][:LONGEST]}…"
    return (claim["id"], f"[{source['source']}]", f"{_result(results, claim['id'])}{reason}", quote)


def _removed(removed: Sequence[Point]) -> Iterator[str]:
    if removed:
        yield "## Removed"
        yield "No claim that these cite holds."
        yield "\n".join(f"- ~~{_shown(one.text)}~~ ({', '.join(one.bad) or 'no claim'})" for one in removed)


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [
        columns,
        ["---"] * len(columns),
        *([_shown(cell).replace("|", "\\|") for cell in row] for row in rows),
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _shown(text: str) -> str:
    """Returns what somebody else wrote on one line, without what would be markup."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line.replace("<", "&lt;").replace("](", "] (")
