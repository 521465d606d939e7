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
# # 10. A digit in one pass
#
# All samplers of lesson 6 ask the network again and again, some twenty times for a digit. Here a
# network learns to go the whole way at once. It needs what this engine has and others find hard: a
# derivative along a direction, inside a training step.
#
# In Colab, install first: `%pip install -q "minidiff[lessons]"`.

# %%
import matplotlib.pyplot as plt
import numpy as np

import minidiff as md
from minidiff import diffusion, nn, ops, optim
from minidiff.diffusion import mean_flow

rng = np.random.default_rng(0)

# %% [markdown]
# ## A straight path
#
# Until now x_t = α x₀ + σ ε with α² + σ² = 1. A simpler mixture is a straight line from the data
# to the noise, with a time from 0 to 1:
#
# > z_t = (1 − t) x₀ + t ε
#
# Along it a point moves at the constant velocity ε − x₀. A network that is given z_t and t learns
# that velocity, by the square of its error: this is called *flow matching* (Lipman et al. 2023).
# (It is not the v of lesson 5. There α and σ are cosine and sine, the path is an arc, and v = α ε −
# σ x₀ is the velocity on that. Papers call both v.)
#
# **Question.** Many lines, of many x₀ and ε, cross at the same z_t. What does the network learn
# there?
#
# **Answer.** What the square always makes it learn (lesson 5): the mean of ε − x₀ over all lines
# through this point at this time, v(z_t, t). To draw, one follows v back from noise, at t = 1, to
# data, at t = 0.
#
# For data that lies at four points, v is a formula, and we can look at the ways that v leads.

# %%
schedule = diffusion.straight_schedule(1000)  # minidiff's times are 0 … 1000, for t in 0 … 1
CORNERS = np.array([[-1, -1], [-1, 1], [1, -1], [1, 1]])
denoise = diffusion.exact.FiniteData(CORNERS).denoiser(schedule)

# %% [markdown]
# **Before you read on**: every line was straight. Are the ways that v leads straight, too?

# %%
steps = diffusion.sample_steps(
    denoise, n=40, shape=(2,), sampler="euler", steps=1000, rng=0, dtype=np.float64
)
_, ways, _ = diffusion.all_steps(steps)
plt.figure(figsize=(4, 4))
plt.plot(ways[..., 0], ways[..., 1], color="0.7", lw=0.8)
plt.scatter(*ways[0].T, s=8, label="noise")
plt.scatter(*ways[-1].T, s=12, label="data")
plt.legend()
plt.gca().set_aspect("equal")
plt.show()

# %% [markdown]
# They bend. At the beginning v points to the mean of all data, for nothing is decided yet; where
# the way goes is decided on the way. So one long step along v(z₁, 1) leads to the mean, in the
# middle of the square, from wherever one begins:

# %%
counts = [1, 2, 4, 20]
_, panels = plt.subplots(1, 4, figsize=(10, 2.6), sharex=True, sharey=True)
for count, axes in zip(counts, panels):
    drawn = diffusion.sample(denoise, n=200, shape=(2,), sampler="euler", steps=count, clip=None)
    axes.scatter(*drawn.T, s=8)
    axes.set(title=f"{count} step{'s' * (count > 1)}", aspect="equal")
plt.show()

# %% [markdown]
# ## The mean velocity
#
# If you know where a way begins and where it ends, you can go it in one step, however it bends:
# you walk at its *mean* velocity. Between an earlier time r and t it is
#
# > u(z_t, t, r) = 1/(t − r) · ∫ v dτ, from r to t
#
# and by it z_r = z_t − (t − r) u. A network of two times shall learn u. (Geng et al. 2025 call
# this MeanFlow.)
#
# **Question.** We cannot teach it the integral: for that, one would have to follow the way. What
# else do we know of u?
#
# **Answer.** (t − r) u *is* the integral, and the derivative of an integral for its end is what is
# under it, v. On the left it is a product, and so
#
# > u + (t − r) du/dt = v
#
# where d/dt goes along the way: t moves by 1 and, meanwhile, z by v. That is the derivative of the
# network along the direction (v, 1), and forward mode computes it beside u, in one go (lesson 2):
#
# ```python
# u, du = md.jvp(lambda z, t: model(z, t, label, r), (z, t), (v, ones))
# ```
#
# So here is the loss: the square of the difference between u + (t − r) du/dt and ε − x₀, whose mean
# is v. For r = t the second term is gone, and it is flow matching. Nothing was ever followed.
#
# **Question.** The gradient of the loss goes through u, and not through du/dt, which is taken for a
# constant. Why?
#
# **Answer.** Write it as u = v − (t − r) du/dt. The right side is the target: u is to move there,
# and the target is not to move to u. (It is cheaper, too: no derivative of a derivative.)
#
# **Before you read on**: the formula holds for a u that is right. See it hold where u is known. Of
# data from a Gaussian of width 0.5 around 0, z_t is a Gaussian of width w(t) = √((1 − t)² 0.25 +
# t²), and a way goes in and out with it: z_t / w(t) stays the same. So z_r = z_t w(r) / w(t), which
# gives u.

# %%
w = lambda t: ops.sqrt((1 - t) ** 2 * 0.25 + t**2)
u = lambda z, t, r: z * (1 - w(r) / w(t)) / (t - r)
velocity = lambda z, t: z * (t - (1 - t) * 0.25) / w(t) ** 2  # the limit of u for r → t

z = np.array([1.2, -0.4])
t = np.array([0.8, 0.5])
r = np.array([0.1, 0.0])
v = velocity(z, t)
mean, du = md.jvp(lambda z, t: u(z, t, r), (z, t), (v, np.ones(2)))
print("u + (t − r) du/dt:", mean + (t - r) * du)
print("v:                ", v)

# %% [markdown]
# ## Train it
#
# The data are four islands now, as in lesson 5: round, and not points. The network is a small
# perceptron, as in lesson 7, that is told two times: t, and t − r, how far back it is to r. It is
# told them as waves, the sine and the cosine of the time and of its multiples. The waves are slow,
# since the network learns from its own derivative for the time: that of a fast wave is large,
# whatever the network makes of it.
#
# minidiff calls a network with times 0 … 1000, so this one divides by 1000.


# %%
class TwoTimes(nn.Module):
    timesteps = 1000  # the last time
    sample_shape = (2,)  # a sample is a point

    def __init__(self, hidden=64, rng=0):
        rng = np.random.default_rng(rng)
        self.enter = nn.Dense(2 + 12, hidden, rng)  # a point, and six waves of each time
        self.layers = [nn.Dense(hidden, hidden, rng) for _ in range(2)]
        self.leave = nn.Dense(hidden, 2, rng)

    def __call__(self, x, t, condition=None, r=None):
        if r is None:
            r = t
        waves = []
        for time in (t, ops.subtract(t, r)):
            column = ops.reshape(time, shape=(-1, 1)) / self.timesteps
            column = ops.broadcast_to(column, shape=(len(x), 1)).astype(np.float32)
            for k in (1, 2, 4):
                waves += [ops.sin(k * column), ops.cos(k * column)]
        h = ops.silu(self.enter(ops.concatenate([x, *waves], axis=-1)))
        for layer in self.layers:
            h = ops.silu(layer(h))
        return self.leave(h)


islands = diffusion.exact.GaussianMixture(0.8 * CORNERS, 0.12)
model = TwoTimes()
steps = 5000
rate = optim.warmup_cosine(5e-3, 100, steps)
optimizer = optim.Adam(model.parameters(), lr=rate, betas=(0.9, 0.99))
average = optim.EMA(model, decay=0.999)
for _ in range(steps):
    x0 = islands.sample(512, rng).astype("float32")
    loss = mean_flow.loss(model, x0, None, rng, mean=0.0)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    average.update()

# %% [markdown]
# `mean_flow.loss` is what stands above, for r < t in a quarter of the batch and r = t in the rest.
# Both are needed: for the direction (v, 1) one has to know v, and `mean_flow.loss` takes what the
# network itself gives for r = t. (`mean` says which times are drawn: of log(t / (1 − t)), which is
# normal, it is the mean. With 0 most times are in the middle.)
#
# Now draw from the same noise: in one pass, in two, in four, and in a hundred small steps along
# the network's own velocity.

# %%
with average.applied():
    drawn = {passes: mean_flow.sample(model, n=1500, passes=passes, rng=1) for passes in (1, 2, 4)}
    drawn[100] = diffusion.sample(model, n=1500, sampler="euler", steps=100, rng=1)

_, panels = plt.subplots(1, 4, figsize=(10, 2.8), sharex=True, sharey=True)
for (passes, points), axes in zip(drawn.items(), panels):
    axes.scatter(*points.T, s=1)
    axes.set(title=f"{passes} pass{'es' * (passes > 1)}", aspect="equal")
plt.show()

# %% [markdown]
# One step along the velocity had been in the middle of the square. One step along the *mean*
# velocity is on an island, nearly always.
#
# **Question.** Where do the points between the islands come from?
#
# **Answer.** Noise just beside a border goes to one island, noise on the other side of it to the
# other: where the ways part, u has a cliff, and a small smooth network makes a slope of it. A
# sampler of many steps has the same cliff to go around, but turns a little at each step.
#
# Here the truth is known: the exact velocity, followed in 500 steps of Heun's method, says where
# each of these points should have gone.

# %%
ends = diffusion.sample(
    islands.denoiser(schedule), n=1500, shape=(2,), sampler="heun", steps=500, rng=1
)
for passes, points in drawn.items():
    print(f"{passes:3} passes: off by {np.median(np.linalg.norm(points - ends, axis=1)):.2f}")

# %% [markdown]
# ## A digit
#
# The same loss trained the UNet of the published size. Half of its waves tell it t, the others t −
# r, so that it still has 420,497 parameters. Guidance (lesson 7) is part of what it learned, so
# that it needs no second pass for that either: with `guidance=1.35`, `mean_flow.loss` puts the
# guided velocity in the place of ε − x₀.

# %%
digits = md.pretrained("mnist_one_pass")
labels = np.arange(1, 11)
rows = [mean_flow.sample(digits, labels, passes=passes, rng=0) for passes in (1, 2, 4)]
rows.append(diffusion.sample(digits, labels, sampler="euler", steps=1000, rng=0))
md.plot.grid(np.stack(rows), row_labels=[1, 2, 4, 1000], titles=range(10), ylabel="passes")

# %% [markdown]
# Look along a column: it is one digit, from the same noise. A thousand steps and one pass lead to
# nearly the same place.
#
# **Before you read on**: how long does the network take for the upper row?

# %%
# %timeit mean_flow.sample(digits, labels)

# %% [markdown]
# A video shows 25 pictures a second, one every 40 milliseconds.
#
# ## Yours
#
# 1. Train without intervals (`share=0`) and draw in one pass. Where do the points lie, and why?
# 2. Train with twice as many numbers between the layers. What becomes of the points between the
#    islands?
# 3. Give the islands labels, drop some of them (lesson 7), and train with `guidance=2`. What is
#    drawn in one pass, and what should be?
# 4. There is another way to few steps: a student learns to do in one step what its teacher does in
#    two, and is the next one's teacher (`diffusion.distillation`). Try it on the islands.
#
# How good the digits are, in one pass and in more: `benchmarks/quality.md`. The whole training:
# `python examples/one_pass.py`.
