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
# # 7. Training a denoiser
#
# In lesson 5 the denoiser was a formula, because we knew what the data was. Now we know it by
# examples only, and a small network learns to denoise. You write its training loop, see it draw a
# spiral, give it a label to obey, and find out what guidance does, and what it does *not* do.
#
# In Colab, install first: `%pip install -q "minidiff[lessons]"`.

# %%
import matplotlib.pyplot as plt
import numpy as np

import minidiff as md
from minidiff import data, diffusion, ops, optim
from minidiff.diffusion.exact import GaussianMixture
from minidiff.diffusion.guidance import classifier_free

rng = np.random.default_rng(0)

# %% [markdown]
# ## The data, and the question
#
# 20,000 points of a spiral, moved and scaled into the square from −1 to 1:

# %%
points = data.spiral(20_000, rng)
points = data.Scaling.fit(points).apply(points)
schedule = diffusion.cosine_schedule(100)

# %% [markdown]
# **Question.** We have clean points only. From what does one learn to take noise away?
#
# **Answer.** Make the noisy points yourself: take a clean one, draw a time and some noise, and
# mix. Then you know what was mixed, and can ask for it. There is no end of examples.
#
# The network is given x_t and t, and asked for v = α ε − σ x₀. (Why v: lesson 5.) It pays the
# square of its error. That is all:


# %%
def loss_of(model, x0, rng):
    t = rng.integers(1, 101, size=len(x0))
    noise = rng.standard_normal(x0.shape).astype("float32")
    alpha, sigma = schedule.alpha_sigma(t, x0)  # a number for each point
    x_t = alpha * x0 + sigma * noise
    v = alpha * noise - sigma * x0
    return ops.mean((model(x_t, t, None) - v) ** 2)


# %% [markdown]
# The network is a small perceptron: layers, one after the other. A layer multiplies by a matrix of
# weights, adds some more of them, and bends what comes out by a fixed function; without the bend,
# all layers together would be one matrix. Ours has 16 numbers between its layers, and is told t at
# each.
#
# It learns by gradient descent, as in lesson 1, with two things more. `Adam` gives each weight a
# step of its own size (Kingma & Ba 2015). And the learning rate is no constant: `warmup_cosine`
# lets it grow to 0.01 in 100 steps and then fall to 0, like a cosine. `backward` adds to the
# gradients that are there, so `zero_grad` empties them before. `average` is explained below.

# %%
model = md.models.ConditionalMLP(hidden=16, classes=None, timesteps=100, rng=0)
print(f"{model.num_parameters:,} parameters")

steps = 20_000
optimizer = optim.Adam(model.parameters(), lr=optim.warmup_cosine(1e-2, 100, steps))
average = optim.EMA(model, decay=0.999)
losses = []
for _ in range(steps):
    x0 = points[rng.integers(len(points), size=256)]
    loss = loss_of(model, x0, rng)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    average.update()
    losses.append(loss.item())

figure, axes = plt.subplots(figsize=(6, 2.5))
axes.plot(np.convolve(losses, np.ones(200) / 200, "valid"))
axes.set(xlabel="step", ylabel="loss", title="The loss, averaged over 200 steps")
plt.show()

# %% [markdown]
# **Question.** The loss falls to about a half and stays there. Why not to 0?
#
# **Answer.** The noise cannot be known. Even the perfect denoiser of lesson 5 guesses a *mean*,
# and pays for the rest. So a loss says little by itself. Look at what is drawn:

# %%
with average.applied():
    denoise = diffusion.denoiser(model, schedule, "v")
    drawn = diffusion.sample(denoise, n=1500, shape=(2,), sampler="ddpm", steps=100, rng=1)

figure, (left, right) = plt.subplots(1, 2, figsize=(8, 4), sharey=True)
left.scatter(*points[:1500].T, s=2)
left.set(title="data", aspect="equal")
right.scatter(*drawn.T, s=2, color="C1")
right.set(title="drawn by 1,442 parameters", aspect="equal")
plt.show()

# %% [markdown]
# `average` holds a running mean of the weights. A step of training is made from 256 points and
# goes a little wrong each time; what is wrong in the last hundreds of steps cancels in their mean.
# Draw without it (leave out `with`), and the line is thicker.
#
# ## A label to obey
#
# With three patterns and a label that says which, the network learns x̂₀ *given the label*.
# Sometimes, in training, the label is hidden: it becomes 0, the *null label*. So one network
# learns both denoisers, for "a spiral, please" and for "anything".
#
# One that has been trained so, for a minute, comes with minidiff:

# %%
trained = md.pretrained("patterns")
denoise = diffusion.denoiser(trained)
drawn = [
    diffusion.sample(denoise, np.full(1000, label), sampler="ddpm", steps=100, rng=1)
    for label in range(4)
]
md.plot.table([drawn], titles=[f"label {label}" for label in range(4)])

# %% [markdown]
# ## Guidance
#
# A network follows its label only loosely. Guidance makes it obey: ask for the noise with the
# label and without, and go from the second answer *beyond* the first. How far is s, the *guidance
# scale* (classifier-free guidance, Ho & Salimans 2022):
#
# $$\hat\varepsilon = \hat\varepsilon_{\text{null}} + s\,(\hat\varepsilon_{\text{label}} -
# \hat\varepsilon_{\text{null}})$$
#
# **Before you read on**: what is it for s = 0 and for s = 1?
#
# It is the null label's answer, and the label's own. So s = 1 is no guidance at all. What does s =
# 3 draw?

# %%
scales = (0, 1, 3, 8)
drawn = []
for scale in scales:
    guided = classifier_free(denoise, scale)
    drawn.append(diffusion.sample(guided, np.full(1000, 3), sampler="ddpm", steps=100, rng=1))
md.plot.table([drawn], titles=[f"the moons, s = {scale}" for scale in scales])

# %% [markdown]
# They go where the moons are and the other patterns are *not*, and soon they are no moons any
# more.
#
# ## What a scale other than 1 really samples
#
# Papers say that guidance draws from a sharpened density. The score is the noise over −σ (lesson
# 5), so guidance mixes scores as it mixes noises. The guided one is, with c for the label,
#
# $$\nabla \log p(x) + s\,\big(\nabla \log p(x \mid c) - \nabla \log p(x)\big)
# = \nabla \log \big[\, p(x \mid c)^{s}\; p(x)^{1-s} \,\big]$$
#
# so that at each t one follows the score of *that* density.
#
# **Question.** Does the walk therefore end in samples of p(x | c)ˢ p(x)¹⁻ˢ?
#
# **Answer.** Look. On a line with exact denoisers everything can be computed. Class 1 is a wide
# bump, class 2 another, and they overlap:

# %%
two = GaussianMixture(means=[[-0.5], [0.5]], stds=[0.5, 0.5])
places = np.linspace(-4, 3, 1401)


def bump(x, centre):
    return np.exp(-((x - centre) ** 2) / (2 * 0.5**2))


def normalised(values):
    return values / (values.sum() * (places[1] - places[0]))


figure, panels = plt.subplots(1, 3, figsize=(12, 3))
for scale, axes in zip((1, 2, 5), panels):
    of_class = bump(places, -0.5)
    of_all = (of_class + bump(places, 0.5)) / 2
    sharpened = normalised(of_class**scale * of_all ** (1 - scale))
    guided = classifier_free(two.denoiser(schedule), scale)
    drawn = diffusion.sample(guided, np.full(10_000, 1), sampler="ddpm", steps=100, rng=1)
    axes.hist(drawn[:, 0], bins=80, density=True, alpha=0.5, label="drawn")
    axes.plot(places, sharpened, color="black", label="p(x | c)ˢ p(x)¹⁻ˢ")
    expected = np.sum(places * sharpened) * (places[1] - places[0])
    axes.set(title=f"s = {scale}: means {drawn.mean():.2f} and {expected:.2f}", xlim=(-3, 1.5))
axes.legend(loc="upper right", fontsize="small")
plt.show()

# %% [markdown]
# It does not. For s = 1 they agree. For others what is drawn lies *further out*: to mix a
# sharpened density with noise is not to sharpen the mixed one, and so the scores along the way
# belong to no single density at all. At the noisiest times the push is strongest, and everything
# that comes later inherits it.
#
# So guidance is a knob, not a law of probability: digits become clearer and more alike, and their
# true proportions are lost. It was found by trying, and it is worth to know what it costs.
# (Guiding at some times only, `guidance.interval`, costs less.)
#
# ## Try it
#
# 1. `examples/patterns_guided.py` trains the network of the three patterns. Let it hide no label
#    (`label_dropout` with 0), and ask for label 0. What does the network say to a question that it
#    has never heard?
# 2. Predict the noise in place of v. Change two lines. What are x̂₀ and the samples like in the
#    first steps, and why? (Lesson 5.)
# 3. Guide only at times 30 < t ≤ 80 in the last picture (`diffusion.guidance.interval`). Does the
#    mean come nearer?
# 4. Draw with s = −1. What is it that you see?
#
# Exercises that mark themselves: `minidiff exercises training`. Next:
# [digits](08_digits.ipynb).
