"""How guidance combines two predictions: the wanted one, and the one to go away from.

A rule is a function combine(positive, negative, scale) -> Prediction; the scale is a float, or a
column where samples differ. It may leave x0 or noise None: `guided` derives it from the other. A
`Rule` says of such a function what it needs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .. import checks, messages
from ..kernels import Array, namespace
from .per_sample import dot, weighted_sum
from .prediction import FreeNoise, Prediction, checked_prediction

Combine = Callable[[Prediction, Prediction, Any], Prediction]


@dataclass(frozen=True)
class Rule(messages.Made):
    """A function that combines two predictions, and the scales at which one of them is enough.

    `one_pass` are the scales at which the rule gives back one of the two, 1 the positive and 0 the
    negative: the other need not be asked then. A plain function counts as Rule(function).
    """

    combine: Combine
    one_pass: tuple[float, ...] = (1,)

    def __call__(self, positive: Prediction, negative: Prediction, scale: Any) -> Prediction:
        combined = self.combine(positive, negative, scale)
        return checked_prediction("combine", combined, positive.x0, Prediction._fields)

    def _name(self) -> tuple[str, str]:
        return getattr(self.combine, "__module__", ""), getattr(self.combine, "__name__", "")


def rule(one_pass: tuple[float, ...]) -> Callable[[Combine], Rule]:
    """Makes a `Rule` of the function below."""
    return lambda combine: Rule(combine, one_pass)


@rule(one_pass=(0, 1))
def extrapolate(positive: Prediction, negative: Prediction, scale) -> Prediction:
    """noise = n + s (p - n): scale 0 is the negative, 1 the positive.

    x_0 is an affine function of the noise, so it is extrapolated alike. Ho & Salimans 2022 (arXiv
    2207.12598, eq. 6) write the same with w = s - 1: (1 + w) p - w n. Source: Nichol et al. 2021,
    arXiv 2112.10741, eq. 8.
    """
    x0 = weighted_sum(scale, positive.x0, 1 - scale, negative.x0)
    noise = weighted_sum(scale, positive.noise, 1 - scale, negative.noise)
    return positive._replace(x0=x0, noise=noise)


@rule(one_pass=(0,))
def cfg_pp(positive: Prediction, negative: Prediction, scale) -> Prediction:
    """CFG++: x_0 is extrapolated, but the noise put back is the negative's.

    Scales from 0 to 1 are meant. Samplers that step by x_0 alone refuse it. Source: Chung et al.
    2024, arXiv 2406.08070, algorithm 2.
    """
    x0 = weighted_sum(scale, positive.x0, 1 - scale, negative.x0)
    return FreeNoise(x0, negative.noise, positive.log_variance)


def rescaled(phi: float = 0.7) -> Rule:
    """Extrapolation whose noise gets its strength back: a share phi of the way.

    The strength is the positive's standard deviation, sample by sample. The rule acts on the noise
    whatever the network predicts; where alpha_bar = 0 the noise does not tell x_0, and the rule is
    plain extrapolation there. It is a rule for images: the deviation of the two coordinates of a
    point in the plane says nothing of its strength. Source: Lin et al. 2024, arXiv 2305.08891, eq.
    14-16.
    """
    checks.among("phi", phi, checks.Between(0, 1))

    def combine(positive: Prediction, negative: Prediction, scale) -> Prediction:
        noise = extrapolate(positive, negative, scale).noise
        strength = _std(noise)
        flat = strength == 0  # as points on a line are: nothing to scale
        ratio = (_std(positive.noise) + flat) / (strength + flat)
        return positive._replace(x0=None, noise=(phi * ratio + (1 - phi)) * noise)

    return Rule(combine)


def _std(x: Array) -> Array:
    """Each sample's standard deviation, (batch, 1, …)."""
    axes = tuple(range(1, x.ndim))
    return namespace(x).std(x, axis=axes, keepdims=True)


def projected(eta: float = 0.0, norm_threshold: float | None = None, momentum: float = 0.0) -> Rule:
    """Adaptive projected guidance: of the step p - n in x_0, what is parallel to p is cut to eta.

    The step may be held to a norm for each sample, and averaged with those before: step + momentum
    · (last average). With momentum the rule has a memory: make a new one for every run of a
    sampler. Source: Sadat et al. 2024, arXiv 2410.02416, algorithm 1.
    """
    last_step: list[Array] = []

    def combine(positive: Prediction, negative: Prediction, scale) -> Prediction:
        step = positive.x0 - negative.x0
        if momentum:
            if last_step:
                step = step + momentum * last_step.pop()
            last_step.append(step)
        if norm_threshold is not None:
            norm = dot(step, step) ** 0.5
            step = step * namespace(step).minimum(1.0, norm_threshold / (norm + 1e-12))
        along = dot(step, positive.x0) / (dot(positive.x0, positive.x0) + 1e-12)
        parallel = along * positive.x0
        update = step - parallel + eta * parallel
        return positive._replace(x0=positive.x0 + (scale - 1) * update, noise=None)

    return Rule(combine)
