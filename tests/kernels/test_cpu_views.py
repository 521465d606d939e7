"""Views against NumPy's own indexing, and plans on their way into a body and back."""

from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidiff.kernels.cpu.compiled import compiled_body, numbers
from minidiff.kernels.cpu.interpreter import Interpreter, Place
from minidiff.kernels.cpu.plans import by_axis, packed, unpacked
from minidiff.kernels.cpu.views import View, ceil_divide

SHAPES = st.lists(st.integers(1, 5), min_size=1, max_size=4).map(tuple)


@st.composite
def indexed(draw):
    """An array that counts its numbers, and an index: numbers, and slices without an end."""
    shape = draw(SHAPES)
    count = draw(st.integers(1, len(shape)))
    from_the_last = draw(st.booleans())
    index = []
    for size in shape[-count:] if from_the_last else shape[:count]:
        start = draw(st.integers(0, size - 1))
        step = draw(st.sampled_from([None, 1, 2]))
        index.append(draw(st.sampled_from([start, slice(start, None, step)])))
    array = np.arange(np.prod(shape)).reshape(shape)
    return array, (..., *index) if from_the_last else tuple(index)


@given(indexed())
def test_a_view_is_indexed_as_numpy_does(drawn):
    array, index = drawn
    want = array[index]
    view = View.of(0, *array.shape)[index]
    assert view.place == np.ravel(want)[0]
    assert tuple(8 * step for step in view.steps) == np.asarray(want).strides
    for place in np.ndindex(np.shape(want)):
        assert view.at(*place) == want[place]


@given(SHAPES, st.randoms())
def test_the_axes_of_a_view_in_another_order(shape, random):
    axes = random.sample(range(len(shape)), len(shape))
    array = np.arange(np.prod(shape)).reshape(shape)
    view = View.of(0, *shape).transpose(*axes)
    assert tuple(8 * step for step in view.steps) == array.transpose(axes).strides


@given(st.integers(0, 1000), st.integers(1, 50))
def test_ceil_divide(a, b):
    assert ceil_divide(a, b) == -(-a // b)


class Sizes(NamedTuple):
    rows: int
    columns_h: int
    columns_w: int


def test_a_plan_comes_back_by_its_names():
    plan = Sizes(rows=7, **by_axis(columns=(2, 3)))
    assert (plan.columns_h, plan.columns_w) == (2, 3)
    assert unpacked(Interpreter(4), Sizes, Place(packed(plan), 0)) == plan


@pytest.mark.parametrize("same_steps", [True, False])
def test_a_called_body_is_compiled_for_its_views_constants(lanes, same_steps):
    """A body called twice: with a view of other constant steps, it is another function."""

    def copy(e, source, target, plan):
        @e.loop(plan.rows)
        def row(i):
            e.store(e.load(source.at(i)), target.at(i))

    def both(e, x, y, plan):
        half = plan.rows * e.lanes
        e.call(copy, View(x, e.lanes), View(y, e.lanes), plan)
        step = e.lanes if same_steps else 0
        e.call(copy, View(x, step), View(y + half, e.lanes), plan)

    kernel = compiled_body(both, (numbers, numbers, Sizes), lanes, f"called_bodies_{same_steps}")
    x = np.arange(3 * lanes, dtype=np.float32)
    y = np.zeros(6 * lanes, np.float32)
    kernel(x, y, packed(Sizes(3, 0, 0)))
    second = x if same_steps else np.tile(x[:lanes], 3)
    np.testing.assert_array_equal(y, np.concatenate([x, second]))
