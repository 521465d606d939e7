"""One thread or several: the same bits, of each operation and of pieces of a batch."""

import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ops_table import OPS

import minidiff as md
from minidiff import Tensor, diffusion, ops, optim
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
