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
# # 4. From seven loops to Winograd
#
# Of the time in which our network for digits (lesson 8) learns, about two thirds go into one
# operation: the convolution. It is seven loops around one multiplication; there is nothing to
# understand about it. But written down as it stands it runs thousands of times slower than it
# could. In this lesson you make it fast, and measure each step.
#
# In Colab, install first: `%pip install -q "minidiff[lessons]"`.

# %%
import time

import numba
import numpy as np

from minidiff import ops

# %% [markdown]
# ## What is computed
#
# An image has rows and columns of pixels, and a pixel has *channels*: three for a colour, but
# inside a network any number of them. A convolution slides a small window over the image. The
# places of the window are called *taps*, and each tap has a matrix of weights, from the input's
# channels to the output's. An output pixel is a sum over the taps, of the pixel under each times
# its matrix:
#
# $$y_{i,j,o} = \sum_{u,v,c} x_{i+u,\;j+v,\;c}\; w_{u,v,c,o}$$
#
# (i and j say which output pixel, u and v which tap, c and o which input and output channel. Loops
# over these six, and one over images: seven.)
#
# Here are eight images, and weights of 3 × 3 taps, from 16 channels to 16.

# %%
rng = np.random.default_rng(0)
x = rng.standard_normal((8, 30, 30, 16), np.float32)
w = rng.standard_normal((3, 3, 16, 16), np.float32)

# %% [markdown]
# **Question.** How many multiplications is that? (The output has 28 × 28 pixels.)
#
# **Answer.** Each of 8 · 28 · 28 · 16 outputs is a sum of 9 · 16 products. Multiplications and
# additions together (so that we can count speeds in GFLOP/s, billions of them in a second):

# %%
operations = 2 * 8 * 28 * 28 * 16 * 9 * 16
print(f"{operations:,}")

# %% [markdown]
# ## Seven loops in Python
#
# As it stands. Let us do one output pixel only, and count up.


# %%
def seven_loops(x, w):
    images, height, width, inputs = x.shape
    taps_down, taps_across, _, outputs = w.shape
    y = np.zeros((images, height - taps_down + 1, width - taps_across + 1, outputs), x.dtype)
    for n in range(images):
        for i in range(y.shape[1]):
            for j in range(y.shape[2]):
                for u in range(taps_down):
                    for v in range(taps_across):
                        for c in range(inputs):
                            for o in range(outputs):
                                y[n, i, j, o] += x[n, i + u, j + v, c] * w[u, v, c, o]
    return y


start = time.perf_counter()
one_pixel = seven_loops(x[:1, :3, :3], w)
seconds = time.perf_counter() - start
speed = 2 * 9 * 16 * 16 / seconds / 1e9
speeds = {"seven loops, Python": speed}
print(f"{speed:.4f} GFLOP/s; all of it would take {operations / speed / 1e9:.0f} s")

# %% [markdown]
# ## Say something large
#
# Python takes longer to say what to do than the processor takes to do it.
#
# **Before you read on**: which of the seven loops can be given to NumPy at once? `a @ b` sums over
# one letter for many pairs of the others.
#
# For one tap (u, v) the pixels under it are a slice of the images. One product with the tap's
# matrix serves them all. Two loops are left:


# %%
def taps(x, w):
    rows = x.shape[1] - w.shape[0] + 1
    columns = x.shape[2] - w.shape[1] + 1
    y = 0
    for u in range(w.shape[0]):
        for v in range(w.shape[1]):
            y = y + x[:, u : u + rows, v : v + columns] @ w[u, v]
    return y


def measure(name, f, *arguments):
    """The speed in GFLOP/s: the best of several runs, since others use the machine, too."""
    result = f(*arguments)
    runs = []
    for _ in range(7):
        start = time.perf_counter()
        f(*arguments)
        runs.append(time.perf_counter() - start)
    speeds[name] = operations / min(runs) / 1e9
    print(f"{name}: {speeds[name]:.1f} GFLOP/s")
    return result


expected = measure("nine taps, NumPy", taps, x, w)
assert np.allclose(one_pixel, expected[:1, :1, :1], atol=1e-4)

# %% [markdown]
# Thousands of times faster, and shorter. This is how minidiff writes every kernel once, to be
# read: `minidiff/kernels/generic.py`.
#
# ## Seven loops again, compiled
#
# To do better we need every instruction to be ours. Numba compiles Python, to instructions of the
# processor. (`contract` lets it multiply and add in one of them.) The same text:

# %%
compiled = numba.njit(fastmath={"contract"})(seven_loops)
assert np.allclose(measure("seven loops, compiled", compiled, x, w), expected, atol=1e-4)

# %% [markdown]
# **Question.** The loops may stand in any order; the sums are the same. Which loop should be the
# innermost?
#
# **Answer.** Numbers that lie side by side in memory can be fetched together, and a processor has
# *vector* instructions that treat 4, 8 or 16 of them as one. Channels are last. So o should be the
# innermost, as above. Let us see what it costs to have c there, for which the weights lie 16
# numbers apart:


# %%
@numba.njit(fastmath={"contract"})
def wrong_order(x, w):
    images, height, width, inputs = x.shape
    taps_down, taps_across, _, outputs = w.shape
    y = np.zeros((images, height - taps_down + 1, width - taps_across + 1, outputs), x.dtype)
    for n in range(images):
        for i in range(y.shape[1]):
            for j in range(y.shape[2]):
                for o in range(outputs):
                    for u in range(taps_down):
                        for v in range(taps_across):
                            for c in range(inputs):
                                y[n, i, j, o] += x[n, i + u, j + v, c] * w[u, v, c, o]
    return y


assert np.allclose(measure("in the wrong order", wrong_order, x, w), expected, atol=1e-4)

# %% [markdown]
# ## Fetch less
#
# A *core*, one of the workers in a processor, can multiply and add a vector in every tick of its
# clock, some three billion times a second. In our loop it also has to fetch a vector of weights and
# a vector of sums for it, and to put the sums back. It spends its time carrying.
#
# **Question.** What is used more than once, and could stay where it is?
#
# **Answer.** Neighbouring pixels meet the same weights. So fetch a weight once, and use it for
# four pixels:


# %%
@numba.njit(fastmath={"contract"})
def four_pixels(x, w):
    images, height, width, inputs = x.shape
    taps_down, taps_across, _, outputs = w.shape
    y = np.empty((images, height - taps_down + 1, width - taps_across + 1, outputs), x.dtype)
    sums = np.empty((4, outputs), x.dtype)
    for n in range(images):
        for i in range(y.shape[1]):
            for j in range(0, y.shape[2], 4):  # 28 is a multiple of 4: other widths need more care
                sums[:] = 0
                for u in range(taps_down):
                    for v in range(taps_across):
                        for c in range(inputs):
                            x0 = x[n, i + u, j + v, c]
                            x1 = x[n, i + u, j + v + 1, c]
                            x2 = x[n, i + u, j + v + 2, c]
                            x3 = x[n, i + u, j + v + 3, c]
                            for o in range(outputs):
                                weight = w[u, v, c, o]
                                sums[0, o] += x0 * weight
                                sums[1, o] += x1 * weight
                                sums[2, o] += x2 * weight
                                sums[3, o] += x3 * weight
                y[n, i, j : j + 4] = sums
    return y


assert np.allclose(measure("a tile of four pixels", four_pixels, x, w), expected, atol=1e-4)

# %% [markdown]
# The sums still travel between the core and its nearest memory. If they stayed in *registers*, the
# few vectors that a core has in its hands, nothing would be carried but what has to be. In Numba's
# language one cannot say what is to stay there, and so minidiff
# writes such tiles instruction by instruction (`minidiff/kernels/cpu/tiles.py`; `docs/kernels.md`
# goes through it). This is how far it gets on your machine, on one thread:

# %%
assert np.allclose(measure("minidiff", ops.conv2d, x, w), expected, atol=1e-4)

# %% [markdown]
# ## Multiply less
#
# At some point all multiplications are done as fast as the processor can. Then only one thing
# helps: to have fewer.
#
# Take one row of pixels, d₀ … d₃, and three taps, g₀ … g₂. Two neighbouring outputs are
#
# $$y_0 = d_0 g_0 + d_1 g_1 + d_2 g_2, \qquad y_1 = d_1 g_0 + d_2 g_1 + d_3 g_2$$
#
# **Question.** Six multiplications. Can it be done with fewer?
#
# **Answer.** With four (Winograd 1980). Multiply these sums:

# %%
d = rng.standard_normal(4)
g = rng.standard_normal(3)

a = (d[0] - d[2]) * g[0]
b = (d[1] + d[2]) * (g[0] + g[1] + g[2]) / 2
c = (d[2] - d[1]) * (g[0] - g[1] + g[2]) / 2
e = (d[1] - d[3]) * g[2]

print("as defined: ", d[:3] @ g, d[1:] @ g)
print("by Winograd:", a + b + c, b - c - e)

# %% [markdown]
# There are more additions now. But the sums of taps are the same for all pixels and can be made
# once, and the sums of pixels are the same for all output channels. As matrices, the three steps
# are
#
# $$y = A^\top \big[\,(G g) \odot (B^\top d)\,\big]$$
#
# where ⊙ multiplies number by number: those are the four products.

# %%
G = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
B = np.array([[1, 0, 0, 0], [0, 1, -1, 1], [-1, 1, 1, 0], [0, 0, 0, -1]])
A = np.array([[1, 0], [1, 1], [1, -1], [0, -1]])
assert np.allclose(A.T @ ((G @ g) * (B.T @ d)), [d[:3] @ g, d[1:] @ g])

# %% [markdown]
# **Question.** In two dimensions, for 2 × 2 outputs of 3 × 3 taps: how many multiplications, and
# how many with Winograd?
#
# **Answer.** 4 · 9 = 36, and 4 · 4 = 16, since rows and columns can be done one after the other.
# The image is cut into windows of 4 × 4 pixels, two apart; each gives 2 × 2 outputs. All channels
# at once, this is the whole of it:


# %%
def winograd(x, w):
    n, height, width, inputs = x.shape
    tiles = np.lib.stride_tricks.sliding_window_view(x, (4, 4), axis=(1, 2))[:, ::2, ::2]
    pixels = np.einsum("pa,nijcpq,qb->abnijc", B, tiles, B, optimize=True)
    weights = np.einsum("ap,pqco,bq->abco", G, w, G, optimize=True)
    products = pixels.reshape(4, 4, -1, inputs) @ weights  # 16 products of matrices
    products = products.reshape(4, 4, n, height // 2 - 1, width // 2 - 1, -1)
    y = np.einsum("ap,abnijo,bq->nipjqo", A, products, A, optimize=True)
    return y.reshape(n, height - 2, width - 2, -1)


assert np.allclose(winograd(x.astype("f8"), w.astype("f8")), expected, atol=1e-4)

# %% [markdown]
# In NumPy the sums cost more than the products save. In minidiff they are made in registers, on
# tiles of 4 × 4 outputs, which take a *quarter* of the products. With enough channels that gives
# more than the processor's peak (a multiplication and an addition of a vector in every tick), if
# one counts the operations of the definition:

# %%
x64 = rng.standard_normal((8, 16, 16, 64), np.float32)
w64 = rng.standard_normal((3, 3, 64, 64), np.float32)
operations = 2 * 8 * 14 * 14 * 64 * 9 * 64
expected = measure("nine taps, NumPy, 64 channels", taps, x64, w64)
assert np.allclose(measure("minidiff, 64 channels", ops.conv2d, x64, w64), expected, atol=1e-3)

# %% [markdown]
# ## The staircase
#
# What you have measured, on your machine:

# %%
import matplotlib.pyplot as plt

figure, axes = plt.subplots(figsize=(7, 3.5))
axes.barh(list(speeds)[::-1], list(speeds.values())[::-1])
axes.set(xscale="log", xlabel="GFLOP/s", title="Seven loops around one multiplication")
figure.tight_layout()
plt.show()

# %% [markdown]
# **Question.** Everything here computes the same numbers. How do you know that the fast ones are
# right?
#
# **Answer.** There was an `assert` at each step, against the one before it. minidiff's tests do
# the same: each fast kernel is held against `generic.py`, for shapes that hypothesis draws.
#
# ## Try it
#
# 1. Let `four_pixels` work for any width. (The last tile may overlap the one before it.)
# 2. In `seven_loops` put the loop over j inside the loop over c, and compile it. Why is it faster,
#    although it computes the same?
# 3. Which convolution is the gradient for x? For w? (Lesson 2: write down which y each x goes
#    into.) Write them with nine taps, and let `gradcheck` judge.
# 4. Winograd's sums cost digits. How large is its error in float32, compared with that of nine
#    taps?
#
# Exercises that mark themselves: `minidiff exercises kernels`. Next:
# [noise](05_noise.ipynb).
