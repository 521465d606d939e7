"""From noise to data in one pass, or a few: networks that give the mean velocity over an interval.

On the straight path, with times from 0, data, to 1, noise, samples flow at a velocity v(z_t, t).
Its mean from r to t leads from one end of the interval to the other in one pass:

    u(z_t, t, r) = 1/(t - r) ∫ v(z_τ, τ) dτ, from r to t          z_r = z_t - (t - r) u(z_t, t, r)

Nobody knows the integral, but what u must fulfil: by the derivative of (t - r) u along the flow,

    u = v - (t - r) du/dt          du/dt = ∂u/∂z · v + ∂u/∂t

So a network learns from its own derivative along a direction, by one `jvp`. The right side is the
target that u is drawn to, and so a constant to the gradient. For r = t it is the velocity alone:
that is flow matching, and u(z_t, t, t) = v(z_t, t) is learned by it.

The times here are those of the paper, 0 … 1. A network is told 0 … T, as everywhere in minidiff.
Source: Geng et al. 2025 (MeanFlow), arXiv 2505.13447, eq. 3 to 11.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from .. import checks, messages, ops
from ..autograd.directional import jvp
from ..autograd.tensor import Tensor, no_grad
from ..autograd.threads import sharded
from ..autograd.transforms import stop_gradient
from ..kernels import Array, from_host_together, to_host
from ..nn import Module
from ..nn.module import home_of
from .parameterization import Parameterization, parameterization_of
from .paths import straight_schedule
from .per_sample import Rng, as_condition, check_batch, columns, noise_on_host, weighted_sum
from .prediction import Denoise
from .samplers.walk import Step, Walk, sampler
from .sampling import final
from .sampling import sample_steps as steps_of

FINITE = checks.Between(-math.inf, math.inf, "()")


def loss(
    model: Module,
    x0: Array,
    condition: Any,
    rng: np.random.Generator | int,
    guidance: float = 1.0,
    share: float = 0.25,
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
      the network itself gives without one (eq. 19, kappa = 0). For all others v is noise - x_0.
    - `share`: of the batch, its first rows have r < t, and teach the mean velocity; in the others r
      = t, and they teach the velocity, which du/dt needs. Where that is no whole number of rows,
      chance says whether there is one more. A half is held beside a quarter in
      benchmarks/quality.md.
    - `mean`, `std`: log(t / (1 - t)) is normal. Two times are drawn so, and the larger one is t.

    In du/dt, v is what the network gives for r = t: noise - x_0 is the same in the mean, and varies
    more (Geng et al. 2025, arXiv 2512.02012, section 4). The first call notes a `Parameterization`
    on the model: "velocity", on a straight path. So its denoiser serves every sampler, too. Raises
    TypeError or ValueError as `diffusion.loss` does, and ValueError for a network that was trained
    on something else.
    """
    check_batch("x0", x0)
    batch = len(x0)
    condition = as_condition(condition, batch)
    parameterization = _parameterization_of(model, x0.shape[1:])
    checks.among("guidance", guidance, FINITE)
    rng = checks.generator("rng", rng)
    whole, rest = divmod(checks.among("share", share, checks.Between(0, 1)) * batch, 1)
    count = int(whole) + (rest > 0 and rng.random() < rest)
    t, r = _intervals(rng, batch, count, mean, std)
    noise = noise_on_host(rng, x0)
    home = home_of(model)
    x0, noise = from_host_together([x0, noise], x0 if home is None else home.data)
    alpha, sigma = columns([1 - t, t], x0)
    z = weighted_sum(alpha, x0, sigma, noise)
    target = _guided(model, z, t, condition, noise - x0, guidance)
    last = float(model.timesteps)

    def at_once(z: Array, t: np.ndarray, condition: Any, target: Array) -> Tensor:
        """r = t: the second term is 0."""
        return ops.mse_loss(model(z, t * last, condition), target)

    def over_interval(
        z: Array, t: np.ndarray, r: np.ndarray, condition: Any, target: Array, velocity: Array
    ) -> Tensor:
        # While t moves by 1, z moves by v, and the time that the network is told by T.
        rate = np.full(len(t), last)
        ends, rate, starts = from_host_together([t * last, rate, r * last], z)
        starts = Tensor(starts)
        u, du = jvp(lambda z, t: model(z, t, condition, starts), (z, ends), (velocity, rate))
        (length,) = columns([t - r], z)
        return ops.mse_loss(u + length * stop_gradient(du), target)

    terms = []
    if count:
        rows = slice(count)
        conditions = None if condition is None else condition[rows]
        velocity = _velocity(model, z[rows], t[rows], conditions)
        mean_of_rows = sharded(over_interval)(
            z[rows], t[rows], r[rows], conditions, target[rows], velocity
        )
        terms.append(mean_of_rows * (count / batch))
    if count < batch:
        rows = slice(count, batch)
        conditions = None if condition is None else condition[rows]
        mean_of_rows = sharded(at_once)(z[rows], t[rows], conditions, target[rows])
        terms.append(mean_of_rows * (1 - count / batch))
    model.parameterization = parameterization
    return sum(terms[1:], terms[0])


def _parameterization_of(model: Any, sample_shape: tuple[int, ...]) -> Parameterization:
    """The velocity on the straight path of the model's own length."""
    _check_network(model)
    own = model.parameterization
    if own is not None:
        _check_parameterization(own, model.timesteps)
    schedule = straight_schedule(model.timesteps) if own is None else own.schedule
    return parameterization_of(model, schedule, "velocity", False, sample_shape)


def _check_network(model: Any) -> None:
    """TypeError unless it is a network that is told two times of 0 … `timesteps`."""
    messages.refuse_maker("model", model)
    is_network = isinstance(model, Module) and hasattr(model, "timesteps")
    try:
        checks.function_of("model", model, "x, t, condition, r")
    except TypeError:
        is_network = False
    if not is_network:
        hint = ": type the network itself, whose guidance is learned"
        raise TypeError(
            f"model: given {type(model).__name__}, wanted a network of two times, which is called "
            "as model(x, t, condition, r) and has `timesteps`, such as models.MeanFlowUNet()"
            + (hint if isinstance(model, Denoise) else "")
        )


def _check_parameterization(own: Parameterization, timesteps: int) -> None:
    """ValueError unless it is the velocity, on the path whose sigma is t / T."""
    path = own.schedule
    is_straight = own.predicts == "velocity" and path.timesteps == timesteps
    if not is_straight or not np.allclose(path.sigma, np.linspace(0, 1, timesteps + 1)):
        raise ValueError(
            f"model: given one that was trained on {own.schedule} to predict {own.predicts!r}, "
            f"wanted a new one, or one that mean_flow.loss has trained, on "
            f"straight_schedule({timesteps})"
        )


def _intervals(
    rng: np.random.Generator, batch: int, count: int, mean: float, std: float
) -> tuple[np.ndarray, np.ndarray]:
    """The ends t and beginnings r of intervals in 0 … 1, (batch,) each; r < t in the first rows."""
    checks.among("mean", mean, FINITE)
    checks.among("std", std, checks.Between(0, ends="(]"))
    logit = mean + std * rng.standard_normal((2, batch))
    drawn = 1 / (1 + np.exp(-logit))
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
    """The velocity that each sample is to learn: guided where it has a condition."""
    if guidance == 1:
        return velocity
    if condition is None:
        raise ValueError(f"guidance: given {guidance} without conditions, wanted 1, or conditions")
    has_condition = to_host(condition).reshape(len(z), -1).any(axis=1)
    (scale,) = columns([np.where(has_condition, guidance, 1.0)], z)
    free = _velocity(model, z, t, None)
    return free + scale * (velocity - free)


def sample(
    model: Module,
    condition: Any = None,
    passes: int = 1,
    n: int | None = None,
    shape: tuple[int, ...] | None = None,
    rng: Rng | int | Sequence[int] = 0,
    device: str | None = None,
    spacing: str = "trailing",
    clip: Any = "images",
    dtype: Any = np.float32,
) -> Array:
    """Samples of a network of two times, (n, ...), each in so many passes.

    All but `passes` is as for `diffusion.sample`. Raises as that does; TypeError for a Denoise, for
    guidance is part of what such a network has learned; ValueError for a network that
    `mean_flow.loss` has not trained.
    """
    options = n, shape, rng, device, spacing, clip, dtype
    return final(sample_steps(model, condition, passes, *options))


def sample_steps(
    model: Module,
    condition: Any = None,
    passes: int = 1,
    n: int | None = None,
    shape: tuple[int, ...] | None = None,
    rng: Rng | int | Sequence[int] = 0,
    device: str | None = None,
    spacing: str = "trailing",
    clip: Any = "images",
    dtype: Any = np.float32,
) -> Iterator[Step]:
    """The steps of `sample`: each leads to the next time in one pass."""
    _check_trained(model)
    passes = checks.whole("passes", passes, 1, model.timesteps)
    options = rng, device, spacing, clip, dtype
    return steps_of(model, condition, n, shape, _jump, passes, *options)


def jump(
    model: Module,
    x: Array,
    condition: Any = None,
    times: Any = None,
    rng: Any = None,
    clip: Any = "images",
) -> Iterator[Step]:
    """The steps from x, (batch, ...), at the first of the times, to the last; one pass each.

        z_r = z_t - (t - r) u(z_t, t, r)

    It is called as all samplers are, but with the network itself, which it asks for two times: a
    Denoise, guided or not, knows one only, and is refused. `rng` is not used. Raises as
    `sample` does. Source: Geng et al. 2025, eq. 12.
    """
    _check_trained(model)
    return _jump(model, x, condition, times, rng, clip)


def _check_trained(model: Any) -> None:
    """Raises as `_check_network`; ValueError unless `loss` has trained it."""
    _check_network(model)
    if model.parameterization is None:
        raise ValueError(
            f"model: given {type(model).__name__} without training, wanted one that "
            "mean_flow.loss has trained, such as md.pretrained('mnist_one_pass')"
        )
    _check_parameterization(model.parameterization, model.timesteps)


@sampler()
def _jump(walk: Walk, x: Array) -> Iterator[Step]:
    model = walk.denoise.network
    last = walk.schedule.timesteps
    with no_grad(), model.evaluating():
        for t, r in pairwise(walk.times):
            u = sharded(lambda x, c, t=t, r=r: model(x, t, c, r))(x, walk.condition).data
            x0 = x - (t / last) * u  # where u would lead if it were the mean from 0 to t
            x = x - ((t - r) / last) * u
            if r == 0 and walk.clip is not None:
                x = x0 = walk.clip(x)
            yield Step(r, x, x0)
