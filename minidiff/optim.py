"""Optimisers, learning-rate schedules, gradient clipping and averaged weights.

This is what happens to the weights once `backward` has found the gradients. Weights are updated in
place, and the version of each written Tensor is raised, so that a tape which still needs the old
numbers notices.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import accumulate
from typing import Any

import numpy as np

from . import first_guesses, kernels
from .autograd.tensor import Tensor
from .kernels import Array
from .nn.module import Module, fitting

LearningRate = float | Callable[[int], float]

# Parameters of at most so many numbers share one update: a call costs what thousands of numbers do.
SMALL_PARAMETER = 4096


def warmup_cosine(peak: float, warmup: int, total: int, end: float = 0.0) -> Callable[[int], float]:
    """A learning rate that rises linearly and then falls along half a cosine wave.

    It is a function of the step, counted from 1; give it to an optimiser as `lr`. It reaches `peak`
    at step `warmup` and `end` at step `total`, and stays there.

    Raises ValueError unless 0 ≤ warmup < total. Source: Loshchilov & Hutter 2017 (arXiv 1608.03983,
    eq. 5) for the cosine, Goyal et al. 2017 (arXiv 1706.02677, section 2.2) for the rise.
    """
    if not 0 <= warmup < total:
        raise ValueError(
            f"warmup: given {warmup} of total {total} steps, wanted 0 ≤ warmup < total"
        )

    def lr(step: int) -> float:
        if step <= warmup:
            return peak * step / warmup
        progress = min((step - warmup) / (total - warmup), 1.0)
        return end + (peak - end) * 0.5 * (1 + math.cos(math.pi * progress))

    return lr


def clip_grad_norm(parameters: Iterable[Tensor], max_norm: float) -> float:
    """Scale all gradients by one factor so that their common norm is at most `max_norm`.

    The norm is that of all elements of all gradients together; what it was before is returned.
    Parameters without a gradient do not count.

    Raises ValueError for a `max_norm` that is not positive. Source: Pascanu et al. 2013
    (arXiv 1211.5063, algorithm 1).
    """
    if not max_norm > 0:
        raise ValueError(f"max_norm: given {max_norm}, wanted a positive number")
    gradients = [_gradient(p) for p in parameters if p.grad is not None]
    squares = [kernels.namespace(g).sum(g * g, dtype=np.float64) for g in gradients]
    norm = math.sqrt(float(sum(squares)))
    if norm > max_norm:
        for gradient in gradients:
            gradient *= max_norm / norm
    return norm


class Stateful:
    """Something that a checkpoint can keep: arrays by name, and how many steps were made."""

    steps = 0
    steps_name = "steps"  # what the state calls them

    def _arrays(self) -> dict[str, Array]:
        """The arrays themselves, which `load_state_dict` overwrites."""
        raise NotImplementedError

    def state_dict(self) -> dict[str, np.ndarray]:
        """Copies on the host. Settings such as `lr` are not in it."""
        arrays = {name: kernels.to_host(array).copy() for name, array in self._arrays().items()}
        return {self.steps_name: np.array(self.steps)} | arrays

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`, which `state_dict` made.

        Raises ValueError that lists what does not fit; nothing is changed then.
        """
        arrays = self._arrays()
        loaded = fitting({self.steps_name: np.array(0)} | arrays, state, type(self).__name__)
        self.steps = int(loaded.pop(self.steps_name))
        for name, array in loaded.items():
            arrays[name][...] = kernels.from_host(array, like=arrays[name])


class Optimizer(Stateful):
    """What all optimisers share: the parameters, the count of steps, and the state beside each.

    A subclass names its arrays of state in `state_names` and writes `update`. `lr` is a number, or
    a function of the step, counted from 1. A parameter without a gradient is left as it is; one
    that is given twice counts once. A checkpoint has "steps", and "0.m" for m of parameter 0.

    Raises ValueError without parameters and for a negative `lr`, TypeError for what cannot be
    trained.
    """

    state_names: tuple[str, ...] = ()

    def __init__(self, parameters: Iterable[Tensor], lr: LearningRate):
        self.parameters = list(parameters)
        self.lr = lr
        if not self.parameters:
            raise ValueError(
                "parameters: given none, wanted at least one Tensor, such as model.parameters()"
            )
        for p in self.parameters:
            if not isinstance(p, Tensor) or p.node is not None or not p.requires_grad:
                raise TypeError(
                    f"parameters: given {type(p).__name__}, wanted leaves with requires_grad=True, "
                    f"such as model.parameters()"
                )
        if not (callable(lr) or lr >= 0):
            raise ValueError(
                f"lr: given {lr}, wanted a number, at least 0, or a function of the step"
            )
        self.parameters = list(dict.fromkeys(self.parameters))
        self.groups = [_FlatParameters(group, self.state_names) for group in self._grouped()]

    def _grouped(self) -> list[list[Tensor]]:
        """The small parameters of each dtype together, each large one alone."""
        groups: dict[Any, list[Tensor]] = {}
        for index, p in enumerate(self.parameters):
            key = p.dtype if p.size <= SMALL_PARAMETER else index
            groups.setdefault(key, []).append(p)
        return list(groups.values())

    def zero_grad(self) -> None:
        """Forget the gradients: they are None again."""
        for p in self.parameters:
            p.grad = None

    def step(self) -> None:
        """Update the parameters from their gradients."""
        self.steps += 1
        lr = float(self.lr(self.steps) if callable(self.lr) else self.lr)
        for group in self.groups:
            group.rebind()
            gradients = [_gradient(p) for p in group.parameters if p.grad is not None]
            if 1 < len(gradients) == len(group.parameters):
                flat_gradient = kernels.namespace(gradients[0]).concatenate(gradients, axis=None)
                self.update(**group.flat, grad=flat_gradient, lr=lr)
            else:
                for p, arrays in zip(group.parameters, group.views):
                    if p.grad is not None:
                        self.update(**arrays, grad=_gradient(p), lr=lr)
            for p in group.parameters:
                if p.grad is not None:
                    p.version[0] += 1

    def update(self, param: Array, grad: Array, lr: float, **state: Array) -> None:
        """Write the new parameter and the new state into `param` and the arrays of `state`."""
        raise NotImplementedError

    def _arrays(self) -> dict[str, Array]:
        views = {
            id(p): arrays
            for group in self.groups
            for p, arrays in zip(group.parameters, group.views)
        }
        return {
            f"{index}.{name}": views[id(p)][name]
            for index, p in enumerate(self.parameters)
            for name in self.state_names
        }


class _FlatParameters:
    """Parameters whose numbers lie after one another in one flat array, and their state likewise.

    `flat` has the flat arrays by name: "param", then those of the state. `views` has, for each
    parameter, its part of each flat array in its own shape. The parameter's own array becomes its
    view of "param": one update of the flat arrays updates them all.
    """

    def __init__(self, parameters: list[Tensor], state_names: tuple[str, ...]):
        self.parameters = parameters
        like = parameters[0].data
        size = sum(p.size for p in parameters)
        self.flat = {
            name: kernels.namespace(like).zeros(size, like.dtype)
            for name in ("param", *state_names)
        }
        self._bind()

    def _bind(self) -> None:
        """Copy the parameters' numbers into the flat array, and give them their views of it."""
        ends = accumulate(p.size for p in self.parameters)
        self.views = [
            {name: flat[end - p.size : end].reshape(p.shape) for name, flat in self.flat.items()}
            for p, end in zip(self.parameters, ends)
        ]
        for p, arrays in zip(self.parameters, self.views):
            arrays["param"][...] = p.data
            p._data = arrays["param"]  # the same numbers: a tape that saved the old array may go on

    def rebind(self) -> None:
        """Bind again where a parameter was given another array, perhaps on another device."""
        if any(p._data is not arrays["param"] for p, arrays in zip(self.parameters, self.views)):
            device = self.parameters[0].device
            self.flat = {name: kernels.to_device(flat, device) for name, flat in self.flat.items()}
            self._bind()


class SGD(Optimizer):
    """Stochastic gradient descent: v ← momentum·v + grad, param ← param − lr·v.

    Raises ValueError unless 0 ≤ momentum < 1. Source: Sutskever et al. 2013, "On the importance of
    initialization and momentum in deep learning", eq. 1 and 2, with lr outside v as in PyTorch.
    """

    def __init__(self, parameters: Iterable[Tensor], lr: LearningRate, momentum: float = 0.0):
        self.state_names = ("velocity",) if momentum else ()
        super().__init__(parameters, lr)
        self.momentum = _decay_rate("momentum", momentum)

    def update(self, param: Array, grad: Array, lr: float, **state: Array) -> None:
        if self.momentum:
            velocity = state["velocity"]
            velocity *= self.momentum
            velocity += grad
            grad = velocity
        param -= lr * grad


class AdamW(Optimizer):
    """Adam with decoupled weight decay.

    param ← param − lr·(m̂ / (√v̂ + eps) + weight_decay·param), where m and v are decaying means of
    the gradient and of its square, and m̂ and v̂ are m and v corrected for their start at 0.

    Raises ValueError unless both `betas` are from 0 to below 1. Source: Kingma & Ba 2015 (arXiv
    1412.6980, algorithm 1), Loshchilov & Hutter 2019 (arXiv 1711.05101, algorithm 2).
    """

    state_names = ("m", "v")

    def __init__(
        self,
        parameters: Iterable[Tensor],
        lr: LearningRate = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ):
        super().__init__(parameters, lr)
        beta1, beta2 = (_decay_rate("betas", beta) for beta in betas)
        self.settings = {
            "beta1": beta1,
            "beta2": beta2,
            "eps": float(eps),
            "weight_decay": float(weight_decay),
        }

    def update(self, param: Array, grad: Array, lr: float, **state: Array) -> None:
        kernels.call(
            "adam", param, grad, state["m"], state["v"], lr=lr, step=self.steps, **self.settings
        )


class Adam(AdamW):
    """Adam (Kingma & Ba 2015, arXiv 1412.6980, algorithm 1)."""

    def __init__(
        self,
        parameters: Iterable[Tensor],
        lr: LearningRate = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ):
        super().__init__(parameters, lr, betas, eps, weight_decay=0.0)


class EMA(Stateful):
    """An exponential moving average of a model's weights: average ← d·average + (1 − d)·weights.

    Call `update` after each step of the optimiser. At update k, from 0, d is the smaller of `decay`
    and (1 + k) / (10 + k): a young average forgets the start faster (the warm-up of TensorFlow's
    ExponentialMovingAverage). A checkpoint has "updates", and "average.<name>" for each parameter.

    Raises ValueError unless 0 ≤ decay < 1.
    """

    steps_name = "updates"

    def __init__(self, model: Module, decay: float = 0.999):
        self.decay = _decay_rate("decay", decay)
        self.parameters = dict(model.named_parameters())
        self.average = {
            name: kernels.namespace(p.data).array(p.data) for name, p in self.parameters.items()
        }

    def update(self) -> None:
        """Take the weights as they are now into the average."""
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        self.steps += 1
        for name, p in self.parameters.items():
            # the model may have been moved since
            self.average[name] = kernels.to_device(self.average[name], p.device)
            kernels.call("ema", self.average[name], p.data, decay=decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """A block in which the model has the averaged weights: `with ema.applied(): …`.

        Do not train inside.
        """
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def _swap(self) -> None:
        """Exchange the model's weights and the averaged ones."""
        for name, p in self.parameters.items():
            averaged = kernels.to_device(self.average[name], p.device)
            self.average[name] = p.data
            p.data = averaged

    def _arrays(self) -> dict[str, Array]:
        return {f"average.{name}": array for name, array in self.average.items()}


def _gradient(parameter: Tensor) -> Array:
    """The bare gradient: `backward(create_graph=True)` leaves a Tensor."""
    return parameter.grad.data if isinstance(parameter.grad, Tensor) else parameter.grad


def _decay_rate(name: str, value: float) -> float:
    if not 0 <= value < 1:
        raise ValueError(f"{name}: given {value}, wanted a number from 0 to below 1")
    return float(value)


def __getattr__(name: str):
    raise first_guesses.unknown("md.optim", name, ())
