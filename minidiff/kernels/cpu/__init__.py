"""The CPU's kernels in Numba: the heavy ones of `generic`, on register tiles and vectors.

A kernel takes any NumPy arrays and gives what `generic`'s kernel of that name gives; where its fast
path does not apply (float64, no elements), it calls `generic` itself. Kernels are sequential and
let go of the GIL: several threads may run them at once. Numba is imported with the first kernel
that is looked up.
"""

import importlib
from collections import UserDict
from collections.abc import Callable

from .memory import keep_freed_memory
from .ran import ran as ran

_HOME = {
    "convolution": "conv2d conv2d_bias conv2d_dx conv2d_dw conv2d_dw_db dense dense_dw_db",
    "pointwise": "silu silu_dx gelu gelu_dx blend adam ema",
    "attention": "self_attention self_attention_dqkv",
    "norm": "group_norm_silu group_norm_silu_grads",
    "conditioned": "conditioned_dense conditioned_dense_grads",
    "embedding": "embedding embedding_dtable",
}


class _Kernels(UserDict):
    """Name → kernel; a kernel's module is imported when it is first looked up."""

    _module = {name: module for module, names in _HOME.items() for name in names.split()}

    def __init__(self) -> None:
        self.data = self._module

    def __getitem__(self, name: str) -> Callable:
        return getattr(importlib.import_module(f"{__name__}.{self.data[name]}"), name)


KERNELS = _Kernels()
keep_freed_memory()
