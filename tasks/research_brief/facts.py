"""Whether a source says what is quoted from it. Any Python from 3.9 on may run it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from tasks.research_brief.sentences import NUMBER

SAME: Final = str.maketrans({"“": '"', "”": '"', "„": '"', "‘": "'", "’": "'", "–": "-", "—": "-", "−": "-"})
SHORTEST: Final = 12
"""Characters: a shorter quote is in any text."""


def occurs(quote: str, text: str) -> bool:
    """Whether a quote is in a text, but for blanks, case, and how quotes and dashes are typed."""
    wanted = _normal(quote)
    return len(wanted) >= SHORTEST and wanted in _normal(text)


def _normal(text: str) -> str:
    plain = unicodedata.normalize("NFKC", text).translate(SAME).casefold()
    return re.sub(r"\s+", " ", plain).strip(" \"'.…")


def problem(claim: Mapping[str, Any], text: str) -> str:
    """Returns what a program can see to be wrong with a claim; nothing if it sees nothing."""
    if not occurs(claim["quote"], text):
        return "the quote is not in the source"
    said = set(NUMBER.findall(claim["quote"]))
    missing = [number for number in NUMBER.findall(claim["claim"]) if number not in said]
    return f"the quote does not say {', '.join(missing)}" if missing else ""


def verified(
    text: str, claims: Sequence[Mapping[str, Any]], checks: Sequence[Mapping[str, Any]] | None
) -> list[dict[str, Any]]:
    """Returns for each claim whether it holds, and why not: only what the checker supports, and is quoted to
    the letter, whatever the checker says. A claim that it does not speak of is unchecked."""
    said = {str(check["id"]): check for check in checks or ()}
    return list(_verified(text, claims, said))


def _verified(
    text: str, claims: Sequence[Mapping[str, Any]], said: Mapping[str, Mapping[str, Any]]
) -> Iterator[dict[str, Any]]:
    for claim in claims:
        check = said.get(claim["id"])
        wrong = problem(claim, text)
        if wrong:
            yield {"id": claim["id"], "result": "fails", "reason": wrong}
        elif check is None:
            yield {"id": claim["id"], "result": "unchecked", "reason": "the checker said nothing of it"}
        elif check["supported"]:
            yield {"id": claim["id"], "result": "holds", "reason": ""}
        else:
            reason = str(check.get("reason") or "the checker says that the source does not support it")
            yield {"id": claim["id"], "result": "fails", "reason": reason}
