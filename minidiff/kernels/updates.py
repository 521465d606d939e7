"""What optimisers do to parameters, their state and their gradients: most of it in place."""

import math

from . import find, namespace


def adam(param, grad, m, v, lr, beta1, beta2, eps, weight_decay, step):
    """Kingma & Ba 2015, algorithm 1; decay as in Loshchilov & Hutter 2019; `step` counts from 1."""
    m += (grad - m) * (1 - beta1)
    v += (grad * grad - v) * (1 - beta2)
    root = namespace(v).sqrt(v * (1 / (1 - beta2**step)))
    param -= lr * ((m * (1 / (1 - beta1**step))) / (root + eps) + weight_decay * param)


def ema(average, param, decay):
    """average ← decay·average + (1 − decay)·param"""
    average += (param - average) * (1 - decay)


def ema_all(*arrays, decay):
    """`ema` of many: the averages, and then as many params."""
    half = len(arrays) // 2
    kernel = find("ema", type(arrays[0]))
    for average, param in zip(arrays[:half], arrays[half:]):
        kernel(average, param, decay=decay)


def flattened(*arrays):
    """All numbers of the arrays after one another, in one flat array."""
    return namespace(arrays[0]).concatenate([array.reshape(-1) for array in arrays])


def clip_norm(*gradients, max_norm):
    """Scale gradients in place so that their common norm is at most `max_norm`; what it was."""
    squares = [namespace(g).sum(g * g, dtype="f8") for g in gradients]
    norm = math.sqrt(float(sum(squares)))
    if norm > max_norm:
        for gradient in gradients:
            gradient *= max_norm / norm
    return norm
