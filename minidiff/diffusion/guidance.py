"""Guidance: steering samples by a condition. It is two choices: against what, and how the two are
combined.

Every rule makes a `Denoise` out of a `Denoise`, so each works with every sampler and every
parameterisation. A rule of your own is one function combine(positive, negative, scale) ->
Prediction, given to `guided`. A scale is a number, an array (batch,), or a function of the time t,
called with a number.

Guiding with a scale s other than 0 and 1 does not sample p(x) p(y given x)^s. Each noise level
follows the score of that product of *noisy* densities, and these are not the noisy versions of one
another. In one dimension, with p(x) = N(0, 1), p(x given y) = N(0, 1/4) and s = 2, the product is
N(0, 1/7), but the guided ODE ends in N(0, 1/16) and the guided SDE in N(0, 7/64): for p(x given y)
= N(0, v) the ODE gives the variance v^s where the product has 1 / (s/v + 1 - s).
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import ops
from ..autograd.transforms import grad
from ..kernels import Array, namespace
from .denoise import (
    Denoise,
    Denoiser,
    FreeNoise,
    Prediction,
    noise_from_x0,
    schedule_of,
    x0_from_noise,
)
from .process import as_condition, blend, dot, per_sample, signal_and_noise

Scale = float | Array | Callable[[float], Any]
Combine = Callable[[Prediction, Prediction, Any], Prediction]


# --- how: the rules combine the wanted prediction, the one to go away from, and the scale (a float
# or a column). A rule may leave x0 or noise None: `guided` derives it from the other. `one_pass`,
# by default (1,), are the scales at which a rule gives back one of the two, 1 the positive and 0
# the negative, so that the other pass is not made.


def extrapolate(positive: Prediction, negative: Prediction, scale) -> Prediction:
    """noise = n + s (p - n): scale 0 is the negative, 1 the positive (Nichol et al. 2021, arXiv
    2112.10741, eq. 8).

    Ho & Salimans 2022 (arXiv 2207.12598, eq. 6) write the same with w = s - 1: (1 + w) p - w n. As
    x_0 is an affine function of the noise, it is extrapolated alike.
    """
    x0 = blend(scale, positive.x0, 1 - scale, negative.x0)
    return positive._replace(x0=x0, noise=blend(scale, positive.noise, 1 - scale, negative.noise))


def cfg_pp(positive: Prediction, negative: Prediction, scale) -> Prediction:
    """CFG++: x_0 is extrapolated, but renoised with the negative's noise (Chung et al. 2024, arXiv
    2406.08070, alg. 2).

    Scales from 0 to 1 are meant. Samplers that step by x_0 alone refuse it.
    """
    return FreeNoise(
        blend(scale, positive.x0, 1 - scale, negative.x0), negative.noise, positive.log_variance
    )


def rescaled(phi: float = 0.7) -> Combine:
    """Extrapolation whose noise gets back, by the share phi, the positive's standard deviation per
    sample.

    Source: Lin et al. 2024, arXiv 2305.08891, eq. 14-16. It acts on the noise whatever the network
    predicts; where alpha_bar = 0 the noise does not tell x_0, and the rule is plain extrapolation
    there.
    """
    if not 0 <= phi <= 1:
        raise ValueError(f"phi: given {phi}, wanted a share from 0 to 1")

    def combine(positive: Prediction, negative: Prediction, scale) -> Prediction:
        noise = extrapolate(positive, negative, scale).noise
        xp, axes = namespace(noise), tuple(range(1, noise.ndim))
        ratio = xp.std(positive.noise, axis=axes, keepdims=True) / xp.std(
            noise, axis=axes, keepdims=True
        )
        return positive._replace(x0=None, noise=(phi * ratio + (1 - phi)) * noise)

    return combine


def projected(
    eta: float = 0.0, norm_threshold: float | None = None, momentum: float = 0.0
) -> Combine:
    """Adaptive projected guidance: of the step p - n in x_0, the part parallel to p is kept by the
    share eta only.

    The step may be held to a norm per sample, and averaged with those before: step + momentum ·
    (last average). With momentum the rule has a memory: make a new one for every run of a sampler.
    Source: Sadat et al. 2024, arXiv 2410.02416, algorithm 1.
    """
    last: list[Array] = []

    def combine(positive: Prediction, negative: Prediction, scale) -> Prediction:
        step = positive.x0 - negative.x0
        if momentum:
            step = step + momentum * last.pop() if last else step
            last.append(step)
        if norm_threshold is not None:
            norm = dot(step, step) ** 0.5
            step = step * namespace(step).minimum(1.0, norm_threshold / (norm + 1e-12))
        parallel = dot(step, positive.x0) / (dot(positive.x0, positive.x0) + 1e-12) * positive.x0
        update = step - parallel + eta * parallel
        return positive._replace(x0=positive.x0 + (scale - 1) * update, noise=None)

    return combine


extrapolate.one_pass = (0, 1)  # type: ignore[attr-defined]
cfg_pp.one_pass = (0,)  # type: ignore[attr-defined]


def interval(scale: float, low: float, high: float) -> Callable[[float], float]:
    """A scale that guides where low < t <= high, and is 1 elsewhere (Kynkäänniemi et al.

    2024, arXiv 2404.07724).
    """
    return lambda t: scale if low < t <= high else 1.0


# --- against what ---


def guided(
    denoise: Denoise,
    scale: Scale,
    against: Denoise | Array | int | None = None,
    combine: Combine = extrapolate,
) -> Denoise:
    """The prediction for the condition, moved away from another one by `scale`; `combine` says how.

    `against` is None (the null condition), a label, labels (batch,) or vectors (batch, d) (a
    negative condition), or another Denoise (a weak model: Karras et al. 2024, arXiv 2406.02507).
    Conditions share one doubled batch. Scale 1 is the condition alone and scale 0 what it is guided
    against, each by one pass where `combine` allows.
    """

    def guided_denoise(x: Array, t, condition: Array | None = None) -> Prediction:
        s, condition = _scale_at(scale, t, x), as_condition(condition, x.shape[0])
        weak = against if callable(against) else None
        other = None if weak else as_condition(against, x.shape[0], "against")
        if isinstance(s, float) and s in getattr(combine, "one_pass", (1,)):
            if s == 1:
                return denoise(x, t, condition)
            return weak(x, t, condition) if weak else denoise(x, t, other)
        if weak:
            positive, negative = denoise(x, t, condition), weak(x, t, condition)
        else:
            positive, negative = _in_one_batch(denoise, x, t, [condition, other])
        made = combine(positive, negative, s)
        if made.noise is None:
            return made._replace(noise=noise_from_x0(schedule_of(denoise), x, t, made.x0))
        if made.x0 is not None:
            return made
        if np.all(schedule_of(denoise).alpha_bar_at(t) == 0):  # there the noise does not tell x_0
            return made._replace(x0=extrapolate(positive, negative, s).x0)
        return made._replace(x0=x0_from_noise(schedule_of(denoise), x, t, made.noise))

    return _like(denoise, guided_denoise)


def classifier_free(denoise: Denoise, scale: Scale) -> Denoise:
    """Classifier-free guidance, noise = n + s (c - n) with n the null condition's (Ho & Salimans 2022)."""
    return guided(denoise, scale)


def composed(denoise: Denoise, conditions: Sequence, weights: Sequence) -> Denoise:
    """Several conditions at once: noise = n + sum_i w_i (c_i - n), n the null condition's, in one
    batch.

    `conditions` are labels or vectors, each one for all samples or one per sample; `weights` are as
    many numbers or arrays (batch,). The result closes over its conditions: call it with None.
    Weights that sum to 1 need no null pass and average the conditions. Source: Liu et al. 2022,
    arXiv 2206.01714, eq. 11.
    """
    if len(conditions) != len(weights) or not len(weights):
        raise ValueError(
            f"weights: given {len(weights)} for {len(conditions)} conditions, wanted one for each"
        )
    every = [None, *conditions]
    shares = [1 - sum(np.asarray(w, np.float64) for w in weights), *weights]

    def composed_denoise(x: Array, t, condition: Array | None = None) -> Prediction:
        if condition is not None:
            raise ValueError(
                "condition: given one, wanted None: `composed` closes over its conditions"
            )
        used = [
            (as_condition(c, x.shape[0]), _scale_at(w, t, x))
            for c, w in zip(every, shares)
            if np.any(w)
        ]
        parts = _in_one_batch(denoise, x, t, [c for c, _ in used])
        x0, noise = (sum(w * part[i] for (_, w), part in zip(used, parts)) for i in (0, 1))
        return parts[-1]._replace(x0=x0, noise=noise)

    return _like(denoise, composed_denoise)


def classifier(denoise: Denoise, log_prob: Callable, scale: Scale) -> Denoise:
    """Classifier guidance for every sampler: noise = n - s sigma_t grad_x log p(y given x_t), n the
    null condition's.

    `log_prob(x_t, t, condition)` takes a Tensor and gives a Tensor (batch,). Scale 0 samples p(x),
    scale 1 p(x given y); for the others see this module's text. DDPM has another form, eq. 2.1 of
    the post: its `mean_shift` takes `gradient(log_prob, scale)`. Both move DDPM's mean along the
    gradient, this one by s beta / sqrt(a), that one by s beta-tilde: they differ by the factor beta
    / (sqrt(a) beta-tilde), which is not 1. Source: Dhariwal & Nichol 2021, arXiv 2105.05233,
    algorithm 2.
    """
    shift, schedule = gradient(log_prob, scale), schedule_of(denoise)

    def classifier_denoise(x: Array, t, condition: Array | None = None) -> Prediction:
        plain, s = denoise(x, t, None), _scale_at(scale, t, x)
        if isinstance(s, float) and s == 0:
            return plain
        _, sigma = signal_and_noise(schedule, t, x)
        noise = plain.noise - sigma * shift(x, t, condition)
        return plain._replace(x0=x0_from_noise(schedule, x, t, noise), noise=noise)

    return _like(denoise, classifier_denoise)


def gradient(log_prob: Callable, scale: Scale = 1.0) -> Callable:
    """The function (x_t, t, condition) -> scale · grad_x log p(y given x_t), an array like x_t."""

    def shift(x: Array, t, condition) -> Array:
        if condition is None:
            raise ValueError(
                "condition: given None, wanted labels: a classifier guides towards a class"
            )
        total = lambda x: ops.sum(log_prob(x, t, as_condition(condition, x.shape[0])))
        return _scale_at(scale, t, x) * grad(total)(x)

    return shift


def _scale_at(scale: Scale, t, x: Array) -> Any:
    """The scale at t: a float, or a column that broadcasts against x where samples differ."""
    if callable(scale):
        t = np.asarray(t)
        scale = (
            scale(t.flat[0].item())
            if np.all(t == t.flat[0])
            else [scale(each) for each in t.tolist()]
        )
    values = np.asarray(scale, np.float64)
    if values.shape not in ((), x.shape[:1]) or not np.isfinite(values).all():
        raise ValueError(
            f"scale: given {scale!r}, wanted a finite number or one per sample, ({x.shape[0]},)"
        )
    return float(values.flat[0]) if np.all(values == values.flat[0]) else per_sample(values, x)


def _in_one_batch(denoise: Denoise, x: Array, t, conditions: list) -> list[Prediction]:
    """The predictions for several conditions of the same x_t, by one call."""
    count, batch, xp = len(conditions), x.shape[0], namespace(x)
    some = next((c for c in conditions if c is not None), None)
    if some is None:
        return [denoise(x, t, None)] * count
    rows = [namespace(some).zeros_like(some) if c is None else c for c in conditions]
    if any(row.shape != some.shape for row in rows):
        raise ValueError(
            f"against: given conditions of shapes {[row.shape for row in rows]}, wanted one shape"
        )
    t = t if np.ndim(t) == 0 else np.tile(t, count)
    whole = denoise(xp.concatenate([x] * count), t, namespace(some).concatenate(rows))
    cut = [slice(i * batch, (i + 1) * batch) for i in range(count)]
    return [
        whole._replace(**{k: v[i] for k, v in whole._asdict().items() if v is not None})
        for i in cut
    ]


def _like(denoise: Denoise, changed: Denoise) -> Denoise:
    """The changed function, with the schedule of the one it was made of, if that has one."""
    return Denoiser(changed, denoise.schedule) if isinstance(denoise, Denoiser) else changed
