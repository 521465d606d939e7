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
# # 5. Noise, and what a denoiser knows
#
# Diffusion draws digits by taking noise away, again and again. Before there is a network, look at
# what it is to learn. In this lesson the world is so small that the perfect denoiser is a formula:
# four islands in the plane. You derive it, check it by brute force, and find that it knows more
# than it was asked.
#
# In Colab, install first: `%pip install -q "minidiff[lessons]"`.

# %%
import matplotlib.pyplot as plt
import numpy as np

import minidiff as md
from minidiff import diffusion, ops
from minidiff.diffusion.exact import GaussianMixture

rng = np.random.default_rng(0)

# %% [markdown]
# ## Four islands
#
# A point of our data lies on one of four islands, each with the same chance. An island is a
# Gaussian, the normal distribution in the plane: a centre and, in every direction, the same width.

# %%
centres = np.array([[-1.2, 0.9], [-0.6, -0.9], [0.4, 0.3], [1.3, -0.7]])
width = 0.25
data = centres[rng.integers(4, size=2000)] + width * rng.standard_normal((2000, 2))

figure, axes = plt.subplots(figsize=(4, 4))
axes.scatter(*data.T, s=2)
axes.set(xlim=(-2.5, 2.5), ylim=(-2.5, 2.5), aspect="equal", title="data")
plt.show()

# %% [markdown]
# ## Drowning it
#
# A noisy point is a mix of a clean point and of noise:
#
# $$x_t = \alpha\, x_0 + \sigma\, \varepsilon, \qquad \alpha^2 + \sigma^2 = 1, \qquad
# \varepsilon \sim \mathcal N(0, 1)$$
#
# x₀ is the clean point and x_t the noisy one. ε (epsilon) is the noise: two numbers drawn from the
# normal distribution of mean 0 and variance 1. t is a time. It goes from 0, where α = 1, to T, here
# 100, where almost nothing of the data is left. The table that has α and σ for each t is the
# *schedule*; minidiff has a few, and this one follows a cosine.

# %%
schedule = diffusion.cosine_schedule(100)
figure, panels = plt.subplots(1, 4, figsize=(12, 3), sharey=True)
for t, axes in zip((0, 30, 60, 100), panels):
    alpha, sigma = schedule.alpha_sigma(t)
    noisy = alpha * data + sigma * rng.standard_normal(data.shape)
    axes.scatter(*noisy.T, s=2)
    axes.set(xlim=(-2.5, 2.5), ylim=(-2.5, 2.5), aspect="equal")
    axes.set(title=f"t = {t}: α = {alpha:.2f}, σ = {sigma:.2f}")
plt.show()

# %% [markdown]
# **Question.** Why α² + σ² = 1, and not α + σ = 1?
#
# **Answer.** Variances of independent things add. So data of variance 1 keeps variance 1 at every
# t, and whoever looks at x_t sees numbers of the same size always. (Other choices work as well,
# and are in use.)
#
# ## The best guess
#
# Somebody shows you x_t, and you are to say what x₀ was. You pay the square of your error.
#
# **Question.** You cannot know x₀. What should you say?
#
# **Answer.** The mean of all x₀ that it may have been, each weighed by how probable it is, given
# x_t. A mean has the smallest squared distance to what it is the mean of. We write it x̂₀:
#
# $$\hat x_0(x_t, t) = \mathbb E\,[\,x_0 \mid x_t\,]$$
#
# *This is what a denoising network learns.* Trained with squared errors, it can do no better than
# this mean. (E[· | x_t] is read: the mean of it, given x_t.)
#
# Let us compute it in the most stupid way that there is: from a large heap of clean points, and how
# well each explains x_t. If a point x₀ is the right one, then x_t was drawn from a Gaussian around
# α x₀ of width σ. So a clean point explains x_t as well as the height of that Gaussian says, and
# this is its weight.


# %%
def brute_force(seen, t, heap):
    alpha, sigma = schedule.alpha_sigma(t)
    distance = np.sum((seen - alpha * heap) ** 2, axis=1)
    weight = np.exp(-distance / (2 * sigma**2))
    return weight @ heap / weight.sum()


heap = centres[rng.integers(4, size=500_000)] + width * rng.standard_normal((500_000, 2))
seen = np.array([0.3, -0.4])
for t in (10, 30, 60, 99):
    print(f"t = {t:2}: x̂₀ = {brute_force(seen, t, heap).round(2)}")

# %% [markdown]
# With little noise the guess is near what is seen. With much, it is the mean of all data, whatever
# is seen. In between it decides, more and more, for an island.
#
# ## The same by a formula
#
# For one Gaussian of centre m and width s the guess is linear regression: a straight line through
# the means, whose slope is the covariance of x₀ and x_t over the variance of x_t. The covariance is
# α s² (they share α x₀), and the variance α² s² + σ² (that of α x₀ and that of the noise):
#
# $$\hat x_0 = m + \frac{\alpha s^2}{\alpha^2 s^2 + \sigma^2}\,(x_t - \alpha m)$$
#
# **Before you read on**: what becomes of it for σ = 0? For α = 0? For s = 0?
#
# It gives x_t / α (believe what you see); m (what you see is noise); m (there is only one point it
# could be).
#
# With four islands each makes such a guess, and the guesses are averaged, weighed by how probable
# each island is given x_t. Noise makes an island wider and pulls it in, but it stays a Gaussian,
# of variance V = α² s² + σ² around α m:


# %%
def posterior_mean(x, t):
    """x̂₀ for points x (n, 2)."""
    alpha, sigma = schedule.alpha_sigma(t)
    variance = alpha**2 * width**2 + sigma**2
    offset = x[:, None, :] - alpha * centres  # (n, islands, 2)
    likelihood = np.exp(-np.sum(offset**2, axis=2) / (2 * variance))
    share = likelihood / likelihood.sum(axis=1, keepdims=True)
    guesses = centres + alpha * width**2 / variance * offset
    return np.sum(share[:, :, None] * guesses, axis=1)


for t in (10, 30, 60, 99):
    print(f"t = {t:2}: {posterior_mean(seen[None], t)[0].round(2)}")

# %% [markdown]
# minidiff has it as `GaussianMixture`, for any number of islands in any dimension:

# %%
islands = GaussianMixture(centres, width)
denoise = islands.denoiser(schedule)
x = rng.standard_normal((5, 2))
assert np.allclose(denoise(x, 60).x0, posterior_mean(x, 60))

# %% [markdown]
# ## One guess, four names
#
# x_t = α x₀ + σ ε is known. So who guesses x₀ has guessed ε, too: ε̂ = (x_t − α x̂₀) / σ. Papers
# use four forms, and it helps to have seen once that they are one:
#
# | name | from x̂₀ |
# |---|---|
# | x₀, the clean point | x̂₀ |
# | ε, the noise | ε̂ = (x_t − α x̂₀) / σ |
# | v (for velocity) | v̂ = α ε̂ − σ x̂₀ |
# | the score (of which more below) | −ε̂ / σ |
#
# **Question.** A network is to predict one of them at all t, from nearly clean to nearly nothing.
# Which would you rather not ask it for near t = 0, and which near t = T?
#
# **Answer.** Near 0 not x₀: it is almost what is seen, so that one learns nothing from being
# asked. Near T not the noise: there *it* is almost what is seen, and x̂₀ = (x_t − σ ε̂) / α
# divides its errors by an α near 0. v is a fair question everywhere, which is why minidiff's
# networks predict it.
#
# ## The surprise
#
# Let p_t be the density of the noisy points at time t: how thick they lie in the four pictures
# above. The *score* is the direction in which log p_t grows fastest: its gradient, ∇ log p_t(x_t).
# Nobody has told our denoiser about any density. And yet:
#
# $$\nabla \log p_t(x_t) = -\,\hat\varepsilon / \sigma$$
#
# That is Tweedie's formula.
#
# **Question.** Can you see it on paper, for one island?
#
# **Answer.** Noisy points of it are a Gaussian of variance V around α m, so log p_t is
# −(x_t − α m)² / 2V and a constant, and the score is −(x_t − α m) / V. And put x̂₀ from above into
# ε̂ = (x_t − α x̂₀) / σ: what is left is σ (x_t − α m) / V. Divided by −σ it is the score.
#
# For four islands, let the engine do it. log p_t is the log of a sum of four Gaussians, which
# `logsumexp` takes without losing digits:


# %%
def log_density(x, t):
    """The sum of log p(x_t) over the points, up to a constant."""
    alpha, sigma = schedule.alpha_sigma(t)
    variance = alpha**2 * width**2 + sigma**2
    offset = ops.expand_dims(x, 1) - alpha * centres
    return ops.sum(ops.logsumexp(-ops.sum(offset**2, axis=2) / (2 * variance), axis=1))


t = 60
_, sigma = schedule.alpha_sigma(t)
score = md.grad(lambda x: log_density(x, t))(x)
print(score[:2])
print((-denoise(x, t).noise / sigma)[:2])
assert np.allclose(score, -denoise(x, t).noise / sigma)

# %% [markdown]
# So a denoiser is a map: at every place, and for every amount of noise, it points uphill, towards
# where noisy data is.

# %%
line = np.linspace(-2.2, 2.2, 17)
places = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
figure, panels = plt.subplots(1, 3, figsize=(12, 4), sharey=True)
for t, axes in zip((90, 60, 25), panels):
    arrows = denoise(places, t).x0 - places
    axes.quiver(*places.T, *arrows.T, angles="xy", scale_units="xy", scale=4, width=0.003)
    axes.scatter(*centres.T, s=150, alpha=0.4, color="C1")
    axes.set(title=f"t = {t}: from x_t towards x̂₀", aspect="equal")
plt.show()

# %% [markdown]
# Read it from left to right, as a walk from noise to data does. At first all arrows point at the
# middle: nothing is decided. Then the plane falls into regions, one for each island. At the end
# each arrow points at its own island.
#
# **Question.** x̂₀ in the left picture is a place where there is no data at all. Is the denoiser
# wrong?
#
# **Answer.** No. It is the mean of everything, and the mean of points on four islands is water. The
# mean of all digits is a grey smear, for the same reason. So x̂₀ at large t is not a sample. It is
# a direction to take a *small step* in, and that is the next lesson.
#
# ## Try it
#
# 1. At which t does the guess for `seen` decide for an island? Plot its share against t.
# 2. Give one island ten times the weight. What changes at t = 90, and what at t = 10?
# 3. Make `width` 0: the data is four points. What is x̂₀ then at small t? (This is what a network
#    does that has learned its training images by heart.)
# 4. Compute the mean squared error of the best guess at each t. Where is it largest in ε̂, in x̂₀,
#    in v̂? Is there a t at which no network could learn anything?
#
# Exercises that mark themselves: `minidiff exercises noise`. Next: [samplers, a
# race](06_samplers.ipynb).
