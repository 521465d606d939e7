"""Inpainting, image-to-image, interpolation."""

import numpy as np
import pytest
from worlds import TWO, final

import minidiff as md
import minidiff.diffusion as D
from minidiff.diffusion.editing import repaint_path
from minidiff.diffusion.exact import FiniteData, GaussianMixture

SCHEDULE = D.cosine_schedule(100)


def test_repaint_path():
    assert repaint_path(5, 2, 1) == [5, 4, 3, 2, 1, 0]
    assert repaint_path(5, 2, 2) == [5, 4, 3, 4, 5, 4, 3, 2, 1, 2, 3, 2, 1, 0]
    # the paper's: 250 steps down and, for 24 places, 9 times 10 up and down
    path = repaint_path(250, 10, 10)
    assert len(path) - 1 == 250 + 2 * 24 * 9 * 10
    assert path[0] == 250 and path[-1] == 0 and np.all(np.abs(np.diff(path)) == 1)


def test_inpainting_draws_the_unknown_given_the_known():
    """Correlated Gaussian data: the second coordinate has a known mean and variance."""
    means = np.array([[c, 0.8 * c] for c in np.linspace(-1, 1, 41)])
    data = GaussianMixture(means, 0.2, np.exp(-0.5 * (means[:, 0] / 0.5) ** 2))
    mean, covariance = data.mean_and_covariance()
    n = 2000
    known_value = 0.4
    rng = np.random.default_rng(0)
    known = np.tile([known_value, 9.0], (n, 1))
    steps = D.inpaint(
        data.denoiser(SCHEDULE),
        rng.standard_normal((n, 2)),
        None,
        D.times(SCHEDULE, 25),
        rng,
        known=known,
        mask=np.array([1, 0]),
        jump=5,
        rounds=8,
    )
    x = final(steps)
    np.testing.assert_array_equal(x[:, 0], known_value)
    slope = covariance[0, 1] / covariance[0, 0]
    wanted_mean = mean[1] + slope * (known_value - mean[0])
    wanted_variance = covariance[1, 1] - slope * covariance[0, 1]
    assert abs(x[:, 1].mean() - wanted_mean) < 0.05
    assert abs(x[:, 1].var() - wanted_variance) < 0.2 * wanted_variance
    assert wanted_mean > 0.15  # what is known matters


def test_inpainting_steps_go_up_too():
    images = np.random.default_rng(0).uniform(-1, 1, (3, 4, 4, 1)).astype(np.float32)
    mask = np.zeros((4, 4, 1))
    mask[:2] = 1
    rng = np.random.default_rng(1)
    steps = list(
        D.inpaint(
            FiniteData(images).denoiser(SCHEDULE),
            rng.standard_normal(images.shape, np.float32),
            times=[100, 75, 50, 25, 0],
            rng=rng,
            known=images,
            mask=mask,
            jump=2,
            rounds=2,
        )
    )
    assert [step.t for step in steps] == [75, 50, 25, 50, 75, 50, 25, 0]
    assert all(step.x.dtype == np.float32 for step in steps)
    np.testing.assert_array_equal(steps[-1].x[:, :2], images[:, :2])
    alpha, sigma = SCHEDULE.alpha_sigma(75)
    noise = (steps[0].x[:, :2] - alpha * images[:, :2]) / sigma
    assert 0.6 < noise.std() < 1.4  # what is known is put in as noisy as the rest


def test_what_stands_in_the_hole_does_not_matter():
    known = TWO.sample(3, np.random.default_rng(0))
    mask = np.array([[1, 0], [0, 1], [1, 1]])
    paint = lambda known, mask=mask: final(
        D.inpaint(
            TWO.denoiser(SCHEDULE),
            np.ones((3, 2)),
            times=[100, 60, 20, 0],
            rng=0,
            known=known,
            mask=mask,
            jump=1,
            rounds=2,
        )
    )
    wanted = paint(known)
    for anything in (np.nan, np.inf, 1e300):
        np.testing.assert_array_equal(paint(np.where(mask == 1, known, anything)), wanted)
    with pytest.raises(ValueError, match="known: given NaN or infinity in 1 of 6"):
        paint(np.where(np.eye(3, 2) == 1, np.nan, known), mask=np.array([[1, 0], [0, 0], [0, 0]]))


def test_image_to_image_keeps_more_the_earlier_it_starts():
    denoise = TWO.denoiser(SCHEDULE)
    x0 = TWO.sample(500, np.random.default_rng(0), 1)
    rng = np.random.default_rng(1)
    distance = []
    for start in (10, 40, 70, 100):
        steps = list(D.image_to_image(denoise, x0, start, sampler="ddpm", steps=10, rng=rng))
        assert len(steps) == 10 and steps[-1].t == 0
        distance.append(np.abs(steps[-1].x - x0).mean())
    assert distance[0] < distance[1] < distance[2] < distance[3]


def test_interpolation():
    denoise = TWO.denoiser(SCHEDULE)
    a = TWO.sample(20, np.random.default_rng(0), 1)
    b = TWO.sample(20, np.random.default_rng(1), 2)
    x = D.interpolate(denoise, a, b, [0.0, 0.5, 1.0])
    assert x.shape == (3, 20, 2)
    assert np.abs(x[0] - a).mean() < 0.03 and np.abs(x[2] - b).mean() < 0.03
    assert np.abs(x[1] - a).mean() > 0.2 and np.abs(x[1] - b).mean() > 0.2
    labels = [
        final(D.samplers.ddim(D.guidance.composed(denoise, [1, 2], [1 - w, w]), np.ones((1, 2))))
        for w in (0.0, 1.0)
    ]
    for label, made in enumerate(labels, 1):
        wanted = final(D.samplers.ddim(denoise, np.ones((1, 2)), np.array([label])))
        np.testing.assert_allclose(made, wanted, atol=1e-12)


def test_images_come_back_from_their_noise():
    """Inversion of digits by the network that ships; unclipped they end 8 off."""
    labels = np.array([3, 7])
    network = D.denoiser(md.pretrained("mnist"))
    digits = D.sample(network, labels, steps=10)
    times = D.times(network.schedule, 25)
    x = D.interpolate(network, digits, digits, [0.0], condition=labels, times=times)
    assert np.sqrt(np.mean((x[0] - digits) ** 2)) < 0.4


def test_slerp():
    a = np.array([[3.0, 0.0], [1.0, 0.0]])
    b = np.array([[0.0, 3.0], [1.0, 0.0]])
    np.testing.assert_allclose(
        D.slerp(a, b, 0.5), [[3 / 2**0.5, 3 / 2**0.5], [1.0, 0.0]], rtol=1e-5
    )
    assert D.slerp(a.astype(np.float32), b.astype(np.float32), np.float64(0.5)).dtype == np.float32
    np.testing.assert_allclose(D.slerp(a, b, 0.0), a, atol=1e-9)
    np.testing.assert_allclose(D.slerp(a, b, 1.0), b, atol=1e-5)
    # from and to nothing, and far out, on the straight line
    zero = np.zeros_like(a)
    np.testing.assert_allclose(D.slerp(a, zero, 0.25), 0.75 * a, rtol=1e-5)
    np.testing.assert_allclose(D.slerp(zero, a, 0.25), 0.25 * a, rtol=1e-5)
    np.testing.assert_allclose(D.slerp(zero, zero, 0.25), zero)
    far = np.full((1, 4), 1e15, np.float32)
    np.testing.assert_allclose(D.slerp(far, far, 0.25), far, rtol=1e-5)
    noise = np.random.default_rng(0).standard_normal((2, 3, 1000))
    # a straight line would shrink it
    np.testing.assert_allclose(D.slerp(*noise, 0.3).std(axis=1), 1, atol=0.1)


def test_errors():
    x = np.zeros((2, 2))
    denoise = TWO.denoiser(SCHEDULE)
    rng = np.random.default_rng(0)
    paint = lambda **o: next(
        D.inpaint(denoise, x, rng=rng, **({"known": x, "mask": np.ones(2)} | o))
    )
    for call, words in [
        (lambda: paint(known=np.zeros((2, 3))), "known: given shape"),
        (lambda: paint(mask=np.array([0.5, 1])), "mask: given"),
        (lambda: paint(mask=np.ones((3, 1, 2))), "mask: given"),
        (lambda: paint(jump=0), "jump: given 0"),
        (lambda: paint(rounds=0), "rounds: given 0"),
        (lambda: D.image_to_image(denoise, x, 101, rng=rng), "start: given 101"),
        (
            lambda: D.image_to_image(denoise, x, 50, sampler="magic", rng=rng),
            "sampler: given 'magic'",
        ),
        (lambda: D.interpolate(denoise, x, np.zeros((3, 2)), [0.5]), "b: given shape"),
        (lambda: D.slerp(x, x, np.nan), "share: given nan, wanted a finite number"),
    ]:
        with pytest.raises(ValueError, match=words):
            call()
