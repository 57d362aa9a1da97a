"""Notes of all sources, and which of them a brief rests on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def numbered(
    sources: Sequence[Mapping[str, Any]], gathered: Sequence[Mapping[str, Any] | None]
) -> dict[str, Any]:
    """Returns `notes`, each claim with an id such as `2.1`, the first of source 2; `unread`, the sources that
    could not be read; and how many `claims` there are."""
    pairs = list(zip(sources, gathered, strict=True))
    notes = [
        {
            "source": source["number"],
            "name": source["source"],
            "claims": [
                {"id": f"{source['number']}.{place}", "claim": one["claim"], "quote": one["quote"]}
                for place, one in enumerate(found["claims"], 1)
            ],
        }
        for source, found in pairs
        if found is not None
    ]
    return {
        "notes": notes,
        "unread": [source["source"] for source, found in pairs if found is None],
        "claims": sum(len(one["claims"]) for one in notes),
    }


def cited(
    notes: Sequence[Mapping[str, Any]],
    gathered: Sequence[Mapping[str, Any] | None],
    points: Sequence[Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """Returns the sources that a brief cites: the text of each, and its claims with the points that do."""
    texts = [found["text"] for found in gathered if found is not None]
    used = [
        {
            "source": one["source"],
            "name": one["name"],
            "text": text,
            "claims": [
                {**claim, "points": citing}
                for claim in one["claims"]
                if (citing := [point["text"] for point in points if claim["id"] in point["claims"]])
            ],
        }
        for one, text in zip(notes, texts, strict=True)
    ]
    return [one for one in used if one["claims"]]
