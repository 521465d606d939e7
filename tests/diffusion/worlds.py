"""Small known worlds for the tests of diffusion: exact mixtures and their models, counted calls."""

from dataclasses import replace

import numpy as np

import minidiff.diffusion as D
from minidiff.diffusion.parameterization import PREDICTS

TWO = D.exact.GaussianMixture(
    [[-0.6, 0.3], [0.5, -0.2], [0.1, 0.9]], [0.1, 0.2, 0.15], labels=[1, 2, 1]
)


def from_betas(*betas):
    return D.Schedule(np.array([0.0, *betas]))


class Passes:
    """The batch sizes and the conditions that a Denoise was called with."""

    def __init__(self):
        self.batches = []
        self.conditions = []


def counted(denoise):
    """The denoise, and what it will have been called with."""
    passes = Passes()

    def counting(x, t, condition):
        passes.batches.append(len(x))
        passes.conditions.append(None if condition is None else np.array(condition))
        return denoise(x, t, condition)

    return passes, replace(denoise, function=counting)


def target_of(predicts, schedule, x0, t, noise):
    """What a network that predicts `predicts` would have to say at x_t."""
    alpha_bar = np.reshape(schedule.alpha_bar_at(t), (-1, *[1] * (x0.ndim - 1)))
    v = np.sqrt(alpha_bar) * noise - np.sqrt(1 - alpha_bar) * x0
    return {"noise": noise, "x0": x0, "v": v.astype(x0.dtype)}[predicts]


def model_of(denoise, predicts):
    """A model of this parameterisation that says what an exact denoiser says."""

    def model(x, t, condition):
        p = denoise(x, t, condition)
        return target_of(predicts, denoise.schedule, p.x0, t, p.noise)

    return model


def unconditional(denoise):
    """The denoise, asked without any condition."""
    return replace(denoise, function=lambda x, t, condition: denoise(x, t, None))


def final(steps):
    return D.final(steps)


__all__ = [
    "PREDICTS",
    "TWO",
    "counted",
    "final",
    "from_betas",
    "model_of",
    "target_of",
    "unconditional",
]
