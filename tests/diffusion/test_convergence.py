"""Order of convergence of the deterministic samplers, and inversion."""

from itertools import pairwise

import numpy as np
import pytest
from worlds import TWO, final

import minidiff.diffusion as D
from minidiff.diffusion import samplers as S
from minidiff.diffusion.exact import GaussianMixture

SCHEDULE = D.linear_schedule(1024)
END = 64
EXACT = GaussianMixture([[-0.6], [0.5]], [0.3, 0.2]).denoiser(SCHEDULE)
X = np.random.default_rng(1).standard_normal((32, 1))


@pytest.fixture(scope="module")
def truth():
    grid = np.linspace(1024, END, 2001)
    return final(S.unipc(EXACT, X, times=grid, order=3, lower_order_final=False))


@pytest.mark.parametrize(
    ("name", "options", "ratio"),
    [
        ("euler", {}, 2),
        ("ddim", {}, 2),
        ("dpmpp_1", {}, 2),
        ("heun", {}, 4),
        ("dpmpp_2m", {}, 4),
        ("unipc", {"order": 1}, 4),
        ("unipc", {"order": 2}, 4),
        ("unipc", {"order": 2, "lower_order_final": False}, 8),
        ("unipc", {"order": 3, "lower_order_final": False}, 16),
    ],
)
def test_halving_the_steps(truth, name, options, ratio):
    errors = []
    for steps in (80, 160, 320):
        grid = np.linspace(1024, END, steps + 1)
        errors.append(
            np.abs(final(S.SAMPLERS[name](EXACT, X, times=grid, **options)) - truth).mean()
        )
    for coarse, fine in pairwise(errors):
        assert 0.75 * ratio < coarse / fine < 1.25 * ratio


def test_inversion_then_sampling_comes_back():
    """The error falls with every doubling of the steps; nothing is asked at t = 0."""
    schedule = D.cosine_schedule(1000)
    exact = TWO.denoiser(schedule)
    asked = []

    @lambda function: D.Denoise(function, schedule)
    def denoise(x, t, condition):
        asked.append(t.min())
        return exact(x, t, condition)

    images = TWO.sample(200, np.random.default_rng(0), 1)
    labels = np.full(200, 1)
    errors = []
    for steps in (25, 50, 100, 200, 400):
        grid = D.times(schedule, steps)
        noise = final(S.invert(denoise, images, labels, grid))
        errors.append(np.abs(final(S.ddim(denoise, noise, labels, grid)) - images).mean())
        assert errors[-1] < 2 / steps
    assert all(fine < coarse for coarse, fine in pairwise(errors))
    assert min(asked) > 0
