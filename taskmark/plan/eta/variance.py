"""The variance of some numbers: the standard library's is exact to the last bit, at fifty times the price."""

from __future__ import annotations

from math import fsum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def squares(values: Sequence[float]) -> float:
    """Returns the sum of the squares of how far values are from their mean."""
    mean = fsum(values) / len(values)
    return fsum([(value - mean) ** 2 for value in values])


def variance(values: Sequence[float]) -> float:
    """Returns what is expected of the square for one more value of the same kind; there are two at least."""
    return squares(values) / (len(values) - 1)
