"""Typical wrong answers to lesson 1's exercises, each with words of the message that it gets."""

import numpy as np


def replacing(root):
    gradients = {root.node: np.ones_like(root.data)}
    waiting = {root.node}
    while waiting:
        node = max(waiting, key=lambda node: node.order)
        waiting.remove(node)
        if node.vjp is not None:
            for parent, share in zip(node.parents, node.vjp(gradients.pop(node))):
                gradients[parent] = share
                waiting.add(parent)
    return gradients


def oldest_first(root):
    gradients = {root.node: np.ones_like(root.data)}
    waiting = {root.node}
    while waiting:
        node = min(waiting, key=lambda node: node.order)
        waiting.remove(node)
        if node.vjp is not None:
            for parent, share in zip(node.parents, node.vjp(gradients.pop(node))):
                gradients[parent] = gradients.get(parent, 0) + share
                waiting.add(parent)
    return gradients


def from_zeros(root):
    gradients = {root.node: np.zeros_like(root.data)}
    waiting = {root.node}
    while waiting:
        node = max(waiting, key=lambda node: node.order)
        waiting.remove(node)
        if node.vjp is not None:
            for parent, share in zip(node.parents, node.vjp(gradients.pop(node))):
                gradients[parent] = gradients.get(parent, 0) + share
                waiting.add(parent)
    return gradients


WRONG = {
    "sine_rule": [
        (lambda g, x: -g * np.cos(x), "sign is turned"),
        (lambda g, x: np.cos(x), "g is missing"),
        (lambda g, out: g * np.cos(out), "cosine of out; take it of x"),
        (lambda g, out: g * out, "derivative of the sine is the cosine"),
        (lambda g, x, y: g * np.cos(x), "asks for 'y', and there is g, out, x"),
    ],
    "spread_rule": [
        (lambda g: g.mean(), "the mean"),
        (lambda g: g, "what was repeated is summed"),
        (lambda g: g[0], "the first share only"),
        (lambda out: out.sum() / 0.7, "g is missing"),
        (lambda g: None, "is a `return` missing"),
    ],
    "backward": [
        (replacing, "Shares are added"),
        (oldest_first, "newest node first"),
        (from_zeros, "the root's own gradient is 1"),
        (lambda root: None, "wanted a dict"),
        (lambda root: {}, "none for the input's node"),
    ],
}
