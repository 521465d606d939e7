"""Denoisers that need no training: for a Gaussian mixture and for a finite data set.

Noisy data of a mixture is a mixture again:

    x_t ~ sum_k w_k N(alpha m_k, v_k)    with v_k = alpha² s_k² + sigma²

So is x_0 given x_t, with shares r_k ∝ w_k N(x_t; alpha m_k, v_k). Everything here follows from
that; with these denoisers the samplers, the guidance rules and the likelihood can be held against
closed forms.
"""

import math
from collections.abc import Callable
from functools import reduce
from typing import Any, NamedTuple

import numpy as np

from .. import checks, ops
from ..autograd.tensor import Tensor
from ..kernels import Array, from_host, namespace
from .per_sample import as_condition
from .prediction import Denoise, Prediction, alone_if_asked
from .schedule import Schedule

_BLOCK = 1 << 20  # numbers that are held at a time for each pair of a sample and a component


class GaussianMixture:
    """Isotropic Gaussians N(m_k, s_k² I) with weights w_k.

    means: (components, ...), a sample's shape after the first axis; stds, weights: one number or
    (components,), the weights are normalised; labels: the class 1 … of each component,
    (components,), by default each its own. Raises ValueError for other shapes, negative stds or
    weights, weights of 0 alone, labels below 1.
    """

    def __init__(self, means, stds=1.0, weights=1.0, labels=None):
        checks.plain("means", means)
        self.means = checks.on_host("means", means, np.float64)
        if self.means.ndim < 2 or not len(self.means) or not np.isfinite(self.means).all():
            raise ValueError(
                f"means: given shape {self.means.shape}, wanted finite numbers (components, ...)"
            )
        count = len(self.means)
        self.stds = _per_component("stds", stds, count)
        self.weights = _per_component("weights", weights, count)
        if not self.weights.any():
            raise ValueError(f"weights: given {weights!r}, wanted one above 0, at least")
        self.weights = self.weights / self.weights.sum()
        labels = np.arange(1, count + 1) if labels is None else labels
        self.labels = checks.labels("labels", labels, count, low=1)
        # with the axes (sample, component, coordinate)
        self._flat_means = self.means.reshape(1, count, -1)
        self._variances = self.stds.reshape(1, -1, 1) ** 2

    def __repr__(self) -> str:
        count, *shape = self.means.shape
        return f"{type(self).__name__}({count} of shape {tuple(shape)})"

    def sample(self, n: int, rng: int | np.random.Generator, condition=None) -> np.ndarray:
        """n samples, (n, ...) float64; condition: None, a label, or labels (n,); 0 is any class.

        `rng` is a seed or a Generator.
        """
        n = checks.whole("n", n)
        checks.growth("n", n, 1, n * self.means.size)
        rng = checks.generator("rng", rng)
        shares = np.cumsum(self._allowed(condition, n) * self.weights, axis=1)
        k = np.sum(rng.random((n, 1)) * shares[:, -1:] >= shares, axis=1)
        noise = rng.standard_normal((n, *self.means.shape[1:]))
        stds = self.stds[k].reshape(-1, *[1] * (noise.ndim - 1))
        return self.means[k] + stds * noise

    def mean_and_covariance(self, label: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Mean (d,) and covariance (d, d) of the flattened samples of a class; label 0 is all."""
        weights = self.weights * self._allowed(label, 1)[0]
        means = self._flat_means[0]
        between = np.atleast_2d(np.cov(means.T, aweights=weights, ddof=0))
        within = np.average(self.stds**2, weights=weights) * np.eye(len(between))
        return np.average(means, axis=0, weights=weights), between + within

    def denoiser(self, schedule: Schedule) -> Denoise:
        """The exact Denoise: x_0's posterior mean, and the best variance of x_{t-1} given x_t.

        Condition: None, or host labels (batch,) in 0 … classes. Raises ValueError at t = 0 and for
        other labels. The variance is the best diagonal one: beta-tilde + c² Var[x_0 given x_t],
        where c is the posterior mean's factor of x_0 (Bao et al. 2022, arXiv 2201.06503, theorem
        1).
        """

        def denoise(x: Array, t, condition: Array | None = None) -> Prediction:
            xp = namespace(x)
            like = _mover(x)
            parts = (self._posterior(schedule, x, t, condition, k) for k in self._blocks(x))
            x0, noise, x0_variance = reduce(_Posterior.merged, parts)[1:]

            alpha_bar_t = schedule.alpha_bar_at(np.asarray(t)).reshape(-1, 1)
            alpha_bar_s = schedule.alpha_bar_at(np.maximum(t, 1) - 1).reshape(-1, 1)
            beta = 1 - alpha_bar_t / alpha_bar_s
            beta_tilde = beta * (1 - alpha_bar_s) / (1 - alpha_bar_t)
            c_squared = alpha_bar_s * (beta / (1 - alpha_bar_t)) ** 2
            squared = np.reshape(schedule.norm(np.maximum(t, 1) - 1), (-1, 1)) ** 2
            log_variance = xp.log(
                like(squared * beta_tilde) + like(squared * c_squared) * x0_variance + 1e-30
            )
            return Prediction(*(xp.reshape(part, x.shape) for part in (x0, noise, log_variance)))

        return Denoise(alone_if_asked(denoise), schedule, self.means.shape[1:])

    def log_prob(self, schedule: Schedule) -> Callable:
        """The exact classifier on noisy data: (x_t, t, labels) -> log p(y given x_t), (batch,).

        x_t may be an array or a Tensor, so that `guidance.classifier` can take its gradient.
        """

        def log_joint(x, t, condition):
            blocks = [self._components(schedule, x, t, condition, k) for k in self._blocks(x)]
            return ops.concatenate([block.log_joint for block in blocks], axis=1)

        def log_prob(x, t, condition):
            all_classes = log_joint(x, t, None)
            one_class = log_joint(x, t, condition)
            return ops.logsumexp(one_class, axis=1) - ops.logsumexp(all_classes, axis=1)

        return log_prob

    def _blocks(self, x) -> list[slice]:
        """The components in blocks whose offsets from all of x fit into memory."""
        count = len(self.means)
        size = max(1, _BLOCK // max(1, x.size))
        return [slice(first, first + size) for first in range(0, count, size)]

    def _posterior(self, schedule: Schedule, x, t, condition, block: slice) -> "_Posterior":
        """x_0 given x_t, as far as it is of one of these components."""
        xp = namespace(x)
        like = _mover(x)
        q = self._components(schedule, x, t, condition, block)
        log_weight = ops.logsumexp(q.log_joint, axis=1, keepdims=True)
        shares = xp.exp(q.log_joint - _finite(log_weight))[:, :, None]

        # x_0 given x_t and the component k: N(centre, within)
        variances = self._variances[:, block]
        centre = like(self._flat_means[:, block]) + q.offset * like(
            q.alpha * variances / q.variance
        )
        within = like(variances * q.sigma**2 / q.variance)

        # over these components
        x0 = xp.sum(shares * centre, axis=1)
        noise = xp.sum(shares * q.offset * like(q.sigma / q.variance), axis=1)
        x0_variance = xp.sum(shares * ((centre - x0[:, None]) ** 2 + within), axis=1)
        return _Posterior(log_weight, x0, noise, x0_variance)

    def _components(self, schedule: Schedule, x, t, condition, block: slice) -> "_NoisyComponents":
        """These components of the mixture at time t, seen from x."""
        alpha_bar = np.reshape(schedule.alpha_bar_at(t), (-1, 1, 1))
        if np.any(alpha_bar == 1):
            raise ValueError("t: given 0, wanted more: without noise there is nothing to denoise")
        if x.shape[1:] != self.means.shape[1:]:
            axes = ", ".join(map(str, self.means.shape[1:]))
            raise ValueError(f"x: given shape {x.shape}, wanted (batch, {axes})")
        like = _mover(x)
        norm = np.reshape(schedule.norm(t), (-1, 1, 1))
        alpha = norm * np.sqrt(alpha_bar)
        sigma = norm * np.sqrt(1 - alpha_bar)
        variance = norm**2 * (alpha_bar * self._variances[:, block] + (1 - alpha_bar))
        size = self._flat_means.shape[-1]
        offset = ops.reshape(x, (x.shape[0], 1, size)) - like(alpha * self._flat_means[:, block])
        weights = (self._allowed(condition, x.shape[0]) * self.weights)[:, block]
        with np.errstate(divide="ignore"):
            log_weights = np.log(weights)
        constant = log_weights - 0.5 * size * np.log(2 * math.pi * variance[:, :, 0])
        log_joint = -0.5 * ops.sum(offset * offset * like(1 / variance), axis=2) + like(constant)
        return _NoisyComponents(log_joint, offset, alpha, sigma, variance)

    def _allowed(self, condition, n: int) -> np.ndarray:
        """Which components each sample's condition allows, (n, components).

        Never those whose weight is 0.
        """
        condition = as_condition(0 if condition is None else condition, n)
        label = condition.reshape(-1, 1)
        allowed = ((label == 0) | (label == self.labels)) & (self.weights > 0)
        if condition.ndim != 1 or not allowed.any(axis=1).all():
            known = sorted(set(self.labels[self.weights > 0].tolist()))
            raise ValueError(
                f"condition: given {condition}, wanted labels among {known}, or 0 for any"
            )
        return allowed


class _NoisyComponents(NamedTuple):
    """Each component of the mixture with noise, and where x lies in it."""

    log_joint: Any  # log w_k N(x_t; alpha m_k, v_k), (batch, components)
    offset: Any  # x_t - alpha m_k, (batch, components, d)
    alpha: np.ndarray  # (batch or 1, 1, 1)
    sigma: np.ndarray
    variance: np.ndarray  # v_k, (batch or 1, components, 1)


class _Posterior(NamedTuple):
    """x_0 given x_t and that it is of one of some components."""

    log_weight: Any  # log p(x_t, one of these components), (batch, 1)
    x0: Any  # (batch, d), as the others
    noise: Any
    x0_variance: Any

    def merged(self, other: "_Posterior") -> "_Posterior":
        """Of one of the components of either: the law of total variance."""
        xp = namespace(self.x0)
        log_weight = xp.logaddexp(self.log_weight, other.log_weight)
        a = xp.exp(self.log_weight - _finite(log_weight))
        b = xp.exp(other.log_weight - _finite(log_weight))
        x0 = a * self.x0 + b * other.x0
        noise = a * self.noise + b * other.noise
        within = a * self.x0_variance + b * other.x0_variance
        between = a * (self.x0 - x0) ** 2 + b * (other.x0 - x0) ** 2
        return _Posterior(log_weight, x0, noise, within + between)


class FiniteData(GaussianMixture):
    """The points of a data set, (count, ...), each as likely as its weight.

    It is a mixture with no width. Its denoiser is what a network that learned the training set by
    heart would give. Images must be scaled to [-1, 1].
    """

    def __init__(self, points, weights=1.0, labels=None):
        checks.plain("points", points)
        points = checks.clean_samples("points", checks.on_host("points", points, np.float64))
        super().__init__(points, 0.0, weights, labels)


def _per_component(name: str, values, count: int) -> np.ndarray:
    array = checks.on_host(name, values, np.float64)
    if array.shape not in ((), (count,)) or not (np.isfinite(array).all() and array.min() >= 0):
        raise ValueError(
            f"{name}: given {values!r}, wanted one number >= 0 or one per component, ({count},)"
        )
    return np.broadcast_to(array, (count,))


def _finite(log_weight: Array) -> Array:
    """Something finite for the log-weight of components that are all impossible."""
    return namespace(log_weight).maximum(log_weight, np.finfo(log_weight.dtype).min)


def _mover(x) -> Callable[[np.ndarray], Array]:
    """Moves host arrays to the dtype and the device of x, an array or a Tensor."""
    data = x.data if isinstance(x, Tensor) else x
    return lambda host: from_host(np.asarray(host, x.dtype), data)
