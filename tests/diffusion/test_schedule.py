"""Schedules, real times, and the grids that samplers walk."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minidiff.diffusion as D
from minidiff.diffusion.grids import SPACINGS, falling_times
from minidiff.diffusion.schedule import Schedule

ALL = {"linear": D.linear_schedule, "cosine": D.cosine_schedule, "sigmoid": D.sigmoid_schedule}


@pytest.mark.parametrize("make", ALL.values(), ids=ALL)
@pytest.mark.parametrize("timesteps", [21, 40, 100, 1000])
def test_tables(make, timesteps):
    schedule = make(timesteps)
    assert schedule.timesteps == timesteps and type(schedule.timesteps) is int
    assert schedule.beta.shape == schedule.alpha_bar.shape == (timesteps + 1,)
    assert schedule.beta.dtype == schedule.alpha_bar.dtype == np.float64
    assert schedule.beta[0] == 0 and schedule.alpha_bar[0] == 1
    assert np.all((schedule.beta[1:] > 0) & (schedule.beta[1:] <= 0.999))
    np.testing.assert_allclose(schedule.alpha_bar, np.cumprod(1 - schedule.beta), rtol=1e-12)
    assert schedule.alpha_bar[-1] < 1e-4  # it reaches noise
    with pytest.raises(ValueError, match="read-only"):
        schedule.beta[1] = 0


def test_published_values():
    linear = D.linear_schedule(1000)
    np.testing.assert_allclose(linear.beta[[1, 1000]], [1e-4, 0.02], rtol=1e-12)
    np.testing.assert_allclose(linear.beta[500], 1e-4 + (0.02 - 1e-4) * 499 / 999, rtol=1e-12)
    np.testing.assert_allclose(D.linear_schedule(100).beta[[1, 100]], [1e-3, 0.2], rtol=1e-12)
    f = lambda u: math.cos((u + 0.008) / 1.008 * math.pi / 2) ** 2
    np.testing.assert_allclose(D.cosine_schedule(50).alpha_bar[20], f(0.4) / f(0), rtol=1e-12)
    assert D.cosine_schedule(50).beta[50] == 0.999
    sigmoid = lambda u: 1 / (1 + math.exp(-u))
    wanted = (sigmoid(3) - sigmoid(-3 + 6 * 0.4)) / (sigmoid(3) - sigmoid(-3))
    np.testing.assert_allclose(D.sigmoid_schedule(50).alpha_bar[20], wanted, rtol=1e-12)


@pytest.mark.parametrize("make", ALL.values(), ids=ALL)
def test_zero_terminal_snr(make):
    before = make(100)
    after = D.zero_terminal_snr(before)
    assert after.alpha_bar[-1] == 0 and after.beta[-1] == 1
    np.testing.assert_allclose(after.alpha_bar[1], before.alpha_bar[1], rtol=1e-12)
    root = np.sqrt(before.alpha_bar[1:])
    scaled = (root - root[-1]) * root[0] / (root[0] - root[-1])
    np.testing.assert_allclose(np.sqrt(after.alpha_bar[1:]), scaled, rtol=1e-7, atol=1e-12)


def test_one_step_cannot_keep_its_noise_and_lose_its_signal():
    with pytest.raises(
        ValueError, match=r"schedule\.timesteps: given 1, wanted an integer of at least 2"
    ):
        D.zero_terminal_snr(D.cosine_schedule(1))


@pytest.mark.parametrize("timesteps", [1, 5, 20])
def test_a_linear_schedule_that_cannot_be(timesteps):
    with pytest.raises(ValueError, match=r"timesteps: given .* more than 20.*beta"):
        D.linear_schedule(timesteps)


@pytest.mark.parametrize("timesteps", [0, -3, 2.5, True, "10"])
@pytest.mark.parametrize("make", ALL.values(), ids=ALL)
def test_timesteps_are_checked(make, timesteps):
    with pytest.raises(ValueError, match="timesteps: given"):
        make(timesteps)


@pytest.mark.parametrize(
    "beta", [[0, 0.1, 1.0, 0.1], [0, 0.1, 1.2], [0, 0.1, 0.0], [0, np.nan], [0.1, 0.2], [0], [[0]]]
)
def test_betas_are_checked(beta):
    with pytest.raises(ValueError, match="beta: given"):
        Schedule(np.array(beta))


@given(st.sampled_from(sorted(ALL)), st.integers(21, 200), st.booleans(), st.data())
@settings(max_examples=40, deadline=None)
def test_real_times(name, timesteps, terminal, data):
    schedule = ALL[name](timesteps)
    schedule = D.zero_terminal_snr(schedule) if terminal else schedule
    t = np.sort(data.draw(st.lists(st.floats(0, timesteps), min_size=2, max_size=9).map(np.array)))
    alpha_bar = schedule.alpha_bar_at(t)
    assert np.all(np.diff(alpha_bar) <= 1e-15)
    low = np.floor(t).astype(int)
    high = np.ceil(t).astype(int)
    assert np.all(
        (alpha_bar <= schedule.alpha_bar[low] + 1e-15)
        & (alpha_bar >= schedule.alpha_bar[high] - 1e-15)
    )
    np.testing.assert_array_equal(
        schedule.alpha_bar_at(np.arange(timesteps + 1.0)), schedule.alpha_bar
    )
    inner = np.clip(t, 0.05, timesteps - 0.05)
    a = schedule.alpha_bar_at(inner)
    np.testing.assert_allclose(schedule.time_of(np.log(a) - np.log1p(-a)), inner, rtol=1e-6)


@pytest.mark.parametrize("t", [-1, 101, 100.5, math.nan, np.array([3, 200])])
def test_times_out_of_range(t):
    with pytest.raises(ValueError, match="t: given"):
        D.linear_schedule(100).alpha_bar_at(t)
    with pytest.raises(TypeError, match="t: given"):
        D.linear_schedule(100).alpha_bar_at("1")


@given(st.sampled_from(sorted(SPACINGS)), st.integers(21, 300), st.data())
@settings(max_examples=60, deadline=None)
def test_grids(spacing, timesteps, data):
    schedule = D.cosine_schedule(timesteps)
    steps = data.draw(st.integers(1, timesteps))
    grid = D.times(schedule, steps, spacing)
    assert grid.shape == (steps + 1,) and grid[-1] == 0 and np.all(np.diff(grid) < 0)
    assert grid[0] == timesteps or spacing == "leading"
    assert falling_times(schedule, grid) == grid.tolist()
    if spacing in ("trailing", "leading", "linspace"):
        assert grid.dtype == np.int64


def test_published_grids():
    schedule = D.linear_schedule(1000)
    np.testing.assert_array_equal(D.times(schedule, 10), np.arange(1000, -1, -100))
    np.testing.assert_array_equal(D.times(schedule, 10, "leading"), [*range(901, 0, -100), 0])
    np.testing.assert_array_equal(D.times(schedule, 4, "linspace"), [1000, 667, 334, 1, 0])
    np.testing.assert_array_equal(D.times(schedule, 1000), np.arange(1000, -1, -1))
    np.testing.assert_array_equal(D.times(schedule, 4, start=400), [400, 300, 200, 100, 0])
    np.testing.assert_allclose(
        np.diff(np.sqrt(D.times(schedule, 20, "quadratic")[:-1]), 2), 0, atol=1e-12
    )
    r = np.sqrt(1 / schedule.alpha_bar - 1)
    on_grid = lambda grid: np.sqrt(1 / schedule.alpha_bar_at(grid[:-1]) - 1)
    karras = (np.linspace(r[1000] ** (1 / 7), r[1] ** (1 / 7), 20)) ** 7
    np.testing.assert_allclose(on_grid(D.times(schedule, 20, "karras")), karras, rtol=1e-9)
    np.testing.assert_allclose(
        np.diff(np.log(on_grid(D.times(schedule, 20, "log_snr"))), 2), 0, atol=1e-9
    )


@pytest.mark.parametrize("steps", [0, -1, 101, 2.0, True])
def test_steps_are_checked(steps):
    with pytest.raises(ValueError, match="steps: given"):
        D.times(D.linear_schedule(100), steps)


def test_grids_that_cannot_be():
    schedule = D.linear_schedule(100)
    with pytest.raises(ValueError, match=r"spacing: given 'even', wanted one of .*trailing"):
        D.times(schedule, 10, "even")
    with pytest.raises(ValueError, match="start: given 200"):
        D.times(schedule, 10, start=200)


@pytest.mark.parametrize("spacing", ["karras", "log_snr"])
@pytest.mark.parametrize(
    "schedule",
    [D.zero_terminal_snr(D.linear_schedule(100)), D.straight_schedule(100), D.straight_schedule(1)],
)
def test_where_the_log_snr_is_not_finite(schedule, spacing):
    """The first time is T, and the others are those of a grid of one step fewer from T - 1."""
    last = schedule.timesteps
    assert list(D.times(schedule, 1, spacing)) == [last, 0]
    for steps in (2, 10, 50):
        if steps <= last:
            times = D.times(schedule, steps, spacing)
            np.testing.assert_array_equal(
                times, np.append(last, D.times(schedule, steps - 1, spacing, start=last - 1))
            )


@pytest.mark.parametrize(
    "grid", [[5], [1, 5, 0], [5, 5, 0], [101, 0], [5, -1], [5, math.nan, 0], ["5", "0"], [[5, 0]]]
)
def test_times_are_checked(grid):
    with pytest.raises(ValueError, match="times: given"):
        falling_times(D.linear_schedule(100), grid)


@given(st.lists(st.floats(1e-6, 0.9), min_size=1, max_size=30), st.booleans())
def test_a_schedule_comes_back_from_its_alpha_bar(betas, ends_in_noise):
    schedule = D.Schedule(np.array([0.0, *betas[:-1], 1.0 if ends_in_noise else betas[-1]]))
    again = D.Schedule.from_alpha_bar(schedule.alpha_bar)
    np.testing.assert_allclose(again.beta, schedule.beta, rtol=0, atol=1e-15)
    np.testing.assert_allclose(again.alpha_bar, schedule.alpha_bar, rtol=1e-12)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ([0.9, 0.5], r"alpha_bar\[0\] = 0.9, wanted 1.*np\.concatenate\(\[\[1\.0\], alpha_bar\]\)"),
        ([1.0, 0.5, 0.5], "wanted numbers that fall"),
        ([1.0, 0.5, -0.1], "wanted numbers that fall"),
        ([1.0, np.nan, 0.1], "wanted numbers that fall"),
        ([1.0], "given shape"),
        (np.ones((2, 2)), "given shape"),
        (["a", "b"], "wanted real numbers"),
    ],
)
def test_what_is_no_alpha_bar_is_said(table, words):
    with pytest.raises((TypeError, ValueError), match=f"alpha_bar: .*{words}"):
        D.Schedule.from_alpha_bar(table)


def test_curves_that_do_not_fall_are_refused():
    for make, words in (
        (lambda: D.cosine_schedule(10, s=-1), "s: given -1, wanted a number >= 0"),
        (lambda: D.sigmoid_schedule(10, tau=0), "tau: given 0, wanted a number > 0"),
        (lambda: D.sigmoid_schedule(10, 1, 1), "end: given 1, wanted a number > 1"),
    ):
        with pytest.raises(ValueError, match=words):
            make()
