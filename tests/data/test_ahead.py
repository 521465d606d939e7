"""Reading beside work: the same things in the same order, and one thread that ends."""

import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minidiff.data.ahead import ahead


def reading_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("reading")]


@settings(deadline=None)
@given(items=st.lists(st.none() | st.integers()), taken=st.integers(0, 9))
def test_the_same_things_come_in_the_same_order(items, taken):
    assert list(ahead(iter(items))) == items
    found = ahead(iter(items))
    assert [item for _, item in zip(range(taken), found)] == items[:taken]
    found.close()
    assert not reading_threads()


def test_what_comes_next_is_made_meanwhile_and_no_more():
    made = [threading.Event() for _ in range(9)]

    def items():
        for i, event in enumerate(made):
            event.set()
            yield i

    found = ahead(items())
    for i, item in enumerate(found):
        assert item == i
        if i < 7:
            assert made[i + 2].wait(60), "nobody asked for it yet"
        assert not any(event.is_set() for event in made[i + 3 :]), "so much must not be in memory"


def test_an_error_comes_where_the_thing_would_have_come():
    def items():
        yield 1
        yield 2
        raise ValueError("broken")

    found = ahead(items())
    assert [next(found), next(found)] == [1, 2]
    with pytest.raises(ValueError, match="broken"):
        next(found)
    assert not reading_threads()
