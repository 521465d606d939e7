"""PyTorch's layouts: names stay as they are, and some weights have their axes in another order.

    layer             here                    PyTorch                 axes
    Conv2d            (kh, kw, in, out)       (out, in, kh, kw)       3, 2, 0, 1
    Conv1d            (k, in, out)            (out, in, k)            2, 1, 0
    ConvTranspose2d   (kh, kw, in, out)       (in, out, kh, kw)       2, 3, 0, 1
    Dense             (in, out)               (out, in)               1, 0

All else is the same in both: biases, tables of embeddings, norms and their running values. So
images, which are (batch, height, width, channels) here, are (batch, channels, height, width) there.
"""

from collections.abc import Mapping

import numpy as np

from .. import nn

AXES: dict[type, tuple[int, ...]] = {
    nn.Conv2d: (3, 2, 0, 1),
    nn.Conv1d: (2, 1, 0),
    nn.ConvTranspose2d: (2, 3, 0, 1),
    nn.Dense: (1, 0),
}


def turned(model: nn.Module) -> dict[str, tuple[int, ...]]:
    """The axes, in PyTorch's order, of those weights whose order is another one, by name."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {
        names[id(layer.weight)]: axes
        for layer in model.modules()
        for kind, axes in AXES.items()
        if isinstance(layer, kind)
    }


def as_pytorch(model: nn.Module) -> dict[str, np.ndarray]:
    """The model's state, each array as PyTorch has it."""
    axes = turned(model)
    return {
        name: np.ascontiguousarray(array.transpose(axes[name])) if name in axes else array
        for name, array in model.state_dict().items()
    }


def from_pytorch(model: nn.Module, state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A state as PyTorch has it, each array as the model wants it; for `load_state_dict`."""
    axes = turned(model)
    arrays = {}
    for name, array in state.items():
        if name in axes and array.ndim == len(axes[name]):
            array = array.transpose(np.argsort(axes[name]))
        arrays[name] = array
    return arrays
