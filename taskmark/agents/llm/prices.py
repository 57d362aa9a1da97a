"""What an answer cost: as the settings say, else as is publicly known of the model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from taskmark.agents.llm.configured import Price
from taskmark.contracts import MOST_COST, MOST_TOKENS, Usage

if TYPE_CHECKING:
    from pydantic_ai.messages import ModelResponse

CHARACTERS = 4
"""About so many make a token, where a server does not count."""


def usage_of(response: ModelResponse, price: Price | None, asked: int) -> tuple[Usage, bool]:
    """Returns what an answer used, and whether its cost is known. `asked` is how many characters were sent:
    without a word about usage a budget would be worth nothing, so then it is estimated."""
    read, written = response.usage.input_tokens, response.usage.output_tokens
    if not read + written:
        read, written = asked // CHARACTERS, _length(response) // CHARACTERS
    cost = _cost(response, price, read, written)
    tokens = min(read + written, MOST_TOKENS)
    return Usage(tokens=tokens, cost=min(cost or 0.0, MOST_COST)), cost is not None


def _cost(response: ModelResponse, price: Price | None, read: int, written: int) -> float | None:
    if price is not None:
        return (read * price.input + written * price.output) / 1_000_000
    try:
        return float(response.cost().total_price)
    except (LookupError, ValueError, AssertionError):
        return None


def _length(response: ModelResponse) -> int:
    parts: list[Any] = list(response.parts)
    return sum(len(str(getattr(part, "content", None) or getattr(part, "args", ""))) for part in parts)
