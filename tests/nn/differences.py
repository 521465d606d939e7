"""The gradients of a network of images against central differences."""

import numpy as np

import minidiff as md


def check_gradients(model, x, t, condition, u, rtol=1e-6):
    """Those of x and of every parameter, each along a direction of its own."""
    rng = np.random.default_rng(1)

    def value():
        with md.no_grad():
            return float((model(x, t, condition).numpy() * u).sum())

    model(x, t, condition).backward(u)
    eps = 1e-5
    for name, leaf in [("x", x), *model.named_parameters()]:
        d = rng.standard_normal(leaf.shape)
        d /= np.linalg.norm(d)
        kept = leaf.data
        sides = []
        for sign in (1, -1):
            leaf.data = kept + sign * eps * d
            sides.append(value())
        leaf.data = kept
        got = (leaf.grad * d).sum()
        want = (sides[0] - sides[1]) / (2 * eps)
        assert abs(got - want) <= 0.1 * rtol + rtol * abs(want), (name, got, want)
