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
# # 1. A tape in forty lines
#
# Here you build the machine that every network is trained by, from nothing but NumPy. At the end
# it gives the same numbers as minidiff's own, to the last bit. You need to know what a derivative
# is, and the chain rule.
#
# In Colab, install first: `%pip install -q "minidiff[lessons]"`.
#
# **The question of this lesson.** A program takes a million numbers and makes one of them: how
# good a network is, say. How does the result change with *each* of the million? Trying each in
# turn costs a million runs of the program. It can be had for the price of about three.

# %%
import numpy as np

# %% [markdown]
# ## A program is a chain of simple operations
#
# Take this one, for two numbers x and y:

# %%
x = 1.5
y = -2.0

a = np.exp(x)
b = a * x
c = x * y
f = b + c
f

# %% [markdown]
# Each line is so simple that we know its derivative by heart. Read the list from the last line up,
# and ask each time: *if this result moves a little, how much does f move?* Write f̄, b̄, … for the
# answers. Each is a derivative of f, and b̄ is called the *gradient* of b, for short.
#
# | line | what it tells |
# |---|---|
# | f = b + c | f̄ = 1, of course; b̄ = f̄ and c̄ = f̄ |
# | c = x · y | x gets c̄ · y, and y gets c̄ · x |
# | b = a · x | a gets b̄ · x, and x gets b̄ · a |
# | a = exp(x) | x gets ā · a |
#
# **Question.** x is used three times. What is x̄?
#
# **Answer.** It moves f in three ways at once, so what the three uses give is added. That is the
# whole of the chain rule for programs: *go back through the lines; each hands its own share to
# what it was made from; shares are added.*

# %%
f_bar = 1.0
b_bar = f_bar
c_bar = f_bar
x_bar = c_bar * y
y_bar = c_bar * x
a_bar = b_bar * x
x_bar += b_bar * a
x_bar += a_bar * a
x_bar, y_bar

# %% [markdown]
# **Question.** Is it right? How would you find out without trusting a line of the above?
#
# **Answer.** Move x a little and look.


# %%
def program(x, y):
    return np.exp(x) * x + x * y


small = 1e-6
print((program(x + small, y) - program(x - small, y)) / (2 * small))
print((program(x, y + small) - program(x, y - small)) / (2 * small))

# %% [markdown]
# Going back took as many steps as the program has lines, and gave the derivative for *both*
# inputs. With a million inputs it would have been the same. (Why the price of three? A
# multiplication on the way forward becomes two on the way back, one for each of its operands. So
# back costs about twice as much as forward, and both together three times.) This is *reverse mode*,
# and *backpropagation* is its other name.
#
# ## Let the program write the list itself
#
# We went through the lines by hand. Now the program shall write its own list while it runs. For
# each result the list holds a **node**: from which nodes it was made (its *parents*), and a
# function that takes the gradient of the result to gradients of the parents. That function is
# called `vjp`. (For vector-Jacobian product: with arrays it multiplies the gradient by the matrix
# of all derivatives, without ever writing that matrix down.)

# %%
from itertools import count

clock = count()


class Node:
    def __init__(self, parents, vjp):
        self.order = next(clock)  # a result's number is larger than those of what made it
        self.parents = parents
        self.vjp = vjp


class Tensor:
    def __init__(self, data, node=None):
        self.data = data
        self.node = node or Node([], None)  # no operation made it: it is an input


# %% [markdown]
# An operation does two things: it computes, and it leaves a node behind. What it needs to know is
# the function that computes, and a *rule* for each operand. A rule says what the operand gets of
# the gradient `g` of the result `out`.
#
# **Before you read on**: which rules belong to add, to multiply and to exp? They stand in the
# table above.


# %%
def operation(function, *rules):
    def run(*operands):
        arrays = [operand.data for operand in operands]
        out = function(*arrays)

        def vjp(g):
            return [rule(g, out, *arrays) for rule in rules]

        return Tensor(out, Node([operand.node for operand in operands], vjp))

    return run


add = operation(np.add, lambda g, out, x, y: g, lambda g, out, x, y: g)
multiply = operation(np.multiply, lambda g, out, x, y: g * y, lambda g, out, x, y: g * x)
exp = operation(np.exp, lambda g, out, x: g * out)

# %% [markdown]
# Our program, with these operations. It computes what it did before:

# %%
X = Tensor(np.array(x))
Y = Tensor(np.array(y))
F = add(multiply(exp(X), X), multiply(X, Y))
F.data, f

# %% [markdown]
# And behind its back there is now a graph. Let us see it, from the last node to the first:


# %%
def show(node, depth=0):
    print("    " * depth + f"node {node.order}")
    for parent in node.parents:
        show(parent, depth + 1)


show(F.node)

# %% [markdown]
# ## Going back
#
# **Question.** Node 0, which is x, appears three times. When may we pass on what it has got?
#
# **Answer.** When all that used it has been passed. Nodes are numbered in the order in which they
# were made, and whatever used a result came later than the result. So: *take the newest node
# first, always.* When a node's turn comes, its gradient is complete.


# %%
def backward(root):
    gradients = {root.node: np.ones_like(root.data)}
    waiting = {root.node}
    while waiting:
        node = max(waiting, key=lambda node: node.order)  # the newest
        waiting.remove(node)
        if node.vjp is None:  # an input: its gradient stays
            continue
        for parent, share in zip(node.parents, node.vjp(gradients.pop(node))):
            gradients[parent] = gradients[parent] + share if parent in gradients else share
            waiting.add(parent)
    return gradients


gradients = backward(F)
gradients[X.node], gradients[Y.node]

# %% [markdown]
# The same numbers as by hand. Count the lines: `Node`, `Tensor`, `operation`, three operations and
# `backward` are forty.
#
# The forty lines know nothing about numbers: `np.add` and the others take arrays as well.

# %%
X = Tensor(np.array([1.0, 2.0]))
Y = Tensor(np.array([3.0, 4.0]))
gradients = backward(add(multiply(exp(X), X), multiply(X, Y)))
gradients[X.node]

# %% [markdown]
# **Question.** The result was two numbers this time. Of which of them are these the derivatives?
#
# **Answer.** Of their sum: `backward` began with a one for each. Here every place has its own x and
# y, so that each derivative is that of its own result.
#
# ## The real one
#
# minidiff's engine has the same parts under the same names, in `minidiff/tape/tape.py`; its
# operations are in `ops`, and + and * of Tensors are operations, too. You say by
# `requires_grad=True` which inputs you want the gradients of; `backward` leaves them there, as
# `grad`. It wants the end to be one number, so the sum is written down. It gives the same bits:

# %%
import minidiff as md
from minidiff import ops

u = md.Tensor(np.array([1.0, 2.0]), requires_grad=True)
v = md.Tensor(np.array([3.0, 4.0]), requires_grad=True)
ops.sum(ops.exp(u) * u + u * v).backward()
assert np.array_equal(u.grad, gradients[X.node])
assert np.array_equal(v.grad, gradients[Y.node])
u.grad

# %% [markdown]
# It can draw what it has written down: inputs are grey, and each box has its value and its
# gradient. Here is the program from the beginning. Find the numbers f̄, b̄, c̄, ā, x̄ and ȳ again:

# %%
x = md.Tensor(np.array(1.5), requires_grad=True)
y = md.Tensor(np.array(-2.0), requires_grad=True)
md.graph(lambda x, y: ops.exp(x) * x + x * y, x, y)

# %% [markdown]
# ## Learn something with it
#
# A gradient says in which direction the result grows fastest; to make it smaller, step the other
# way. That is *gradient descent*, and it is all that training is. Here are points that lie near a
# line, and two numbers, slope and height, that are to be found. The result to be made small, which
# is called the *loss*, is the sum of the squared distances. How far each step goes, 0.01 times the
# gradient here, is the *learning rate*.

# %%
rng = np.random.default_rng(0)
places = np.linspace(-1, 1, 40)
heights = 0.7 * places - 0.2 + 0.1 * rng.standard_normal(40)

minus = operation(np.subtract, lambda g, out, x, y: g, lambda g, out, x, y: -g)
sum_all = operation(np.sum, lambda g, out, x: np.full_like(x, g))


def spread(number):
    """One number for each of the points: its gradient is the sum of theirs."""
    repeat = operation(lambda a: np.full(40, a), lambda g, out, a: g.sum())
    return repeat(number)


slope = np.array(0.0)
height = np.array(0.0)
for _ in range(100):
    S = Tensor(slope)
    H = Tensor(height)
    line = add(multiply(spread(S), Tensor(places)), spread(H))
    off = minus(line, Tensor(heights))
    loss = sum_all(multiply(off, off))
    gradients = backward(loss)
    slope = slope - 0.01 * gradients[S.node]
    height = height - 0.01 * gradients[H.node]
print(f"slope {slope:.3f}, height {height:.3f}, loss {loss.data:.3f}")
print("least squares by NumPy:", np.polyfit(places, heights, 1).round(3))

# %% [markdown]
# **Question.** `spread` is what NumPy does by itself when it adds a number to an array: it
# *broadcasts*. What is the rule of broadcasting, in one sentence?
#
# **Answer.** What was repeated going forward is summed going back. In minidiff every operation
# does that for you, so you write `slope * places + height`.
#
# ## Try it
#
# 1. `off` is used twice in `multiply(off, off)`. Which gradient does `backward` find for it, and
#    why is that 2 · off?
# 2. Add the operation `sin`, and check its gradient as we did above.
# 3. Take the newest node *last* in `backward` (`min` in place of `max`). The gradients stay right:
#    why? But count the calls of `vjp` for a program that goes x = add(x, exp(x)) ten times.
# 4. `backward` keeps every array until the end. Which could it let go of earlier? (Then read
#    `free` in `minidiff/tape/tape.py`.)
#
# Exercises that mark themselves: `minidiff exercises tape`. Next: [the table of
# derivatives](02_the_table.ipynb).
