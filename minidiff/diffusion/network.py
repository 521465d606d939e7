"""From a network to a `Denoise`."""

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import messages
from ..autograd.tensor import Tensor
from ..autograd.threads import sharded
from ..kernels import Array, backend_of
from ..nn import Module
from ..nn.module import home_of
from .parameterization import parameterization_of
from .per_sample import as_condition
from .prediction import Denoise, Prediction, alone_if_asked
from .schedule import Schedule
from .variance import log_variance_between


def denoiser(
    model: Callable,
    schedule: Schedule | None = None,
    predicts: str | None = None,
    learned_variance: bool | None = None,
) -> Denoise:
    """The Denoise of a network: run in eval mode, without a tape, in pieces on all threads.

    `model(x, t, condition)` is a Module or any function on arrays; t is (batch,) on the host; what
    it gives is cast to x's dtype. A model that was trained by `diffusion.loss` knows its schedule
    and what it predicts. For any other say it here (see `Parameterization`): `predicts` is "noise"
    unless given, and a schedule must be given. Raises TypeError for what cannot be called so;
    ValueError for arguments that differ from the model's own, for a missing schedule, for an output
    of another shape than x's, and from the model itself for labels and times out of its range.
    """
    parameterization = parameterization_of(model, schedule, predicts, learned_variance)
    schedule = parameterization.schedule

    network = model if isinstance(model, Module) else None

    def denoise(x: Array, t: Any, condition: Any = None) -> Prediction:
        batch = x.shape[0]
        home = home_of(network)
        if home is not None and backend_of(x).device != home.device:
            raise ValueError(
                f"x: given an array on {backend_of(x).device!r}, wanted one on {home.device!r}, "
                f"where the model is"
            )
        condition = as_condition(condition, batch)
        alpha, sigma = schedule.alpha_sigma(t, x)  # refuses a wrong t, before the model sees it
        output = _evaluated(model, x, np.broadcast_to(t, (batch,)), condition)
        output, position = parameterization.split(output.astype(x.dtype, copy=False), x)
        x0, noise = parameterization.x0_and_noise(x, alpha, sigma, output)
        if position is None:
            return Prediction(x0, noise)
        return Prediction(x0, noise, log_variance_between(schedule, x, t, position))

    return Denoise(alone_if_asked(denoise), schedule, parameterization.sample_shape, network)


def as_denoise(denoise: Any, name: str = "denoise") -> Denoise:
    """A Denoise as it is, or the `denoiser` of a network that keeps its parameterisation.

    So does everything that takes a Denoise. Raises TypeError, saying what to type, for anything
    else.
    """
    if isinstance(denoise, Denoise):
        return denoise
    if getattr(denoise, "parameterization", None) is not None:
        return denoiser(denoise)
    messages.refuse_maker(name, denoise)
    raise TypeError(
        f"{name}: given {type(denoise).__name__}, wanted a Denoise: "
        "type diffusion.denoiser(model, schedule) for a network that diffusion.loss did not train, "
        "mixture.denoiser(schedule) for an exact mixture, "
        "diffusion.Denoise(function, schedule) for a plain function"
    )


def _evaluated(model: Callable, *inputs: Any) -> Array:
    """The model's output as an array; a Module's in eval mode, its mode restored afterwards."""
    if isinstance(model, Module):
        with model.evaluating():
            output = sharded(model)(*inputs)
    else:
        output = model(*inputs)
    output = output.data if isinstance(output, Tensor) else output
    if not hasattr(output, "dtype"):
        raise TypeError(
            f"model: given one that gives {type(output).__name__}, wanted one that gives an array"
        )
    return output
