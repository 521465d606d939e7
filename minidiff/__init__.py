"""minidiff: a tiny autograd engine on NumPy that trains a UNet and draws digits by guided
diffusion.

Read `tape/tape.py` first.
"""

# fmt: off
# isort: off
from . import data, diffusion, kernels, metrics, models, nn, ops, optim, plot, storage, training
from .autograd.finite_differences import gradcheck, gradgradcheck
from .tools.debug import debug_mode, detect_anomaly
from .tape.primitive import Primitive, primitive
from .autograd.tensor import Tensor, no_grad
from .autograd.threads import get_num_threads, set_num_threads, sharded
from .autograd.transforms import (
    checkpoint, grad, gradient_hook, hessian, hvp, jacobian, jvp, stop_gradient, value_and_grad,
)
from .tools.drawing import graph
from .kernels import devices
from .tools.profiler import profile
from .storage import load, pretrained, save

__all__ = [
    "Primitive", "Tensor", "checkpoint", "data", "debug_mode", "detect_anomaly", "devices", "diffusion",
    "get_num_threads", "grad", "gradcheck", "gradgradcheck", "gradient_hook", "graph", "hessian", "hvp", "jacobian",
    "jvp", "kernels", "load", "metrics", "models", "nn", "no_grad", "ops", "optim", "plot", "pretrained", "primitive",
    "profile", "save", "set_num_threads", "sharded", "stop_gradient", "storage", "training", "value_and_grad",
]
