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
# # 3. When gradients lie
#
# A wrong gradient makes no noise. The program runs, the loss falls, only not as far; and weeks
# later somebody finds a minus sign. So an engine is worth as much as its tests. Here you learn how
# a gradient is checked without knowing the answer, what can go wrong with the check itself, and
# how to hunt for bugs with random inputs.
#
# In Colab, install first: `%pip install -q "minidiff[lessons]"`.

# %%
import matplotlib.pyplot as plt
import numpy as np

import minidiff as md
from minidiff import ops

# %% [markdown]
# ## Finite differences
#
# By definition a derivative is what (f(x + h) − f(x)) / h comes to for small h. So take a small h.
# How small?
#
# **Before you read on**: for f = exp at 1, which h of 10⁻¹ … 10⁻¹⁵ gives the best derivative? And
# with (f(x + h) − f(x − h)) / 2h?

# %%
x = 1.0
exact = np.exp(x)
h = 10.0 ** -np.arange(1, 16)
one_sided = (np.exp(x + h) - np.exp(x)) / h
central = (np.exp(x + h) - np.exp(x - h)) / (2 * h)

figure, axes = plt.subplots(figsize=(7, 4))
axes.loglog(h, np.abs(one_sided - exact), "o-", label="one-sided")
axes.loglog(h, np.abs(central - exact), "o-", label="central")
axes.set(xlabel="h", ylabel="error of the derivative", title="Two errors that fight")
axes.legend()
plt.show()

# %% [markdown]
# From the right the curves fall: a smaller h is nearer to the definition. The one-sided error
# falls like h, the central one like h², since what is wrong to the left and to the right cancels.
# Then the curves turn and rise again.
#
# **Question.** Why?
#
# **Answer.** exp(1) is known to 16 digits. f(x + h) and f(x − h) agree in nearly all of them;
# their difference keeps the few that are left, and is divided by a tiny number. This *rounding
# error* is about 10⁻¹⁶ / h. It meets h² where h is near 10⁻⁵, so ten digits are the best that
# central differences can do. Ten digits are plenty to find a wrong sign.
#
# In float32 there are 7 digits to begin with:

# %%
h32 = np.float32(10.0) ** -np.arange(1, 8, dtype=np.float32)
x32 = np.float32(1)
single = (np.exp(x32 + h32) - np.exp(x32 - h32)) / (2 * h32)
for small, error in zip(h32, np.abs(single - exact)):
    print(f"h = {small:.0e}   error {error:.0e}")

# %% [markdown]
# Three or four digits at best. **So check gradients in float64**, always, and hold the float32
# program against the float64 one afterwards.
#
# ## Many inputs, one number
#
# A network has 400,000 *weights*: the numbers that training finds, as slope and height were in
# lesson 1. To move each alone takes 800,000 runs.
#
# **Question.** How can one look at all the derivatives with two runs?
#
# **Answer.** Move all weights together along a random direction v. The result then moves by g · v,
# the sum of what each weight gives (the chain rule again). A gradient that is wrong, and is not
# seen, would have to be wrong at a right angle to v. A random v does not do it that favour.


# %%
def wobble(f, x, gradient, rng):
    """How far the gradient is off, along a random direction."""
    v = rng.standard_normal(x.shape)
    h = 1e-5
    seen = (f(x + h * v) - f(x - h * v)) / (2 * h)
    told = np.sum(gradient * v)
    return abs(seen - told) / (abs(seen) + abs(told))


def f(x):
    return ops.sum(ops.tanh(x) ** 2)


rng = np.random.default_rng(0)
x = rng.standard_normal(100_000)
right = md.grad(f)(x)
wrong = right.copy()
wrong[12_345] *= -1

print("right:              ", wobble(f, x, right, rng))
print("one sign of 100,000:", wobble(f, x, wrong, rng))

# %% [markdown]
# It sees one wrong number among a hundred thousand. `md.gradcheck` does this, and then looks for
# the worst element:

# %%


@md.primitive(x=lambda g, x: g * np.where(np.arange(len(x)) == 2, -1.0, 1.0) * np.cos(x))
def bad_sine(x):
    return np.sin(x)


try:
    md.gradcheck(bad_sine, np.array([0.1, 0.2, 0.3, 0.4]))
except AssertionError as error:
    print(error)

# %% [markdown]
# ## When the check lies
#
# **A kink.** |x| has no derivative at 0. On the left it is −1, on the right 1, and central
# differences say 0, whatever the rule says:

# %%
h = 1e-5
print("finite differences at 0:", (abs(0 + h) - abs(0 - h)) / (2 * h))
print("and at 3e-6:            ", (abs(3e-6 + h) - abs(3e-6 - h)) / (2 * h))
print("minidiff at 3e-6:       ", md.grad(ops.absolute)(np.array(3e-6)))

# %% [markdown]
# **Question.** At 3·10⁻⁶ the derivative is 1 without any doubt. Why do finite differences say 0.3?
#
# **Answer.** One of the two points lies beyond the kink. Where a function has kinks, draw inputs
# that keep away from them by more than h, and test the kink itself by what you *want* there.
#
# **Too large.** Round-off is only one way to lose digits. Take softplus(x) = log(1 + eˣ). Far to
# the right it is x, as near as one can tell. But on the way there stands eˣ, and e⁷¹⁰ is too large
# for a float64:

# %%
with np.errstate(over="ignore"):
    print("log(1 + exp(800)):", np.log(1 + np.exp(800.0)))
print(
    "ops.softplus(800):",
    ops.softplus(np.array(800.0)),
    "and its derivative",
    md.grad(ops.softplus)(np.array(800.0)),
)

# %% [markdown]
# A check at x near 0 sees nothing of this. So inputs must come from everywhere that users come
# from: huge, tiny, equal, empty.
#
# **Twice wrong.** If a test computes the expected value by the code that it tests, both are wrong
# together. So a test needs an *oracle* that is independent: finite differences; a formula from a
# book; another library; a slow and plain version.
#
# **Order two.** A gradient can be right, and the gradient of the gradient wrong. Here is a rule
# that is right, but hides from the engine what it computes with:


# %%
def number(x):
    return x.data if isinstance(x, md.Tensor) else x


@md.primitive(x=lambda g, x: g * np.cos(number(x)))
def secret_sine(x):
    return np.sin(x)


point = np.array([0.5, 1.0])
print("gradient right:", md.gradcheck(secret_sine, point))
try:
    md.gradgradcheck(secret_sine, point)
except AssertionError as error:
    print("second order:", error)

# %% [markdown]
# `.data` takes the number out of the Tensor, and the tape does not see where it went.
# (`gradgradcheck` is `gradcheck` for the derivative of the derivative.) minidiff checks both orders
# for all of its operations.
#
# ## Properties, and a machine that looks for trouble
#
# A test with one input says that one input works. A *property* says what holds for all inputs; a
# program then looks for one that breaks it. [Hypothesis](https://hypothesis.readthedocs.io) is
# that program: it draws inputs, prefers nasty ones, and when it finds a failure it makes the input
# as small as it can.
#
# Here is a mean over the last axis, with a bug. Its gradient at two square matrices is right:

# %%
from hypothesis import given, settings
from hypothesis import strategies as st


@md.primitive(x=lambda g, x: np.repeat(g[..., None] / len(x), x.shape[-1], axis=-1))
def mean_of_rows(x):
    return x.mean(axis=-1)


assert md.gradcheck(mean_of_rows, np.ones((3, 3)))
assert md.gradcheck(mean_of_rows, np.arange(16.0).reshape(4, 4))

# %% [markdown]
# **Before you read on**: what is wrong with its rule?
#
# For Hypothesis a property is a function with arguments; `given` says what they are drawn from,
# whole numbers here. (The settings let it draw the same on each run, so that this page stays as it
# is.)


# %%
@settings(max_examples=50, database=None, derandomize=True, deadline=None)
@given(rows=st.integers(1, 5), columns=st.integers(1, 5))
def gradient_is_right(rows, columns):
    assert md.gradcheck(mean_of_rows, np.ones((rows, columns)))


try:
    gradient_is_right()
except AssertionError as error:
    print(error.__notes__[0] if getattr(error, "__notes__", None) else "", error, sep="\n")

# %% [markdown]
# It found a matrix that is not square, and shrank it to the smallest. `len(x)` counts rows; the
# mean is over columns.
#
# Which properties hold for *every* operation of an engine? Some that minidiff's checker tries:
#
# | property | which bug it finds |
# |---|---|
# | the value is that of plain NumPy | a wrong kernel |
# | the gradient is that of finite differences, in two orders | a wrong rule |
# | float32 in, float32 out | a stray float64 that makes all slower |
# | a transposed view gives what its copy gives | a kernel that takes memory as it comes |
# | g = 0 gives 0; twice g gives twice the result | a rule that is not linear in g |
# | inputs are not written to | a kernel that works in place |
# | size zero and size one work | an off-by-one |
#
# (The kernel is the function that computes: lesson 2.) `check_op` is that checker, for operations
# of yours:

# %%
from minidiff.testing import check_op


@md.primitive(x=lambda g, x: 2 * g * x)
def square(x):
    x *= x
    return x


try:
    check_op(square, np.array([1.0, -2.0]))
except AssertionError as error:
    print(error)

# %% [markdown]
# ## Who tests the tests?
#
# **Question.** All tests are green. How do you know that they *can* be red?
#
# **Answer.** Break the code and look. Here are the rules for x · y, once right and four times with
# one planted bug. Would `gradcheck` at a single point have found them all?

# %%
planted = {
    "right": (lambda g, x, y: g * y, lambda g, x, y: g * x),
    "sign": (lambda g, x, y: -g * y, lambda g, x, y: g * x),
    "swapped": (lambda g, x, y: g * x, lambda g, x, y: g * y),
    "forgot g": (lambda g, x, y: y * np.ones_like(g), lambda g, x, y: g * x),
    "twice": (lambda g, x, y: g * y, lambda g, x, y: 2 * g * x),
}


def seen(rules, x, y):
    rule_x, rule_y = rules
    product = md.primitive(x=rule_x, y=rule_y)(lambda x, y: x * y)
    try:
        md.gradcheck(product, x, y)
    except AssertionError:
        return "red"
    return "green"


for name, rules in planted.items():
    equal = seen(rules, np.ones(2), np.ones(2))
    drawn = seen(rules, rng.standard_normal(2), rng.standard_normal(2))
    print(f"{name:9} at x = y = 1: {equal:6} at random x and y: {drawn}")

# %% [markdown]
# At x = y the swapped rules are right by accident. That is why inputs are drawn.
#
# minidiff plants 1,636 such faults in its own rules and kernels, one at a time, and wants each to
# be seen: `python tests/plant_faults.py`. The first time, eight were not.
#
# ## Try it
#
# 1. Which h is best for (f(x + h) − 2 f(x) + f(x − h)) / h², the second derivative? Guess from the
#    two errors, then plot.
# 2. The complex step: for a function that takes complex numbers, Im f(x + ih) / h has no
#    difference that could cancel. How small may h be? Try `np.exp`.
# 3. Write a rule for `np.sort`, and a property that would notice if you sorted the gradient the
#    wrong way round.
# 4. Plant a bug in the rule of lesson 2's hypotenuse that `gradcheck` at (3, 4) does not see.
#
# Exercises that mark themselves: `minidiff exercises checks`. Next: [from seven loops to
# Winograd](04_convolution.ipynb).
