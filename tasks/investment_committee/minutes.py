"""The minutes: the verdict as a markdown report for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tasks.investment_committee.record import Answer, number


def _cell(value: Any) -> str:
    """One table cell: numbers with separators, a dash for what is missing, no character that ends a cell."""
    if value is None or value == "":
        return "—"
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value:,.2f}".removesuffix(".00")
    return str(value).replace("|", "\\|").replace("\n", " ")


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A markdown table."""
    lines = [columns, ["---"] * len(columns), *[[_cell(value) for value in row] for row in rows]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _bullets(items: Iterable[Any]) -> str:
    return "\n".join(f"- {item}" for item in items) or "- none"


def _share(verdict: Answer, key: str) -> str:
    value = number(verdict, key)
    return "—" if value is None else f"{value:.0%}"


def _rows(verdict: Answer, key: str, *fields: str) -> list[list[Any]]:
    """The fields of every row under that key that is a mapping."""
    rows = verdict.get(key)
    found = rows if isinstance(rows, list) else []
    return [[row.get(field) for field in fields] for row in found if isinstance(row, Mapping)]


def _plan(plan: Answer) -> str:
    """The implementation plan in words."""
    tranches = _rows(plan, "tranches", "number", "day", "usd", "units_at_last_close")
    stop = plan.get("stop")
    parts = []
    if tranches:
        parts.append(table(("tranche", "trading day", "USD", "units at the last close"), tranches))
    if isinstance(stop, Mapping):
        parts.append(
            f"Stop at {_cell(stop.get('level'))} {stop.get('unit', '')}, {_cell(stop.get('distance_pct'))} % "
            f"below the last close; it would cost {_cell(stop.get('loss_usd'))} USD. {stop.get('rule', '')}."
        )
    if plan.get("reopen_when"):
        parts.append(
            "Nothing is bought. The question is opened again on:\n\n" + _bullets(plan["reopen_when"])
        )
    parts.append(f"Review after {_cell(plan.get('review_after_days'))} trading days.")
    return "\n\n".join(parts)


def _votes(verdict: Answer) -> str:
    fields = ("member", "stance_before", "confidence_before", "stance", "confidence", "headline")
    columns = ("member", "before", "confidence", "after the debate", "confidence", "reason")
    return table(columns, _rows(verdict, "votes", *fields))


def render(verdict: Mapping[str, Any]) -> str:
    """Writes the report. What the verdict lacks is shown as a dash; nothing is made up."""
    risks = _rows(verdict, "risks", "risk", "value", "limit", "unit", "status", "source")
    challenges = _rows(verdict, "challenges", "member", "against", "severity", "headline")
    against = _rows(verdict, "dissent", "member", "stance", "confidence", "why")
    plan = verdict.get("plan")
    absences = [f"{member} abstained" for member in verdict.get("abstained") or ()]
    absences += [f"{member} did not answer" for member in verdict.get("missing") or ()]
    return f"""# Investment committee: {verdict.get("ticker", "?")}

**{verdict.get("headline", "No headline was given")}**

{verdict.get("instrument", "")}; last close {_cell(verdict.get("last_close"))} {verdict.get("unit", "")} on \
{verdict.get("as_of", "an unknown date")}. Requested {_cell(verdict.get("requested_usd"))} USD, approved \
{_cell(verdict.get("approved_usd"))} USD ({_cell(verdict.get("share_of_portfolio_pct"))} % of the portfolio).

Agreement {_share(verdict, "agreement")}; mean confidence behind the strongest stance \
{_share(verdict, "confidence")}, before the debate {_share(verdict, "confidence_before_debate")}.

## Reasons

{_bullets(verdict.get("reasons") or ())}

## Risks

For the proposed size, whether or not it is bought.

{table(("risk", "value", "limit", "unit", "status", "source"), risks)}

## Votes

{_votes(verdict)}

## Challenges by the red team

{table(("member", "against", "severity", "evidence"), challenges)}

## Dissent

{table(("member", "stance", "confidence", "why"), against) if against else "None."}

## Implementation

{_plan(plan if isinstance(plan, Mapping) else {})}

## Absences

{_bullets(absences)}

## Limits of this analysis

{_bullets(verdict.get("caveats") or ())}
"""
