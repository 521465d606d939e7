"""Solutions of lesson 1's exercises."""

import numpy as np


def sine_rule(g, out, x):
    return g * np.cos(x)


def spread_rule(g, out, a):
    return g.sum()


def backward(root):
    gradients = {root.node: np.ones_like(root.data)}
    waiting = {root.node}
    while waiting:
        node = max(waiting, key=lambda node: node.order)
        waiting.remove(node)
        if node.vjp is None:
            continue
        for parent, share in zip(node.parents, node.vjp(gradients.pop(node))):
            gradients[parent] = gradients[parent] + share if parent in gradients else share
            waiting.add(parent)
    return gradients
