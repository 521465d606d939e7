"""From noise to data in one pass, or a few: networks that give the mean velocity over an interval.

On the straight path, with times from 0, data, to 1, noise, samples flow at a velocity v(z_t, t).
Its mean from r to t leads from one end of the interval to the other in one pass:

    u(z_t, t, r) = 1/(t - r) ∫ v(z_τ, τ) dτ, from r to t          z_r = z_t - (t - r) u(z_t, t, r)

Nobody knows the integral, but what u must fulfil: by the derivative of (t - r) u along the flow,

    u = v - (t - r) du/dt          du/dt = ∂u/∂z · v + ∂u/∂t

So a network learns from its own derivative along a direction, by one `jvp`. For r = t it gives the
velocity itself, and learns it by flow matching. Source: Geng et al. 2025, arXiv 2505.13447, eq. 3
to 11.
"""

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np

from .. import checks, ops
from ..autograd.directional import jvp
from ..autograd.tensor import Tensor, no_grad
from ..autograd.threads import sharded
from ..autograd.transforms import stop_gradient
from ..kernels import Array, from_host_together, to_host
from ..nn import Module
from ..nn.module import home_of
from .parameterization import Parameterization, parameterization_of
from .paths import straight_schedule
from .per_sample import as_condition, check_array, check_clean, columns, noise_on_host, weighted_sum
from .samplers.walk import Step, Walk, sampler
from .sampling import final
from .sampling import sample_steps as steps_of


def loss(
    model: Module,
    x0: Array,
    condition: Any,
    rng: np.random.Generator | int,
    guidance: float = 1.0,
    share: float = 0.5,
    mean: float = 0.4,
    std: float = 1.3,
) -> Tensor:
    """The mean loss of a batch x0 (batch, ...), a 0-d Tensor, on all threads.

        E |u + (t - r) du/dt - v|²    with du/dt as a constant

    - `model(x, t, condition, r)`: such as `models.MeanFlowUNet`, with times 0 … `model.timesteps`.
    - `condition`: labels (batch,) or vectors (batch, d), some of them null (`label_dropout`), or
      None.
    - `guidance`: the scale that the network learns to draw with, in one pass: for a sample with a
      condition, v is v_null + guidance · (noise - x_0 - v_null), where v_null is the velocity that
      the network itself gives without one (eq. 19, kappa = 0).
    - `share`: of the batch, its first rows have r < t; in the others r = t.
    - `mean`, `std`: log(t / (1 - t)) is normal. Two times are drawn so, and the larger one is t.

    In du/dt, v is what the network gives for r = t: noise - x_0 is the same in the mean, and varies
    more (Geng et al. 2025, arXiv 2512.02012, section 4). The first call notes a `Parameterization`
    on the model: "velocity", on a straight path. So its denoiser serves every sampler, too. Raises
    TypeError or ValueError as `diffusion.loss` does.
    """
    check_array("x0", x0)
    check_clean("x0", x0)
    batch = len(x0)
    if batch == 0:
        raise ValueError(f"x0: given shape {x0.shape}, wanted at least one sample")
    condition = as_condition(condition, batch)
    parameterization = _parameterization_of(model, x0.shape[1:])
    checks.among("guidance", guidance, checks.Between(-math.inf))
    count = round(checks.among("share", share, checks.Between(0, 1)) * batch)
    rng = checks.generator("rng", rng)
    t, r = _intervals(rng, batch, count, mean, std)
    noise = noise_on_host(rng, x0)
    home = home_of(model)
    like = x0 if home is None else home.data
    x0, noise = from_host_together([x0, noise], like)
    noise_share, data_share = columns([t, 1 - t], x0)
    z = weighted_sum(data_share, x0, noise_share, noise)
    target = _guided(model, z, t, condition, noise - x0, guidance)
    last = float(model.timesteps)

    def at_once(z: Array, t: np.ndarray, condition: Any, target: Array) -> Tensor:
        return ops.mse_loss(model(z, t * last, condition), target)

    def over_interval(
        z: Array, t: np.ndarray, r: np.ndarray, condition: Any, target: Array, velocity: Array
    ) -> Tensor:
        times, ones, start = from_host_together([t * last, np.full(len(t), last), r * last], z)
        u, du = jvp(
            lambda z, t: model(z, t, condition, Tensor(start)), (z, times), (velocity, ones)
        )
        (span,) = columns([t - r], z)
        return ops.mse_loss(u + span * stop_gradient(du), target)

    terms = []
    if count:
        rows = slice(count)
        some = None if condition is None else condition[rows]
        velocity = _velocity(model, z[rows], t[rows], some)
        loss_of_rows = sharded(over_interval)(
            z[rows], t[rows], r[rows], some, target[rows], velocity
        )
        terms.append(loss_of_rows * (count / batch))
    if count < batch:
        rows = slice(count, batch)
        some = None if condition is None else condition[rows]
        loss_of_rows = sharded(at_once)(z[rows], t[rows], some, target[rows])
        terms.append(loss_of_rows * (1 - count / batch))
    model.parameterization = parameterization
    return sum(terms[1:], terms[0])


def _parameterization_of(model: Any, sample_shape: tuple[int, ...]) -> Parameterization:
    """The velocity on the straight path of the model's own length; TypeError without one."""
    checks.function_of("model", model, "x, t, condition, r")
    timesteps = getattr(model, "timesteps", None)
    if timesteps is None:
        raise TypeError(
            f"model: given {type(model).__name__} without timesteps, wanted a network of two "
            "times, such as models.MeanFlowUNet()"
        )
    own = getattr(model, "parameterization", None)
    schedule = straight_schedule(timesteps) if own is None else own.schedule
    return parameterization_of(model, schedule, "velocity", False, sample_shape)


def _intervals(
    rng: np.random.Generator, batch: int, count: int, mean: float, std: float
) -> tuple[np.ndarray, np.ndarray]:
    """The ends t and beginnings r of intervals in 0 … 1, (batch,) each; r < t in the first rows."""
    checks.among("mean", mean, checks.Between(-math.inf))
    checks.among("std", std, checks.Between(0, ends="(]"))
    drawn = 1 / (1 + np.exp(-(mean + std * rng.standard_normal((2, batch)))))
    r, t = np.sort(drawn, axis=0)
    r[count:] = t[count:] = drawn[0, count:]
    return t, r


def _velocity(model: Module, z: Array, t: np.ndarray, condition: Any) -> Array:
    """What the network gives for r = t, as a constant."""
    with no_grad(), model.evaluating():
        return sharded(model)(z, t * model.timesteps, condition).data


def _guided(
    model: Module, z: Array, t: np.ndarray, condition: Any, velocity: Array, guidance: float
) -> Array:
    """The velocity of each sample, guided where it has a condition."""
    if guidance == 1:
        return velocity
    if condition is None:
        raise ValueError(f"guidance: given {guidance} without conditions, wanted 1, or conditions")
    has_condition = to_host(condition).reshape(len(z), -1).any(axis=1)
    (scale,) = columns([np.where(has_condition, guidance, 1.0)], z)
    free = _velocity(model, z, t, None)
    return free + scale * (velocity - free)


def sample(model: Module, condition: Any = None, passes: int = 1, **options: Any) -> Array:
    """Samples of a network of two times, (n, ...), each in so many passes.

    The options are those of `diffusion.sample`, but for the sampler and its steps: `n`, `shape`,
    `rng`, `device`, `spacing`, `clip`, `dtype`. Raises as that does, TypeError for a Denoise:
    guidance is part of what such a network learned.
    """
    return final(sample_steps(model, condition, passes, **options))


def sample_steps(
    model: Module, condition: Any = None, passes: int = 1, **options: Any
) -> Iterator[Step]:
    """The steps of `sample`: each leads to the next time in one pass."""
    if not isinstance(model, Module):
        raise TypeError(
            f"model: given {type(model).__name__}, wanted the network of two times itself, such as "
            "a models.MeanFlowUNet: its guidance was learned"
        )
    checks.function_of("model", model, "x, t, condition, r")
    return steps_of(model, condition, sampler=jump, steps=passes, **options)


@sampler()
def jump(walk: Walk, x: Array) -> Iterator[Step]:
    """z_r = z_t - (t - r) u(z_t, t, r), from each time to the next (Geng et al. 2025, eq. 12)."""
    model = walk.denoise.network
    last = walk.schedule.timesteps
    with no_grad(), model.evaluating():
        for t, r in pairwise(walk.times):
            u = sharded(lambda x, c, t=t, r=r: model(x, t, c, r))(x, walk.condition).data
            x0 = x - (t / last) * u
            x = x - ((t - r) / last) * u
            if r == 0 and walk.clip is not None:
                x = x0 = walk.clip(x)
            yield Step(r, x, x0)
