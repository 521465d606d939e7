"""`Module`, and the layers that the models are made of."""

# fmt: off
# isort: off
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
