"""Guidance: steering samples towards a condition.

Classifier-free guidance is five lines (Ho & Salimans 2022, arXiv 2207.12598). Ask the network with
the condition and without it, and go on beyond the first, away from the second:

    def classifier_free(denoise, scale):
        def guided(x, t, condition):
            conditional = denoise(x, t, condition)
            free = denoise(x, t, None)
            noise = free.noise + scale * (conditional.noise - free.noise)
            x0 = free.x0 + scale * (conditional.x0 - free.x0)
            return Prediction(x0, noise)

        return Denoise(guided, denoise.schedule)

Every rule makes a `Denoise` out of a `Denoise` like that, so each works with every sampler and with
every parameterisation. `guided` below has two choices more: against what, and how the two are
combined (`combining`). A scale is a number, an array (batch,), or a function of the time t, called
with a number.

Guiding with a scale s other than 0 and 1 does not sample p(x) p(y given x)^s. Each noise level
follows the score of that product of *noisy* densities, and these are not the noisy versions of one
another. In one dimension, with p(x) = N(0, 1), p(x given y) = N(0, 1/4) and s = 2, the product is
N(0, 1/7), but the guided ODE ends in N(0, 1/16) and the guided SDE in N(0, 7/64): for p(x given y)
= N(0, v) the ODE gives the variance v^s where the product has 1 / (s/v + 1 - s).
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from .. import checks, messages, ops
from ..autograd.transforms import grad
from ..kernels import Array, namespace
from ..nn import Module
from .combining import Combine, Rule, cfg_pp, extrapolate, projected, rescaled
from .network import as_denoise
from .per_sample import as_condition, column
from .prediction import Denoise, Prediction, noise_from_x0, x0_from_noise

__all__ = [
    "Rule",
    "cfg_pp",
    "classifier",
    "classifier_free",
    "composed",
    "extrapolate",
    "gradient",
    "guided",
    "interval",
    "projected",
    "rescaled",
]

Scale = float | Array | Callable[[float], Any]


def classifier_free(denoise: Denoise | Module, scale: Scale) -> Denoise:
    """Classifier-free guidance, noise = n + s (c - n) with n the null condition's.

    Both are asked in one doubled batch, and only one of them at the scales 0 and 1. Source: Ho &
    Salimans 2022, arXiv 2207.12598.
    """
    return guided(denoise, scale)


def guided(
    denoise: Denoise | Module,
    scale: Scale,
    against: Denoise | Module | Array | int | None = None,
    combine: Combine = extrapolate,
) -> Denoise:
    """The prediction for the condition, moved away from another one by `scale`; `combine` says how.

    `against` is None (the null condition), a label, labels (batch,) or vectors (batch, d) (a
    negative condition), or another Denoise of the same schedule (a weak model: Karras et al. 2024,
    arXiv 2406.02507). Conditions share one doubled batch. Scale 1 is the condition alone and scale
    0 is what it is guided against, each by one pass where `combine` allows. Raises ValueError for a
    weak model of another schedule.
    """
    denoise = as_denoise(denoise)
    weak = as_denoise(against, "against") if callable(against) else None
    if weak is not None and weak.schedule != denoise.schedule:
        raise ValueError(
            f"against: given a Denoise of {weak.schedule}, wanted one of {denoise.schedule}"
        )
    messages.refuse_maker("combine", combine)
    messages.refuse_maker("scale", scale)
    rule = combine if isinstance(combine, Rule) else Rule(combine)

    def negative_alone(x: Array, t, condition: Array | None) -> Prediction:
        if weak is not None:
            return weak(x, t, condition)
        return denoise(x, t, as_condition(against, x.shape[0], "against"))

    def both(x: Array, t, condition: Array | None) -> Sequence[Prediction]:
        if weak is not None:
            return denoise(x, t, condition), weak(x, t, condition)
        negative_condition = as_condition(against, x.shape[0], "against")
        return _in_one_batch(denoise, x, t, [condition, negative_condition])

    def guided_denoise(x: Array, t, condition: Array | None = None) -> Prediction:
        condition = as_condition(condition, x.shape[0])
        s = _scale_at(scale, t, x)
        one_is_enough = isinstance(s, float) and s in rule.one_pass
        if one_is_enough and s == 1:
            return denoise(x, t, condition)
        if one_is_enough and s == 0:
            return negative_alone(x, t, condition)

        positive, negative = both(x, t, condition)
        combined = rule(positive, negative, s)

        # What the rule left out follows from the rest.
        if combined.noise is None:
            return combined._replace(noise=noise_from_x0(denoise.schedule, x, t, combined.x0))
        if combined.x0 is not None:
            return combined
        if np.all(denoise.schedule.alpha_bar_at(t) == 0):  # here the noise does not tell x_0
            return combined._replace(x0=extrapolate(positive, negative, s).x0)
        return combined._replace(x0=x0_from_noise(denoise.schedule, x, t, combined.noise))

    return replace(denoise, function=guided_denoise)


def interval(scale: float, low: float, high: float) -> Callable[[float], float]:
    """A scale that guides where low < t <= high, and is 1 elsewhere.

    Raises ValueError for an interval that is empty. Source: Kynkäänniemi et al. 2024, arXiv
    2404.07724.
    """
    checks.among("high", high, checks.Between(low, ends="(]"))
    return lambda t: scale if low < t <= high else 1.0


def composed(denoise: Denoise | Module, conditions: Sequence, weights: Sequence) -> Denoise:
    """Several conditions at once, in one batch: noise = n + sum_i w_i (c_i - n).

    n is the null condition's. `conditions` are labels or vectors, each one for all samples or one
    for each; `weights` are as many numbers or arrays (batch,). The result closes over its
    conditions: call it with None. Weights that sum to 1 need no null pass and average the
    conditions. Source: Liu et al. 2022, arXiv 2206.01714, eq. 11.
    """
    denoise = as_denoise(denoise)
    if len(conditions) != len(weights) or not len(weights):
        raise ValueError(
            f"weights: given {len(weights)} for {len(conditions)} conditions, wanted one for each"
        )
    for weight in weights:
        messages.refuse_maker("weights", weight)
    null_weight = 1 - sum(checks.on_host("weights", w, np.float64) for w in weights)
    terms = list(zip([None, *conditions], [null_weight, *weights]))

    def composed_denoise(x: Array, t, condition: Array | None = None) -> Prediction:
        if condition is not None:
            raise ValueError(
                "condition: given one, wanted None: `composed` closes over its conditions"
            )
        used = [(c, w) for c, w in terms if np.any(w)]
        predictions = _in_one_batch(denoise, x, t, [as_condition(c, x.shape[0]) for c, _ in used])
        factors = [_scale_at(w, t, x) for _, w in used]
        x0 = sum(w * p.x0 for w, p in zip(factors, predictions))
        noise = sum(w * p.noise for w, p in zip(factors, predictions))
        return predictions[-1]._replace(x0=x0, noise=noise)

    return replace(denoise, function=composed_denoise)


def classifier(denoise: Denoise | Module, log_prob: Callable, scale: Scale) -> Denoise:
    """Classifier guidance for every sampler: noise = n - s sigma_t grad_x log p(y given x_t).

    n is the null condition's. `log_prob(x_t, t, condition)` takes a Tensor and gives a Tensor
    (batch,). Scale 0 samples p(x), scale 1 p(x given y); for the others see this module's text.
    Source: Dhariwal & Nichol 2021, arXiv 2105.05233, algorithm 2.

    DDPM has another form, the paper's algorithm 1: its `mean_shift` takes `gradient(log_prob,
    scale)`. Both move DDPM's mean along the gradient, this one by s beta / sqrt(a), that one by s
    beta-tilde: they differ by the factor beta / (sqrt(a) beta-tilde), which is not 1.
    """
    denoise = as_denoise(denoise)
    schedule = denoise.schedule
    shift = gradient(log_prob, scale)

    def classifier_denoise(x: Array, t, condition: Array | None = None) -> Prediction:
        plain = denoise(x, t, None)
        s = _scale_at(scale, t, x)
        if isinstance(s, float) and s == 0:
            return plain
        _, sigma = schedule.alpha_sigma(t, x)
        noise = plain.noise - sigma * shift(x, t, condition)
        return plain._replace(x0=x0_from_noise(schedule, x, t, noise), noise=noise)

    return replace(denoise, function=classifier_denoise)


def gradient(log_prob: Callable, scale: Scale = 1.0) -> Callable:
    """The function (x_t, t, condition) -> scale · grad_x log p(y given x_t), an array like x_t."""

    messages.refuse_maker("log_prob", log_prob)
    messages.refuse_maker("scale", scale)

    def shift(x: Array, t, condition) -> Array:
        if condition is None:
            raise ValueError(
                "condition: given None, wanted labels: a classifier guides towards a class"
            )
        labels = as_condition(condition, x.shape[0])
        total = lambda x: ops.sum(checks.gives("log_prob", log_prob(x, t, labels), x.shape[:1]))
        return _scale_at(scale, t, x) * grad(total)(x)

    return shift


def _scale_at(scale: Scale, t, x: Array) -> Any:
    """The scale at t: a float, or a column that multiplies x where samples differ."""
    if callable(scale):
        t = np.asarray(t)
        if np.all(t == t.flat[0]):
            scale = scale(t.flat[0].item())
        else:
            scale = [scale(time) for time in t.tolist()]
    values = checks.on_host("scale", scale, np.float64)
    if values.shape not in ((), x.shape[:1]) or not np.isfinite(values).all():
        raise ValueError(
            f"scale: given {scale!r}, wanted a finite number or one per sample, ({x.shape[0]},)"
        )
    if np.all(values == values.flat[0]):
        return float(values.flat[0])
    return column(values, x)


def _in_one_batch(denoise: Denoise, x: Array, t, conditions: list) -> list[Prediction]:
    """The predictions for several conditions of the same x_t, by one call."""
    count = len(conditions)
    like = next((c for c in conditions if c is not None), None)
    if like is None:
        return [denoise(x, t, None)] * count
    rows = [namespace(like).zeros_like(like) if c is None else c for c in conditions]
    if any(row.shape != like.shape for row in rows):
        raise ValueError(
            f"against: given conditions of shapes {[row.shape for row in rows]}, wanted one shape"
        )
    times = t if np.ndim(t) == 0 else np.tile(t, count)
    together = denoise(
        namespace(x).concatenate([x] * count), times, namespace(like).concatenate(rows)
    )
    batch = x.shape[0]
    return [_rows(together, slice(i * batch, (i + 1) * batch)) for i in range(count)]


def _rows(prediction: Prediction, rows: slice) -> Prediction:
    """Some of the samples of a prediction."""
    return prediction._replace(
        **{name: part[rows] for name, part in prediction._asdict().items() if part is not None}
    )
