"""`Module`: an object whose attributes are parameters and other modules, found by name.

A parameter is any Tensor that is an attribute, or an element of a list that is one; its name is the
path to it, such as "down.0.skip.weight". The Tensor stays the same for the module's whole life:
loading weights or moving to another device changes the array inside it, so optimisers and averages
made earlier go on with it.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self

import numpy as np

from .. import kernels
from ..autograd.tensor import Tensor, no_grad


class Module:
    """The base of layers and models.

    A subclass sets attributes in `__init__` and computes in `__call__`.
    """

    training = True
    config: dict[str, Any] = {}  # of models: the plain values that they are built from
    # of models: what a diffusion network predicts, and its schedule; noted by `diffusion.loss`
    parameterization: Any = None
    # whether `__call__` takes more than x, so that a ConditionalChain hands the condition on to it
    conditional = False

    def __call__(self, *inputs: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} has no __call__")

    # --- what is in it ---

    def _parts(self) -> Iterator[tuple[str, Any]]:
        """(name, Tensor or Module) of what this module holds itself, in the order it was set."""
        for name, value in vars(self).items():
            if isinstance(value, Tensor | Module):
                yield name, value
            elif isinstance(value, list | tuple):
                yield from (
                    (f"{name}.{i}", part)
                    for i, part in enumerate(value)
                    if isinstance(part, Tensor | Module)
                )

    def _all_parts(self, prefix: str = "") -> Iterator[tuple[str, Any]]:
        """(dotted name, Tensor or Module) of all that is inside, at any depth.

        A module comes before what it holds.
        """
        for name, part in self._parts():
            yield prefix + name, part
            if isinstance(part, Module):
                yield from part._all_parts(f"{prefix}{name}.")

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """(dotted name, parameter) in the order of creation.

        One that is used in two places comes once.
        """
        seen: set[int] = set()
        for name, part in self._all_parts():
            if isinstance(part, Tensor) and id(part) not in seen:
                seen.add(id(part))
                yield name, part

    def parameters(self) -> list[Tensor]:
        """All parameters, each once."""
        return [parameter for _, parameter in self.named_parameters()]

    @property
    def num_parameters(self) -> int:
        """How many numbers the parameters hold in all."""
        return sum(parameter.size for parameter in self.parameters())

    def __repr__(self) -> str:
        """A tree: each module, its number of parameters, the shapes of those it holds itself."""
        rows = list(self._rows(""))
        label_width = max(len(label) for label, _, _ in rows)
        count_width = max(len(count) for _, count, _ in rows)
        return "\n".join(
            f"{label:<{label_width}}  {count:>{count_width}}  {shapes}".rstrip()
            for label, count, shapes in rows
        )

    def _rows(self, label: str) -> Iterator[tuple[str, str, str]]:
        """(label, number of parameters, shapes) of this module and of all inside, for `repr`."""
        shapes = [
            f"{name} {tuple(part.shape)}"
            for name, part in self._parts()
            if isinstance(part, Tensor)
        ]
        yield label + type(self).__name__, f"{self.num_parameters:,}", ", ".join(shapes)
        indent = " " * (len(label) - len(label.lstrip()) + 2)
        for name, part in self._parts():
            if isinstance(part, Module):
                yield from part._rows(f"{indent}{name}: ")

    # --- mode and place ---

    def train(self, mode: bool = True) -> Self:
        """Set the flag `training` here and in all modules inside."""
        self.training = mode
        for _, part in self._parts():
            if isinstance(part, Module):
                part.train(mode)
        return self

    def eval(self) -> Self:
        """Set `training` to False here and in all modules inside."""
        return self.train(False)

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """A block in eval mode in which nothing is recorded; after it, the mode before returns."""
        before = self.training
        self.eval()
        try:
            with no_grad():
                yield
        finally:
            self.train(before)

    def to(self, device: str) -> Self:
        """Move all parameters, and their gradients, to "cpu" or "cuda".

        Raises ValueError for a device not there.
        """
        for parameter in self.parameters():
            if parameter.device != device:
                parameter.data = kernels.to_device(parameter.data, device)
                if parameter.grad is not None:
                    parameter.grad = kernels.to_device(parameter.grad, device)
        return self

    # --- storage ---

    def state_dict(self) -> dict[str, np.ndarray]:
        """A copy of every parameter, on the host, by name."""
        return {
            name: kernels.to_host(parameter.data).copy()
            for name, parameter in self.named_parameters()
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over arrays by name; each is cast to its parameter's dtype and moved to its device.

        Raises ValueError that lists the missing, unexpected and wrong entries; nothing is changed
        then.
        """
        parameters = dict(self.named_parameters())
        for name, array in fitting(parameters, state, type(self).__name__).items():
            parameters[name].data = kernels.from_host(array, like=parameters[name].data)


def fitting(
    arrays: Mapping[str, Any], state: Mapping[str, Any], owner: str
) -> dict[str, np.ndarray]:
    """Copies of the entries of `state` on the host, with the dtypes of `arrays`.

    The entries are arrays, Tensors or lists. Raises ValueError unless there are exactly the names
    of `arrays`, with the same shapes, and real numbers.
    """
    host = {name: _on_host(value) for name, value in state.items()}
    shapes = {name: tuple(array.shape) for name, array in arrays.items()}
    shared = [name for name in shapes if name in host]
    faults = {
        "missing": [name for name in shapes if name not in host],
        "unexpected": [name for name in host if name not in shapes],
        "wrong shape": [
            f"{name} has shape {host[name].shape}, wanted {shapes[name]}"
            for name in shared
            if host[name].shape != shapes[name]
        ],
        "no real numbers": [
            f"{name} is {host[name].dtype}" for name in shared if host[name].dtype.kind not in "fiu"
        ],
    }
    if any(faults.values()):
        text = "; ".join(
            f"{fault}: {', '.join(entries)}" for fault, entries in faults.items() if entries
        )
        raise ValueError(f"state: given another one, wanted that of this {owner}: {text}")
    return {
        name: np.array(host[name], dtype=array.dtype, order="C") for name, array in arrays.items()
    }


def _on_host(value: Any) -> np.ndarray:
    bare = value.data if isinstance(value, Tensor) else value
    return kernels.to_host(bare) if hasattr(bare, "dtype") else np.asarray(bare)
