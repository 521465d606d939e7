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
# # 9. Your own
#
# A layer, a network and a data set of your own, and a judge for it: all that MNIST was given to
# you with, you make yourself. The pictures are small, so that it trains in a minute. Then change
# it: the last lesson is a place to start from.
#
# In Colab, install first: `%pip install -q "minidiff[lessons]"`.

# %%
import matplotlib.pyplot as plt
import numpy as np

import minidiff as md
from minidiff import diffusion, metrics, nn, ops, optim
from minidiff.diffusion.guidance import classifier_free
from minidiff.nn.layers import parameter
from minidiff.testing import check_op
from minidiff.training import Trainer

# %% [markdown]
# ## A data set
#
# What a network is given: pictures (n, height, width, channels) in float32, from −1 for black to 1
# for white, and labels that count from 1: label 0 is kept for "anything". Yours may come from a
# folder: `md.data.images(folder)`. Here they are drawn by a formula: discs, squares and crosses of
# 16 × 16 pixels, of all sizes, anywhere.

# %%
NAMES = ["disc", "square", "cross"]
SIZE = 16
rows, columns = np.mgrid[:SIZE, :SIZE]


def shape(kind, rng):
    radius = rng.uniform(3, 6)
    y, x = rng.uniform(radius, SIZE - 1 - radius, size=2)
    down = np.abs(rows - y)
    across = np.abs(columns - x)
    distance = {
        "disc": np.hypot(down, across),
        "square": np.maximum(down, across),
        "cross": np.maximum(np.minimum(down, across) + radius - 1.2, np.maximum(down, across)),
    }[kind]
    return np.clip(radius - distance, -0.5, 0.5) * 2  # soft edges


def shapes(count, seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(1, 4, size=count)
    pictures = [shape(NAMES[label - 1], rng) for label in labels]
    return np.array(pictures, "float32")[..., None], labels


pictures, labels = shapes(8000, seed=0)
md.plot.grid(pictures[:10], titles=[NAMES[label - 1] for label in labels[:10]])

# %% [markdown]
# **Question.** What should you look at before you train anything?
#
# **Answer.** At what you feed it. A few pictures, as above; their range; how many there are of
# each class. Most trouble with training is trouble with data.

# %%
print(pictures.dtype, pictures.shape, pictures.min(), pictures.max(), np.bincount(labels))

# %% [markdown]
# ## An operation and a layer
#
# A *gated* layer lets one half of its channels decide how much of the other half passes: y = a ·
# sigmoid(b). As an operation with rules of its own (it could be composed of two operations that
# have them; this way one array less is kept):


# %%
def sigmoid(b):
    return 1 / (1 + ops.exp(-b))


@md.primitive(
    broadcasts=True,
    a=lambda g, b: g * sigmoid(b),
    b=lambda g, a, b: g * a * sigmoid(b) * (1 - sigmoid(b)),
)
def gate(a, b):
    return a / (1 + np.exp(-b))


rng = np.random.default_rng(0)
check_op(gate, rng.standard_normal((2, 3)), rng.standard_normal((2, 3)))

# %% [markdown]
# `check_op` has tried values, two orders of derivative, dtypes and memory layouts. Change a sign
# in a rule, and read what it says.
#
# A layer is a `Module`: what is a Tensor that wants gradients among its attributes is a parameter,
# and Modules are its parts. This one is told the time and the label as an *embedding*, a row of
# `dim` numbers that stands for them; `Dense`, a product with a matrix of weights, makes of it a
# number for each channel.


# %%
class Gated(nn.Module):
    """A 3×3 convolution, moved by the embedding of time and label, and gated; x is added."""

    def __init__(self, channels, dim, rng):
        self.conv = nn.Conv2d(channels, 2 * channels, 3, rng)
        self.emb = nn.Dense(dim, 2 * channels, rng)
        self.strength = parameter(np.zeros(channels))

    def __call__(self, x, embedding):
        h = self.conv(x) + ops.expand_dims(self.emb(embedding), (1, 2))
        channels = x.shape[-1]
        return x + self.strength * gate(h[..., :channels], h[..., channels:])


# %% [markdown]
# **Question.** Why does `strength` start at 0?
#
# **Answer.** Then a new layer passes x on as it is, and a stack of ten is no harder to train than
# one. Each finds out how much it has to say.
#
# ## A network
#
# A network for diffusion is called as `model(x, t, condition)` and gives something like x. Ours
# looks at the picture at half its width, in six gated layers of growing reach. The embedding is the
# sum of two: sines of the time, from slow to fast, and a row for each label that is learned.
# `config` is written down when the network is saved:


# %%
class Own(nn.Module):
    def __init__(self, channels=32, dim=32, classes=3, timesteps=100, rng=0):
        self.config = {"channels": channels, "dim": dim, "classes": classes, "timesteps": timesteps}
        self.timesteps = timesteps
        rng = np.random.default_rng(rng)
        self.time = nn.SinusoidalEmbedding(dim, timesteps)
        self.label = nn.Embedding(classes + 1, dim, rng)
        self.enter = nn.Conv2d(1, channels, 4, rng, stride=2)
        self.layers = [Gated(channels, dim, rng) for _ in range(6)]
        self.grow = nn.Upsample(channels, channels, rng)
        self.leave = nn.Conv2d(channels + 1, 1, 3, rng)

    def __call__(self, x, t, condition=None):
        batch = len(x)
        t = np.broadcast_to(t, batch)
        condition = np.zeros(batch, int) if condition is None else np.broadcast_to(condition, batch)
        embedding = self.time(t, self.enter.weight.data) + self.label(condition)
        h = self.enter(x)
        for layer in self.layers:
            h = layer(h, embedding)
        return self.leave(ops.concatenate([ops.silu(self.grow(h)), x], axis=-1))


model = Own()
print(f"{model.num_parameters:,} parameters")

# %% [markdown]
# **Before you read on**: how far does an output pixel see? (Each 3×3 convolution reaches one pixel
# further, and these pixels are two wide.)
#
# Six layers reach 6 · 2 pixels to each side, and the others a little more: the whole picture. If
# it were less, no layer could know that a cross has its fourth arm.
#
# ## Train it
#
# As in lesson 7. The `Trainer` has the loop, and would write checkpoints if it were given a path.
# `diffusion.loss` is lesson 7's `loss_of`, and notes in the network what it predicts and by which
# schedule. `label_dropout` hides a tenth of the labels. `PowerLaw` lets the average grow longer as
# training does.

# %%
schedule = diffusion.cosine_schedule(100)


def loss(x, labels, rng):
    hidden = diffusion.label_dropout(labels, 0.1, rng)
    return diffusion.loss(model, schedule, x, hidden, rng, predicts="v")


EPOCHS = 16
steps = EPOCHS * len(pictures) // 64
optimizer = optim.Adam(model.parameters(), lr=optim.warmup_cosine(4e-3, 50, steps))
average = optim.EMA(model, optim.PowerLaw(0.1))
trainer = Trainer(model, loss, optimizer, average, batch_size=64, seed=0)
history = trainer.fit((pictures, labels), EPOCHS)
print([round(value, 3) for value in history["training"]])

# %% [markdown]
# ## Draw, and judge
#
# The averaged weights draw.

# %%
with average.applied():
    denoise = classifier_free(diffusion.denoiser(model), 2.0)
    wanted = np.arange(300) % 3
    drawn = diffusion.sample(
        denoise, wanted + 1, sampler="dpmpp_2m_sde", steps=20, spacing="log_snr", rng=0
    )
md.plot.grid(drawn[:12], titles=[NAMES[i] for i in wanted[:12]])

# %% [markdown]
# Who judges them? Nobody has ever trained a network to read *these* shapes. So make one. It gives a
# number for each class, and the loss `cross_entropy` wants that of the right one to be the largest:


# %%
class Judge(nn.Module):
    def __init__(self, rng=0):
        rng = np.random.default_rng(rng)
        self.conv1 = nn.Conv2d(1, 16, 4, rng, stride=2)
        self.conv2 = nn.Conv2d(16, 32, 4, rng, stride=2)
        self.dense = nn.Dense(32 * 4 * 4, 3, rng)

    def __call__(self, x):
        h = ops.silu(self.conv2(ops.silu(self.conv1(x))))
        return self.dense(ops.reshape(h, shape=(len(x), 32 * 4 * 4)))


judge = Judge()


def reading_loss(x, labels, rng):
    return ops.cross_entropy(judge(x), labels - 1)


reader = Trainer(judge, reading_loss, optim.Adam(judge.parameters(), lr=2e-3), batch_size=64)
reader.fit((pictures, labels), 4)

unseen, unseen_labels = shapes(1000, seed=1)
print(
    f"reads {metrics.accuracy(unseen_labels - 1, metrics.predict(judge, unseen)):.1%} of real ones"
)
print(
    f"reads {metrics.accuracy(wanted, metrics.predict(judge, drawn)):.1%} of those drawn as wanted"
)

# %% [markdown]
# **Question.** Is that enough to say that the network is good?
#
# **Answer.** No (lesson 8). Are they as different as real ones? Here sizes can be compared
# directly: count the white pixels of the discs.

# %%
white = lambda pictures: np.sum(pictures > 0, axis=(1, 2, 3))
plt.figure(figsize=(6, 2.5))
plt.hist(white(pictures[labels == 1]), bins=30, density=True, alpha=0.5, label="real discs")
plt.hist(white(drawn[wanted == 0]), bins=30, density=True, alpha=0.5, label="drawn discs")
plt.xlabel("white pixels")
plt.legend()
plt.show()

# %% [markdown]
# They are not. Small discs are drawn too seldom, some are larger than any real one, and a few
# pictures have no disc at all. Part of that is guidance (the first task below), part a training of
# one minute.
#
# ## Yours
#
# 1. Draw at guidance 1 and at 4, and compare the sizes of the discs again. What does guidance
#    prefer?
# 2. Add colour: three channels, a colour for each picture. What has to change? (Three numbers in
#    the network, one in the judge.)
# 3. A fourth shape, and a label for its size. How would you give the network *two* labels?
# 4. Train it on pictures of your own: `md.data.images(folder)`, or `python examples/own_images.py
#    FOLDER`, which makes a report of it.
# 5. Leave the gate out, or the embedding. What gets worse? Measure.
#
# Exercises that mark themselves: `minidiff exercises own`. How to add an operation, a
# kernel, a layer or a sampler to minidiff itself: `CONTRIBUTING.md`, ten lines each.
