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
# # 2. The table of derivatives
#
# An engine is a tape and a table. The tape was lesson 1. The table says for each operation what
# the gradient of its result gives for each operand, and it is all that the engine knows of
# mathematics. Here you write rows of it, find out what happens when an array is broadcast,
# differentiate a derivative, and turn the engine round.
#
# In Colab, install first: `%pip install -q "minidiff[lessons]"`.

# %%
import numpy as np

import minidiff as md
from minidiff import ops

# %% [markdown]
# ## A row
#
# x³ has the derivative 3x². `md.primitive` makes an operation of a function; beside it stands, for
# each operand by its name, the *rule* that says what goes back to it. The rule is given the
# gradient `g` of the result, and whatever else it names:

# %%


@md.primitive(x=lambda g, x: 3 * g * x**2)
def cube(x):
    return x * x * x


x = md.Tensor(np.array([1.0, -2.0, 0.5]), requires_grad=True)
ops.sum(cube(x)).backward()
x.grad

# %% [markdown]
# **Question.** Why does the rule multiply by g, and not just return 3x²?
#
# **Answer.** What we want is how *the end of the program* moves with x. g says how it moves with
# the result, 3x² how the result moves with x; the product is the chain rule. Try it without g:
# `ops.sum(cube(x))` still comes out right, since g is 1 there, and `ops.sum(2 * cube(x))` does not.
#
# The names of a rule's parameters say what the tape has to keep until it is needed. This one asks
# for `x`. exp is its own derivative, so its rule had better ask for `out`, the result, which is
# there already:


# %%
@md.primitive(x=lambda g, out: g * out)
def exponential(x):
    return np.exp(x)


md.grad(exponential)(np.array(1.0))  # e

# %% [markdown]
# `md.grad(f)` is the function that computes the gradient of f: the same walk back, as a function
# of arrays. It differentiates for the first argument of f; `md.grad(f, (0, 1))` for the first two.
#
# An operation with two operands has two rules. Here is one that you may not know the derivative of
# by heart: the length of the hypotenuse, r = √(x² + y²).
#
# **Before you read on**: what are its rules? It helps to ask for `out`.


# %%
@md.primitive(x=lambda g, out, x: g * x / out, y=lambda g, out, y: g * y / out)
def hypotenuse(x, y):
    return np.sqrt(x * x + y * y)


md.grad(hypotenuse, (0, 1))(np.array(3.0), np.array(4.0))

# %% [markdown]
# ## What was repeated is summed
#
# Above, x and y were numbers. NumPy lets shapes differ: here a column of 3 meets a row of 4, and
# the result is 3 × 4.

# %%
column = np.arange(1.0, 4.0)[:, None]
row = np.arange(1.0, 5.0)
hypotenuse(column, row).shape

# %%
try:
    md.grad(lambda c: ops.sum(hypotenuse(c, row)))(column)
except ValueError as error:
    print(error)

# %% [markdown]
# The rule for x returned an array of 3 × 4, since g has that shape. But x has 3 numbers, and its
# gradient must have as many.
#
# **Question.** Each number of the column was used in 4 places. What is its gradient?
#
# **Answer.** The sum of what the 4 places give, as always when something is used several times. The
# engine adds them up, for any two shapes, if you say that your operation broadcasts:


# %%
@md.primitive(
    broadcasts=True,
    x=lambda g, out, x: g * x / out,
    y=lambda g, out, y: g * y / out,
)
def hypotenuse(x, y):
    return np.sqrt(x * x + y * y)


gradient = md.grad(lambda c: ops.sum(hypotenuse(c, row)))(column)
assert np.allclose(gradient, (column / np.hypot(column, row)).sum(axis=1, keepdims=True))
gradient

# %% [markdown]
# It also goes the other way. `sum` adds up an axis; its rule has to *repeat* the gradient along
# it. Broadcasting and summing are each other's derivative:
#
# | forward | back |
# |---|---|
# | repeat along an axis | sum over it |
# | sum over an axis | repeat along it |
# | take a part | put it into zeros |
# | put into zeros | take a part |
# | transpose | transpose back |
# | multiply by a matrix A | multiply by Aᵀ |
#
# All of these are *linear* operations: they multiply by some matrix, if one writes all numbers in a
# column. What goes back is multiplied by the transposed matrix, every time. Only the *pointwise*
# functions, which treat each number by itself (exp, multiply, tanh …), have a derivative in the
# sense of school.
#
# **Question.** y = A x. Which matrix takes the gradient of y to that of x, and why Aᵀ?
#
# **Answer.** xⱼ goes into every yᵢ with the factor Aᵢⱼ. So it gets Σᵢ gᵢ Aᵢⱼ, which is (Aᵀ g)ⱼ.
# Check it:

# %%
rng = np.random.default_rng(0)
A = rng.standard_normal((3, 4))
g = rng.standard_normal(3)
back = md.grad(lambda x: ops.sum(ops.matmul(A, x) * g))(np.zeros(4))
assert np.allclose(back, A.T @ g)

# %% [markdown]
# ## A derivative of a derivative
#
# A rule is ordinary code: 3 · g · x². When the engine is asked for it, it runs that code on
# *Tensors*, which write it down on a new tape. Then the gradient is itself a program with a tape,
# and can be gone back through.

# %%
f = cube
for order in range(4):
    print(f"derivative {order}: {f(np.array(2.0))}")
    f = md.grad(f)

# %% [markdown]
# No rule was added for that. One row of the table serves every order, as long as the rule itself
# is made of operations that have rows: multiplications and powers here.
#
# **Question.** Our `exponential` above calls `np.exp`, of which the engine knows nothing. May its
# rule be differentiated?
#
# **Answer.** Yes: the rule is g · out. It multiplies, and `out` came from a row of the table.

# %%
print(md.grad(md.grad(md.grad(exponential)))(np.array(1.0)), np.e)

# %% [markdown]
# What is it good for? The curvature of a function, all second derivatives in one matrix (the
# *Hessian*):

# %%


def valley(p):
    """Rosenbrock's: a long bent valley, hard to walk down. Its bottom is at (1, 1)."""
    return (1 - p[0]) ** 2 + 100 * (p[1] - p[0] ** 2) ** 2


point = np.array([-1.2, 1.0])
md.hessian(valley)(point)

# %% [markdown]
# With it Newton's method jumps to where the parabola that fits best has its bottom. Gradient
# descent needs tens of thousands of steps for this valley; Newton needs six:

# %%
for step in range(7):
    print(f"step {step}: {point}, height {float(valley(point)):.1e}")
    point = point - np.linalg.solve(md.hessian(valley)(point), md.grad(valley)(point))

# %% [markdown]
# ## Forward, from two backward
#
# Reverse mode answers: *how does this one result move with each input?* Sometimes one asks the
# other way: *the input moves along v; how does each of the many results move?* Write all
# derivatives in one matrix J, where Jᵢⱼ says how result i moves with input j. What is asked for is
# a mix of its columns, J v. But the engine computes a mix of its rows, gᵀJ, and nothing else.
#
# **Question.** How do you get J v from an engine that can only do gᵀJ?
#
# **Answer.** gᵀJ is a function of g, and a linear one: it multiplies by Jᵀ. The gradient of *that*
# function along v multiplies by its transposed matrix, and (Jᵀ)ᵀ = J. So go back twice.


# %%
def forward_derivative(f, x, v):
    """J v, by two walks back."""

    def back(g):  # Jᵀ g
        return md.grad(lambda x: ops.sum(f(x) * g))(x)

    anything = np.zeros_like(f(x))  # `back` is linear, so that its derivative is the same anywhere
    return md.grad(lambda g: ops.sum(back(g) * v))(anything)


def spiral(t):
    return ops.stack([t * ops.cos(t), t * ops.sin(t)])


t = np.array(2.0)
print("two walks back:  ", forward_derivative(spiral, t, np.array(1.0)))
print("from the textbook:", np.array([np.cos(t) - t * np.sin(t), np.sin(t) + t * np.cos(t)]))
value, derivative = md.jvp(spiral, t, np.array(1.0))
print("minidiff's own:   ", derivative)

# %% [markdown]
# **Question.** Two walks back, to go forward once. Is there no straight way?
#
# **Answer.** There is: let each number take its *tangent* along, how fast it moves. Such a pair is
# a *dual number*, x + ẋ·ε with ε² = 0. A product of two is (x + ẋε)(y + ẏε) = xy + (ẋy + xẏ)ε, and
# the product rule has come out by itself. What sin makes of a pair is in our table already: the
# rule for sin, given the tangent in place of g.

# %%
sin_rule = lambda g, x: g * np.cos(x)  # a row of the table, made for the way back
cos_rule = lambda g, x: -g * np.sin(x)
moving = 1.0  # the tangent of t itself

of_cos = cos_rule(moving, t)
of_sin = sin_rule(moving, t)
print("dual numbers:     ", moving * np.cos(t) + t * of_cos, moving * np.sin(t) + t * of_sin)

# %% [markdown]
# That is how `md.jvp` does it: the program runs once, and tangents go along its tape. It takes
# little more than two passes, whatever the program is; two walks back take ten times as much, or
# more. `docs/forward-and-reverse.md` is the page on which way to take when.

# %% [markdown]
# ## The real table
#
# minidiff's is in `minidiff/ops/elementwise.py`. Two of its rows; you can read them now:
#
#     tanh   = pointwise("tanh", x=lambda g, out: g * (1 - out * out))
#     divide = pointwise("divide", "x y", x=lambda g, y: g / y, y=lambda g, out, y: -g * out / y)
#
# (`pointwise` is `md.primitive` for operations that broadcast. The function that computes is called
# the *kernel*; here it is NumPy's function of that name.)
#
# **Question.** `maximum(x, y)` has no derivative where x = y. What should its rules say there?
#
# **Answer.** There is no right answer; there are useful ones. Whatever goes to x and y together
# should be g, or a gradient is lost or doubled. minidiff gives each a half. Look:

# %%
md.grad(lambda x, y: ops.maximum(x, y), (0, 1))(np.array(1.0), np.array(1.0))

# %% [markdown]
# ## Try it
#
# 1. Write a row for `softplus`, log(1 + eˣ). Which of x and out makes the shorter rule?
# 2. Write one for x ↦ x @ x (a matrix times itself). It uses x twice.
# 3. What does the engine say to a rule that returns an array of a wrong shape? To one that asks
#    for a name that is not there?
# 4. `forward_derivative` computes f twice. Count how often each operation of `spiral` runs: put the
#    call below `with md.profile() as p:`, and print p.
#
# Exercises that mark themselves: `minidiff exercises table`. Next: [when gradients
# lie](03_when_gradients_lie.ipynb), for who tells you that a row is right?
