"""minidiff: reverse-mode autograd on NumPy, and guided diffusion of digits on top of it.

It is made to be read. Start with `tape/tape.py`: how operations are recorded, and how gradients go
back. Then `tape/primitive.py` and `ops/`, the table of derivatives; `autograd/tensor.py`, what you
hold in your hand; `nn/` and `models/unet.py`, a network; `diffusion/samplers/` and
`diffusion/guidance.py`, how it draws digits; last `kernels/`, what is computed and how fast.

Numba, matplotlib and all that is slow to import is imported when it is first needed.
"""

import sys
from typing import Any

from . import (
    data,
    diffusion,
    export,
    first_guesses,
    kernels,
    messages,
    metrics,
    models,
    nn,
    ops,
    optim,
    plot,
    storage,
    training,
)
from .autograd.directional import hvp, jvp
from .autograd.finite_differences import gradcheck, gradgradcheck
from .autograd.tensor import Tensor, no_grad, tensor
from .autograd.threads import get_num_threads, set_num_threads, sharded
from .autograd.transforms import (
    checkpoint,
    grad,
    gradient_hook,
    hessian,
    jacobian,
    stop_gradient,
    value_and_grad,
)
from .kernels import devices
from .storage import load, pretrained, save
from .tape.primitive import Primitive, primitive
from .tools.debug import debug_mode, detect_anomaly
from .tools.drawing import graph
from .tools.profiler import profile

__all__ = [
    "Primitive",
    "Tensor",
    "checkpoint",
    "data",
    "debug_mode",
    "detect_anomaly",
    "devices",
    "diffusion",
    "export",
    "get_num_threads",
    "grad",
    "gradcheck",
    "gradgradcheck",
    "gradient_hook",
    "graph",
    "hessian",
    "hvp",
    "jacobian",
    "jvp",
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
    "primitive",
    "profile",
    "save",
    "set_num_threads",
    "sharded",
    "stop_gradient",
    "storage",
    "tensor",
    "training",
    "value_and_grad",
]

# What fails says which argument was wrong. The layers that a network calls most, operations of
# Tensors and the steps of optimisers have no doors: one takes 0.1 µs, and what they call has one.
# these run in every operation
messages.open_doors(kernels, but=("backend_of", "call", "find", "from_host", "namespace"))
for _room in (models, metrics, storage, plot, data, training, export):
    messages.open_doors(_room)
for _room in (diffusion.guidance, diffusion.losses, diffusion.exact, diffusion.editing):
    messages.open_doors(_room)
for _room in (diffusion.distillation, diffusion.mean_flow):
    messages.open_doors(_room)
for _room in (diffusion.samplers, diffusion.likelihood, diffusion):
    messages.open_doors(_room)
_frequent: list[type] = [nn.Dense, nn.Conv2d, nn.GroupNorm, nn.GroupNormSilu]
_frequent += [nn.Sequential, nn.ConditionalChain, nn.SinusoidalEmbedding]
messages.open_doors(nn, but=[layer.__name__ for layer in _frequent])
for _layer in _frequent:
    messages.open_class(_layer, but=("__call__",))
messages.open_doors(optim, but=("step", "update"))
messages.open_doors(
    sys.modules[__name__], but=("Primitive", "Tensor", "forward", "place", "run", "vjp")
)
messages.open_class(Primitive, but=("__call__", "bind", "explained", "jvp", "recipe", "vjp"))
messages.open_class(Tensor, but=("__init__",))


def __getattr__(name: str) -> Any:
    """The version, looked up when it is asked for.

    Any other name raises an AttributeError that proposes what to write instead (`first_guesses`).
    """
    if name == "__version__":
        from importlib.metadata import version

        return version("minidiff")
    raise first_guesses.unknown("md", name, vars(ops))
