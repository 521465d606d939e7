"""Few steps from many: progressive distillation.

A student learns to do in one step of DDIM what its teacher does in two. Then it is the teacher of
the next one, which needs half as many steps again:

    teacher   z_t ── half of the way ── z_m ── the other half ── z_s
    student   z_t ────────────────── one step ────────────────── z_s

Source: Salimans & Ho 2022, arXiv 2202.00512, algorithm 2; of a teacher that is guided: Meng et al.
2023, arXiv 2210.03142, section 3.
"""

from typing import Any

import numpy as np

from .. import checks, messages, ops
from ..autograd.tensor import Tensor
from ..autograd.threads import sharded
from ..kernels import Array, from_host_together
from ..nn import Module
from ..nn.module import home_of
from .network import as_denoise
from .per_sample import as_condition, check_batch, noise_on_host, weighted_sum
from .prediction import Denoise


def loss(
    student: Module,
    teacher: Denoise | Module,
    x0: Array,
    condition: Any,
    rng: np.random.Generator | int,
    steps: int,
) -> Tensor:
    """The mean loss of a batch x0 (batch, ...) for a student of so many steps, a 0-d Tensor.

        E |target - student(z_t, t, condition)|²    with t = T, T (1 - 1/steps), …, T / steps

    The target leads by one step from z_t to where two steps of the teacher lead.

    - `student`: a network that knows what it predicts; best it begins as a copy of the teacher's.
    - `teacher`: a Denoise, which may be guided: then the student needs one pass where that needs
      two. Or a network, such as the student of twice as many steps.
    - `condition`: labels (batch,), vectors (batch, d) or None.

    Draw by `diffusion.sample(student, labels, sampler="ddim", steps=steps)`. Raises TypeError or
    ValueError for data as `diffusion.loss` does, for a student without parameterisation, or of
    another schedule than the teacher's, and for one that is the teacher's own network.
    """
    teacher = as_denoise(teacher, "teacher")
    _check_student(student, teacher)
    check_batch("x0", x0)
    condition = as_condition(condition, len(x0))
    schedule = teacher.schedule
    steps = checks.whole("steps", steps, 1, schedule.timesteps)
    rng = checks.generator("rng", rng)
    length = schedule.timesteps / steps
    t = rng.integers(1, steps + 1, size=len(x0)) * length
    middle = t - length / 2
    s = t - length
    noise = noise_on_host(rng, x0)
    home = home_of(student)
    x0, noise = from_host_together([x0, noise], x0 if home is None else home.data)
    alpha, sigma = schedule.alpha_sigma(t, x0)
    z_t = weighted_sum(alpha, x0, sigma, noise)

    z_m = _ddim_step(teacher, z_t, t, middle, condition)
    z_s = _ddim_step(teacher, z_m, middle, s, condition)

    # Which x_0 leads from z_t to z_s in one step? The step is z_s = alpha_s x_0 + sigma_s noise,
    # with the noise that z_t has beside x_0, (z_t - alpha x_0) / sigma. Solved for x_0:
    alpha_s, sigma_s = schedule.alpha_sigma(s, x0)
    ratio = sigma_s / sigma
    one_step_x0 = (z_s - ratio * z_t) / (alpha_s - ratio * alpha)
    one_step_noise = (z_t - alpha * one_step_x0) / sigma
    own = student.parameterization
    target = own.target(one_step_x0, one_step_noise, alpha, sigma)

    def mean_square(z: Array, t: np.ndarray, condition: Any, target: Array) -> Tensor:
        output, _ = own.split(student(z, t, condition), z)
        return ops.mse_loss(output, target)

    return sharded(mean_square)(z_t, t, condition, target)


def _check_student(student: Any, teacher: Denoise) -> None:
    """TypeError or ValueError unless it is a network of its own, on the teacher's schedule."""
    messages.refuse_maker("student", student)
    copied = "such as a copy of the teacher's: type copy.deepcopy(network)"
    if not isinstance(student, Module):
        raise TypeError(f"student: given {type(student).__name__}, wanted a network, {copied}")
    if student is teacher.network:
        raise ValueError(
            f"student: given the teacher's own network, wanted another one, {copied}; or the "
            "teacher would change with the student"
        )
    own = student.parameterization
    if own is None or own.schedule != teacher.schedule:
        given = type(student).__name__ if own is None else f"one trained on {own.schedule}"
        raise ValueError(
            f"student: given {given}, wanted one that knows what it predicts, on the teacher's "
            f"schedule, {teacher.schedule}, {copied}"
        )


def _ddim_step(denoise: Denoise, z: Array, t: np.ndarray, s: np.ndarray, condition: Any) -> Array:
    """z at the earlier times s, (batch,), one step without new noise."""
    x0, noise, _ = denoise(z, t, condition)
    alpha, sigma = denoise.schedule.alpha_sigma(s, z)
    return weighted_sum(alpha, x0, sigma, noise)
