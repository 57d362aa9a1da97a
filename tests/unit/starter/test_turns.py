"""Threads of a worker take short turns, whatever else the program wants."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from starter.turns import take_short_turns


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    before = sys.getswitchinterval()
    yield
    sys.setswitchinterval(before)


@pytest.mark.parametrize(("before", "after"), [(0.005, 0.001), (0.0005, 0.0005)])
def test_turns_become_short_and_never_longer(before: float, after: float) -> None:
    sys.setswitchinterval(before)
    take_short_turns()
    assert sys.getswitchinterval() == pytest.approx(after)
