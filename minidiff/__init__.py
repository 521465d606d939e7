"""minidiff: a tiny autograd engine on NumPy that trains a UNet and draws digits by guided diffusion.

Read `autograd/tape.py` first.
"""

from . import data, diffusion, kernels, metrics, models, nn, optim, plot, storage, training
from .autograd import ops
from .autograd.check import gradcheck, gradgradcheck
from .autograd.primitive import Primitive
from .autograd.tensor import Tensor, no_grad
from .autograd.threads import get_num_threads, set_num_threads, sharded
from .autograd.transforms import grad, value_and_grad
from .kernels import devices
from .storage import load, pretrained, save

__all__ = [
    "Primitive",
    "Tensor",
    "data",
    "devices",
    "diffusion",
    "get_num_threads",
    "grad",
    "gradcheck",
    "gradgradcheck",
    "kernels",
    "load",
    "metrics",
    "models",
    "nn",
    "no_grad",
    "ops",
    "optim",
    "plot",
    "pretrained",
    "save",
    "set_num_threads",
    "sharded",
    "storage",
    "training",
    "value_and_grad",
]
