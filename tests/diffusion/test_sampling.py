"""`sample`, what is made of a sampler's steps, and the toolbox on a strict device."""

import numpy as np
import pytest
import strict
from worlds import TWO, counted

import minidiff.diffusion as D
from minidiff import kernels
from minidiff.diffusion import guidance as G
from minidiff.diffusion import samplers as S

SCHEDULE = D.cosine_schedule(100)
EXACT = TWO.denoiser(SCHEDULE)


def test_from_labels_and_from_count_and_label():
    by_labels = D.sample(EXACT, np.full(6, 2), shape=(2,), steps=10)
    by_count = D.sample(EXACT, condition=2, n=6, shape=(2,), steps=10, rng=np.random.default_rng(0))
    assert by_labels.shape == (6, 2) and by_labels.dtype == np.float32
    np.testing.assert_array_equal(by_labels, by_count)
    assert D.sample(EXACT, n=3, shape=(2,), steps=5, dtype=np.float64).dtype == np.float64
    assert D.sample(EXACT, n=0, shape=(2,), steps=5).shape == (0, 2)
    passes, denoise = counted(EXACT)
    D.sample(denoise, n=3, shape=(2,), steps=7, sampler="ddpm")
    assert passes.batches == [3] * 7 and passes.conditions == [None] * 7
    other = D.sample(EXACT, np.full(6, 2), shape=(2,), steps=10, rng=1)
    assert np.all(other != by_labels)


def test_images_are_clipped_and_points_are_not():
    far = D.Denoise(lambda x, t, c: D.Prediction(np.full_like(x, 5.0), x), SCHEDULE)
    assert np.all(D.sample(far, n=2, shape=(2, 2, 1), steps=2) == 1)
    assert np.all(D.sample(far, n=2, shape=(2,), steps=2) == 5)
    assert np.all(D.sample(far, n=2, shape=(2, 2, 1), steps=2, clip=None) == 5)


def test_all_steps_and_the_final_one():
    run = lambda: D.sample_steps(
        EXACT, condition=1, n=5, shape=(2,), steps=8, sampler="ddpm", rng=3
    )
    t, x, x0 = D.all_steps(run())
    assert t.tolist() == D.times(SCHEDULE, 8)[1:].tolist() and x.shape == x0.shape == (8, 5, 2)
    np.testing.assert_array_equal(x[-1], D.final(run()))
    np.testing.assert_array_equal(x[-1], x0[-1])


def test_errors():
    make = lambda **o: D.sample(EXACT, **({"n": 3} | o))
    short = TWO.denoiser(D.Schedule(np.array([0.0, 0.1, 0.2])))
    for call, words in [
        (lambda: make(sampler="magic"), "sampler: given 'magic', wanted one of"),
        (lambda: make(steps=101), "steps: given 101"),
        (lambda: make(spacing="odd"), "spacing: given 'odd'"),
        (lambda: make(n=None), "n: given None"),
        (lambda: make(n=None, condition=1), "n: given None and one condition, 1, for all"),
        (lambda: make(n=-1), "n: given -1"),
        (lambda: make(shape=(2.5,)), "shape: given 2.5, wanted an integer"),
        (lambda: make(dtype="float16"), "dtype: given 'float16', wanted one of 'float32'"),
        (lambda: make(sampler=S.invert), "sampler: given invert, wanted one that goes from noise"),
        # one vector says as little as one label
        (lambda: make(n=None, condition=np.ones(3)), "n: given None"),
        (lambda: make(rng=None), "rng: given None, wanted a NumPy Generator"),
        (lambda: make(condition=np.array([1, 2])), "condition: given shape"),
        (lambda: make(condition=-1), "condition: given -1"),
        (lambda: make(condition=9), "condition: given"),
        (lambda: make(device="tape"), "device: given 'tape'"),
        (lambda: D.sample(short, n=3, shape=(2,)), "alpha_bar_T = 0.72, wanted at most 0.05"),
    ]:
        with pytest.raises(ValueError, match=words):
            call()
    with pytest.raises(TypeError, match=r"shape: given 28, wanted a tuple, such as \(28, 28, 1\)"):
        make(shape=28)
    with pytest.raises(TypeError, match="rng: given str, wanted a seed such as 0"):
        make(rng="0")


def test_everything_on_another_device():
    rules = {
        "free": lambda d: G.classifier_free(d, np.array([1.0, 2.0, 3.0])),
        "rescaled": lambda d: G.guided(d, 2.0, combine=G.rescaled()),
        "projected": lambda d: G.guided(
            d, 2.0, combine=G.projected(momentum=0.5, norm_threshold=1.0)
        ),
        "cfg++": lambda d: G.guided(d, 0.5, combine=G.cfg_pp),
        "classifier": lambda d: G.classifier(d, TWO.log_prob(SCHEDULE), 2.0),
    }
    labels = np.array([1, 2, 0])
    with strict.registered():
        for name in S.SAMPLERS:
            for rule, make in rules.items():
                if rule == "cfg++" and name not in ("ddim", "euler"):
                    continue
                options = {
                    "shape": (2,),
                    "condition": labels,
                    "sampler": name,
                    "steps": 4,
                    "dtype": np.float64,
                }
                options["clip"] = D.dynamic_threshold()
                here = D.sample(make(EXACT), **options)
                there = D.sample(make(EXACT), device="strict", **options)
                assert type(there) is strict.StrictArray
                np.testing.assert_allclose(kernels.to_host(there), here, atol=1e-9)
