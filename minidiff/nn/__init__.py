"""`Module`, and the layers that the models are made of."""

# fmt: off
# isort: off
from .. import first_guesses, ops
from .containers import ConditionalChain, ConditionalSkipConnection, Sequential
from .layers import (
    AdaptiveAvgPool, AvgPool, Dense, Dropout, Embedding, Flatten, MaxPool, SinusoidalEmbedding,
)
from .convolution import Conv1d, Conv2d, ConvTranspose2d, Upsample
from .attention import Attention, MultiheadAttention
from .norms import BatchNorm1d, BatchNorm2d, GroupNorm, GroupNormSilu, LayerNorm, RMSNorm
from .module import Module

__all__ = [
    "AdaptiveAvgPool", "Attention", "AvgPool", "BatchNorm1d", "BatchNorm2d", "ConditionalChain",
    "ConditionalSkipConnection", "Conv1d", "Conv2d", "ConvTranspose2d", "Dense", "Dropout",
    "Embedding", "Flatten", "GroupNorm", "GroupNormSilu", "LayerNorm", "MaxPool", "Module",
    "MultiheadAttention", "RMSNorm", "Sequential", "SinusoidalEmbedding", "Upsample",
]


def __getattr__(name: str):
    raise first_guesses.unknown("md.nn", name, vars(ops))
