"""The walk: depth, memory, freeing, in-place writes, and what `backward` leaves where."""

import gc
import tracemalloc
import weakref

import numpy as np
import pytest

import minidiff as md
from minidiff import Primitive, Tensor, ops

RNG = np.random.default_rng(0)


def leaf(*shape, dtype=np.float64):
    return Tensor(RNG.standard_normal(shape).astype(dtype), requires_grad=True)


def test_a_chain_of_100_000_operations():
    x = leaf()
    y = x
    for _ in range(100_000):
        y = y + 1.0
    y.backward()
    assert x.grad == 1
    del y  # freeing such a chain must not recurse either


def test_a_deep_chain_is_dropped_without_a_walk():
    y = leaf()
    for _ in range(100_000):
        y = -y
    del y


def test_memory_while_walking_back_stays_near_two_arrays():
    """50 × (y + 1): the gradient on the way is one array, what arrives next is another."""
    x = leaf(250_000)
    y = x
    for _ in range(50):
        y = y + 1.0
    gradient = np.ones(x.shape)
    gc.collect()
    tracemalloc.start()
    y.backward(gradient)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2.2 * x.data.nbytes, f"peak {peak / x.data.nbytes:.2f} arrays"


def test_what_was_saved_is_freed_during_the_walk():
    """50 × (y · y / 2): each node holds an array, and gives it up as it is passed."""
    x = Tensor(RNG.uniform(0, 1, 100_000), requires_grad=True)
    tracemalloc.start()
    y = x
    for _ in range(50):
        y = y * 0.5 * y
    recorded = tracemalloc.get_traced_memory()[0]
    y.backward(np.ones(x.shape))
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert recorded > 90 * x.data.nbytes
    assert after < 4 * x.data.nbytes


@pytest.mark.parametrize("create_graph", [False, True])
def test_no_reference_cycles(create_graph):
    """Everything goes as soon as the last name goes: nothing is left for the garbage collector."""

    def work():
        x, w = leaf(2, 4, 4, 2), leaf(3, 3, 2, 2)
        y = ops.softmax(ops.tanh(ops.conv2d(x, w, leaf(2), padding=1)))
        z = ops.silu(y * y).sum() + ops.exp(y).max()
        z.backward(create_graph=create_graph)
        if create_graph:
            (x.grad * x.grad).sum().backward()
        md.grad(lambda v: (ops.sigmoid(v) * v).sum())(x)
        ops.tanh(x) * 2  # never walked

    work()  # what is made once and kept
    gc.collect()
    gc.disable()
    try:
        work()
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_backward_twice_raises_and_retain_graph_allows_it():
    x = leaf(3)
    y = (ops.tanh(x) * x).sum()
    y.backward(retain_graph=True)
    once = x.grad.copy()
    y.backward()
    np.testing.assert_allclose(x.grad, 2 * once)
    with pytest.raises(
        RuntimeError, match="freed by an earlier backward; give that one retain_graph=True"
    ):
        y.backward()


def test_a_shared_part_that_was_freed_raises():
    x = leaf(3)
    shared = ops.exp(x)
    (shared * 2).sum().backward()
    with pytest.raises(RuntimeError, match="graph of exp was freed"):
        (shared * 3).sum().backward()


def test_gradients_add_up_over_calls_and_uses():
    x = leaf(3)
    for _ in range(2):
        (x * x + x).sum().backward()
    np.testing.assert_allclose(x.grad, 2 * (2 * x.data + 1))


def test_a_gradient_of_one_number_stays_an_array():
    x = leaf()
    for total in (6, 12):
        (x * 6).backward()
        assert type(x.grad) is np.ndarray
        assert x.grad == total


def test_a_leaf_is_its_own_result():
    x = leaf(2)
    upstream = np.array([1.0, 2.0])
    x.backward(upstream)
    np.testing.assert_array_equal(x.grad, upstream)
    assert not np.shares_memory(x.grad, upstream)


def test_no_leaf_shares_a_gradient():
    """add hands the same array to both; the leaves must not notice each other."""
    x, y = leaf(3), leaf(3)
    upstream = np.ones(3)
    (x + y).backward(upstream)
    arrays = [x.grad, y.grad, upstream, x.data, y.data]
    for i, a in enumerate(arrays):
        assert a.flags.writeable
        assert not any(np.shares_memory(a, b) for b in arrays[:i])


def test_a_gradient_that_is_read_only_is_copied():
    x = leaf(3, 4)
    x.sum().backward()
    x.grad *= 2
    np.testing.assert_array_equal(x.grad, np.full((3, 4), 2.0))


@pytest.mark.parametrize("reused", [1, 2, 5])
def test_fan_out(reused):
    """One tensor used many times: where its gradients are summed, no array in use is written to."""
    x = leaf(4)
    y = ops.tanh(x)
    total = sum(((y + float(k)) for k in range(reused)), y * 0.0) + y
    total.backward(np.ones(4))
    np.testing.assert_allclose(x.grad, (reused + 1) * (1 - np.tanh(x.data) ** 2))


def test_diamonds_are_walked_once_each():
    """2⁶⁰ paths."""
    x = leaf()
    y = x
    for _ in range(60):
        y = y + y
    y.backward()
    assert x.grad == 2.0**60


def test_only_what_is_wanted_is_computed():
    x, constant = leaf(3), Tensor(RNG.standard_normal(3))
    (x * constant).sum().backward()
    assert constant.grad is None
    np.testing.assert_allclose(x.grad, constant.data)


# --- arrays written to after they were saved ---


@pytest.mark.parametrize("write", ["data", "iadd"])
def test_a_saved_array_that_was_written_to_raises(write):
    x = leaf(3)
    y = ops.exp(x) * x
    if write == "data":
        x.data = x.data + 1
    else:
        x.data -= 0.1
    with pytest.raises(
        RuntimeError, match=r"'[xy]' of multiply was written in place after it was recorded"
    ):
        y.sum().backward()


def test_a_saved_output_that_was_written_to_raises():
    x = leaf(3)
    y = ops.exp(x)
    y.data *= 2
    with pytest.raises(RuntimeError, match="'out' of exp was written in place"):
        y.sum().backward()


def test_a_write_through_a_view_raises():
    x = leaf(2, 3)
    y = x * x
    view = x.detach().reshape(6)
    view.data += 1
    with pytest.raises(RuntimeError, match="written in place"):
        y.sum().backward()


def test_a_write_to_what_nobody_saved_is_fine():
    x = leaf(3)
    y = x + 1.0
    x.data -= 5
    y.sum().backward()
    np.testing.assert_array_equal(x.grad, np.ones(3))


# --- recording ---


def test_no_grad_records_nothing_and_ends():
    x = leaf(3)
    with md.no_grad():
        inside = x * 2
        with md.no_grad():
            pass
        assert not (x * 2).requires_grad
    assert not inside.requires_grad
    assert inside.node is None
    assert (x * 2).requires_grad
    with pytest.raises(ValueError, match="stop"), md.no_grad():
        raise ValueError("stop")
    assert (x * 2).requires_grad


def test_backward_inside_no_grad_and_create_graph_there():
    x = leaf()
    y = x * x * x
    with md.no_grad():
        y.backward(create_graph=True)
    x.grad.backward()  # adds 6x to 3x²
    np.testing.assert_allclose(x.grad.data, 3 * x.data**2 + 6 * x.data)


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (lambda x: Tensor(np.ones(2)).backward(), "no Tensor with requires_grad=True"),
        (lambda x: (x * 2).backward(), r"shape \(3,\) needs the gradient to start from"),
        (
            lambda x: (x * 2).backward(np.ones(2)),
            r"given float64 of shape \(2,\), wanted float64 of shape \(3,\)",
        ),
        (lambda x: (x * 2).backward(np.ones(3, np.float32)), "given float32"),
    ],
)
def test_wrong_starts(start, message):
    with pytest.raises((RuntimeError, ValueError), match=message):
        start(leaf(3))


def test_an_error_in_a_derivative_names_the_operation():
    def broken(g):
        raise ZeroDivisionError("of all things")

    square = md.Primitive("square", "x", x=broken)
    with pytest.raises(ZeroDivisionError) as caught:
        square(leaf()).backward()
    assert any("square" in note for note in caught.value.__notes__)


# --- any order ---


def test_second_order_through_joint_rules():
    """d²/dx² of a fused operation comes from its reference: it is that of plain operations."""
    x, w, b = leaf(2, 3), leaf(3, 4), leaf(4)

    def third(f):
        first = md.grad(lambda v: (f(v) * f(v)).sum())
        second = md.grad(lambda v: (first(v) * v).sum())
        return md.grad(lambda v: (second(v) * ops.sin(v)).sum())(x.data)

    for fused, plain in [
        (lambda v: ops.dense(v, w, b), lambda v: ops.matmul(v, w) + b),
        (ops.silu, lambda v: v * ops.sigmoid(v)),
        (ops.softmax, lambda v: ops.exp(v) / ops.sum(ops.exp(v), axis=-1, keepdims=True)),
        (lambda v: ops.mse_loss(v, v * 2), lambda v: ops.mean((v - v * 2) ** 2)),
    ]:
        np.testing.assert_allclose(third(fused), third(plain), rtol=1e-8, atol=1e-10)


def test_the_tenth_derivative():
    f = ops.exp
    for _ in range(10):
        f = md.grad(f)
    np.testing.assert_allclose(f(np.array(0.5)), np.exp(0.5), rtol=1e-12)


def test_create_graph_leaves_tensors_that_can_be_differentiated():
    x = leaf(3)
    (x * x * x).sum().backward(create_graph=True)
    assert isinstance(x.grad, Tensor)
    gradient, x.grad = x.grad, None
    gradient.sum().backward()
    np.testing.assert_allclose(x.grad, 6 * x.data)


def test_a_gradient_is_copied_only_where_others_have_it():
    """Whoever gets a gradient may write to it; what a rule has just made, nobody else can see."""
    stored = np.full(3, 2.0)
    shared = {
        "g itself": lambda g, x: g,
        "a view of g": lambda g, x: g[:],
        "what was kept": lambda g, x: x,
        "a view of what is stored elsewhere": lambda g, x: stored[:],
        "what is stored elsewhere": lambda g, x: stored,
    }
    for name, rule in shared.items():
        x = Tensor(np.ones(3), requires_grad=True)
        g = np.full(3, 3.0)
        Primitive("shares", "x", kernel=np.copy, x=rule)(x).backward(g)
        assert not any(np.shares_memory(x.grad, other) for other in (g, x.data, stored)), name
    x, y = (Tensor(np.ones(3), requires_grad=True) for _ in range(2))
    twins = Primitive("twins", "x y", kernel=np.add, joint=lambda g: (same := g * 2, same))
    twins(x, y).backward(np.ones(3))
    assert not np.shares_memory(x.grad, y.grad)
    kept = []
    x = Tensor(np.ones(3), requires_grad=True)
    Primitive(
        "makes", "x", kernel=np.copy, x=lambda g: kept.append(weakref.ref(new := g * 2)) or new
    )(x).backward(g)
    assert kept[0]() is x.grad
