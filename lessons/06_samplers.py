# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 6. Samplers, a race
#
# A denoiser says where a noisy point probably came from. A *sampler* makes new data with it: it
# starts at noise and walks. You write three of them, each a few lines, and let them race where the
# right answer is known exactly.
#
# In Colab, install first: `%pip install -q "minidiff[lessons]"`.

# %%
from itertools import pairwise
from statistics import NormalDist

import matplotlib.pyplot as plt
import numpy as np

from minidiff import diffusion
from minidiff.diffusion import samplers
from minidiff.diffusion.exact import GaussianMixture

rng = np.random.default_rng(0)
schedule = diffusion.linear_schedule(1000)
T = schedule.timesteps

# %% [markdown]
# The world is a line with two bumps. The left one is narrow and holds 40 % of the data.

# %%
bumps = GaussianMixture(means=[[-1.0], [0.8]], stds=[0.1, 0.25], weights=[0.4, 0.6])
denoise = bumps.denoiser(schedule)  # exact: see lesson 5

plt.figure(figsize=(6, 2.5))
plt.hist(bumps.sample(20_000, rng)[:, 0], bins=150, density=True)
plt.title("data")
plt.show()

# %% [markdown]
# ## The first idea
#
# **Question.** x̂₀ is the best guess of the clean point. Why not ask once, at t = T, and be done?

# %%
start = rng.standard_normal((2000, 1))
at_once = denoise(start, T).x0
print("from", start[:4, 0].round(2), "to", at_once[:4, 0].round(2))

# %% [markdown]
# **Answer.** Because it is a mean. All of the data is possible at t = T, and its mean is 0.08,
# wherever one starts.
#
# So go a *little* way, and ask again. At time t we have a guess of the clean point and of the
# noise. At the next time s, which is a little cleaner, x_s would be a mix of the same two with
# other factors:
#
# $$x_s = \alpha_s\, \hat x_0 + \sigma_s\, \hat\varepsilon$$


# %%
def ddim_step(x, t, s):
    p = denoise(x, t)
    alpha, sigma = schedule.alpha_sigma(s)
    return alpha * p.x0 + sigma * p.noise


x = start
for t in range(T, 0, -1):
    x = ddim_step(x, t, t - 1)

plt.figure(figsize=(6, 2.5))
plt.hist(bumps.sample(2000, rng)[:, 0], bins=100, alpha=0.5, label="data")
plt.hist(x[:, 0], bins=100, alpha=0.5, label="samples")
plt.legend()
plt.show()
print(f"{np.mean(x < 0):.1%} lie in the left bump")

# %% [markdown]
# It works, and it is whole: that is DDIM (Song et al. 2021). The loop has never seen a data point.
#
# ## How wrong is it, exactly?
#
# On a line we can know. In small steps two walks can never cross, since from a common place they
# would go on together. So the point that lies above 30 % of the noise must land above 30 % of the
# data.
#
# **Before you read on**: how do you turn that into a measure of error?
#
# Start not at random, but at the noise of the ranks 0.05 %, 0.15 % …; the data of these ranks is
# where they belong.

# %%
ranks = (np.arange(1000) + 0.5) / 1000
start = np.array([[NormalDist().inv_cdf(rank)] for rank in ranks])

fine = np.linspace(-3, 3, 60_001)
share_below = 0.4 * np.vectorize(NormalDist(-1.0, 0.1).cdf)(fine)
share_below += 0.6 * np.vectorize(NormalDist(0.8, 0.25).cdf)(fine)
belongs = np.interp(ranks, share_below, fine)


def error(x):
    """The mean distance from where the points belong."""
    return np.abs(np.sort(x[:, 0]) - belongs).mean()


def walk(step, count):
    """From noise to data in so many steps, and the error in the end."""
    x = start
    times = diffusion.times(schedule, count, spacing="log_snr")
    for t, s in pairwise(times):
        x = step(x, t, s)
    return error(x)


for count in (10, 20, 40, 80, 160):
    print(f"{count:3} steps: {walk(ddim_step, count):.4f}")

# %% [markdown]
# Twice the steps, half the error. A method that behaves so is of *first order*. (The times are
# chosen evenly in the log of the signal-to-noise ratio, α²/σ². Which times one leaves out matters
# as much as how many: try `spacing="trailing"`, where they are evenly spaced in t.)
#
# ## Twice as good for the same price
#
# Each step asks the denoiser once, and with a network that is where all the time goes. So what
# counts is the error *per question*.
#
# A step of DDIM trusts the guess at its beginning for its whole length. But the guess changes on
# the way.
#
# **Question.** How do you find out how it changes, without asking more often?
#
# **Answer.** Remember the last guess. From the last two one can draw a straight line, and aim at
# where *it* will be in the middle of the step (hence `ratio / 2`). How far that is, is measured in
# λ, the log of α/σ, in which the walk is nearly straight:


# %%
def half_log_snr(t):
    alpha, sigma = schedule.alpha_sigma(t)
    return np.log(alpha / sigma)


class TwoGuesses:
    """DPM-Solver++ 2M (Lu et al. 2022)."""

    def __init__(self):
        self.last = None

    def __call__(self, x, t, s):
        guess = denoise(x, t).x0
        aim = guess
        if self.last is not None and s > 0:
            earlier, t0 = self.last
            ratio = (half_log_snr(s) - half_log_snr(t)) / (half_log_snr(t) - half_log_snr(t0))
            aim = guess + ratio / 2 * (guess - earlier)
        self.last = guess, t
        alpha, sigma = schedule.alpha_sigma(t)
        next_alpha, next_sigma = schedule.alpha_sigma(s)
        noise = (x - alpha * aim) / sigma
        return next_alpha * aim + next_sigma * noise


for count in (10, 20, 40, 80, 160):
    print(f"{count:3} steps: {walk(TwoGuesses(), count):.5f}   (DDIM {walk(ddim_step, count):.4f})")

# %% [markdown]
# Twice the steps, a quarter of the error: second order, for the same number of questions. Ten
# steps of it are worth twenty of DDIM, and eighty are worth two thousand. (At 160 something else is
# left, which no step mends: at t = T there is still a little of the data in x_T, α is 0.006, and we
# began with noise alone.)
#
# ## With dice
#
# The first of all these samplers, DDPM (Ho et al. 2020), throws away a part of the noise at each
# step, and puts in new. How much is new follows from how the noise grew, step by step: if x₀ were
# known, x_s given x_t would be a Gaussian, of variance σₛ²/σₜ² · (1 − αₜ²/αₛ²) (their equation 7).
# That much is new, and the rest of σₛ² is kept. So take x̂₀ for x₀, and draw:


# %%
def ddpm_step(x, t, s):
    p = denoise(x, t)
    alpha, sigma = schedule.alpha_sigma(t)
    next_alpha, next_sigma = schedule.alpha_sigma(s)
    # of the noise at s, so much is new, and so much is kept
    new = next_sigma / sigma * np.sqrt(1 - (alpha / next_alpha) ** 2)
    kept = np.sqrt(next_sigma**2 - new**2)
    return next_alpha * p.x0 + kept * p.noise + new * rng.standard_normal(x.shape)


for count in (10, 20, 40, 80, 160):
    print(f"{count:3} steps: {walk(ddpm_step, count):.4f}")

# %% [markdown]
# **Question.** It is no better than DDIM, and it needs random numbers. What is it good for?
#
# **Answer.** It forgets, and so it forgives. Push every point in the middle of the walk, as a
# network does that errs:

# %%
times = diffusion.times(schedule, 200, spacing="log_snr")
for name, step in (("DDIM", ddim_step), ("DDPM", ddpm_step)):
    x = start
    for i in range(200):
        x = step(x, times[i], times[i + 1])
        if i == 60:
            x = x + 0.3
    print(f"{name}: error after a push {error(x):.3f}")

# %% [markdown]
# DDIM carries the push to the end. DDPM has lost most of it: new noise covers up what was wrong in
# the old. Trained networks do err at each step, which is why `examples/mnist_guided.py` draws with
# a sampler that is both, second order *and* new noise: `dpmpp_2m_sde`.
#
# ## The race
#
# minidiff has ten samplers. Each is a generator, so that one can watch, and `diffusion.final` runs
# it to its end. One question to the denoiser is called a *pass*. `ddim` and `ddpm` you know, and
# `dpmpp_2m` is our `TwoGuesses`. `heun` asks twice: it tries a step, asks at its end, and goes the
# step again by the mean of both answers. `unipc` (Zhao et al. 2023) corrects each step by the
# answer that comes after it.

# %%
passes = np.array([10, 20, 40, 80, 160])
figure, axes = plt.subplots(figsize=(7, 4.5))
for name in ("ddim", "heun", "dpmpp_2m", "unipc", "ddpm"):
    errors = []
    for count in passes:
        steps = count // 2 if name == "heun" else count
        times = diffusion.times(schedule, steps, spacing="log_snr")
        x = diffusion.final(samplers.SAMPLERS[name](denoise, start, times=times, rng=1))
        errors.append(error(x))
    axes.loglog(passes, errors, "o-", label=name)
axes.set(xlabel="passes", ylabel="error", title="The error of five samplers, by passes")
axes.legend()
plt.show()

# %% [markdown]
# Read the slopes: DDIM falls like 1/n, the three of second order like 1/n². DDPM lies flat in the
# end: its error is the luck of a thousand draws.
#
# **Question.** Which one wins at ten passes, and would you have guessed it?
#
# **Answer.** `unipc`, and `dpmpp_2m` is behind it. But an order does not say so: it speaks of many
# steps. With few, what counts is how far a method overshoots, and Heun, of second order as these
# two are, is the worst of all there.
#
# ## Try it
#
# 1. Our `TwoGuesses` does not use its line in the last step (s = 0). Why? Look at λ there.
# 2. Mix DDIM and DDPM: keep a share η of the new noise. Which η forgives a push best for 20 steps?
# 3. Start all points at 0. What does DDIM draw, and what DDPM?
# 4. Walk upwards, from data to noise, with `ddim_step(x, t, t + 1)`, then down again. How near do
#    you get to where you started? What is it good for?
#
# Exercises that mark themselves: `minidiff exercises samplers`. Next: [training a
# denoiser](07_training.ipynb).
