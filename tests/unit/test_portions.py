"""Things in as few lists as fit: nothing is lost or moved, and only what is too large is too large."""

from hypothesis import given
from hypothesis import strategies as st

from taskmark.portions import portions


@given(sizes=st.lists(st.integers(0, 50), max_size=40), most=st.integers(1, 60))
def test_everything_is_there_in_its_order_and_in_no_more_lists_than_needed(sizes, most):
    found = list(portions(list(enumerate(sizes)), most))
    assert [item for portion in found for item in portion] == list(range(len(sizes)))
    taken = [sum(sizes[item] for item in portion) for portion in found]
    assert all(size <= most or len(portion) == 1 for size, portion in zip(taken, found, strict=True))
    following = (sizes[portion[0]] for portion in found[1:])
    assert all(size + after > most for size, after in zip(taken, following, strict=False))
