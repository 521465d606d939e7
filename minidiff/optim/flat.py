"""Parameters that lie after one another in memory, so that one call updates many of them."""

from collections.abc import Iterator, Sequence
from itertools import accumulate, groupby
from operator import attrgetter, is_
from typing import Any

from .. import kernels
from ..autograd.tensor import Tensor
from ..kernels import Array

# Parameters of at most so many numbers share one update: a call costs what thousands of numbers do.
# Larger ones have each their own. On a device, where a call costs what millions do, all share one.
SMALL_PARAMETER = 4096

_data = attrgetter("_data")
_grad = attrgetter("_grad")


def flat_groups(
    parameters: Sequence[Tensor], state_names: tuple[str, ...]
) -> list["FlatParameters"]:
    """The parameters of each dtype together, the small ones first."""
    groups: dict[Any, list[Tensor]] = {}
    for p in sorted(parameters, key=_is_large):
        groups.setdefault(p.dtype, []).append(p)
    return [FlatParameters(group, state_names) for group in groups.values()]


def _is_large(p: Tensor) -> bool:
    return p.size > SMALL_PARAMETER


class FlatParameters:
    """Parameters whose numbers lie after one another in one flat array, and their state likewise.

    `flat` has the flat arrays by name: "param", then those of the state. `views` has, for each
    parameter, its part of each flat array in its own shape. The parameter's own array becomes its
    view of "param": one update of the flat arrays updates them all. `steps` counts how often each
    was updated.
    """

    def __init__(self, parameters: list[Tensor], state_names: tuple[str, ...]):
        self.parameters = parameters
        self.steps = [0] * len(parameters)
        self.ends = [0, *accumulate(p.size for p in parameters)]
        like = parameters[0].data
        self.flat = {
            name: kernels.namespace(like).zeros(self.ends[-1], like.dtype)
            for name in ("param", *state_names)
        }
        self._bind()

    def __getstate__(self) -> dict[str, Any]:
        """For copies and pickles, in which views would no longer be views."""
        return {name: getattr(self, name) for name in ("parameters", "steps", "ends", "flat")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._bind()

    def _bind(self) -> None:
        """Copy the parameters' numbers into the flat array, and give them their views of it."""
        self.views = [
            {name: flat[start:end].reshape(p.shape) for name, flat in self.flat.items()}
            for p, start, end in zip(self.parameters, self.ends, self.ends[1:])
        ]
        self.bound = [arrays["param"] for arrays in self.views]
        on_a_device = kernels.on_a_device(self.flat["param"])
        self.alone = [i for i, p in enumerate(self.parameters) if _is_large(p) and not on_a_device]
        for p, array in zip(self.parameters, self.bound):
            array[...] = p.data
            p._data = array  # the same numbers: a tape that saved the old array may go on

    def rebind(self) -> None:
        """Bind again where a parameter was given another array, perhaps on another device.

        Raises ValueError where it has another shape or dtype.
        """
        for p, array in zip(self.parameters, self.bound):
            if p.shape != array.shape or p.dtype != array.dtype:
                raise ValueError(
                    f"parameters: given an array of {p.dtype} {p.shape} since, wanted "
                    f"{array.dtype} {array.shape}, for which the optimiser was made; make a new "
                    f"optimiser after such a change"
                )
        device = self.parameters[0].device
        self.flat = {name: kernels.to_device(flat, device) for name, flat in self.flat.items()}
        self._bind()

    def updates(self) -> Iterator[tuple[dict[str, Array], Array, int]]:
        """(arrays, gradient, step) of what is to be updated, and how often it will have been then.

        Neighbours that have gradients and were updated equally often are one, but for large ones on
        the host. What has no gradient, or is frozen, is left out.
        """
        if not all(map(is_, map(_data, self.parameters), self.bound)):
            self.rebind()
        keys: list = [*self.steps]
        for i in self.alone:
            keys[i] = i, keys[i]
        for i, p in enumerate(self.parameters):
            if p._grad is None or not p.requires_grad:
                keys[i] = None
        stop = 0
        for key, count in _runs(keys):
            start = stop
            stop += count
            if key is None:
                continue
            step = self.steps[start]
            self.steps[start:stop] = [step + 1] * count
            parameters = self.parameters[start:stop]
            gradients = [g.data if isinstance(g, Tensor) else g for g in map(_grad, parameters)]
            if count == 1:
                yield self.views[start], gradients[0], step + 1
            else:
                arrays = self.flat if count == len(keys) else self._slice(start, stop)
                yield arrays, kernels.call("flattened", *gradients), step + 1
            for p in parameters:
                p.version[0] += 1

    def _slice(self, start: int, stop: int) -> dict[str, Array]:
        """The part of each flat array that belongs to the parameters from `start` to `stop`."""
        numbers = slice(self.ends[start], self.ends[stop])
        return {name: flat[numbers] for name, flat in self.flat.items()}


def _runs(keys: list) -> list[tuple[Any, int]]:
    """(key, how many of it follow one another); nearly always all are one."""
    if keys.count(keys[0]) == len(keys):
        return [(keys[0], len(keys))]
    return [(key, len(list(run))) for key, run in groupby(keys)]
