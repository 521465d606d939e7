"""One thread or several: the same bits, of each operation and of pieces of a batch."""

import os
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import repeat

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ops_table import OPS
from threadpoolctl import threadpool_info, threadpool_limits

import minidiff as md
from minidiff import Tensor, diffusion, nn, ops, optim
from minidiff.autograd.blas import one_thread
from minidiff.diffusion.guidance import classifier_free


def with_threads(n, run):
    """What `run` gives with n threads."""
    before = md.get_num_threads()
    md.set_num_threads(n)
    try:
        return run()
    finally:
        md.set_num_threads(before)


def values_and_gradients(op):
    """The bits of all that the row's draws give in float32."""
    found = []
    for sample in op.drawn:
        floats = [isinstance(a, np.ndarray) and a.dtype.kind == "f" for a in sample]
        args = [
            Tensor(a.astype("f"), requires_grad=True) if is_float else a
            for a, is_float in zip(sample, floats)
        ]
        out = op.f(*args)
        if out.requires_grad:
            out.backward(np.cos(np.arange(out.size, dtype=np.float32)).reshape(out.shape))
        found += [out.data, *(a.grad for a, is_float in zip(args, floats) if is_float)]
    return [None if array is None else array.tobytes() for array in found]


@pytest.fixture
def impatient():
    """Threads change places as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.parametrize("name", OPS)
def test_two_threads_at_once_get_what_one_gets(name, impatient):
    alone = values_and_gradients(OPS[name])
    with ThreadPoolExecutor(2) as pool:
        for together in pool.map(values_and_gradients, [OPS[name]] * 4):
            assert together == alone


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 500),
    st.integers(1, 70),
    st.sampled_from([np.float32, np.float64]),
    st.integers(0, 2**32 - 1),
)
def test_pieces_of_a_batch(rows, width, dtype, seed):
    rng = np.random.default_rng(seed)
    x, y, w = (rng.standard_normal(shape).astype(dtype) for shape in ((rows, width), rows, width))

    def run(wrap):
        leaf = Tensor(w, requires_grad=True)
        loss = wrap(lambda x, y: ops.mean(ops.sin(ops.matmul(x, leaf)) * y))(x, y)
        loss.backward()
        with md.no_grad():
            each = wrap(lambda x: ops.sin(ops.matmul(x, leaf)).data)(x)
        return loss.data, leaf.grad, each

    one, *others = (with_threads(n, lambda: run(md.sharded)) for n in (1, 2, 3))
    for other in others:
        assert [part.tobytes() for part in other] == [part.tobytes() for part in one]
    for part, whole in zip(one, run(lambda f: f)):
        np.testing.assert_allclose(
            part, whole, rtol=1e-4 if dtype == np.float32 else 1e-10, atol=1e-5
        )


def test_training_and_sampling():
    schedule = diffusion.cosine_schedule(10)
    images = np.random.default_rng(0).uniform(-1, 1, (70, 16, 16, 1)).astype(np.float32)
    labels = np.arange(70) % 11

    def run():
        model, rng = (
            md.models.UNet(width=16, multipliers=(1, 2), timesteps=10),
            np.random.default_rng(1),
        )
        optimizer = optim.Adam(model.parameters(), lr=1e-3)
        for _ in range(2):
            loss = diffusion.loss(model, schedule, images, labels, rng)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        denoise = classifier_free(diffusion.denoiser(model), 2.0)
        drawn = diffusion.sample(denoise, labels, shape=(16, 16, 1), sampler="ddpm", steps=3)
        return [
            array.tobytes() for array in (loss.data, drawn, *(p.data for p in model.parameters()))
        ]

    assert with_threads(1, run) == with_threads(2, run) == with_threads(3, run)


def test_how_many():
    assert with_threads(3, md.get_num_threads) == 3
    with pytest.raises(
        ValueError, match="n, the number of threads: given 0, wanted an integer of at least 1"
    ):
        md.set_num_threads(0)


# --- where a batch is not cut, and where f draws ---

X = np.random.default_rng(0).standard_normal((300, 64))


def test_what_is_not_cut_does_not_depend_on_the_processors():
    """A product of 130 × 3000 by 3000 × 7 has other bits on two threads of BLAS."""
    rng = np.random.default_rng(0)
    x, v = rng.standard_normal((130, 8)), rng.standard_normal((8, 3000))
    w = rng.standard_normal((3000, 7))

    def run(blas):
        leaves = [Tensor(array, requires_grad=True) for array in (v, w)]
        with threadpool_limits(blas, user_api="blas"):
            loss = md.sharded(lambda x: ops.mean(ops.sin(x @ leaves[0] @ leaves[1])))(x)
            loss.backward()
        return [array.tobytes() for array in (loss.data, *(leaf.grad for leaf in leaves))]

    assert run(1) == run(2) == run(8)


def test_blas_gets_its_threads_back():
    def threads():
        return [library["num_threads"] for library in threadpool_info()]

    before = threads()
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda _: md.sharded(lambda x: ops.mean(x))(X), range(12)))
    with pytest.raises(ZeroDivisionError):
        md.sharded(lambda x: 1 / 0)(X)
    assert threads() == before


class Noisy(nn.Module):
    """A user's layer that draws by itself, beside one of ours with the same Generator."""

    def __init__(self, rng):
        self.rng = rng
        self.dropout = nn.Dropout(0.5, rng)

    def __call__(self, h):
        return self.dropout(h) * self.rng.normal(size=h.shape)


def apart(layer, w):
    checkpointed = md.checkpoint(lambda h: layer(ops.tanh(layer(h))))
    return lambda x: ops.mean(checkpointed(x @ w))


# Each gives f, and what it is called with beside X, from a Generator and a weight.
DRAWING = {
    "ops.dropout": lambda rng, w: (lambda x: ops.mean(ops.dropout(x @ w, 0.5, rng)),),
    "a layer": lambda rng, w: (
        partial(lambda layer, x: ops.mean(layer(x @ w)), nn.Dropout(0.5, rng)),
    ),
    "a closure": lambda rng, w: (lambda x: ops.mean(x @ w * rng.normal(size=(len(x), 8))),),
    "an iterator": lambda rng, w: (
        partial(lambda draws, x: ops.mean(x @ w * next(draws)), map(rng.normal, repeat(0.0))),
    ),
    "a default": lambda rng, w: (lambda x, r=rng: ops.mean(x @ w * r.normal(size=(len(x), 8))),),
    "an argument": lambda rng, w: (lambda x, r: ops.mean(x @ w * r.normal(size=(len(x), 8))), rng),
    "a user's layer": lambda rng, w: (
        partial(lambda layer, x: ops.mean(layer(x @ w)), Noisy(rng)),
    ),
    "checkpoint": lambda rng, w: (apart(nn.Dropout(0.5, rng), w),),
    "sharded inside": lambda rng, w: (
        lambda x: md.sharded(lambda x: ops.mean(ops.dropout(x @ w, 0.5, rng)))(
            x.repeat(40, axis=0)
        ),
    ),
}


@pytest.mark.parametrize("name", DRAWING)
def test_draws_do_not_depend_on_the_number_of_threads(name, impatient):
    def run():
        rng = np.random.default_rng(7)
        w = Tensor(np.random.default_rng(1).standard_normal((64, 8)), requires_grad=True)
        f, *others = DRAWING[name](rng, w)
        loss = md.sharded(f)(X, *others)
        loss.backward(retain_graph=True)
        first = w.grad
        w.grad = None
        loss.backward(create_graph=True)  # computes f again, with the same draws
        np.testing.assert_allclose(w.grad.data, first, rtol=1e-10, atol=1e-12)
        return loss.data.tobytes(), first.tobytes(), rng.random()

    one, *others = (with_threads(n, run) for n in (1, 2, 8, 2))
    assert all(other == one for other in others)


def test_pieces_draw_differently():
    rng = np.random.default_rng(0)
    with md.no_grad():
        kept = md.sharded(lambda x, r: ops.dropout(x, 0.5, r))(np.ones((256, 64)), rng)
    rows = {row.tobytes() for row in kept}
    assert len(rows) == 256


def test_sharded_inside_sharded_ends():
    """A helper that waits for a helper has nobody to wait for."""
    f = md.sharded(lambda x: ops.mean(x * md.sharded(ops.mean)(np.tile(X, (2, 1)))))
    np.testing.assert_allclose(with_threads(2, lambda: f(X)), X.mean() ** 2)


def test_the_first_piece_that_fails_is_the_one_that_is_told():
    def fails(x):
        raise ValueError(f"row {x[0, 0]:.0f}")

    rows = np.repeat(np.arange(300.0)[:, None], 64, axis=1)
    for n in (1, 2, 8):
        with pytest.raises(ValueError, match="row 0"):
            with_threads(n, lambda: md.sharded(fails)(rows))


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("failing", range(4))
@pytest.mark.parametrize("n", [1, 2, 4])
def test_when_an_exception_is_raised_no_piece_runs(kind, failing, n):
    begun = []
    ended = []

    def piece(x):
        k = int(x[0, 0]) // 60
        begun.append(k)
        try:
            if k == failing:
                raise kind("told")
            time.sleep(0.02)
        finally:
            ended.append(k)
        return ops.mean(x)

    rows = np.repeat(np.arange(600.0)[:, None], 64, axis=1)
    with pytest.raises(kind, match="told"):
        with_threads(n, lambda: md.sharded(piece)(rows))
    assert sorted(ended) == sorted(begun)
    assert len(begun) <= failing + n
    assert not one_thread.inside


def test_an_interrupt_comes_before_an_error_and_after_the_last_piece():
    """Ctrl-C while the caller waits for a helper, which then fails."""
    ended = []
    first = threading.Event()

    def piece(x):
        if threading.current_thread() is threading.main_thread():
            first.wait(10)
            return ops.mean(x)
        first.set()
        time.sleep(0.05)  # the caller has nothing left to do by then
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.02)
        ended.append(True)
        raise ValueError("not this one")

    with pytest.raises(KeyboardInterrupt):
        with_threads(2, lambda: md.sharded(piece)(X[:128]))
    assert ended == [True]
    assert not one_thread.inside


# --- a model that several threads share ---


def in_threads(*functions):
    """Runs them at once; the first error of any."""
    with ThreadPoolExecutor(len(functions)) as pool:
        for future in [pool.submit(function) for function in functions]:
            future.result()


def test_a_model_that_threads_sample_from_keeps_its_mode(impatient):
    model = md.models.ConditionalMLP(hidden=8, classes=3, timesteps=10)
    denoise = diffusion.denoiser(model, diffusion.cosine_schedule(10))
    draw = lambda: diffusion.sample(denoise, np.array([1, 2, 3]), shape=(2,), steps=10)
    alone = draw().tobytes()
    for _ in range(5):
        assert model.training
        in_threads(*[lambda: draw().tobytes() == alone or pytest.fail("other bits")] * 4)
    assert all(module.training for module in model.modules())


def test_one_thread_evaluates_what_another_trains():
    model = nn.Sequential(nn.Dense(1, 1, 0), nn.Dropout(0.5, 0))
    both = threading.Barrier(2, timeout=10)
    found = {}

    def evaluates():
        with model.evaluating():
            both.wait()
            found["evaluated"] = [module.training for module in model.modules()]
            both.wait()

    def trains():
        both.wait()
        found["trained"] = [module.training for module in model.modules()]
        both.wait()

    in_threads(evaluates, trains)
    assert found == {"evaluated": [False] * 3, "trained": [True] * 3}
    with model.evaluating():  # its pieces are in eval mode too, whichever thread they run on
        x = np.ones((9000, 1), np.float32)
        rows = md.sharded(lambda x: model(x) * model.training)(x)
    assert not np.any(rows)


def test_averages_applied_in_several_threads_and_in_one_another():
    model = nn.Dense(2, 2, 0)
    ema = optim.EMA(model, 0.5)
    model.weight.data = model.weight.data + 1
    weights = model.weight.data.copy()
    averages = ema.average["weight"].copy()
    inside = threading.Barrier(2, timeout=10)

    def applies(first_to_leave):
        with ema.applied():
            inside.wait()
            if first_to_leave:
                return
            time.sleep(0.02)
            np.testing.assert_array_equal(model.weight.data, averages)

    in_threads(lambda: applies(True), lambda: applies(False))
    np.testing.assert_array_equal(model.weight.data, weights)
    with ema.applied(), ema.applied():
        np.testing.assert_array_equal(model.weight.data, averages)
        np.testing.assert_array_equal(ema.state_dict()["average.weight"], averages)
    np.testing.assert_array_equal(model.weight.data, weights)


def test_helpers_see_the_callers_errstate():
    f = md.sharded(lambda x: ops.mean(ops.log(x)))
    with np.errstate(divide="ignore"):
        assert with_threads(2, lambda: f(np.zeros((300, 64)))) == -np.inf


@pytest.mark.parametrize("argument", [3, "abc", [1.0, 2.0]])
def test_arguments_that_are_no_batch(argument):
    with pytest.raises(TypeError, match=r"sharded: given .*, wanted arrays or Tensors"):
        md.sharded(ops.mean)(argument)
