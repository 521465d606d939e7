"""Solutions of lesson 2's exercises."""

import numpy as np

import minidiff as md
from minidiff import ops


def tanh_rule(g, x, out):
    return g * (1 - out * out)


def divide_rule(g, x, y, out):
    return -g * out / y


def matmul_rule(g, x, w, out):
    return x.T @ g


def sum_rule(g, in_shape, axis):
    return ops.broadcast_to(ops.expand_dims(g, axis), in_shape)


def broadcast_rule(g, in_shape):
    added = g.ndim - len(in_shape)
    g = g.sum(axis=tuple(range(added)))
    repeated = tuple(i for i, n in enumerate(in_shape) if n == 1 and g.shape[i] > 1)
    return g.sum(axis=repeated, keepdims=True)


def where_rule(g, mask):
    return ops.where(mask, g, 0.0)


def sort_rule(g, x):
    order = ops.argsort(x)
    return g[ops.argsort(order)]


def softplus_rule(g, x):
    return g * ops.sigmoid(x)


def jvp(f, x, v):
    def back(g):
        return md.grad(lambda x: ops.sum(f(x) * g))(x)

    anything = np.zeros(f(x).shape)
    return md.grad(lambda g: ops.sum(back(g) * v))(anything)
