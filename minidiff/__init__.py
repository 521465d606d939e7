"""minidiff: a tiny autograd engine on NumPy that trains a UNet and draws digits by guided diffusion."""

from .autograd import ops
from .autograd.check import gradcheck, gradgradcheck
from .autograd.primitive import Primitive
from .autograd.tensor import Tensor, no_grad
from .autograd.transforms import grad, value_and_grad
from .kernels import devices

__all__ = ["Primitive", "Tensor", "devices", "grad", "gradcheck", "gradgradcheck", "no_grad", "ops", "value_and_grad"]
