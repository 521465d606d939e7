"""SGD, Adam and AdamW."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from .. import checks, kernels, messages
from ..autograd.tensor import Tensor, is_parameter
from ..checks import Between
from ..kernels import Array
from ..nn import Module
from .flat import FlatParameters, flat_groups
from .schedules import LearningRate
from .stateful import Stateful

Parameters = Iterable[Tensor] | Iterable[Mapping[str, Any]]


def _learning_rate(name: str, value: Any) -> LearningRate:
    if callable(value):
        messages.refuse_maker(name, value)
        return value
    if value not in Between(0, ends="[)"):
        raise ValueError(
            f"{name}: given {value!r}, wanted a number, at least 0, or a function of the step"
        )
    return float(value)


def _rate(lr: LearningRate, step: int) -> float:
    """The learning rate at a step. A function may give infinity: what that makes is noticed."""
    if not callable(lr):
        return lr
    value = lr(step)
    try:
        rate = float(value)
    except (TypeError, ValueError):
        raise TypeError(
            f"lr: given {value!r} by its function at step {step}, wanted a number"
        ) from None
    if rate < 0:
        raise ValueError(f"lr: given {rate:g} by its function at step {step}, wanted at least 0")
    return rate


def _share(name: str, value: Any) -> float:
    return float(checks.among(name, value, Between(0, 1, "[)")))


def _betas(name: str, value: Any) -> tuple[float, float]:
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise ValueError(f"{name}: given {value!r}, wanted two numbers, such as (0.9, 0.999)")
    return _share(name, value[0]), _share(name, value[1])


def _from_0(name: str, value: Any) -> float:
    return float(checks.among(name, value, Between(0, ends="[)")))


_CHECKS: dict[str, Callable[[str, Any], Any]] = {
    "lr": _learning_rate,
    "momentum": _share,
    "betas": _betas,
    "eps": _from_0,
    "weight_decay": _from_0,
}


class Optimizer(Stateful):
    """What all optimisers share: the parameters in groups, and the state beside each parameter.

    `parameters` is an iterable of parameters, or of groups, which are dicts: "params" are the
    parameters of the group, and what else is in it takes the place of the optimiser's settings. A
    matrix decays here, and a bias does not:

        matrices = [p for p in model.parameters() if p.ndim > 1]
        vectors = [p for p in model.parameters() if p.ndim <= 1]
        AdamW([{"params": matrices}, {"params": vectors, "weight_decay": 0}], lr=1e-3)

    `param_groups` are these dicts, with all settings; they may be changed between two steps. `lr`
    is a number, or a function of the step, counted from 1. A parameter that is frozen or without a
    gradient is left as it is, and such a step does not count for it.

    A checkpoint has "steps", and for parameter 0 "0.step", how often it was updated, and its state,
    such as "0.m". A subclass says in `state_names` what state there is, and writes `update`.

    Raises ValueError without parameters, for one that is given twice, and for settings that cannot
    be; TypeError for what cannot be trained, and for a setting that is not there.
    """

    def __init__(self, parameters: Parameters, **settings: Any):
        self.steps = 0
        self.param_groups = _groups(parameters, settings)
        self.parameters = [p for group in self.param_groups for p in group["params"]]
        if not self.parameters:
            raise ValueError(
                "parameters: given none, wanted at least one Tensor, such as model.parameters()"
            )
        if len(set(self.parameters)) < len(self.parameters):
            raise ValueError("parameters: given one twice, wanted each in one place")
        self.flats = [
            flat_groups(group["params"], self.state_names(group)) for group in self.param_groups
        ]

    @property
    def lr(self) -> LearningRate:
        """The learning rate of the first group; setting it sets that of all."""
        return self.param_groups[0]["lr"]

    @lr.setter
    def lr(self, value: LearningRate) -> None:
        for group in self.param_groups:
            group["lr"] = _learning_rate("lr", value)

    def zero_grad(self) -> None:
        """Forget the gradients: they are None again."""
        for p in self.parameters:
            p._grad = None

    def step(self) -> None:
        """Update the parameters from their gradients."""
        rates = [_rate(group["lr"], self.steps + 1) for group in self.param_groups]
        self.steps += 1
        for group, flats, rate in zip(self.param_groups, self.flats, rates):
            for flat in flats:
                for arrays, gradient, step in flat.updates():
                    self.update(group, arrays, gradient, rate, step)

    def state_names(self, settings: Mapping[str, Any]) -> tuple[str, ...]:
        """The arrays that are kept beside each parameter of a group with these settings."""
        return ()

    def update(
        self,
        settings: Mapping[str, Any],
        arrays: Mapping[str, Array],
        grad: Array,
        lr: float,
        step: int,
    ) -> None:
        """Write the new numbers into `arrays`: "param", and the state.

        `settings` are those of the group; this is the parameter's update number `step`, from 1.
        """
        raise NotImplementedError(f"{type(self).__name__} has no update")

    def _arrays(self) -> dict[str, Array]:
        return {
            f"{index}.{name}": array
            for index, (flat, i) in enumerate(self._places())
            for name, array in flat.views[i].items()
            if name != "param"
        }

    def _counts(self) -> dict[str, int]:
        steps = {f"{index}.step": flat.steps[i] for index, (flat, i) in enumerate(self._places())}
        return {"steps": self.steps} | steps

    def _set_counts(self, counts: Mapping[str, int]) -> None:
        self.steps = counts["steps"]
        for index, (flat, i) in enumerate(self._places()):
            flat.steps[i] = counts[f"{index}.step"]

    def _places(self) -> list[tuple[FlatParameters, int]]:
        """Of each parameter: where its state lies, and its number there."""
        places = {
            p: (flat, i)
            for flats in self.flats
            for flat in flats
            for i, p in enumerate(flat.parameters)
        }
        return [places[p] for p in self.parameters]


def _groups(parameters: Any, settings: dict[str, Any]) -> list[dict[str, Any]]:
    """The groups, each with its parameters as a list and with all settings, checked."""
    given = listed(parameters)
    if not any(isinstance(item, Mapping) for item in given):
        given = [{"params": given}]
    groups = []
    for group in given:
        unknown = set(group) - {"params", *settings} if isinstance(group, Mapping) else {"Tensor"}
        if unknown or "params" not in group:
            names = ", ".join(map(repr, settings))
            what = f"the keys {list(group)}" if isinstance(group, Mapping) else "a Tensor"
            raise TypeError(
                f"parameters: given a group of {what}, wanted 'params' and what differs of {names}"
            )
        values = settings | group
        checked = {name: _CHECKS[name](name, values[name]) for name in settings}
        params = group["params"]
        params = [params] if isinstance(params, Tensor) else listed(params)
        groups.append({"params": [_trainable(p) for p in params], **checked})
    return groups


def listed(parameters: Any) -> list:
    """Parameters as a list; TypeError for what is one thing only."""
    if isinstance(parameters, Module):
        raise TypeError("parameters: given a Module, wanted its Tensors: type model.parameters()")
    is_one = isinstance(parameters, Tensor | Mapping | np.ndarray | str | bytes)
    if is_one or not isinstance(parameters, Iterable):
        raise TypeError(
            f"parameters: given {type(parameters).__name__}, wanted a list of them, such as "
            f"model.parameters()"
        )
    return list(parameters)


def _trainable(p: Any) -> Tensor:
    if not is_parameter(p):
        raise TypeError(
            f"parameters: given {type(p).__name__}, wanted leaves with requires_grad=True, "
            f"such as model.parameters()"
        )
    return p


class SGD(Optimizer):
    """Stochastic gradient descent: v ← momentum·v + grad, param ← param − lr·v.

    `weight_decay`·param is added to the gradient first.

    Raises ValueError unless 0 ≤ momentum < 1. Source: Sutskever et al. 2013, "On the importance of
    initialization and momentum in deep learning", eq. 1 and 2, with lr outside v as in PyTorch.
    """

    def __init__(
        self,
        parameters: Parameters,
        lr: LearningRate,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
    ):
        super().__init__(parameters, lr=lr, momentum=momentum, weight_decay=weight_decay)

    def state_names(self, settings: Mapping[str, Any]) -> tuple[str, ...]:
        return ("velocity",) if settings["momentum"] else ()

    def update(
        self,
        settings: Mapping[str, Any],
        arrays: Mapping[str, Array],
        grad: Array,
        lr: float,
        step: int,
    ) -> None:
        param = arrays["param"]
        if settings["weight_decay"]:
            grad = grad + settings["weight_decay"] * param
        if settings["momentum"]:
            if "velocity" not in arrays:
                raise ValueError(
                    f"momentum: given {settings['momentum']} since, wanted 0, with which the "
                    f"optimiser was made"
                )
            velocity = arrays["velocity"]
            velocity *= settings["momentum"]
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

    def __init__(
        self,
        parameters: Parameters,
        lr: LearningRate = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ):
        super().__init__(parameters, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)

    def state_names(self, settings: Mapping[str, Any]) -> tuple[str, ...]:
        return ("m", "v")

    def update(
        self,
        settings: Mapping[str, Any],
        arrays: Mapping[str, Array],
        grad: Array,
        lr: float,
        step: int,
    ) -> None:
        self._adam(settings, arrays, grad, lr, step, settings["weight_decay"])

    def _adam(
        self,
        settings: Mapping[str, Any],
        arrays: Mapping[str, Array],
        grad: Array,
        lr: float,
        step: int,
        weight_decay: float,
    ) -> None:
        beta1, beta2 = settings["betas"]
        kernels.call(
            "adam",
            arrays["param"],
            grad,
            arrays["m"],
            arrays["v"],
            lr=lr,
            beta1=beta1,
            beta2=beta2,
            eps=settings["eps"],
            weight_decay=weight_decay,
            step=step,
        )


class Adam(AdamW):
    """Adam (Kingma & Ba 2015, arXiv 1412.6980, algorithm 1).

    `weight_decay`·param is added to the gradient first; `AdamW` keeps it out of the means.
    """

    def __init__(
        self,
        parameters: Parameters,
        lr: LearningRate = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ):
        super().__init__(parameters, lr, betas, eps, weight_decay)

    def update(
        self,
        settings: Mapping[str, Any],
        arrays: Mapping[str, Array],
        grad: Array,
        lr: float,
        step: int,
    ) -> None:
        if settings["weight_decay"]:
            grad = grad + settings["weight_decay"] * arrays["param"]
        self._adam(settings, arrays, grad, lr, step, weight_decay=0.0)
