"""Small known worlds for the tests of diffusion: exact mixtures, models that are wrong but smooth, counted calls."""

import numpy as np

import minidiff.diffusion as D
from minidiff.diffusion.denoise import PREDICTS
from minidiff.diffusion.losses import target_of
from minidiff.diffusion.schedule import Schedule

TWO = D.exact.GaussianMixture(
    [[-0.6, 0.3], [0.5, -0.2], [0.1, 0.9]], [0.1, 0.2, 0.15], labels=[1, 2, 1]
)


def from_betas(*betas):
    return Schedule(np.array([0.0, *betas]))


class Counted:
    """A Denoise that counts its passes and remembers their batch sizes and conditions."""

    def __init__(self, denoise):
        self.denoise, self.batches, self.conditions = denoise, [], []

    def __call__(self, x, t, condition=None):
        self.batches.append(len(x))
        self.conditions.append(None if condition is None else np.array(condition))
        return self.denoise(x, t, condition)


def model_of(denoise, schedule, predicts):
    """A model of the given parameterisation that says what an exact denoiser says."""

    def model(x, t, condition):
        p = denoise(x, t, condition)
        return target_of(predicts, schedule, p.x0, t, p.noise)

    return model


def final(steps):
    return D.final(steps)


__all__ = ["PREDICTS", "TWO", "Counted", "final", "from_betas", "model_of"]
