"""`Module`: an object whose attributes are parameters and other modules, found by name and never
registered.

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
    # whether `__call__` takes more than x, so that a ConditionalChain hands the condition on to it
    conditional = False

    def __call__(self, *inputs: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} has no __call__")

    # --- what is in it ---

    def _parts(self) -> Iterator[tuple[str, Any]]:
        """(name, Tensor or Module) of what this module holds itself, in the order in which it was set."""
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
        """(dotted name, Tensor or Module) of all that is inside, at any depth; a module comes before what it holds."""
        for name, part in self._parts():
            yield prefix + name, part
            if isinstance(part, Module):
                yield from part._all_parts(f"{prefix}{name}.")

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """(dotted name, parameter) in the order of creation; one that is used in two places comes once."""
        seen: set[int] = set()
        for name, part in self._all_parts():
            if isinstance(part, Tensor) and id(part) not in seen:
                seen.add(id(part))
                yield name, part

    def parameters(self) -> list[Tensor]:
        return [parameter for _, parameter in self.named_parameters()]

    @property
    def num_parameters(self) -> int:
        """How many numbers the parameters hold in all."""
        return sum(parameter.size for parameter in self.parameters())

    def __repr__(self) -> str:
        """A tree: each module with the number of its parameters, and the shapes of those it holds itself."""
        rows = list(self._rows(""))
        left, right = (max(len(row[column]) for row in rows) for column in (0, 1))
        return "\n".join(
            f"{label:<{left}}  {count:>{right}}  {shapes}".rstrip() for label, count, shapes in rows
        )

    def _rows(self, label: str) -> Iterator[tuple[str, str, str]]:
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
        return self.train(False)

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """A block in eval mode in which nothing is recorded; the mode before holds again after it."""
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
    """Copies of the entries of `state` (arrays, Tensors or lists) on the host, with the dtypes of
    `arrays`.

    Raises ValueError unless there are exactly the names of `arrays`, with the same shapes, and real
    numbers.
    """
    given = {name: _on_host(value) for name, value in state.items()}
    wanted = {name: tuple(array.shape) for name, array in arrays.items()}
    found = {name: array.shape for name, array in given.items()}
    shared = [name for name in wanted if name in found]
    faults = {
        "missing": [name for name in wanted if name not in found],
        "unexpected": [name for name in found if name not in wanted],
        "wrong shape": [
            f"{n} has shape {found[n]}, wanted {wanted[n]}" for n in shared if found[n] != wanted[n]
        ],
        "no real numbers": [
            f"{n} is {given[n].dtype}" for n in shared if given[n].dtype.kind not in "fiu"
        ],
    }
    if any(faults.values()):
        text = "; ".join(
            f"{fault}: {', '.join(entries)}" for fault, entries in faults.items() if entries
        )
        raise ValueError(f"the state does not fit this {owner}: {text}")
    return {
        name: np.array(given[name], dtype=array.dtype, order="C") for name, array in arrays.items()
    }


def _on_host(value: Any) -> np.ndarray:
    bare = value.data if isinstance(value, Tensor) else value
    return kernels.to_host(bare) if hasattr(bare, "dtype") else np.asarray(bare)
