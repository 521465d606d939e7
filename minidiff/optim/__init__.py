"""Optimisers, learning-rate schedules, gradient clipping and averaged weights.

This is what happens to the weights once `backward` has found the gradients. Weights are updated in
place, and the version of each written Tensor is raised, so that a tape which still needs the old
numbers notices.
"""

from .. import first_guesses
from .average import EMA
from .clipping import clip_grad_norm
from .optimizers import SGD, Adam, AdamW, Optimizer
from .post_hoc import PostHocEMA, PowerLaw
from .schedules import warmup_cosine
from .stateful import Stateful

__all__ = [
    "EMA",
    "SGD",
    "Adam",
    "AdamW",
    "Optimizer",
    "PostHocEMA",
    "PowerLaw",
    "Stateful",
    "clip_grad_norm",
    "warmup_cosine",
]


def __getattr__(name: str):
    raise first_guesses.unknown("md.optim", name, ())
