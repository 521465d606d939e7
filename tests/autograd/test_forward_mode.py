"""Forward mode: against two walks back and finite differences, nested, on the tape, in networks."""

import gc
import sys
from functools import partial

import numpy as np
import pytest
import strict
import two_walks
from ops_table import OPS
from strict import registered

import minidiff as md
from minidiff import Primitive, Tensor, kernels, ops
from minidiff.tape.forward import push_forward


def curve(x):
    return ops.exp(ops.sin(x)) * x


def slope(x):
    return np.exp(np.sin(x)) * (1 + x * np.cos(x))


def moving(row, arguments):
    """The operation as a function of its float64 arguments; these, and directions for them."""
    places = [i for i, a in enumerate(arguments) if getattr(a, "dtype", None) == np.float64]

    def f(*xs):
        given = dict(zip(places, xs))
        return row.f(*(given.get(i, a) for i, a in enumerate(arguments)))

    xs = tuple(arguments[i] for i in places)
    rng = np.random.default_rng(0)
    return f, xs, tuple(np.asarray(rng.standard_normal(x.shape)) for x in xs)


@pytest.mark.parametrize("name", OPS)
def test_is_what_two_walks_back_give(name):
    """Every operation, element by element; and on a device that converts nothing by itself."""
    for arguments in OPS[name].drawn[:2]:
        f, xs, vs = moving(OPS[name], arguments)
        if not xs or f(*xs).dtype.kind != "f":
            continue
        value, tangent = md.jvp(f, xs, vs)
        wanted = two_walks.jvp(f, xs, vs)
        np.testing.assert_array_equal(value, wanted[0])
        np.testing.assert_allclose(tangent, wanted[1], rtol=1e-8, atol=1e-9)
        with registered():
            there = [strict.from_host(a) if isinstance(a, np.ndarray) else a for a in arguments]
            f, xs, _ = moving(OPS[name], there)
            vs = tuple(map(strict.from_host, vs))
            tangent = kernels.to_host(md.jvp(f, xs, vs)[1])
        np.testing.assert_allclose(tangent, wanted[1], rtol=1e-8, atol=1e-9)


# --- nesting ---


def test_the_fourth_derivative_by_every_order_of_both_modes():
    """Sixteen ways, each against the closed form of d⁴/dx⁴ x⁵ = 120x."""
    forward = lambda f: lambda x: md.jvp(f, x, np.array(1.0))[1]
    for way in range(16):
        f = lambda x: x * x * x * x * x
        for k in range(4):
            f = (forward if way >> k & 1 else md.grad)(f)
        np.testing.assert_allclose(f(np.array(0.7)), 120 * 0.7, rtol=1e-12)


def test_perturbation_confusion():
    """d/dx [x · d/dy (x + y)] = 1, not 2, whichever mode is which (Siskind & Pearlmutter 2005)."""
    one = np.array(1.0)
    forward = lambda f, x: md.jvp(f, x, one)[1]
    backward = lambda f, x: md.grad(f)(x)
    for outer in (forward, backward):
        for inner in (forward, backward):
            f = lambda x, inner=inner: x * inner(lambda y: x + y, one)
            assert outer(f, np.array(3.0)) == 1
            g = lambda x, inner=inner: inner(lambda y: y * x * x, x)
            assert outer(g, np.array(3.0)) == 6


def test_the_direction_may_be_a_variable():
    """The derivative of J(x) v for v along w is J(x) w; for x it is the second derivative."""
    x, v, w = np.array([0.3, 1.2]), np.array([1.0, -2.0]), np.array([0.5, 0.25])
    along = lambda v: md.jvp(curve, x, v)[1]
    np.testing.assert_allclose(md.jvp(along, v, w)[1], slope(x) * w)
    np.testing.assert_allclose(md.grad(lambda v: ops.sum(along(v) * w))(v), slope(x) * w)


def test_a_function_of_jvp_of_what_is_outside():
    """An inner jvp whose function closes over the outer variable."""
    x = np.array(1.5)
    inner = lambda x: md.jvp(lambda y: ops.sin(x * y), np.array(2.0), np.array(1.0))[1]
    wanted = np.cos(3.0) - 1.5 * 2.0 * np.sin(3.0)  # of x cos(xy), for x
    np.testing.assert_allclose(md.grad(inner)(x), wanted)
    np.testing.assert_allclose(md.jvp(inner, x, np.array(1.0))[1], wanted)


# --- what is on the tape ---


class Net(md.nn.Module):
    def __init__(self):
        self.one = md.nn.Dense(3, 8, 0)
        self.two = md.nn.Dense(8, 2, 1)
        for p in self.parameters():
            p.data = p.data.astype(np.float64)

    def __call__(self, z, t):
        both = ops.concatenate([z, ops.reshape(t, shape=(-1, 1))], axis=1)
        return self.two(ops.silu(self.one(both)))


def mean_flow_gradients(detached):
    """Of |u − (v − t · du/dt)|² (MeanFlow, arXiv 2505.13447), whose target counts as a constant."""
    rng = np.random.default_rng(0)
    z, v, t = rng.standard_normal((5, 2)), rng.standard_normal((5, 2)), rng.uniform(size=5)
    net = Net()
    u, dudt = md.jvp(net, (z, t), (v, np.ones(5)))
    target = v - t[:, None] * (md.stop_gradient(dudt) if detached else dudt)
    ops.mean((u - target) ** 2).backward()

    def difference(p, k, eps=1e-6):
        """Of the loss, where only u moves with the parameter; or, if not detached, all of it."""
        losses = []
        for step in (eps, -eps):
            p.data.reshape(-1)[k] += step
            now, moved = two_walks.jvp(net, (z, t), (v, np.ones(5)))
            p.data.reshape(-1)[k] -= step
            losses.append(
                np.mean((now - (target.data if detached else v - t[:, None] * moved)) ** 2)
            )
        return (losses[0] - losses[1]) / (2 * eps)

    return [(p.grad.reshape(-1)[k], difference(p, k)) for p in net.parameters() for k in (0, 1)]


@pytest.mark.parametrize("detached", [True, False])
def test_a_training_step_with_a_derivative_inside(detached):
    for got, wanted in mean_flow_gradients(detached):
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-8)


def test_it_is_one_operation_and_costs_one_pass(monkeypatch):
    """The function runs once, and its derivative adds one node to the tape, whatever it is."""
    net = Net()
    calls = []
    f = lambda z: calls.append(1) or net(z, Tensor(np.ones(4)))
    u, du = md.jvp(f, np.ones((4, 2)), np.ones((4, 2)))
    assert len(calls) == 1
    assert du.node.name == "jvp"
    assert u.node.name == "dense"
    runs = []
    monkeypatch.setattr(md.autograd.directional, "push_forward", lambda *a: runs.append(1))
    ops.sum(u * md.stop_gradient(du)).backward()
    assert not runs  # nothing was pushed again
    assert len(calls) == 1


def test_results_are_of_the_kind_of_the_arguments():
    x = np.array([0.5, 1.0])
    for result in md.jvp(curve, x, x):
        assert type(result) is np.ndarray
    for result in md.jvp(curve, Tensor(x), x):
        assert isinstance(result, Tensor)
        assert result.node is None
    leaf = Tensor(x, requires_grad=True)
    for result in md.jvp(curve, leaf, x):
        assert result.requires_grad
    with md.no_grad():
        for result in md.jvp(lambda x: curve(x) * leaf, x, x):
            assert type(result) is np.ndarray


def test_nothing_is_written_to_or_shared():
    x, v = np.array([0.5, 1.0]), np.array([1.0, 2.0])
    x.flags.writeable = v.flags.writeable = False
    for f in (lambda x: x, lambda x: x.reshape(2, 1), lambda x: ops.add(x, 1.0)):
        _, tangent = md.jvp(f, x, v)
        assert not np.shares_memory(tangent, v)
        tangent += 1


def test_a_write_in_place_is_noticed():
    x = Tensor(np.array([1.0, 2.0]), requires_grad=True)

    def f(w):
        y = ops.exp(x) * w
        x.data += 1.0
        return ops.exp(x) * y

    md.jvp(f, np.ones(2), np.ones(2))  # the first exp was saved before, and stays
    _, tangent = md.jvp(lambda w: ops.multiply(x, w), np.ones(2), np.ones(2))
    x.data -= 1.0
    with pytest.raises(RuntimeError, match="written in place"):
        tangent.backward(np.ones(2))


def test_directions_have_the_dtype():
    x = np.ones(3, np.float32)
    assert md.jvp(curve, x, np.array([1, 0, 2]))[1].dtype == np.float32
    with pytest.raises(TypeError, match=r"tangents: given float64, wanted float32"):
        md.jvp(curve, x, np.ones(3))


def test_no_garbage_is_left_for_the_collector():
    net = Net()
    gc.collect()
    gc.disable()
    try:
        u, du = md.jvp(net, (np.ones((4, 2)), np.ones(4)), (np.ones((4, 2)), np.ones(4)))
        ops.sum(u * du).backward()
        del u, du
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_depth_is_no_matter():
    def deep(x):
        for _ in range(20_000):
            x = x + 1.0
        return x

    assert sys.getrecursionlimit() < 20_000
    np.testing.assert_array_equal(md.jvp(deep, np.ones(2), np.array([1.0, 3.0]))[1], [1, 3])


def test_a_graph_that_is_gone_is_an_error():
    x = Tensor(np.ones(2), requires_grad=True)
    y = ops.exp(x) * x
    ops.sum(y).backward()
    with pytest.raises(RuntimeError, match="was freed by an earlier backward"):
        push_forward([y], {x: np.ones(2)})


# --- operations of one's own ---


@pytest.mark.parametrize(
    "forward", [None, "symmetric", lambda tangents, x: 3 * tangents[0] * x * x]
)
def test_a_users_operation(forward):
    """With its rule for the way back alone, with a word, or with a rule of its own."""
    cube = md.primitive(x=lambda g, x: 3 * g * x * x, forward=forward)(lambda x: x * x * x)
    x, v = np.array([1.0, -2.0]), np.array([0.5, 3.0])
    np.testing.assert_allclose(md.jvp(cube, x, v)[1], 3 * x * x * v)
    np.testing.assert_allclose(md.hvp(lambda x: ops.sum(cube(x)), x, v), 6 * x * v)
    np.testing.assert_allclose(md.grad(lambda x: ops.sum(md.jvp(cube, x, v)[1]))(x), 6 * x * v)


def test_a_users_joint_rule_and_a_linear_operation():
    joint = lambda g, x, y, needs: (g @ y.mT, x.mT @ g)
    both = Primitive("product", "x y", kernel=np.matmul, joint=joint)
    words = Primitive("product", "x y", kernel=np.matmul, joint=joint, forward="linear")
    rng = np.random.default_rng(0)
    x, y, dx, dy = rng.standard_normal((4, 3, 3))
    for product in (both, words):
        for moves in ((dx, dy), (dx, 0 * dy), (0 * dx, dy)):
            got = md.jvp(product, (x, y), moves)[1]
            np.testing.assert_allclose(got, moves[0] @ y + x @ moves[1])


@pytest.mark.parametrize(
    ("forward", "message"),
    [
        ("lineal", "given forward='lineal', wanted 'linear', 'symmetric' or a function"),
        (lambda tangents, z: z, r"the forward rule asks for \['z'\]"),
        (lambda g: g, r"the forward rule asks for \['g'\]; it takes tangents first"),
    ],
)
def test_a_forward_rule_is_checked_at_definition(forward, message):
    with pytest.raises(TypeError, match=f"square: .*{message}"):
        Primitive("square", "x", kernel=np.square, x=lambda g, x: 2 * g * x, forward=forward)


# --- what stands around operations ---


def test_a_checkpoint_a_hook_and_pieces_of_a_batch():
    rng = np.random.default_rng(0)
    w = rng.standard_normal((64, 64))
    x, v = rng.standard_normal((2, 200, 64))
    plain = lambda x: ops.mean(ops.tanh(x @ w) ** 2)
    wanted = two_walks.jvp(plain, (x,), (v,))[1]
    np.testing.assert_allclose(md.jvp(md.checkpoint(plain), x, v)[1], wanted)
    np.testing.assert_allclose(md.jvp(md.sharded(plain), x, v)[1], wanted)
    refuse = lambda g: pytest.fail("a tangent is no gradient")
    np.testing.assert_allclose(
        md.jvp(lambda x: plain(md.gradient_hook(x, refuse)), x, v)[1], wanted
    )
    second = lambda f: md.grad(lambda x: md.jvp(f, x, v)[1])(x)
    for f in (md.checkpoint(plain), md.sharded(plain)):
        np.testing.assert_allclose(second(f), second(plain), atol=1e-12)


def test_inside_pieces_of_a_batch_any_number_of_threads_gives_the_same_bits():
    rng = np.random.default_rng(0)
    z, v = rng.standard_normal((2, 40_000, 2))
    t = rng.uniform(size=40_000)

    def loss(net, z, v, t):
        u, dudt = md.jvp(net, (z, t), (v, np.ones(len(t))))
        return ops.mean((u - md.stop_gradient(v - t[:, None] * dudt)) ** 2)

    results = []
    threads = md.get_num_threads()
    for n in (1, 2):
        md.set_num_threads(n)
        net = Net()
        md.sharded(partial(loss, net))(z, v, t).backward()
        results.append([p.grad.tobytes() for p in net.parameters()])
    md.set_num_threads(threads)
    assert results[0] == results[1]


def test_dropout_draws_once():
    rng = np.random.default_rng(3)
    x = np.arange(1.0, 101.0)
    value, tangent = md.jvp(lambda x: ops.dropout(x, 0.5, rng) * x, x, np.ones(100))
    np.testing.assert_allclose(tangent, 2 * value / x)


def test_tools_look_on():
    message = "forward derivative of sqrt gave infinity"
    with (
        np.errstate(divide="ignore"),
        md.detect_anomaly(),
        pytest.raises(FloatingPointError, match=message),
    ):
        md.jvp(ops.sqrt, np.array([4.0, 0.0]), np.ones(2))
    with md.debug_mode(), pytest.raises(RuntimeError, match="on purpose") as caught:
        md.jvp(FAILS, np.ones(2), np.ones(2))
    assert "in the forward derivative of fails, recorded at" in caught.value.__notes__[0]
    with md.profile() as p:
        md.jvp(lambda x: ops.exp(x) * x, np.ones(3), np.ones(3))
    assert {"exp", "multiply"} <= {row.operation for row in p.rows()}


def _fail(tangents):
    raise RuntimeError("on purpose")


FAILS = Primitive("fails", "x", kernel=lambda x: x * 1.0, x=lambda g: g, forward=_fail)


# --- matrices ---


def test_a_jacobian_goes_the_shorter_way():
    rng = np.random.default_rng(0)
    tall, wide = rng.standard_normal((7, 2)), rng.standard_normal((2, 7))
    for matrix in (tall, wide):
        f = lambda x, matrix=matrix: ops.sin(ops.matmul(matrix, x))
        x = rng.standard_normal(matrix.shape[1])
        wanted = np.cos(matrix @ x)[:, None] * matrix
        np.testing.assert_allclose(md.jacobian(f)(x), wanted)
        norm = lambda x, f=f: ops.sum(md.jacobian(f)(x) ** 2)
        assert md.gradcheck(norm, x)
