"""`minidiff.testing` on a user's operation: a sound one passes, each planted fault is named."""

from functools import partial
from itertools import count

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidiff import Primitive, Tensor, ops
from minidiff.testing import (
    LAYOUTS,
    arrays,
    broadcasting,
    check_op,
    convolutions,
    layouts,
    schedules,
    shapes,
    tensors,
)


def hypotenuse(**changed):
    """√(x² + y²) as a user would write it, or with something changed."""
    parts = {"kernel": np.hypot}
    if "joint" not in changed:
        parts["x"] = lambda g, x, out: g * x / out
        parts["y"] = lambda g, y, out: g * y / out
        parts["broadcasts"] = True
    return Primitive("hypotenuse", "x y", **(parts | changed))


def test_a_sound_operation_passes():
    check_op(hypotenuse(), broadcasting(), reference=np.hypot)
    check_op(hypotenuse(), np.array([1.0, 2.0]), np.array([[3.0], [4.0]]), reference=np.hypot)
    check_op(hypotenuse(forward="symmetric"), broadcasting(), reference=np.hypot)


def wide(g, x, out):
    """Computed in float64, whatever the operands are."""
    if isinstance(g, np.ndarray | np.generic):
        return g * np.float64(1) * x.astype(np.float64) / out
    return g * x / out


def writes_its_operand(x, y):
    x *= 1.5
    return np.hypot(x, y)


def writes_the_upstream_gradient(g, x, out):
    if isinstance(g, np.ndarray):
        g *= x / out
        return g
    return g * x / out


BUFFER: dict = {}
CALLS = count()


def buffered(x, y):
    """The same memory for every result of one shape."""
    out = BUFFER.setdefault((np.broadcast_shapes(x.shape, y.shape), x.dtype), np.hypot(x, y))
    return np.hypot(x, y, out=out)


def buffered_rule(g, x, out):
    if isinstance(g, Tensor):
        return g * x / out
    memory = BUFFER.setdefault(("rule", out.shape, out.dtype), np.empty_like(out))
    memory[...] = g * x / out
    return memory


def straight(g, x, out):
    """The right first derivative, and none of itself."""
    return g * (x.detach() / out.detach()) if isinstance(g, Tensor) else g * x / out


def forgetful(g, x, y, needs, out):
    """A joint rule that is right only as long as both gradients are wanted."""
    return [g * x / out if all(needs) else g * 0, g * y / out]


def restless(g, x, out):
    return g * x / out * (1 + 1e-12 * next(CALLS))


def order_of_memory(g, x, out):
    """As if the upstream gradient were contiguous."""
    if isinstance(g, Tensor) or g.flags.c_contiguous or not g.ndim:
        return g * x / out
    return np.sort(g, 0) * x / out


def along_both(tangents, x, y, out):
    """A forward rule that takes the tangent of y for that of x where there is none for y."""
    dx, dy = tangents
    dy = dx if dy is None else dy
    dx = dy if dx is None else dx
    return (x * dx + y * dy) / out


def hands_on(tangents, out):
    """A forward rule that gives the direction itself."""
    return tangents[0] if tangents[0] is not None else tangents[1]


def straight_forward(tangents, x, y, out):
    """The right forward derivative, and none of itself."""
    if isinstance(out, Tensor):
        x, y, out = x.detach(), y.detach(), out.detach()
    parts = zip(tangents, (x, y))
    return sum(v * operand / out for v, operand in parts if v is not None)


FAULTS = {
    "wrong value": ({"kernel": lambda x, y: np.hypot(x, y) * 1.001}, "wrong value"),
    "wrong sign": (
        {"x": lambda g, x, out: -g * x / out},
        "wrong sign: the gradient of argument 0 is minus",
    ),
    "wrong factor": (
        {"y": lambda g, y, out: 2 * g * y / out},
        "wrong first derivative of argument 1",
    ),
    "wrong second derivative": ({"x": straight}, "wrong second derivative"),
    "wrong dtype of the value": (
        {"kernel": partial(np.hypot, dtype=np.float64)},
        "hypotenuse: given a gradient float64 .*wanted float32",
    ),
    "wrong dtype of the gradient": (
        {"x": wide},
        "hypotenuse: given a gradient float64 .* by the rule for operand 0, wanted float32",
    ),
    "missing broadcast": (
        {"broadcasts": False},
        "hypotenuse: given a gradient .* by the rule for operand",
    ),
    "wrong word": ({"forward": "linear"}, "wrong forward derivative of all arguments"),
    "forward rule, of one alone": (
        {"forward": along_both},
        "wrong forward derivative of argument 0: ⟨u, J v⟩ is .* and backward says",
    ),
    "forward rule, aliasing": ({"forward": hands_on}, "forward derivative"),
    "forward rule, second derivative": (
        {"forward": straight_forward},
        r"wrong forward derivative of the forward derivative",
    ),
    "mutated input": (
        {"kernel": writes_its_operand},
        "mutated input: argument 0 was written to by the operation",
    ),
    "mutated upstream": (
        {"x": writes_the_upstream_gradient},
        "mutated input: the upstream gradient was written to",
    ),
    "aliasing results": ({"kernel": buffered}, "aliasing: a second call overwrote"),
    "aliasing gradients": ({"x": buffered_rule}, "aliasing: two uses in one graph disturb"),
    "layout": ({"x": order_of_memory}, "memory gives another gradient of argument 0"),
    "not repeatable": ({"x": restless}, "not repeatable: the gradient of argument 0"),
    "needs": (
        {"joint": forgetful},
        "wrong gradient of argument 0: it is another one when no other is wanted",
    ),
}


# By check_op, or by the tape: it refuses a gradient of another shape or dtype.
CAUGHT = (AssertionError, TypeError, ValueError)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_caught_and_named(fault):
    changed, message = FAULTS[fault]
    operation = hypotenuse(**changed)
    rng = np.random.default_rng(0)
    BUFFER.clear()
    with pytest.raises(CAUGHT, match=message) as caught:
        check_op(
            operation, rng.uniform(1, 2, (3, 4)), rng.uniform(1, 2, (3, 4)), reference=np.hypot
        )
    text = [str(caught.value), *getattr(caught.value, "__notes__", [])]
    assert "hypotenuse(float64 (3, 4), float64 (3, 4))" in "".join(text)


@pytest.mark.parametrize("fault", ["wrong sign", "wrong second derivative", "missing broadcast"])
def test_a_planted_fault_is_caught_on_drawn_arguments(fault):
    changed, message = FAULTS[fault]
    with pytest.raises(CAUGHT, match=message):
        check_op(hypotenuse(**changed), broadcasting(low=1, high=2), reference=np.hypot)


def in_order_of_numbers(x):
    """A kernel that fills its result by a row of all elements, which here is a copy of it."""
    y = np.full_like(x, 7)  # full_like and empty_like lay out memory as x does
    np.copyto(y.reshape(-1), np.tanh(x.reshape(-1)))
    return y


# Which arrays a kernel takes for others: those of one layout with two axes longer than 1.
ASTRAY = {
    "fortran": lambda x: x.flags.f_contiguous and not x.flags.c_contiguous,
    "strided": lambda x: x.ndim > 1 and x.strides[-1] > x.itemsize and not x.flags.f_contiguous,
    "reversed": lambda x: x.ndim > 1 and min(x.strides) < 0,
    "broadcast": lambda x: x.ndim > 1 and x.size > 1 and 0 in x.strides,
}


def tanh(kernel):
    return Primitive("tanh", "x", kernel=kernel, x=lambda g, out: g * (1 - out * out))


@pytest.mark.parametrize("layout", ASTRAY)
def test_each_memory_layout_is_tried_however_few_draws_are_made(layout):
    astray = ASTRAY[layout]
    with pytest.raises(AssertionError, match=f"{layout}.* gives another value"):
        check_op(tanh(lambda x: np.tanh(x) + astray(x)), arrays(), examples=1)
    check_op(tanh(np.tanh), arrays(), examples=1)


def test_a_kernel_that_forgets_the_order_of_memory_is_caught():
    with pytest.raises(AssertionError, match="fortran float64 memory gives another value"):
        check_op(tanh(in_order_of_numbers), arrays(), examples=1)


def test_a_tensor_from_bare_arrays_is_caught():
    with pytest.raises(
        AssertionError, match="bare arrays in, bare array out: arrays gave a Tensor"
    ):
        check_op(lambda x: ops.exp(Tensor(x) if isinstance(x, np.ndarray) else x), arrays())


def test_a_bare_array_from_tensors_is_caught():
    with pytest.raises(AssertionError, match="Tensors in, Tensor out: Tensors gave a ndarray"):
        check_op(lambda x: np.exp(x.numpy() if isinstance(x, Tensor) else x), np.ones(3))


def test_an_exception_says_what_was_being_checked():
    with pytest.raises(ZeroDivisionError) as caught:
        check_op(lambda x: 1 / 0, np.ones(3))
    assert any(
        note.startswith("while checking") and "<lambda>(float64 (3,))" in note
        for note in caught.value.__notes__
    )


def test_plain_values_and_strategies_of_all_arguments():
    check_op(
        lambda x, n: ops.power(x, n),
        arrays(low=0.5, high=2),
        3,
        reference=lambda x, n: x**n,
        examples=5,
    )
    pairs = st.tuples(arrays(low=0.5, high=2), st.sampled_from([2, 0.5]))
    check_op(ops.power, pairs, reference=np.power, examples=5)


# --- the strategies ---


@given(
    x=arrays(shapes(max_dims=2), low=2, high=3),
    y=arrays((2, 3), np.float32, distinct=True),
    t=tensors(shape=(2,)),
)
def test_arrays(x, y, t):
    assert x.dtype == np.float64
    assert x.ndim <= 2
    assert np.all((x >= 2) & (x <= 3))
    assert y.dtype == np.float32
    assert np.min(np.diff(np.sort(y, None))) > 0.1
    assert t.requires_grad


def test_the_drawn_shapes_and_layouts_are_of_all_kinds():
    seen = set()

    @given(x=arrays())
    def look(x):
        seen.add(f"{x.ndim}-d" if x.size else "empty")
        if not (x.flags.c_contiguous or x.flags.f_contiguous):
            seen.add("strided")
        if x.size > 1 and 0 in x.strides:
            seen.add("broadcast")

    look()
    assert seen >= {"empty", "0-d", "1-d", "2-d", "3-d", "strided", "broadcast"}


@given(arrange=layouts(), x=arrays())
def test_layouts_keep_the_elements(arrange, x):
    moved = arrange(x)
    np.testing.assert_array_equal(moved, x)
    assert not np.shares_memory(moved, x)
    assert LAYOUTS.keys() >= {"contiguous", "fortran", "strided", "reversed"}


@given(xs=broadcasting(3))
def test_broadcasting(xs):
    np.broadcast_shapes(*(x.shape for x in xs))


@given(arguments=convolutions())
def test_convolutions_fit(arguments):
    x, w, *rest = arguments
    assert ops.conv2d(x, w, None, *rest).shape[3] == w.shape[3]


@given(schedule=schedules())
def test_schedules(schedule):
    assert np.all(np.diff(schedule.alpha_bar) < 0)
    assert schedule.alpha_bar[0] == 1
