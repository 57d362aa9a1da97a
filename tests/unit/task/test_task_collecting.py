"""The collector rests while a text is parsed, and is back afterwards, with no garbage kept for ever."""

import gc
import weakref
from collections.abc import Iterator

import pytest

from taskmark.task.collecting import LARGE, collector_resting


class Knot:
    """Garbage that only the collector can find."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def collector() -> Iterator[None]:
    gc.enable()
    yield
    gc.enable()


@pytest.mark.parametrize("size", [0, LARGE])
def test_the_collector_rests_and_is_back_also_after_an_error(size: int) -> None:
    def parse() -> None:
        with collector_resting(size):
            assert not gc.isenabled()
            raise KeyError

    with pytest.raises(KeyError):
        parse()
    assert gc.isenabled()


def test_who_has_switched_it_off_finds_it_off() -> None:
    gc.disable()
    with collector_resting(LARGE):
        pass
    assert not gc.isenabled()


def test_garbage_of_a_large_text_is_gone_when_the_next_one_comes() -> None:
    with collector_resting(LARGE):
        left = weakref.ref(Knot())
    assert left() is not None
    with collector_resting(LARGE):
        assert left() is None
