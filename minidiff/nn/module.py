"""`Module`: an object whose attributes are parameters, buffers and other modules, found by name.

The name of a part is the path to it, such as "down.0.skip.weight". A parameter stays the same
Tensor for the module's whole life: loading weights or moving to another device changes the array
inside it, so optimisers and averages made earlier go on with it.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Self

import numpy as np

from .. import checks, first_guesses, kernels
from ..autograd.tensor import Tensor, as_tensor, is_parameter, no_grad

# The ids of the modules inside whose `evaluating` this thread is.
_evaluated: ContextVar[frozenset[int]] = ContextVar("evaluated", default=frozenset())


class Module:
    """The base of layers and models.

    A subclass sets attributes in `__init__` and computes in `__call__`.

    **What belongs to a module**: the Modules and the parameters (Tensors made with
    `requires_grad=True`) among its attributes, also in lists, tuples and dicts at any depth, and
    the buffers that were registered. A parameter that is frozen, by `requires_grad = False`, stays
    one; the result of an operation, `self.last = h` say, is none. What can be reached in several
    ways counts once.
    """

    config: dict[str, Any] = {}  # of models: the plain values that they are built from
    # of models: what a diffusion network predicts, and its schedule; noted by `diffusion.loss`
    parameterization: Any = None
    # whether `__call__` takes more than x, so that a ConditionalChain hands the condition on to it
    conditional = False
    buffer_names: tuple[str, ...] = ()

    def __call__(self, *inputs: Any) -> Any:
        name = type(self).__name__
        if hasattr(self, "forward"):
            raise NotImplementedError(
                f"{name}: given a method forward, wanted it under the name __call__"
            )
        raise NotImplementedError(f"{name} has no __call__")

    def __setattr__(self, name: str, value: Any) -> None:
        """A buffer stays a Tensor, and a parameter is not lost by a slip.

        Raises TypeError where a parameter is to be replaced by anything but another, or None.
        """
        if name in self.buffer_names and value is not None:
            value = as_tensor(value)
            value = value.detach() if is_parameter(value) else value
        elif is_parameter(vars(self).get(name)) and not (value is None or is_parameter(value)):
            raise TypeError(
                f"{name}: given {type(value).__name__} for a parameter, wanted a Tensor with "
                f"requires_grad=True, or None; {name}.data = array changes its numbers"
            )
        if is_parameter(value):
            value._made_trainable = True  # where it was not made so, but is by now
        super().__setattr__(name, value)

    def __getattr__(self, name: str) -> Any:
        raise first_guesses.unknown("Module", name, owner=type(self).__name__)

    def __getstate__(self) -> dict[str, Any]:
        """For copies and pickles: results of operations go along without the graph behind them."""
        return {
            name: value.detach() if isinstance(value, Tensor) and value.node else value
            for name, value in vars(self).items()
        }

    def register_buffer(self, name: str, array: Any) -> None:
        """Make the attribute `name` a buffer: a Tensor that is saved and moved, but not trained.

        It may be assigned anew: `self.count = self.count + 1`. `array` may be of integers, or None
        for none yet. Raises ValueError for a name that is taken or is no attribute's name.
        """
        if not isinstance(name, str):
            raise TypeError(f"name: given {type(name).__name__}, wanted a string")
        is_free = name in self.buffer_names or not hasattr(self, name)
        if not name.isidentifier() or not is_free:
            raise ValueError(
                f"name: given {name!r}, wanted one for an attribute that this "
                f"{type(self).__name__} does not have yet, such as 'running_mean'"
            )
        self.buffer_names = (*self.buffer_names, name)
        setattr(self, name, array)

    # --- what is in it ---

    def _parts(self, seen: set[int]) -> Iterator[tuple[str, Any]]:
        """(name, Module, parameter or buffer) of what it holds itself, in the order it was set.

        What is in `seen`, the ids of what was met before, is left out.
        """
        for name, value in vars(self).items():
            if name not in self.buffer_names:
                yield from _parts_of(name, value, seen)
            elif value is not None and id(value) not in seen:
                seen.add(id(value))
                yield name, value

    def _all_parts(
        self, prefix: str = "", seen: set[int] | None = None
    ) -> Iterator[tuple[str, Any]]:
        """(dotted name, Module, parameter or buffer) of all that is inside, at any depth.

        A module comes before what it holds.
        """
        seen = {id(self)} if seen is None else seen
        for name, part in self._parts(seen):
            yield prefix + name, part
            if isinstance(part, Module):
                yield from part._all_parts(f"{prefix}{name}.", seen)

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """(dotted name, parameter) in the order of creation.

        One that is used in two places comes once.
        """
        return ((name, part) for name, part in self._tensors().items() if is_parameter(part))

    def parameters(self) -> list[Tensor]:
        """All parameters, each once."""
        return [parameter for _, parameter in self.named_parameters()]

    def named_buffers(self) -> Iterator[tuple[str, Tensor]]:
        """(dotted name, buffer), as `named_parameters`."""
        return ((name, part) for name, part in self._tensors().items() if not is_parameter(part))

    def modules(self) -> list["Module"]:
        """The module itself and all that are inside, each once."""
        return [self, *(part for _, part in self._all_parts() if isinstance(part, Module))]

    def generators(self) -> list[np.random.Generator]:
        """The Generators that its modules draw from, those of Dropout say, each once."""
        held = [value for module in self.modules() for value in vars(module).values()]
        return list(dict.fromkeys(v for v in held if isinstance(v, np.random.Generator)))

    @property
    def num_parameters(self) -> int:
        """How many numbers the parameters hold in all."""
        return sum(parameter.size for parameter in self.parameters())

    def _tensors(self) -> dict[str, Tensor]:
        """The parameters and buffers by name: the state.

        Raises ValueError where two have one name, as the keys "a.b" and "a" with "b" inside have.
        """
        tensors: dict[str, Tensor] = {}
        for name, part in self._all_parts():
            if isinstance(part, Tensor):
                if name in tensors:
                    raise ValueError(f"{name}: given for two parameters, wanted a name for each")
                tensors[name] = part
        return tensors

    def __repr__(self) -> str:
        """A tree: each module, its number of parameters, the shapes of those it holds itself."""
        rows = list(self._rows("", {id(self)}))
        label_width = max(len(label) for label, _, _ in rows)
        count_width = max(len(count) for _, count, _ in rows)
        return "\n".join(
            f"{label:<{label_width}}  {count:>{count_width}}  {shapes}".rstrip()
            for label, count, shapes in rows
        )

    def _rows(self, label: str, seen: set[int]) -> Iterator[tuple[str, str, str]]:
        """(label, number of parameters, shapes) of this module and of all inside, for `repr`."""
        parts = list(self._parts(seen))
        shapes = [f"{name} {tuple(part.shape)}" for name, part in parts if isinstance(part, Tensor)]
        yield label + type(self).__name__, f"{self.num_parameters:,}", ", ".join(shapes)
        indent = " " * (len(label) - len(label.lstrip()) + 2)
        for name, part in parts:
            if isinstance(part, Module):
                yield from part._rows(f"{indent}{name}: ", seen)

    # --- mode and place ---

    @property
    def training(self) -> bool:
        """Whether it computes as in training; never inside `evaluating`."""
        return vars(self).get("training", True) and id(self) not in _evaluated.get()

    @training.setter
    def training(self, mode: bool) -> None:
        vars(self)["training"] = mode

    def train(self, mode: bool = True) -> Self:
        """Set the flag `training` here and in all modules inside."""
        checks.flag("mode", mode)
        # From the inside out: a subclass may have a `train` of its own, which comes after its parts
        for module in reversed(self.modules()):
            if module is self or type(module).train is Module.train:
                module.training = mode
            else:
                module.train(mode)
        return self

    def eval(self) -> Self:
        """Set `training` to False here and in all modules inside."""
        return self.train(False)

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """A block in which it and all inside are in eval mode, and nothing is recorded.

        It holds for the thread that runs the block, and for the pieces of its batches: another
        thread may train the same model meanwhile. After it, each mode before returns.
        """
        before = _evaluated.set(_evaluated.get().union(map(id, self.modules())))
        try:
            with no_grad():
                yield
        finally:
            _evaluated.reset(before)

    def to(self, device: str) -> Self:
        """Move all parameters, their gradients, and the buffers to "cpu" or "cuda".

        Raises ValueError for a device not there.
        """
        for tensor in self._tensors().values():
            if tensor.device != device:
                tensor.data = kernels.to_device(tensor.data, device)
                if tensor.grad is not None:
                    tensor.grad = kernels.to_device(tensor.grad, device)
        return self

    # --- storage ---

    def state_dict(self) -> dict[str, np.ndarray]:
        """A copy of every parameter and buffer, on the host, by name."""
        return {
            name: kernels.to_host(tensor.data).copy() for name, tensor in self._tensors().items()
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over arrays by name; each is cast to its Tensor's dtype and moved to its device.

        Raises ValueError that lists the missing, unexpected and wrong entries; nothing is changed
        then.
        """
        tensors = self._tensors()
        for name, array in fitting(tensors, state, type(self).__name__).items():
            tensors[name].data = kernels.from_host(array, like=tensors[name].data)


def home_of(module: Any) -> Tensor | None:
    """A parameter or buffer of a Module, which says where it computes; None for what has none.

    None too where there is only the host: then nobody has to look for one in every step.
    """
    if len(kernels._backends) == 1:
        return None
    parts = module._all_parts() if isinstance(module, Module) else ()
    return next((part for _, part in parts if isinstance(part, Tensor)), None)


def _parts_of(path: str, value: Any, seen: set[int]) -> Iterator[tuple[str, Any]]:
    """(path, Module or parameter) of what the value is or holds, not looking into Modules."""
    is_part = isinstance(value, Module) or is_parameter(value)
    if not is_part and not isinstance(value, list | tuple | deque | dict | set | frozenset):
        return
    if id(value) in seen:
        return
    seen.add(id(value))
    if is_part:
        yield path, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _parts_of(f"{path}.{key}", item, seen)
    elif isinstance(value, set | frozenset):
        if any(isinstance(item, Module) or is_parameter(item) for item in value):
            raise TypeError(f"{path}: given a set, wanted a list or a dict, which has an order")
    else:
        for i, item in enumerate(value):
            yield from _parts_of(f"{path}.{i}", item, seen)


def fitting(
    arrays: Mapping[str, Any], state: Mapping[str, Any], owner: str
) -> dict[str, np.ndarray]:
    """Copies of the entries of `state` on the host, with the dtypes of `arrays`.

    The entries are arrays, Tensors or lists. Raises ValueError unless there are exactly the names
    of `arrays`, with the same shapes, and numbers that can be cast: no floats for integers.
    """
    if not isinstance(state, Mapping):
        raise TypeError(
            f"state: given {type(state).__name__}, wanted a dict of arrays by name, such as "
            f"state_dict() gives"
        )
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
        "wrong dtype": [
            f"{name} is {host[name].dtype}, wanted {arrays[name].dtype}"
            for name in shared
            if not np.can_cast(host[name].dtype, arrays[name].dtype, "same_kind")
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
