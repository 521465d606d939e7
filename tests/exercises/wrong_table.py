"""Typical wrong answers to lesson 2's exercises, each with words of the message that it gets."""

import numpy as np

import minidiff as md
from minidiff import ops


def bare(x):
    return x.data if isinstance(x, md.Tensor) else x


WRONG = {
    "tanh_rule": [
        (lambda g, out: -g * (1 - out**2), "sign is turned"),
        (lambda out: 1 - out**2, "g is missing"),
        (lambda g, x: g * (1 - x**2), "it is out that is squared"),
        (lambda g, out: g * (1 - out), "out is to be squared"),
        (lambda g, out: g * (1 - bare(out) ** 2), "second derivative"),
    ],
    "divide_rule": [
        (lambda g, out, y: g * out / y, "sign is turned"),
        (lambda out, y: -out / y, "g is missing"),
        (lambda g, out: -g * out, "divided by y once"),
        (lambda g, y: g / y, "what x gets"),
    ],
    "matmul_rule": [
        (lambda g, x: x.T @ g / len(x), "the mean over the rows"),
        (lambda g, x: g.T @ x, "transposed: rows and columns"),
        (lambda g, x: x @ g, "x is to be transposed"),
        (lambda g, x: g @ x.T, "from the other side"),
        (lambda g, w: g @ w.T, "what x gets"),
        (lambda g, x: -x.T @ g, "sign is turned"),
    ],
    "sum_rule": [
        (
            lambda g, in_shape, axis: (
                ops.broadcast_to(ops.expand_dims(g, axis), in_shape) / in_shape[axis]
            ),
            "the rule of the mean",
        ),
        (lambda g, in_shape: ops.broadcast_to(g, in_shape), "along the wrong axis"),
        (lambda g: g, "g has lost an axis"),
        (lambda in_shape: np.ones(in_shape), "g is missing"),
    ],
    "broadcast_rule": [
        (lambda g: g, "what was repeated is summed"),
        (lambda g, in_shape: np.full(in_shape, g.sum()), "wanted"),
        (
            lambda g, in_shape: g if g.shape == in_shape else np.resize(g.mean(axis=-1), in_shape),
            "That is the mean",
        ),
        (
            lambda g, in_shape: g if g.shape == in_shape else g.sum(axis=-1),
            "an axis of length 1 is lost",
        ),
    ],
    "where_rule": [
        (lambda g, mask: np.where(mask, 0.0, bare(g)), "what y gets"),
        (lambda g, mask: g, "also where y was taken"),
        (lambda g, mask, y: ops.where(mask, g, y), "not what y was"),
        (lambda mask: mask * 1.0, "g is missing"),
        (lambda mask: mask, "g is missing"),
        (lambda g, mask: ops.where(mask, -g, 0.0), "sign is turned"),
    ],
    "sort_rule": [
        (lambda g, x: g[ops.argsort(x)], "the wrong way round"),
        (lambda g, x: g, "in the order of out"),
        (lambda g, x: ops.sort(g), "You sorted g itself"),
        (lambda g, x: -g[ops.argsort(ops.argsort(x))], "sign is turned"),
    ],
    "softplus_rule": [
        (lambda g, x: g * ops.exp(x) / (1 + ops.exp(x)), "exp(800) is too large"),
        (lambda g, x: g * ops.sigmoid(bare(x)), "second derivative"),
        (lambda x: ops.sigmoid(x), "g is missing"),
        (lambda g, x: g * ops.tanh(x), "the slope of the sigmoid"),
        (lambda g, x: g * ops.sigmoid(-x), "the slope grows"),
    ],
    "jvp": [
        (lambda f, x, v: md.grad(lambda x: ops.sum(f(x) * v))(x), "That is Jᵀ v"),
        (lambda f, x, v: md.jvp(f, x, np.ones_like(x))[1], "v is missing"),
        (lambda f, x, v: md.jvp(f, x, x)[1], "v is the direction"),
        (lambda f, x, v: -md.jvp(f, x, v)[1], "sign is turned"),
        (lambda f, x, v: (f(x + 1e-2 * v) - f(x)) / 1e-2, "wanted"),
    ],
}
