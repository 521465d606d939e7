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
# # 8. Digits
#
# Everything of the seven lessons before comes together in one program of a few lines: it draws
# handwritten digits on demand. You watch it draw, take the network apart, push it until it fails,
# and learn to *measure* how good it is, which is harder than to make it good.
#
# In Colab, install first: `%pip install -q "minidiff[lessons]"`.

# %%
import numpy as np

import minidiff as md
from minidiff import data, diffusion, metrics
from minidiff.diffusion.guidance import classifier_free

SAMPLER = {"sampler": "dpmpp_2m_sde", "steps": 20, "spacing": "log_snr"}

# %% [markdown]
# ## Draw
#
# The network comes with minidiff; `examples/mnist_guided.py` trains it.

# %%
model = md.pretrained("mnist_adm")
denoise = diffusion.denoiser(model)
labels = np.arange(10) + 1  # the digit 0 has the label 1: 0 is the null label
digits = diffusion.sample(classifier_free(denoise, 2.0), labels, rng=0, **SAMPLER)
md.plot.grid(digits, titles=range(10))

# %% [markdown]
# **Question.** Where do they come from? Are they copies of training images?
#
# **Answer.** Ask: for each drawn digit, which of the 60,000 training images is nearest?

# %%
training, _ = data.mnist("train")
_, which = metrics.nearest(digits.reshape(10, -1), training.reshape(len(training), -1))
md.plot.grid(np.stack([digits, training[which]]), row_labels=["drawn", "nearest"])

# %% [markdown]
# Relatives, but no copies. (If both rows were the same, the network would have learned its images
# by heart.)
#
# ## Watch it
#
# `sample_steps` gives each step: the noisy x_t that it has come to, and the guess x̂₀ by which it
# went there.

# %%
steps = diffusion.sample_steps(
    classifier_free(denoise, 2.0), np.array([4, 9]), sampler="ddim", steps=10, rng=3
)
t, x, x0 = diffusion.all_steps(steps)
md.plot.grid(
    np.stack([x[1:, 0], x0[1:, 0], x[1:, 1], x0[1:, 1]]),
    titles=[f"t = {i}" for i in t[1:]],
    row_labels=["x_t", "x̂₀", "x_t", "x̂₀"],
)

# %% [markdown]
# The 8 as a video, x_t above and x̂₀ below:

# %%
md.plot.denoising_video(x[:, 1:], x0[:, 1:], times=t)

# %% [markdown]
# **Question.** The first x̂₀ is a smear. Lesson 5 says why. Why do *these* two smears differ?
#
# **Answer.** The network knows the label. It is the mean of all 3s, and of all 8s.
#
# ## What is inside
#
# A *UNet* (Ronneberger et al. 2015): convolutions (lesson 4) look at an image at 28, 14 and 7
# pixels' width, and back again. Where it is small, a few layers see all of it, and decide which
# digit it is; where it is large they draw the edges. What was seen on the way down is handed across
# to the way up, so that no detail is lost. `profile` says where the time goes:

# %%
print(f"{model.num_parameters:,} parameters")
with md.profile() as profile:
    model(digits, 50, labels)
print(*str(profile).splitlines()[:7], sep="\n")

# %% [markdown]
# **Question.** The network is given t. What would go wrong without?
#
# **Answer.** A faint stroke at t = 90 is noise, at t = 5 it is ink. It has to know how much it may
# believe.
#
# ## Push it

# %%
scales = (0, 1, 2, 5, 15)
rows = []
for scale in scales:
    guided = classifier_free(denoise, scale)
    rows.append(diffusion.sample(guided, labels, rng=0, **SAMPLER))
md.plot.grid(np.stack(rows), titles=range(10), row_labels=[f"s = {scale}" for scale in scales])

# %% [markdown]
# **Before you read on**: what do you see at 0, at 5, at 15? Which would you call the best?
#
# At 0 the label is not heard, and some digits are no digits. At 1 most are. At 2 all are, and each
# a little more like the idea of itself. At 15 they are posters.
#
# ## How good is it?
#
# "They look nice" is no measure. Let somebody else read them: a *judge*, a small network (LeNet-5)
# that was trained to read digits and reads 99.4 % of the test images right.

# %%
judge = md.pretrained("lenet")
wanted = np.arange(400) % 10
drawn = {}
for scale in (1.0, 1.5, 3.0):
    drawn[scale] = diffusion.sample(classifier_free(denoise, scale), wanted + 1, rng=1, **SAMPLER)
    share = metrics.accuracy(wanted, metrics.predict(judge, drawn[scale]))
    print(f"s = {scale}: {share:.1%} are read as what was asked for")

# %% [markdown]
# So 3 is best?
#
# **Question.** A network draws one perfect 0, one perfect 1 and so on, always the same ten. What
# is its agreement?
#
# **Answer.** 100 %. Agreement asks whether digits are *right*, not whether they are as *different*
# as real ones. We need a second measure that sees variety.
#
# ## A distance between two heaps of images
#
# Let the judge describe each image by the 84 numbers that its last layer reads. Real digits are a
# cloud in 84 dimensions, drawn ones another. The *Fréchet distance* compares the two clouds' means
# and their spreads (Heusel et al. 2017; with a LeNet's features, as here, one says FLD):
#
# $$d = |\mu_1 - \mu_2|^2 + \mathrm{tr}\big(C_1 + C_2 - 2\,(C_1 C_2)^{1/2}\big)$$
#
# μ is a cloud's mean and C its covariance matrix (how far it spreads, and in which directions). tr
# adds up a matrix's diagonal, and the power ½ is a matrix's square root. For equal clouds d is 0.

# %%
test, test_labels = data.mnist("test")
real = metrics.Moments(metrics.features(judge.features, test))


def distance(images):
    return metrics.frechet_distance(real, metrics.features(judge.features, images))


for scale, images in drawn.items():
    print(f"s = {scale}: {distance(images):.1f}")

# %% [markdown]
# Now 1 is best. Each of the two measures alone would have misled you.
#
# **Question.** How large would the distance of a *perfect* network be?
#
# **Answer.** Take real images in its place: training images, which come from the same pens.

# %%
rng = np.random.default_rng(0)
for count in (400, 2000, 10_000):
    some = training[rng.permutation(len(training))[:count]]
    print(f"{count:6,} training images: {distance(some):.2f}")

# %% [markdown]
# Not 0; and the fewer images, the larger. A distance says something only beside that of *as many*
# real images. And our 400 drawn digits lie nearer than 400 real ones: they are 40 of each, and real
# ones that are picked by chance are not. So 400 are too few for a figure that one may publish. With
# 10,000 this network has 1.4 times the distance of real digits (`benchmarks/quality.md`).
#
# **Question.** How could one cheat this measure?
#
# **Answer.** Please the judge: train the network with it, choose the samples that it likes, or
# publish the best of many tries. That is why minidiff reports a second judge of another kind, and
# no sample is ever chosen.
#
# ## Where it fails
#
# Look at what was read wrong at s = 1, instead of at an average:

# %%
read = metrics.predict(judge, drawn[1.0])
wrong = np.flatnonzero(read != wanted)[:10]
md.plot.grid(drawn[1.0][wrong], titles=[f"{wanted[i]}, read {read[i]}" for i in wrong])

# %% [markdown]
# And the null label, "any digit". It should draw each digit as often, and as well. It draws them
# as often, nearly:

# %%
anything = diffusion.sample(denoise, None, n=400, rng=2, **SAMPLER)
read = metrics.predict(judge, anything)
print("of the digits 0 to 9:", np.bincount(read, minlength=10))
print(f"distance {distance(anything):.1f}, of as many with labels {distance(drawn[1.0]):.1f}")
md.plot.grid(anything[:10])

# %% [markdown]
# But not as well. It was asked for "any" in a tenth of its training only, and to draw *something*
# is a harder question than to draw a 4: nobody has said which.
#
# ## Try it
#
# 1. Draw the same digit from the same noise with 5, 10, 20 and 100 steps. From where on does
#    nothing change?
# 2. Guide at times 30 < t ≤ 80 only (`diffusion.guidance.interval`). Which of the two measures
#    gets better?
# 3. Interpolate between the noises of two 4s (`diffusion.interpolate`). What lies between?
# 4. Erase the lower half of a real digit and let the network finish it (`diffusion.inpaint`).
# 5. Print the agreement by class (`metrics.classification_report`). Which digits are hardest, and
#    for whom: the network or the judge?
#
# Exercises that mark themselves: `minidiff exercises digits`. Next: [your
# own](09_your_own.ipynb).
