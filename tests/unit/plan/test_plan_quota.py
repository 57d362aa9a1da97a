"""What attempts used, added up, and whether anything is left of it."""

from __future__ import annotations

from typing import Any

import pytest

from taskmark.contracts import Consumption
from taskmark.plan.quota import used_up
from taskmark.task.model import TaskLimits


@pytest.mark.parametrize(
    ("limits", "consumed", "said"),
    [
        ({"cpu": 60}, {"cpu_seconds": 60.04}, ("cpu", "60.0s", "1 minute")),
        ({"disk": 1000}, {"written_bytes": 1000}, ("disk", "1,000 bytes", "1,000 bytes")),
        ({"received": 1000}, {"received_bytes": 2000}, ("received", "2,000 bytes", "1,000 bytes")),
        ({"sent": 1}, {"sent_bytes": 1}, ("sent", "1 bytes", "1 bytes")),
        ({"cpu": 60, "sent": 1}, {"sent_bytes": 1}, ("sent", "1 bytes", "1 bytes")),
        ({"cpu": 60, "disk": 1000}, {"cpu_seconds": 59.9, "written_bytes": 999}, None),
        ({}, {"cpu_seconds": 1e9}, None),
    ],
)
def test_a_limit_is_reached_once_nothing_is_left_of_it(
    limits: dict[str, Any], consumed: dict[str, Any], said: tuple[str, str, str] | None
) -> None:
    found = used_up(TaskLimits(**limits), Consumption(**consumed))
    assert (found and (found.key, found.used, found.limit)) == said


def test_what_was_measured_is_added_up() -> None:
    one = Consumption.of({"cpu_seconds": 0.1, "written_bytes": 7.0, "max_rss_bytes": 9.0})
    other = Consumption.of({"cpu_seconds": 0.2, "received_bytes": 5})
    assert one is not None
    assert other is not None
    assert one.plus(other) == Consumption(cpu_seconds=0.3, written_bytes=7, received_bytes=5)


NONSENSE: list[Any] = [
    *(None, {}, [], "much"),
    *({"cpu_seconds": float("nan")}, {"cpu_seconds": "1"}, {"cpu_seconds": True}, {"max_rss_bytes": 1.0}),
    *({"sent_bytes": float("inf")}, {"sent_bytes": 10**400}, {"written_bytes": -1}),
]


@pytest.mark.parametrize("resources", NONSENSE)
def test_what_is_no_amount_counts_as_nothing(resources: Any) -> None:
    """A workflow that stumbled over it would stand still."""
    assert Consumption.of(resources) is None
