"""Typical wrong answers to lesson 3's exercises, each with words of the message that it gets."""

import numpy as np


def differences(f, x, h=1e-5, back=1.0, apart=2.0):
    gradient = np.empty(x.shape)
    for place in np.ndindex(x.shape):
        move = np.zeros(x.shape)
        move[place] = h
        gradient[place] = (f(x + move) - f(x - back * move)) / (apart * h)
    return gradient


def moving_all(f, x):
    return np.full(x.shape, (f(x + 1e-5) - f(x - 1e-5)) / 2e-5)


def writing(f, x):
    gradient = np.empty(x.shape)
    for place in np.ndindex(x.shape):
        x[place] += 1e-5
        above = f(x)
        x[place] -= 2e-5
        gradient[place] = (above - f(x)) / 2e-5
    return gradient


def along(f, x, gradient, v, tolerance=1e-5, absolute=0.0):
    seen = (f(x + 1e-5 * v) - f(x - 1e-5 * v)) / 2e-5
    told = np.sum(gradient * v)
    return bool(abs(seen - told) <= absolute + tolerance * (abs(seen) + abs(told)))


def drawn(x):
    return np.random.default_rng(0).standard_normal(x.shape)


WRONG = {
    "finite_differences": [
        (lambda f, x: differences(f, x, back=0.0, apart=1.0), "take f(x + h) − f(x − h)"),
        (lambda f, x: differences(f, x, apart=1.0), "2h apart"),
        (lambda f, x: differences(f, x, apart=-2.0), "f(x + h) comes first"),
        (lambda f, x: differences(f, x, h=1e-12), "h near 1e-5"),
        (lambda f, x: differences(f, x, h=1e-2), "h neither too large"),
        (moving_all, "move one at a time"),
        (writing, "It writes to x"),
    ],
    "complex_step": [
        (lambda f, x: f(x + 1e-30j).real, "the slope is in the imaginary part"),
        (lambda f, x: f(x + 1e-30j).imag, "divide by h"),
        (lambda f, x: f(x + 1e-3j).imag / 1e-3, "h may be as small as 1e-30"),
        (lambda f, x: f(x + 1e-30j) / 1e-30, "take .imag"),
        (lambda f, x: -f(x + 1e-30j).imag / 1e-30, "sign is turned"),
    ],
    "is_gradient": [
        (lambda f, x, gradient: True, "does not see this bug: zeros"),
        (lambda f, x, gradient: along(f, x, gradient, np.ones(x.shape)), "draw v"),
        (lambda f, x, gradient: along(f, x, gradient, drawn(x), 0.1), "1 % too large"),
        (lambda f, x, gradient: along(f, x, gradient, drawn(x), 1e-5, 1e-3), "beside their size"),
        (lambda f, x, gradient: along(f, x, gradient, drawn(x), 0.0), "that is right: 1 "),
        (lambda f, x, gradient: along(f, x, gradient, 1.0 * (np.arange(1000) == 0)), "one number"),
        (lambda f, x, gradient: None, "wanted True or False"),
    ],
}
