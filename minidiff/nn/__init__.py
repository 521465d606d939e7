"""`Module`, and the layers that the models are made of."""

# fmt: off
# isort: off
from .. import first_guesses, ops
from .containers import ConditionalChain, ConditionalSkipConnection, Sequential
from .layers import (
    Attention, Conv2d, Dense, Embedding, GroupNorm, GroupNormSilu, MaxPool, SinusoidalEmbedding,
    Upsample,
)
from .module import Module

__all__ = [
    "Attention", "ConditionalChain", "ConditionalSkipConnection", "Conv2d", "Dense", "Embedding",
    "GroupNorm", "GroupNormSilu", "MaxPool", "Module", "Sequential", "SinusoidalEmbedding",
    "Upsample",
]


def __getattr__(name: str):
    raise first_guesses.unknown("md.nn", name, vars(ops))
