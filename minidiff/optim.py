"""Optimisers, learning-rate schedules, gradient clipping, and the average of the weights.

Everything is updated in place, by kernels where there are some, and each written Tensor's version
is bumped, so that a tape which still needs the old content notices.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import accumulate
from typing import Any

import numpy as np

from . import kernels
from .autograd.tensor import Tensor
from .kernels import Array
from .nn.module import Module, fitting

# parameters of no more numbers are updated together: each call costs what some thousand numbers do
SMALL = 1 << 12
LearningRate = float | Callable[[int], float]


def warmup_cosine(peak: float, warmup: int, total: int, end: float = 0.0) -> Callable[[int], float]:
    """A learning rate as a function of the step, from 1: linear up to `peak` at step `warmup`, then
    half a cosine wave down to `end` at step `total`, and `end` from there on (Loshchilov & Hutter
    2017, arXiv 1608.03983, eq. 5).

    Give it to an optimiser as `lr`. Raises ValueError unless 0 ≤ warmup < total.
    """
    if not 0 <= warmup < total:
        raise ValueError(
            f"warmup: given {warmup} of total {total} steps, wanted 0 ≤ warmup < total"
        )

    def lr(step: int) -> float:
        if step <= warmup:
            return peak * step / warmup
        done = min((step - warmup) / (total - warmup), 1.0)
        return end + (peak - end) * 0.5 * (1 + math.cos(math.pi * done))

    return lr


def clip_grad_norm(parameters: Iterable[Tensor], max_norm: float) -> float:
    """Scale all gradients by one factor so that the norm of all their elements is at most
    `max_norm`; give the norm before (Pascanu et al. 2013, arXiv 1211.5063, algorithm 1). Parameters
    without a gradient do not count.

    Raises ValueError for a `max_norm` that is not positive.
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


class Stored:
    """What a checkpoint can keep: a count of steps, under the name `count`, and arrays."""

    count, steps = "steps", 0

    def _arrays(self) -> dict[str, Array]:
        raise NotImplementedError

    def state_dict(self) -> dict[str, np.ndarray]:
        """Copies on the host. Settings such as `lr` are not in it."""
        arrays = {name: kernels.to_host(array).copy() for name, array in self._arrays().items()}
        return {self.count: np.array(self.steps)} | arrays

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there. Raises ValueError that lists what does not fit; nothing is changed then."""
        arrays = self._arrays()
        found = fitting({self.count: np.array(0)} | arrays, state, type(self).__name__)
        self.steps = int(found.pop(self.count))
        for name, array in found.items():
            arrays[name][...] = kernels.from_host(array, like=arrays[name])


class Optimizer(Stored):
    """What the optimisers share: the parameters, the count of steps, and arrays of state beside
    each parameter.

    `lr` is a number, or a function of the step, counted from 1. A parameter without a gradient is
    left as it is; one that is given twice counts once. Small parameters become parts of one row of
    numbers: `update` is called once for all of them. In its state are "steps", and "0.m" for m of
    parameter 0. Raises ValueError without parameters and for a negative `lr`, TypeError for what
    cannot be trained.
    """

    state_names: tuple[str, ...] = ()

    def __init__(self, parameters: Iterable[Tensor], lr: LearningRate):
        self.parameters = list(parameters)
        if not self.parameters:
            raise ValueError(
                "parameters: given none, wanted at least one Tensor, such as model.parameters()"
            )
        for p in self.parameters:
            if not isinstance(p, Tensor) or p.node is not None or not p.requires_grad:
                raise TypeError(
                    f"parameters: given {type(p).__name__}, wanted leaves with requires_grad=True, such as "
                    f"model.parameters()"
                )
        if not (callable(lr) or lr >= 0):
            raise ValueError(
                f"lr: given {lr}, wanted a number, at least 0, or a function of the step"
            )
        self.lr, self.parameters = lr, list(dict.fromkeys(self.parameters))
        together: dict[Any, list[Tensor]] = {}
        for k, p in enumerate(self.parameters):
            together.setdefault(p.dtype if p.size <= SMALL else k, []).append(p)
        self.rows = [_Row(parameters, self.state_names) for parameters in together.values()]

    def zero_grad(self) -> None:
        """Forget the gradients: they are None again."""
        for p in self.parameters:
            p.grad = None

    def step(self) -> None:
        """One update from the gradients."""
        self.steps += 1
        lr = float(self.lr(self.steps) if callable(self.lr) else self.lr)
        for row in self.rows:
            row.follow()
            gradients = [_gradient(p) for p in row.parameters if p.grad is not None]
            together = 1 < len(gradients) == len(row.parameters)
            if together:
                self.update(
                    **row.arrays,
                    grad=kernels.namespace(gradients[0]).concatenate(gradients, axis=None),
                    lr=lr,
                )
            for p, part in zip(row.parameters, row.parts):
                if p.grad is not None:
                    if not together:
                        self.update(**part, grad=_gradient(p), lr=lr)
                    p.version[0] += 1

    def update(self, param: Array, grad: Array, lr: float, **state: Array) -> None:
        """Write the new parameter, and the new state, into the arrays given."""
        raise NotImplementedError

    def _arrays(self) -> dict[str, Array]:
        parts = {id(p): part for row in self.rows for p, part in zip(row.parameters, row.parts)}
        return {
            f"{i}.{name}": parts[id(p)][name]
            for i, p in enumerate(self.parameters)
            for name in self.state_names
        }


class _Row:
    """Parameters whose numbers are one row in memory, and the rows of the optimiser's state beside
    it.

    `arrays` has the rows by name, "param" the first, and `parts` their views for each parameter;
    the views of "param" are the parameters' arrays.
    """

    def __init__(self, parameters: list[Tensor], state_names: tuple[str, ...]):
        self.parameters = parameters
        like, size = parameters[0].data, sum(p.size for p in parameters)
        self.arrays = {
            name: kernels.namespace(like).zeros(size, like.dtype)
            for name in ("param", *state_names)
        }
        self._take_in()

    def _take_in(self) -> None:
        ends = accumulate(p.size for p in self.parameters)
        cuts = [(p.shape, slice(end - p.size, end)) for p, end in zip(self.parameters, ends)]
        self.parts = [
            {name: row[cut].reshape(shape) for name, row in self.arrays.items()}
            for shape, cut in cuts
        ]
        for p, part in zip(self.parameters, self.parts):
            part["param"][...] = p.data
            p._data = part["param"]  # the same numbers: who has saved the array need not know

    def follow(self) -> None:
        """Take the parameters in again where they have got other arrays since, perhaps on another device."""
        if any(p._data is not part["param"] for p, part in zip(self.parameters, self.parts)):
            device = self.parameters[0].device
            self.arrays = {
                name: kernels.to_device(array, device) for name, array in self.arrays.items()
            }
            self._take_in()


class SGD(Optimizer):
    """v ← momentum·v + grad, param ← param − lr·v (Sutskever et al.

    2013, with lr outside v as in PyTorch).
    """

    def __init__(self, parameters: Iterable[Tensor], lr: LearningRate, momentum: float = 0.0):
        self.state_names = ("velocity",) if momentum else ()
        super().__init__(parameters, lr)
        self.momentum = _share("momentum", momentum)

    def update(self, param: Array, grad: Array, lr: float, **state: Array) -> None:
        if self.momentum:
            velocity = state["velocity"]
            velocity *= self.momentum
            velocity += grad
            grad = velocity
        param -= lr * grad


class AdamW(Optimizer):
    """Adam with decoupled weight decay: param ← param − lr·(m̂ / (√v̂ + eps) + weight_decay·param),
    with m and v the decaying means of the gradient and of its square, and m̂, v̂ these corrected
    for their start at 0.

    Source: Kingma & Ba 2015 (arXiv 1412.6980, algorithm 1), Loshchilov & Hutter 2019 (arXiv
    1711.05101, algorithm 2).
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
        beta1, beta2 = (_share("betas", beta) for beta in betas)
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


class EMA(Stored):
    """The exponential moving average of a model's weights: average ← d·average + (1 − d)·weights.

    At update k, from 0, d is the smaller of `decay` and (1 + k) / (10 + k): a young average forgets
    the start faster (the warm-up of TensorFlow's ExponentialMovingAverage). Update it after each
    step of the optimiser. In its state are "updates", and "average.<name>" for each parameter.
    """

    count = "updates"

    def __init__(self, model: Module, decay: float = 0.999):
        self.decay = _share("decay", decay)
        self.parameters = dict(model.named_parameters())
        self.average = {
            name: kernels.namespace(p.data).array(p.data) for name, p in self.parameters.items()
        }

    def update(self) -> None:
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        self.steps += 1
        for name, p in self.parameters.items():
            # the model may have been moved since
            self.average[name] = kernels.to_device(self.average[name], p.device)
            kernels.call("ema", self.average[name], p.data, decay=decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """A block in which the model has the averaged weights: `with ema.applied(): …`; do not train inside."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def _swap(self) -> None:
        for name, p in self.parameters.items():
            mine = kernels.to_device(self.average[name], p.device)
            self.average[name], p.data = p.data, mine

    def _arrays(self) -> dict[str, Array]:
        return {f"average.{name}": array for name, array in self.average.items()}


def _gradient(parameter: Tensor) -> Array:
    """The bare gradient: `backward(create_graph=True)` leaves a Tensor."""
    return parameter.grad.data if isinstance(parameter.grad, Tensor) else parameter.grad


def _share(name: str, value: float) -> float:
    if not 0 <= value < 1:
        raise ValueError(f"{name}: given {value}, wanted a number from 0 to below 1")
    return float(value)
