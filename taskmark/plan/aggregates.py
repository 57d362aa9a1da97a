"""The built-in aggregates: many values in, one answer out.

They run in workflow code and cost no activity, so they are pure, and their sums do not depend on how
a machine rounds in between. Values that are null are left out: a step that failed has none.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from taskmark.errors import Category, StepFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from taskmark.task.model import Json

    Aggregate = Callable[[Sequence[Json], Mapping[str, Json]], Json]

VOTE_KEYS = ("vote", "decision", "verdict", "recommendation", "answer")
"""Where the vote of a mapping is looked for when the step does not say `by`."""


def aggregate(name: str, values: Sequence[Json], arguments: Mapping[str, Json]) -> Json:
    """Combines values with a built-in aggregate; `arguments` is the step's `with`.

    Raises `StepFailed` of category logic if there is no such aggregate or the values do not fit it.
    """
    function = BUILT_IN.get(name)
    if function is None:
        _fail(f"there is no built-in aggregate `{name}`", f"there are {', '.join(BUILT_IN)}")
    try:
        return function([value for value in values if value is not None], arguments)
    except OverflowError:
        _fail(f"`{name}` got numbers that are too large", "numbers go up to about 1.8e308")


def _fail(message: str, hint: str | None = None) -> NoReturn:
    raise StepFailed(message, Category.LOGIC, hint=hint)


# --- picking --------------------------------------------------------------------------------------


def _picked(values: Sequence[Json], arguments: Mapping[str, Json]) -> list[Json]:
    """Returns the values, or what is at the dotted path `field` of each; nulls are left out."""
    path = arguments.get("field")
    if path is None:
        return list(values)
    found = [_at(value, str(path), number) for number, value in enumerate(values, 1)]
    return [value for value in found if value is not None]


def _at(value: Json, path: str, number: int) -> Json:
    for key in path.split("."):
        if not isinstance(value, dict) or key not in value:
            _fail(f"value {number} has no `{path}`", "every value must be a mapping with that key")
        value = value[key]
    return value


def _numbers(values: Sequence[Json], arguments: Mapping[str, Json]) -> list[float]:
    return [_number(value, f"value {place}") for place, value in enumerate(_picked(values, arguments), 1)]


def _number(value: Json, what: str) -> float:
    """Returns a number; text that is one counts, since tables and answers arrive as text."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        number = value
    elif isinstance(value, str):
        number = _read(value, what)
    else:
        _fail(f"{what} is not a number: {_shown(value)}", "`field` picks a key of each value")
    if not math.isfinite(number):
        _fail(f"{what} is not a finite number: {_shown(value)}")
    return number


def _read(text: str, what: str) -> float:
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        _fail(f"{what} is not a number: {_shown(text)}", "`field` picks a key of each value")


def _shown(value: Json) -> str:
    text = _text(value)
    return text if len(text) <= 60 else f"{text[:59]}…"


def _text(value: Json) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)


# --- lists and numbers ----------------------------------------------------------------------------


def _list(values: Sequence[Json], arguments: Mapping[str, Json]) -> Json:
    return _picked(values, arguments)


def _merge(values: Sequence[Json], arguments: Mapping[str, Json]) -> Json:
    """Mappings into one, where a later value of a key wins; lists into one long list."""
    parts = _picked(values, arguments)
    if all(isinstance(part, dict) for part in parts):
        return {key: value for part in parts for key, value in part.items()}
    if all(isinstance(part, list) for part in parts):
        return [item for part in parts for item in part]
    odd = next(
        part for part in parts if not isinstance(part, type(parts[0])) or not isinstance(part, dict | list)
    )
    _fail(f"`merge` takes mappings only or lists only, and got {_shown(odd)}")


def _count(values: Sequence[Json], arguments: Mapping[str, Json]) -> Json:
    return len(_picked(values, arguments))


def _sum(values: Sequence[Json], arguments: Mapping[str, Json]) -> Json:
    return _total(_numbers(values, arguments))


def _total(numbers: Sequence[float]) -> float:
    if all(isinstance(number, int) for number in numbers):
        return sum(numbers)
    return math.fsum(numbers)


def _average(values: Sequence[Json], arguments: Mapping[str, Json]) -> Json:
    numbers = _some(_numbers(values, arguments), "average")
    return _total(numbers) / len(numbers)


def _min(values: Sequence[Json], arguments: Mapping[str, Json]) -> Json:
    return min(_some(_numbers(values, arguments), "min"))


def _max(values: Sequence[Json], arguments: Mapping[str, Json]) -> Json:
    return max(_some(_numbers(values, arguments), "max"))


def _some(numbers: list[float], name: str) -> list[float]:
    if not numbers:
        _fail(f"`{name}` got no values", "the steps before it have no output, or `over` is empty")
    return numbers


# --- votes ----------------------------------------------------------------------------------------


class _Ballot(NamedTuple):
    """One vote: what for, how much it counts, and the whole value that it came with."""

    choice: Json
    key: str
    """Equal for equal votes: texts are the same whatever their case and the blanks around them."""
    weight: float
    source: Json


class _Poll(NamedTuple):
    """Ballots, counted."""

    ballots: tuple[_Ballot, ...]
    votes: dict[str, float]
    """By key, in the order in which they were first seen."""
    choices: dict[str, Json]
    """As first seen, by key."""

    @property
    def winners(self) -> list[str]:
        """The keys with the most votes, in the order in which they were first seen."""
        most = max(self.votes.values(), default=0)
        return [key for key, votes in self.votes.items() if votes == most]

    @property
    def total(self) -> float:
        """All votes, by weight."""
        return _total([ballot.weight for ballot in self.ballots])

    def shown(self) -> dict[str, float]:
        """Returns the votes for each choice, by its text."""
        return {_text(self.choices[key]): votes for key, votes in self.votes.items()}

    def tied(self) -> list[Json]:
        """Returns the choices that share the first place, or nothing if one has it alone."""
        return [self.choices[key] for key in self.winners] if len(self.winners) > 1 else []


def _poll(values: Sequence[Json], arguments: Mapping[str, Json]) -> _Poll:
    ballots = [_ballot(value, arguments, place) for place, value in enumerate(values, 1)]
    cast = tuple(ballot for ballot in ballots if ballot.choice is not None)
    choices: dict[str, Json] = {}
    weights: dict[str, list[float]] = {}
    for ballot in cast:
        choices.setdefault(ballot.key, ballot.choice)
        weights.setdefault(ballot.key, []).append(ballot.weight)
    return _Poll(cast, {key: _total(parts) for key, parts in weights.items()}, choices)


def _ballot(value: Json, arguments: Mapping[str, Json], place: int) -> _Ballot:
    choice = _choice(value, arguments.get("by", arguments.get("field")), place)
    if isinstance(choice, str):
        choice = choice.strip()
    key = json.dumps(choice.casefold() if isinstance(choice, str) else choice, sort_keys=True)
    return _Ballot(choice, key, _weight(value, arguments.get("weight"), place), value)


def _choice(value: Json, path: Json, place: int) -> Json:
    if path is not None:
        return _at(value, str(path), place)
    if not isinstance(value, dict | list):
        return value
    for key in VOTE_KEYS:
        if isinstance(value, dict) and key in value:
            return value[key]
    _fail(
        f"value {place} has no vote: {_shown(value)}", f"say `by: key`, or use one of {', '.join(VOTE_KEYS)}"
    )


def _weight(value: Json, path: Json, place: int) -> float:
    if path is None:
        return 1
    weight = _number(_at(value, str(path), place), f"the weight of value {place}")
    if weight < 0:
        _fail(f"the weight of value {place} is negative: {weight}")
    return weight


def _vote(values: Sequence[Json], arguments: Mapping[str, Json]) -> Json:
    poll = _poll(values, arguments)
    winner = poll.choices[poll.winners[0]] if poll.winners else None
    return {"winner": winner, "votes": poll.shown(), "total": poll.total, "tie": poll.tied()}


def _consensus(values: Sequence[Json], arguments: Mapping[str, Json]) -> Json:
    """What most say, how many agree (0 to 1), and the whole values of those who do not."""
    poll, threshold = _poll(values, arguments), arguments.get("threshold")
    key = poll.winners[0] if poll.winners else None
    agreement = poll.votes[key] / poll.total if key is not None and poll.total else 0.0
    result = {
        "winner": poll.choices[key] if key is not None else None,
        "agreement": agreement,
        "dissent": [ballot.source for ballot in poll.ballots if ballot.key != key],
        "votes": poll.shown(),
        "total": poll.total,
        "tie": poll.tied(),
    }
    if threshold is not None:
        result["reached"] = agreement >= _number(threshold, "`threshold`")
    return result


BUILT_IN: Mapping[str, Aggregate] = {
    "list": _list,
    "merge": _merge,
    "average": _average,
    "min": _min,
    "max": _max,
    "sum": _sum,
    "count": _count,
    "vote": _vote,
    "consensus": _consensus,
}
"""Every built-in aggregate by name."""
